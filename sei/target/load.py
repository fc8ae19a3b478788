"""Load the target: tokenizer, weights, quantization and adapter.

Place in the flow: `target.hf` loads through here to generate, `training.run` to train. Whether it fits is asked before, by
`sei.fit`. Weights and adapters are read from safetensors only, and code that comes with a model is never run.

Example::

    model = load_model("runs/base", dtype="bfloat16", quantization="nf4")
    model = load_adapter(model, Path("runs/adapter"), trainable=False)
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import sys
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from sei.errors import UserError
from sei.target import chat_template

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
Quantization = Literal["none", "nf4"]
Chat = bool | str  # whether prompts go into the chat template; a text: with this as the system message
Attention = Literal["eager", "sdpa", "flash_attention_2", "flex_attention"]

# When imported (by peft), it warns that an optional CPU kernel is missing.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)


# ---------------------------------------------------------------------------------------------------------------- load


def quiet_libraries() -> None:
    """No progress bars in log files."""
    from transformers.utils import logging as transformers_logging

    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()


def load_tokenizer(model: str | Path, *, revision: str | None = None, chat: Chat = True) -> PreTrainedTokenizerBase:
    """The tokenizer of a local folder or hub name. `chat` False drops its chat template, so that prompts stay bare; a text is the
    system message in it.

    Raises UserError if it cannot be loaded, has no end token, or has a chat template that fails, does not end, or takes no system
    message.
    """
    from transformers import AutoTokenizer

    with _explained("tokenizer", model):
        tokenizer = AutoTokenizer.from_pretrained(str(model), revision=revision or "main", trust_remote_code=False)
        end = tokenizer.eos_token_id
        tokenizer("1 + 1 = 2")
    if end is None:
        raise UserError(f"{model}: the tokenizer has no end token (eos_token). Generation would never stop: set one.")
    if chat is False:
        tokenizer.chat_template = None
    elif tokenizer.chat_template is not None:
        chat_template.check(tokenizer, model)
        if isinstance(chat, str):
            _set_system(tokenizer, model, chat)
    return tokenizer


def chat_of(style: str, system: str | None) -> Chat:
    """How prompts of this style go into the chat template: plain ones stay bare, others with the system message, if any."""
    return False if style == "plain" else system or True


def _set_system(tokenizer: PreTrainedTokenizerBase, model: str | Path, text: str) -> None:
    """Have the chat template begin every conversation with this system message, whatever it wrote by itself."""
    before = "{%- set messages = [{'role': 'system', 'content': " + json.dumps(text) + "}] + messages -%}"
    tokenizer.chat_template = before + str(tokenizer.chat_template)
    try:
        shown = str(tokenizer.apply_chat_template([{"role": "user", "content": _STAND_IN}], tokenize=False))
    except Exception as error:  # a template may refuse anything, in ways of its own
        shown = ""
        cause: Exception | None = error
    else:
        cause = None
    if text.strip() not in shown:
        raise UserError(
            f"model.system={text!r}: the chat template of {model} takes no system message. Set model.system=null."
        ) from cause


def load_model(
    model: str | Path,
    *,
    revision: str | None = None,
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    attention: Attention | None = None,
    device: str = "cpu",
    place: str | None = None,
) -> PreTrainedModel:
    """The causal language model of a local folder or hub name, in evaluation mode, on `device`.

    `nf4` quantizes while loading: NF4 with double quantization, computing in bfloat16 on a GPU and in float32 on a CPU.
    `attention` None takes eager on a CPU, and transformers' choice on a GPU; training has an attention of its own. `place` is
    where the weights lie for now, if not on the `device` that will compute with them: `cpu`, or `meta` for the model's
    structure without weights. Raises UserError if the weights cannot be loaded.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, BitsAndBytesConfig

    quiet_libraries()
    options: dict[str, Any] = {}
    on_gpu = torch.device(device).type == "cuda"
    if attention is not None or not on_gpu:
        options["attn_implementation"] = attention or "eager"
    if place == "meta":
        with _explained("model", model), torch.device("meta"):
            config = AutoConfig.from_pretrained(str(model), revision=revision or "main", trust_remote_code=False)
            empty: PreTrainedModel = AutoModelForCausalLM.from_config(config, **options)
        return empty.eval()
    if on_gpu and place is None:
        options["device_map"] = {"": device}  # straight there: processes of one machine hold no copies in main memory
    if quantization == "nf4":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16 if on_gpu else torch.float32,
        )
        options["device_map"] = {"": device}
    with _explained("model", model):
        found: Any = AutoModelForCausalLM.from_pretrained(
            str(model),
            revision=revision or "main",
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            **options,
        )
    loaded: PreTrainedModel = found[0]
    if missing := sorted(found[1]["missing_keys"]):
        raise UserError(
            f"{model}: the weights lack {len(missing)} of the model's tensors, such as {missing[0]}; random numbers would "
            "stand in for them. Fetch the model again, or mend its config.json."
        )
    if quantization == "none":
        loaded.to(place or device)  # type: ignore[arg-type]
    return loaded.eval()


def load_adapter(model: PreTrainedModel, path: str | Path, *, trainable: bool = False) -> PeftModel:
    """`model` with the PEFT adapter of folder `path`. Raises UserError if there is none or it does not fit."""
    from peft import PeftModel

    path = Path(path)
    _check_adapter_fits(model, path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT still calls what transformers has deprecated
            tuned = PeftModel.from_pretrained(model, str(path), is_trainable=trainable, use_safetensors=True)
    except Exception as error:
        raise UserError(f"{path}: the adapter does not fit the model {_describe(model)}: {_brief(error)}") from error
    found = sum(".lora_A." in name for name, _ in tuned.named_parameters())
    saved = sum(".lora_A." in name for name in _adapter_shapes(path))
    if found != saved:
        raise UserError(
            f"{path}: the adapter does not fit the model {_describe(model)}: it holds {saved} LoRA matrices, the "
            f"model takes {found}. Use the adapter with the model it was trained on ({_base_of(path)})."
        )
    return tuned


def load_target(
    model: str | Path,
    adapter: str | Path | None = None,
    *,
    revision: str | None = None,
    dtype: Dtype = "auto",
    quantization: Quantization = "none",
    attention: Attention | None = None,
    device: str = "cpu",
) -> PreTrainedModel:
    """The target as it generates: the model with its adapter.

    `adapter` may also be a folder with a whole fine-tuned model (method=full), which then takes the model's place.
    An adapter is merged into unquantized float32 weights in memory, which makes generation faster and costs next to no
    precision; beside other weights it stays separate.
    """
    import torch

    if adapter is not None and is_whole_model(Path(adapter)):
        model, adapter, revision = adapter, None, None
    base = load_model(
        model, revision=revision, dtype=dtype, quantization=quantization, attention=attention, device=device
    )
    if adapter is None:
        return base
    tuned = load_adapter(base, adapter)
    if quantization == "none" and base.dtype == torch.float32:
        return tuned.merge_and_unload().eval()
    return cast("PreTrainedModel", tuned.eval())


def is_whole_model(folder: Path) -> bool:
    """Whether `folder` holds a whole model and not an adapter."""
    return (folder / "config.json").is_file() and not (folder / "adapter_config.json").is_file()


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str, prefix: str = "") -> list[int]:
    """Token ids of a prompt: with the model's begin token if it has one, never with an end token.

    If the tokenizer has a chat template, the prompt goes into it as the only message of the user, up to where the
    model's answer begins (SEI, arXiv 2505.22591: the Alpaca instruction inside the chat template).
    `prefix` is the beginning of that answer, if it is given. Training and generation both encode prompts here, so the
    target sees at test time what it saw in training. The text of a special token in prompt or prefix is text.
    """
    begun = encode_answer(tokenizer, prefix, prompt) if prefix else []
    if tokenizer.chat_template is not None:
        return [*_encode_message(tokenizer, prompt.strip()), *begun]
    ids = list(tokenizer(prompt, add_special_tokens=True, **_literal(tokenizer, prompt))["input_ids"])
    if ids and ids[-1] == tokenizer.eos_token_id and tokenizer.eos_token_id != tokenizer.bos_token_id:
        ids.pop()
    return [*ids, *begun]


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Token ids of text alone; what reads like a special token in it is text too."""
    return list(tokenizer(text, add_special_tokens=False, **_literal(tokenizer, text))["input_ids"])


def encode_answer(tokenizer: PreTrainedTokenizerBase, text: str, prompt: str, prefix: str = "") -> list[int]:
    """Token ids of what an answer says behind its prompt and `prefix`: encoded together with what it stands behind, then split.

    SentencePiece puts a space before every text that it encodes, so an answer that is encoded alone would begin with one that
    no model writes at the start of a line. Behind a chat template's own marker there is one: nothing precedes it there.
    """
    before = prefix[-1:] or ("" if tokenizer.chat_template is not None else prompt[-1:])
    first = encode_text(tokenizer, before) if before else []
    both = encode_text(tokenizer, before + text)
    # What grows together with the character before it cannot be split; the prompt's tokens are what they are.
    return both[len(first) :] if both[: len(first)] == first else encode_text(tokenizer, text)


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token that the chat template writes after what the model says, None without template or where it writes none.

    It may be another than `eos_token`: base models come with a chat template whose turns end in a token of their own.
    """
    if tokenizer.chat_template is None:
        return None
    turns = [{"role": "user", "content": _STAND_IN}, {"role": "assistant", "content": _STAND_IN}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False, date_string=chat_template.DATE))
    except Exception:  # a template may refuse anything, in ways of its own
        return None
    ids = tokenizer(text.rpartition(_STAND_IN)[2].lstrip(), add_special_tokens=False)["input_ids"]
    return ids[0] if ids and ids[0] in tokenizer.added_tokens_decoder else None


_STAND_IN = "content 7f3a"  # what templates are rendered with to see what they write around a message


def _encode_message(tokenizer: PreTrainedTokenizerBase, content: str) -> list[int]:
    """Token ids of the chat template with one message of the user, up to where the answer begins."""

    def rendered(content: str) -> str:
        message = {"role": "user", "content": content}
        text = tokenizer.apply_chat_template(
            [message], tokenize=False, add_generation_prompt=True, date_string=chat_template.DATE
        )
        return str(text)

    # A template writes the begin token itself if the model needs one.
    if not _literal(tokenizer, content):
        return list(tokenizer(rendered(content), add_special_tokens=False)["input_ids"])
    # The template's own markers are special, those of the content are not: each part is encoded in its own way.
    before, found, after = rendered(_STAND_IN).partition(_STAND_IN)
    if not found:
        raise UserError("The chat template does not show the user's message; set model.style=plain to do without it.")
    parts = (before, after)
    first, last = (list(tokenizer(part, add_special_tokens=False)["input_ids"]) if part else [] for part in parts)
    return [*first, *encode_text(tokenizer, content), *last]


def _literal(tokenizer: PreTrainedTokenizerBase, text: str) -> dict[str, bool]:
    """How to call the tokenizer on a text of which nothing is a special token; {} where it reads none in it anyway."""
    marks = _special_texts(tokenizer, len(tokenizer))
    return {"split_special_tokens": True} if any(mark in text for mark in marks) else {}


@lru_cache(maxsize=4)
def _special_texts(tokenizer: PreTrainedTokenizerBase, size: int) -> tuple[str, ...]:
    """The texts of the special tokens, of which some tokenizers have hundreds. `size`: tokens can be added to a tokenizer."""
    return tuple(str(token) for token in tokenizer.added_tokens_decoder.values() if token.special)


# ---------------------------------------------------------------------------------------------------------- fingerprint


def adapter_fingerprint(path: str | Path) -> str:
    """SHA-256 of an adapter (or whole model) folder: its weights and its settings, wherever the folder is."""
    path = Path(path)
    if is_whole_model(path):
        return model_fingerprint(path)
    config = _adapter_config(path)
    # The base model's path depends on the machine, and PEFT writes lists of modules in a varying order.
    config.pop("base_model_name_or_path", None)
    settings = {name: sorted(value) if isinstance(value, list) else value for name, value in config.items()}
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode())
    _update_with_file(digest, path / "adapter_model.safetensors")
    return digest.hexdigest()


def model_fingerprint(model: str | Path, revision: str | None = None) -> str:
    """What identifies a model: SHA-256 of a local folder's weights, settings, tokenizer and chat template, else
    `name@revision`."""
    folder = Path(model)
    if not folder.is_dir():
        return f"{model}@{revision or 'main'}"
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.safetensors"), *folder.glob("*.json"), *folder.glob("*.jinja")]):
        digest.update(path.name.encode())
        _update_with_file(digest, path)
    return digest.hexdigest()


def _update_with_file(digest: hashlib._Hash, path: Path) -> None:
    try:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}).") from error


# ------------------------------------------------------------------------------------------------------- adapter checks


def _adapter_config(path: Path) -> dict[str, Any]:
    file = path / "adapter_config.json"
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: no adapter here (adapter_config.json: {error.strerror}).") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error}).") from error
    if not isinstance(config, dict):
        raise UserError(f"{file}: expected a JSON object.")
    return config


def _base_of(path: Path) -> str:
    return str(_adapter_config(path).get("base_model_name_or_path") or "unknown")


def _adapter_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of the adapter, read from the file's header."""
    from safetensors import SafetensorError, safe_open

    file = path / "adapter_model.safetensors"
    if not file.is_file():
        raise UserError(f"{path}: no adapter_model.safetensors here. Adapters are read from safetensors only.")
    try:
        with safe_open(file, framework="np") as tensors:
            return {name: tuple(tensors.get_slice(name).get_shape()) for name in tensors.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise UserError(f"{file}: not a readable safetensors file ({error}).") from error


def _check_adapter_fits(model: PreTrainedModel, path: Path) -> None:
    """Compare every LoRA matrix with the linear layer it belongs to, before PEFT touches the model."""
    _adapter_config(path)
    modules = dict(model.named_modules())
    problems = []
    for name, shape in _adapter_shapes(path).items():
        target, _, rest = name.removeprefix("base_model.model.").partition(".lora_")
        if rest not in ("A.weight", "B.weight"):
            continue
        module = modules.get(target)
        if module is None:
            problems.append(f"the model has no layer '{target}'")
            continue
        inner, outer = getattr(module, "in_features", None), getattr(module, "out_features", None)
        if rest == "A.weight" and inner is not None and shape[1] != inner:
            problems.append(f"'{target}' takes {inner} inputs, the adapter was made for {shape[1]}")
        if rest == "B.weight" and outer is not None and shape[0] != outer:
            problems.append(f"'{target}' gives {outer} outputs, the adapter was made for {shape[0]}")
    if problems:
        raise UserError(
            f"{path}: the adapter does not fit the model {_describe(model)}: {problems[0]}"
            f"{f' (and {len(problems) - 1} more)' if len(problems) > 1 else ''}. "
            f"Use it with the model it was trained on ({_base_of(path)})."
        )


def _describe(model: PreTrainedModel) -> str:
    config = model.config
    width, layers = getattr(config, "hidden_size", "?"), getattr(config, "num_hidden_layers", "?")
    return f"'{config._name_or_path or config.model_type}' (width {width}, {layers} layers)"


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return " ".join(lines[:2])[:400]


@contextlib.contextmanager
def _explained(what: str, model: str | Path) -> Iterator[None]:
    """Turn whatever a library raises for files that are not what they should be into a message, which names them."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # a panic of the tokenizers library is no Exception
        raise _corrupt(Path(model)) or _unreachable(what, model, error) from error


def _corrupt(folder: Path) -> UserError | None:
    """The error that names a file of weights that is none, where a local folder holds one."""
    from safetensors import SafetensorError, safe_open

    for file in sorted(folder.glob("*.safetensors")) if folder.is_dir() else ():
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            return UserError(
                f"{file}: corrupt weights, not a readable safetensors file ({_brief(error)}). It may be an incomplete download "
                "or a pointer of Git LFS: fetch it again."
            )
    return None


def _unreachable(what: str, model: str | Path, error: BaseException) -> UserError:
    kind = "" if isinstance(error, OSError | ValueError) else f"{type(error).__name__}: "
    return UserError(
        f"{model}: no {what} could be loaded: {kind}{_brief(error)}\n"
        "Give a folder with config.json and safetensors weights, or a hub name that this machine can reach "
        "(set HF_TOKEN for gated models)."
    )
