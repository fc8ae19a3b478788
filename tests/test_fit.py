"""What fits: shapes, memory and disk by hand, and refusals with the nearest setting that does."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sei import fit
from sei.config import Config
from sei.errors import UserError
from sei.gpu_hours import RATES, generation_hours, training_hours
from sei.plan import what_is_missing
from sei.recipes.work import Generated, Trained
from sei.target import hub
from sei.target.hub import missing_weights
from sei.target.machine import GIB, Memory
from sei.target.shape import Shape, shape_of
from sei.training import liger
from sei.training.memory import Setting, micro_batch, training_memory
from sei.training.settings import Hyperparameters, Trainer
from tests.target.small import small_model
from tests.test_config import composed, options

CPU, A24, A80 = Memory((), 24.0), Memory((24.0,), 64.0), Memory((80.0,), 256.0)
TWO = Shape(layers=2, hidden=8, intermediate=16, heads=2, kv_heads=1, vocabulary=100)


@pytest.mark.parametrize("model", options("model"))
def test_the_shape_of_a_preset_has_the_parameters_of_its_card(model: str) -> None:
    config = composed(f"model={model}").model
    found = shape_of(config.path, config.shape, config.parameters_billion).parameters / 1e9
    assert found == pytest.approx(config.parameters_billion, rel=0.01)
    assert config.shape is not None or Path(config.path).is_dir()


def test_weights_are_counted_by_hand() -> None:
    # q and o 8x8, k and v 8x4, three of 8x16: 576 a block; embedding and output 100x8 each, five norms of 8.
    assert TWO.block_parameters == 2 * 576
    assert TWO.parameters == 2 * 576 + 1600 + 40
    assert TWO.adapter_parameters(4, ("q_proj", "down_proj")) == 2 * 4 * ((8 + 8) + (16 + 8))
    assert TWO.cache_width == 2 * 2 * 4


def test_training_memory_by_hand() -> None:
    phase = Hyperparameters(learning_rate=1, batch_examples=2, max_tokens=16, rank=4, target_modules=("q_proj",))
    parts = training_memory(TWO, phase, Setting(dtype_bytes=2, mixed=True, gpu=True))
    assert parts["weights"] == TWO.parameters * 2
    assert parts["trained"] == 2 * 4 * 16 * 20
    # a token and layer: norms 2*8*4; a sum for each head 2*4; of 2 bytes q and the result 2*8, k and v 2*4, two gates and their
    # product 3*16, q's input 8, the adapter's 4
    assert parts["activations"] == 2 * 32 * (64 + 8 + 2 * (16 + 8 + 48 + 8 + 4))
    assert parts["logits or one layer's backward"] == 32 * 100 * 16
    quantized = training_memory(TWO, phase, Setting(quantization="nf4"))
    assert quantized["weights"] == pytest.approx(2 * 576 * 4.127 / 8 + (1600 + 40) * 4), "the rest is made fp32"


@pytest.mark.parametrize(
    ("settings", "tokens"),
    [
        ({"batch_examples": 1}, 512),
        ({"batch_examples": 96}, 4096),  # 8 * max_tokens
        ({"batch_examples": 96, "micro_tokens": 1000}, 1000),
        ({"batch_examples": 96, "micro_tokens": 100}, 512),  # a longer row is a micro-batch of its own
        ({"batch_examples": 96, "accumulation": 4}, 96 * 512 // 4),
        ({"batch_tokens": 2048}, 2048),
    ],
)
def test_the_largest_micro_batch(settings: dict[str, int], tokens: int) -> None:
    assert micro_batch(Hyperparameters(learning_rate=1, max_tokens=512, **settings), 1) == tokens  # type: ignore[arg-type]


def test_a_local_folder_says_its_shape_itself(tmp_path: Path) -> None:
    file = tmp_path / "config.json"
    file.write_text(
        json.dumps(
            {
                "num_hidden_layers": 3, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4,
                "vocab_size": 300, "tie_word_embeddings": True,
            }
        )
    )  # fmt: skip
    assert shape_of(str(tmp_path), TWO, 70) == Shape(3, 64, 128, 4, 4, 300, tied=True)
    file.write_text("{")
    with pytest.raises(UserError, match="not JSON"):
        shape_of(str(tmp_path), TWO, 70)
    assert shape_of("owner/unknown", None, 6.74).parameters / 1e9 == pytest.approx(6.74, rel=0.15)


def test_what_does_not_fit_is_refused_with_the_nearest_setting_that_does() -> None:
    full = composed("model=llama2-7b", "recipe=supercorrect")
    said = fit.complaint(full, A80)
    assert "recipe.training (method=full) needs about" in said
    assert "GPUs found: 80 GiB" in said
    assert "recipe.training.method=lora recipe.preference.method=lora" in said
    assert "model=tiny" not in said
    adapter = composed("model=llama3-8b-instruct", "recipe=cot", "recipe.training.gradient_checkpointing=false")
    words, most = fit.fitting(adapter, A24) or ((), 0.0)
    assert words
    assert most <= 24 < fit.needs(adapter, A24).most
    named = composed("model=llama3-8b-instruct", "recipe=cot", *words)
    assert fit.complaint(named, A24) == "", "what was named fits"
    assert (fit.fitting(named, A24) or (("none",), 0.0))[0] == (), "what fits is left as it is"
    assert fit.complaint(composed("model=llama2-70b", "recipe=sei"), A80) == ""


def test_of_several_settings_that_fit_one_that_changes_no_result_is_named() -> None:
    config = composed("model=llama3-8b-instruct", "recipe=cot", "recipe.training.gradient_checkpointing=false")
    assert fit.needs(config, A80).most > 80
    words, _ = fit.fitting(config, A80)  # type: ignore[misc]
    assert words == ("recipe.training.micro_tokens=1536",)
    assert "model.quantization=nf4" in fit.fitting(config, Memory((16.0,), 64.0))[0]  # type: ignore[index]


def test_a_cpu_is_for_small_models_and_says_so() -> None:
    said = fit.complaint(composed("model=llama2-70b", "recipe=sei"), CPU)
    assert "GPUs found: none; main memory: 24 GiB" in said
    assert "No setting of this model fits this machine; with the least demanding settings about" in said
    assert fit.complaint(composed(), CPU) == ""
    assert fit.complaint(composed("model=smollm2-135m-instruct", "recipe=sei"), CPU) == ""
    few = fit.complaint(composed("model=smollm2-135m-instruct", "recipe=supercorrect"), Memory((), 4.0))
    assert "of main memory" in few


def test_disk_for_kept_adapters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = composed("model=llama2-7b", "recipe=cot", f"cache_dir={tmp_path}/not/there/yet")
    trained = 159_907_840 * 4 / GIB  # LoRA r 64 on all linear layers
    parts = fit.disk(config, downloaded=False)
    assert parts["recipe.training: result and 20 kept on the way"] == pytest.approx(trained * 41)
    assert parts["recipe.training: checkpoints"] == pytest.approx(trained * 6)
    assert parts["download of the weights (16 bits)"] == pytest.approx(6.738 * 2e9 / GIB, rel=0.001)
    monkeypatch.setattr(fit, "free_disk", lambda _: 3.0)
    assert "disk: the run writes about 28 GiB" in fit.disk_complaint(config)
    assert "recipe.training.keep_every=2000" in fit.disk_complaint(config)
    monkeypatch.setattr(fit, "free_disk", lambda _: 300.0)
    assert fit.disk_complaint(config) == ""


def test_an_optimizer_that_pages_a_gpu_is_refused_where_none_trains() -> None:
    config = composed("model=smollm2-135m-instruct", "recipe=cot")
    assert "add recipe.training.optimizer=adamw" in " ".join(fit.optimizer_complaints(config, CPU))
    assert not list(fit.optimizer_complaints(config, A24))
    assert not list(fit.optimizer_complaints(composed("recipe=cot"), CPU))


@pytest.mark.parametrize("strategy", ["fsdp", "deepspeed_stage_3", "model_parallel", "ddp_spawn"])
def test_strategies_that_were_never_tried_are_refused(strategy: str) -> None:
    with pytest.raises(UserError, match=rf"trainer.strategy={strategy}: .*trainer=ddp gives .* trainer=fsdp2 spreads"):
        composed(f"trainer.strategy={strategy}")


def test_what_cannot_be_spread_over_devices_is_refused_with_what_can() -> None:
    large = ("model=llama2-7b", "recipe=correction", "trainer=fsdp2")
    with pytest.raises(UserError, match=r"Set model.quantization=none, or trainer=ddp") as refused:
        composed(*large)
    assert "Set recipe.training.optimizer=adamw" in str(refused.value)
    named = ("model.quantization=none", "recipe.training.optimizer=adamw")
    assert composed(*large, *named).trainer.sharded
    assert not composed("trainer=ddp", *large[:2]).trainer.sharded
    with pytest.raises(
        UserError, match=r"trainer.precision=16-mixed: .*Choose trainer.precision=bf16-mixed or 32-true"
    ):
        composed("trainer=fsdp2", "trainer.precision=16-mixed")


def test_devices_that_share_a_model_hold_a_share_each_by_hand() -> None:
    four = Memory((80.0,) * 4, 512.0)
    full = composed("model=llama2-7b", "recipe=supercorrect", "trainer=fsdp2")
    parts, apart = (
        fit.needs(one, four).phases["recipe.training"]
        for one in (full, composed("model=llama2-7b", "recipe=supercorrect"))
    )
    for part in ("weights", "trained"):
        assert parts[part] == pytest.approx(apart[part] / 4), part
    assert parts["activations"] == apart["activations"]
    # 2 layers of 202 million weights, embedding and output matrix of 131 million each and 65 norms of 4,096 numbers, with 2
    # bytes; the gradient of the larger part of them
    layer, other = 4 * 4096**2 + 3 * 4096 * 11008, 2 * 32000 * 4096 + 65 * 4096
    assert parts["whole layers"] == pytest.approx((2 * layer + other + max(layer, other)) * 2 * 1.05 / GIB)
    assert fit.complaint(full, four) == ""
    assert "reads all weights into main memory first, about 25 GiB" in fit.complaint(full, Memory((80.0,) * 4, 16.0))


def test_several_devices_are_told_to_share_what_does_not_fit_on_one() -> None:
    full = composed("model=llama2-7b", "recipe=supercorrect")
    words, _ = fit.fitting(full, Memory((80.0,) * 4, 512.0))  # type: ignore[misc]
    assert words == ("trainer.strategy=fsdp2",)
    assert "trainer.strategy=fsdp2" not in " ".join(fit.fitting(full, A80)[0])  # type: ignore[index]


def test_two_processes_on_a_processor_share_its_memory() -> None:
    one, two = composed("recipe=cot"), composed("recipe=cot", "trainer=ddp", "trainer.devices=2")
    assert fit.found(two, CPU) == fit.found(one, CPU) / 2 == 12


def test_devices_that_are_not_there_and_copies_of_the_command_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_STEP_NUM_TASKS", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert list(fit.device_complaints(composed(), CPU)) == []
    assert list(fit.device_complaints(composed("trainer=ddp", "trainer.devices=2"), CPU)) == []
    assert list(fit.device_complaints(composed("trainer=gpu"), A24)) == []
    [said] = fit.device_complaints(composed("trainer=gpu"), CPU)
    assert said == "trainer.accelerator=gpu: there is no GPU here. With trainer=cpu the processor trains."
    [said] = fit.device_complaints(composed("trainer=ddp", "trainer.devices=4"), A24)
    assert said.endswith("Set trainer.devices=1, or auto for all.")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    assert list(fit.device_complaints(composed(), CPU)) == []
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "2")
    [said] = fit.device_complaints(composed(), CPU)
    assert "srun has started this command 2 times" in said
    assert "--ntasks=1 --gpus=2" in said


def test_several_nodes_train_in_a_slurm_job_of_so_many_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SLURM_JOB_NUM_NODES", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(name, raising=False)
    two = composed("trainer=ddp", "trainer.devices=1", "trainer.nodes=2")
    [said] = fit.device_complaints(two, CPU)
    assert said.startswith(
        "trainer.nodes=2: this is no Slurm job. Submit the run with so many (hydra/launcher=slurm_two_nodes"
    )
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "3")
    [said] = fit.device_complaints(two, CPU)
    assert "this Slurm job has 3 nodes" in said
    assert said.endswith("or set trainer.nodes=3.")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "2")
    assert list(fit.device_complaints(two, CPU)) == []


def test_a_model_is_shared_by_the_devices_of_all_nodes() -> None:
    one = composed("model=llama2-7b", "recipe=supercorrect", "trainer=fsdp2", "trainer.devices=2")
    two = composed("model=llama2-7b", "recipe=supercorrect", "trainer=fsdp2", "trainer.devices=2", "trainer.nodes=2")
    four = composed("model=llama2-7b", "recipe=supercorrect", "trainer=fsdp2", "trainer.devices=4")
    memory = Memory((80.0,) * 4, 512.0)
    assert fit.needs(two, memory).most == fit.needs(four, memory).most < fit.needs(one, memory).most


def test_quantized_weights_are_not_all_trained() -> None:
    assert composed("model=llama2-7b", "recipe=supercorrect").model.quantization == "none"
    assert composed("model=llama2-7b", "recipe=sei").model.quantization == "nf4"
    with pytest.raises(UserError, match=r"recipe.preference.method=full trains them all. Set model.quantization=none"):
        composed("model=llama2-7b", "recipe=supercorrect", "model.quantization=nf4")


def test_gpu_hours_by_hand() -> None:
    phase = Hyperparameters(learning_rate=1, method="full")
    assert training_hours(TWO, Trained("k", 10**9, phase)) == pytest.approx(10**9 * 6 * 2792 / (312e12 * 0.35) / 3600)
    work = Generated("s", completions=512, tokens_in=100, tokens_out=50)
    reading = 512 * 100 * 2 * 2792 / (312e12 * 0.5)
    writing = 2 * 50 * (2792 * 2 + 256 * 125 * 16 * 2) / 2.039e12 / 0.4
    assert generation_hours(TWO, work, RATES[0]) == pytest.approx((reading + writing) / 3600)


# Weights


def test_pickled_weights_are_named_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model-00001-of-00002.bin").write_bytes(b"")
    said = missing_weights(str(tmp_path), None, gated=False)
    assert "pickles only, which are never loaded" in said
    assert "model.revision=refs/pr/NUMBER" in said
    config = composed("model=smollm2-135m-instruct", "recipe=sei", f"model.path={tmp_path}", "teacher=symbolic")
    assert any("pickles only" in one for one in what_is_missing(config, ask=False))
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert missing_weights(str(tmp_path), None, gated=False) == ""
    assert "no such folder" in missing_weights(str(tmp_path / "absent"), None, gated=False)


class Hub(BaseHTTPRequestHandler):
    """The hub's list of files: pickles on main, a conversion in the second pull request."""

    files: ClassVar[dict[str, list[str]]] = {
        "main": ["config.json", "pytorch_model.bin"],
        "refs/pr/1": ["config.json", "pytorch_model.bin", "README.md"],
        "refs/pr/2": ["config.json", "model.safetensors"],
    }

    def do_GET(self) -> None:
        path = self.path.replace("%2F", "/").partition("?")[0].removeprefix("/api/models/some/model")
        if path == "/refs":
            requests = [{"name": name[5:], "ref": name, "targetCommit": "0"} for name in list(self.files)[1:]]
            answer: dict[str, object] = {"branches": [], "converts": [], "tags": [], "pullRequests": requests}
        else:
            names = self.files[path.removeprefix("/revision/") or "main"]
            answer = {"id": "some/model", "siblings": [{"rfilename": name} for name in names]}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None: ...


@pytest.fixture
def hub_address() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def asked(address: str, tmp_path: Path, revision: str | None) -> str:
    """What the client says that reads the hub's address when it is imported."""
    code = (
        f"from sei.target.hub import missing_weights as m; print(m('some/model', {revision!r}, gated=False, ask=True))"
    )
    environment = {"HF_ENDPOINT": address, "HF_HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    return done.stdout.strip()


def test_the_revision_that_has_safetensors_is_named(hub_address: str, tmp_path: Path) -> None:
    said = asked(hub_address, tmp_path, None)
    assert said.endswith("Its revision refs/pr/2 has safetensors: add model.revision=refs/pr/2.")
    assert asked(hub_address, tmp_path, "refs/pr/2") == ""


def test_a_hub_that_does_not_answer_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "the hub cannot be reached" in asked("http://127.0.0.1:9", tmp_path, None)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    assert not hub.hub_answers()
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    assert not hub.hub_answers(), "nor does the proxy"


def test_a_hub_that_answers_at_all_answers(hub_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("HF_ENDPOINT", hub_address)
    assert hub.hub_answers()


def test_the_check_needs_no_heavy_library() -> None:
    code = (
        "import sys; from sei import fit; from sei.target.machine import found_memory; found_memory(); "
        "heavy = {'torch', 'transformers', 'peft', 'faiss'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_ligers_kernels_are_refused_where_they_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "here a CPU trains" in liger.complaint(on_gpu=False)
    monkeypatch.setattr(liger, "find_spec", lambda name: None)
    assert '-e ".[liger]"' in liger.complaint(on_gpu=True)
    monkeypatch.setattr(liger, "find_spec", lambda name: object())
    assert liger.complaint(on_gpu=True) == ""
    with pytest.raises(UserError, match="here a CPU trains"):
        liger.apply(small_model())
    on, off = (Trainer(liger=liger_on).fingerprint() for liger_on in (True, False))
    assert on != off


SOURCE = "recipe=correction", "model=llama2-7b"


def sources(*keys: str) -> Config:
    """A run whose mistakes also come from another model, with these keys."""
    return composed(*SOURCE, f"recipe.mistake_sources=[{{kind: target}}, {{kind: hf, {', '.join(keys)}}}]")


def test_another_model_that_makes_attempts_is_held_against_the_memory_too() -> None:
    a100 = Memory((79.6,), 500.0)
    [said] = fit.source_complaints(sources("path: owner/model"), a100)
    assert "recipe.mistake_sources[1]: owner/model is not on this machine. Add parameters_billion" in said
    [said] = fit.source_complaints(sources("path: owner/model", "parameters_billion: 69"), a100)
    assert "recipe.mistake_sources[1]: owner/model needs about" in said
    assert said.endswith("Add quantization: nf4 to this source of attempts, or take a smaller model.")
    fits = sources("path: owner/model", "parameters_billion: 69", "quantization: nf4")
    assert list(fit.source_complaints(fits, a100)) == []
    weights = {key: parts["weights"] for key, parts in fit.source_needs(fits, a100).items() if parts}
    assert 30 < weights["recipe.mistake_sources[1]"] < 45, "4 bits a weight, and 16 for the embedding"


def test_another_model_s_weights_are_looked_at_before_the_run(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    (tmp_path / "config.json").write_text("{}")
    found = list(what_is_missing(sources(f"path: {tmp_path}", "parameters_billion: 0.1"), ask=False))
    [said] = [one for one in found if one.startswith("weights: recipe.mistake_sources[1]")]
    assert f"{tmp_path} has its weights as pickles only" in said
    assert "name it with recipe.mistake_sources[1].revision=refs/pr/NUMBER" in said


def test_another_model_is_loaded_in_its_own_way(tmp_path: Path) -> None:
    from sei.lab import Lab
    from sei.tracking.display import Display
    from sei.workspace import Workspace

    config = sources(f"path: {tmp_path}", "dtype: float16", "quantization: nf4", "revision: abc")
    assert config.model.quantization == "nf4", "the target's own, by its preset"
    with Lab(config, Workspace(tmp_path / "run", tmp_path / "cache"), Display()) as lab:
        for source, expected in zip(config.recipe.mistake_sources, (config.model.path, str(tmp_path)), strict=True):  # type: ignore[attr-defined]
            weights = source.engine(lab, None).weights
            assert weights.path == expected
        assert (weights.dtype, weights.quantization, weights.revision, weights.chat) == ("float16", "nf4", "abc", True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["recipe=correction", "teacher=gpt-4"], r"teacher 'gpt-4' is no longer served \(shut down on 2026-10-23"),
        (
            ["recipe=cot", "recipe.path_sources=[{kind: api, model: gpt-3.5-turbo}]"],
            "source of attempts 'gpt-3.5-turbo' is no",
        ),
        (
            ["recipe=supercorrect", "teacher=gpt-4o", "recipe.templates.inspector_model=o1-preview"],
            "teacher 'o1-preview' is no longer served",
        ),
    ],
)
def test_what_is_no_longer_served_is_refused_before_anything_is_spent(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    config = composed("model=llama2-7b", *words)
    with pytest.raises(UserError, match=said):
        config.recipe.check(config)


def test_a_server_of_ones_own_may_still_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-test")
    config = composed(
        "model=llama2-7b", "recipe=correction", "teacher=gpt-4", "teacher.base_url=https://example.org/v1"
    )
    config.recipe.check(config)
