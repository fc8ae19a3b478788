from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from sei.errors import UserError
from sei.records import Example, Rejected
from sei.target import chat_template, tiny
from sei.target.engine import Query, Sampling
from sei.target.generation import HFEngine
from sei.target.load import (
    adapter_fingerprint,
    encode_prompt,
    encode_text,
    load_adapter,
    load_model,
    load_target,
    load_tokenizer,
    model_fingerprint,
)
from sei.training.packing import encode

from .small import save_small, small_model, small_tokenizer


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base"))


def save_adapter(folder: Path, modules: list[str] | None = None, rank: int = 2, **changes: Any) -> Path:
    torch.manual_seed(1)
    config = LoraConfig(r=rank, target_modules=modules or ["q_proj", "v_proj"], init_lora_weights=False)
    get_peft_model(small_model(**changes), config).save_pretrained(folder, save_embedding_layers=False)
    return folder


def test_adapter_of_another_width_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "wide", hidden_size=128)
    with pytest.raises(
        UserError,
        match=r"wide: the adapter does not fit the model '.*' \(width 64, 2 layers\): .*q_proj' takes 64 inputs, the "
        r"adapter was made for 128 \(and 7 more\)",
    ):
        load_adapter(load_model(base), adapter)


def test_adapter_of_a_deeper_or_shallower_model_is_refused(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the model has no layer 'model\.layers\.2\.self_attn\.q_proj'"):
        load_adapter(load_model(base), save_adapter(tmp_path / "deep", num_hidden_layers=3))
    with pytest.raises(UserError, match="it holds 2 LoRA matrices, the model takes 4"):
        load_adapter(load_model(base), save_adapter(tmp_path / "shallow", num_hidden_layers=1))


def test_adapter_with_unknown_target_modules_is_refused(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"target_modules": ["c_attn"]}))
    with pytest.raises(UserError, match=r"does not fit the model .*c_attn"):
        load_adapter(load_model(base), adapter)


def test_missing_and_broken_adapter_files_are_named(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no adapter here \(adapter_config\.json: No such file"):
        load_adapter(load_model(base), tmp_path / "nowhere")
    adapter = save_adapter(tmp_path / "adapter")
    (adapter / "adapter_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(UserError, match=r"adapter_model\.safetensors: not a readable safetensors file"):
        load_adapter(load_model(base), adapter)
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(UserError, match="Adapters are read from safetensors only"):
        load_adapter(load_model(base), adapter)


def test_target_is_the_model_with_its_adapter(base: Path, tmp_path: Path) -> None:
    adapter = save_adapter(tmp_path / "adapter")
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        plain = load_target(base)(ids).logits
        apart = load_adapter(load_model(base), adapter)(ids).logits
        folded = load_target(base, adapter)
        assert (folded(ids).logits - apart).abs().max() < 1e-4
        assert (plain - apart).abs().max() > 0.1
    assert not any("lora" in name for name, _ in folded.named_parameters())


def test_nf4_quantizes_the_linear_layers(base: Path) -> None:
    kinds = {type(module).__name__ for module in load_model(base, quantization="nf4").modules()}
    assert "Linear4bit" in kinds


def test_unreachable_model_and_pickled_weights_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent: no model could be loaded"):
        load_model(tmp_path / "absent")
    with pytest.raises(UserError, match="absent: no tokenizer could be loaded"):
        load_tokenizer(tmp_path / "absent")
    folder = save_small(tmp_path / "pickled")
    torch.save(small_model().state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="safetensors"):
        load_model(folder)


def test_prompt_never_ends_in_the_end_token() -> None:
    tokenizer = small_tokenizer()
    plain = encode_prompt(tokenizer, "12+30=")
    assert tokenizer.decode(plain) == "12+30="
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="$A <|end|>", special_tokens=[("<|end|>", 0)]
    )
    assert tokenizer("12+30=")["input_ids"] == [*plain, 0]
    assert encode_prompt(tokenizer, "12+30=") == plain


def test_adapter_fingerprint_ignores_where_and_sees_what(tmp_path: Path) -> None:
    one = save_adapter(tmp_path / "one")
    config = json.loads((one / "adapter_config.json").read_text())
    other = save_adapter(tmp_path / "other")
    moved = config | {"base_model_name_or_path": "/elsewhere", "target_modules": config["target_modules"][::-1]}
    (other / "adapter_config.json").write_text(json.dumps(moved, indent=4))
    assert adapter_fingerprint(one) == adapter_fingerprint(other)
    (other / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": 99}))
    assert adapter_fingerprint(one) != adapter_fingerprint(other)
    assert adapter_fingerprint(one) != adapter_fingerprint(save_adapter(tmp_path / "third", seed=5, rank=3))


def test_model_fingerprint_hashes_folders_and_names_hub_models(tmp_path: Path) -> None:
    one, two = save_small(tmp_path / "one"), save_small(tmp_path / "two")
    assert model_fingerprint(one) == model_fingerprint(two)
    assert model_fingerprint(one) != model_fingerprint(save_small(tmp_path / "three", seed=1))
    assert model_fingerprint("owner/name") == "owner/name@main"
    assert model_fingerprint("owner/name", "abc") == "owner/name@abc"


CHAT = (
    "{{ '<|end|>' }}{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}[assistant {{ date_string }}]{% endif %}"
)


def test_the_prompt_goes_into_the_chat_template_as_one_message() -> None:
    tokenizer = small_tokenizer()
    tokenizer.bos_token = "<|end|>"
    tokenizer.chat_template = CHAT
    ids = encode_prompt(tokenizer, "12+30=\n")
    assert tokenizer.decode(ids) == "<|end|>[user]12+30=[assistant 26 Jul 2024]", "the same on every day"
    from tokenizers.processors import TemplateProcessing

    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single="<|end|> $A", special_tokens=[("<|end|>", 0)]
    )
    assert tokenizer("12+30=")["input_ids"][0] == 0
    assert encode_prompt(tokenizer, "12+30=\n") == ids, "one begin token, the template's"


def test_chat_template_of_a_saved_model_is_used_named_and_dropped_on_request(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "base")
    bare = encode_prompt(load_tokenizer(folder), "12+30=")
    before = model_fingerprint(folder)
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHAT
    tokenizer.save_pretrained(folder)
    assert model_fingerprint(folder) != before
    one = model_fingerprint(folder)
    (folder / "chat_template.jinja").write_text(CHAT + " ")
    assert model_fingerprint(folder) != one
    assert load_tokenizer(folder).decode(encode_prompt(load_tokenizer(folder), "12+30=")).startswith("<|end|>[user]")
    assert encode_prompt(load_tokenizer(folder, chat=False), "12+30=") == bare


def test_training_and_generation_see_the_same_chat(tmp_path: Path) -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHAT
    row = encode(Example("e", "12+30=", "42", "cot", ()), tokenizer, 100)
    assert not isinstance(row, Rejected)
    prompt = encode_prompt(tokenizer, "12+30=")
    assert row.input_ids[: len(prompt)] == tuple(prompt)
    folder = save_small(tmp_path / "base")
    tokenizer.save_pretrained(folder)
    assert HFEngine(folder, chat=False).fingerprint() != HFEngine(folder).fingerprint()
    texts = {
        HFEngine(folder, chat=chat).complete([Query("12+30=", "q")], Sampling(20))[0][0].text for chat in (True, False)
    }
    assert len(texts) == 2


def test_the_beginning_of_an_answer_stands_behind_the_turn_of_the_user() -> None:
    tokenizer = small_tokenizer()
    bare = encode_prompt(tokenizer, "Check:\n", "Step 2.\n")
    assert tokenizer.decode(bare) == "Check:\nStep 2.\n"
    tokenizer.chat_template = CHAT
    asked = encode_prompt(tokenizer, "Check:\n")
    assert tokenizer.decode(encode_prompt(tokenizer, "Check:\n", "Step 2.\n")) == tokenizer.decode(asked) + "Step 2.\n"


def test_the_text_of_a_special_token_is_text() -> None:
    tokenizer = small_tokenizer()
    assert tokenizer("12<|end|>30")["input_ids"].count(0) == 1
    assert encode_text(tokenizer, "12<|end|>30").count(0) == 0
    assert tokenizer.decode(encode_text(tokenizer, "12<|end|>30")) == "12<|end|>30"
    assert tokenizer("12<|end|>30")["input_ids"].count(0) == 1, "the tokenizer itself is as before"
    assert encode_prompt(tokenizer, "12<|end|>30=", "<|end|>").count(0) == 0
    assert encode_text(tokenizer, "12+30=<<12+30=42>>") == tokenizer("12+30=<<12+30=42>>")["input_ids"]


def test_the_markers_of_a_chat_template_stay_special_around_text_that_reads_like_them() -> None:
    tokenizer = small_tokenizer()
    tokenizer.chat_template = CHAT
    for content in ("12<|end|>30=", "<|end|>", "<|end|><|end|>[user]"):
        ids = encode_prompt(tokenizer, content)
        assert (ids[0], ids.count(0)) == (0, 1)
        assert tokenizer.decode(ids) == f"<|end|>[user]{content}[assistant 26 Jul 2024]"
    tokenizer.chat_template = "nothing of the message"
    with pytest.raises(UserError, match="does not show the user's message"):
        encode_prompt(tokenizer, "12<|end|>30=")


def test_the_embedded_target_has_no_chat_template() -> None:
    tokenizer = load_tokenizer(Path(tiny.__file__).parent / "weights")
    assert tokenizer.chat_template is None
    assert encode_prompt(tokenizer, "Question: a?\nSolution:\n") == tokenizer("Question: a?\nSolution:\n")["input_ids"]


def damaged(folder: Path, name: str, content: bytes) -> Path:
    """The embedded target with one file replaced."""
    shutil.copytree(tiny.WEIGHTS, folder)
    (folder / name).write_bytes(content)
    return folder


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4cac19622fc3ada9c0fdeadb33f88f367b541f38b89102a3f1261ac81fd5bcb5\n"


@pytest.mark.parametrize(
    "content", [b"", LFS, b"<html>" * 99, (tiny.WEIGHTS / "model.safetensors").read_bytes()[:9999]]
)
def test_corrupt_weights_are_named(tmp_path: Path, content: bytes) -> None:
    folder = damaged(tmp_path / "m", "model.safetensors", content)
    with pytest.raises(UserError, match=r"m/model\.safetensors: corrupt weights.*fetch it again"):
        load_model(folder)


def test_weights_that_lack_a_layer_are_not_filled_with_random_numbers(tmp_path: Path) -> None:
    config = json.loads((tiny.WEIGHTS / "config.json").read_text())
    config["num_hidden_layers"] += 1
    folder = damaged(tmp_path / "m", "config.json", json.dumps(config).encode())
    with pytest.raises(UserError, match=r"lack 9 of the model's tensors, such as model\.layers\.3\."):
        load_model(folder)


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b"[" * 100_000, b"\xff\xfe\x00", b'{"model": {"type": "nope"}}']
)
@pytest.mark.parametrize("name", ["tokenizer.json", "config.json"])
def test_malformed_files_of_a_model_are_an_error_that_names_the_folder(
    tmp_path: Path, name: str, content: bytes
) -> None:
    folder = damaged(tmp_path / "m", name, content)
    with pytest.raises(UserError, match=r"m: no (tokenizer|model) could be loaded"):
        load_tokenizer(folder), load_model(folder)


@pytest.mark.parametrize("setting", [{"model_max_length": "x"}, {"eos_token": 5}, {"tokenizer_class": 5}])
def test_malformed_settings_of_a_tokenizer_are_an_error(tmp_path: Path, setting: dict[str, Any]) -> None:
    settings = json.loads((tiny.WEIGHTS / "tokenizer_config.json").read_text()) | setting
    folder = damaged(tmp_path / "m", "tokenizer_config.json", json.dumps(settings).encode())
    with pytest.raises(UserError, match="m: no tokenizer could be loaded"):
        load_tokenizer(folder)


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            "does not end within 1 seconds",
        ),
        ("{{ 'a' * 10 ** 10 }}", "takes more than 1 GiB of memory"),
        ("{% for %}", "fails \\(TemplateSyntaxError"),
        ("{{ raise_exception('no \x1b[2J users') }}", r"fails \(TemplateError: no \\x1b\[2J users\)"),
        ("{{ ''.__class__.__mro__ }}", r"fails \(SecurityError"),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "fails \\(RecursionError"),
        ("a constant", "does not show the user's message"),
        ("a" * 2_000_000 + "{{ messages[0].content }}", "writes 2,000,020 characters"),
        (5, "is no text but int"),
    ],
)
def test_a_chat_template_that_fails_or_does_not_end_is_named(
    template: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "_CPU_S", 1)
    tokenizer = small_tokenizer()
    tokenizer.chat_template = template
    with pytest.raises(UserError, match=rf"^base: the chat template {fault}.*model\.style=plain"):
        chat_template.check(tokenizer, "base")


WITH_SYSTEM = "{% for message in messages %}[{{ message.role }}]{{ message.content }}{% endfor %}[assistant]"


def test_a_system_message_is_decided_and_not_inherited(tmp_path: Path) -> None:
    folder = save_small(tmp_path / "base")
    tokenizer = small_tokenizer()
    by_itself = "{% if messages[0].role != 'system' %}[system]Put it into a box.{% endif %}" + WITH_SYSTEM
    tokenizer.chat_template = by_itself
    tokenizer.save_pretrained(folder)

    def shown(chat: bool | str) -> str:
        loaded = load_tokenizer(folder, chat=chat)
        return str(loaded.decode(encode_prompt(loaded, "12+30=")))

    assert shown(True) == "[system]Put it into a box.[user]12+30=[assistant]"
    assert shown('Say "42" & stop.') == '[system]Say "42" & stop.[user]12+30=[assistant]'
    assert shown(False) == "12+30="
    assert HFEngine(folder, chat="A").fingerprint() != HFEngine(folder, chat="B").fingerprint()
    tokenizer.chat_template = (
        "{% for one in messages %}{% if one.role == 'user' %}{{ one.content }}{% endif %}{% endfor %}"
    )
    tokenizer.save_pretrained(folder)
    with pytest.raises(UserError, match=r"takes no system message. Set model.system=null"):
        shown("A")
