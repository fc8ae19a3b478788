"""Shrunken models: architecture, kind of tokenizer and chat template of a real target, at a width that trains at once.

Place in the flow: a rehearsal (`sei.rehearsal`) and the tests of the target take such a model in the place of one that is too
large for this machine. The weights are random, and the vocabulary is trained on the texts that are handed in; everything that
goes wrong between a model and its tokens goes wrong here too: begin tokens, the end of a turn, a space before a word, tied
embeddings, biases, normed queries. The templates are written by us, in the form that each family's model card describes.

Example::

    save_shrunken(Path("runs/small-qwen"), "qwen2", texts)          # an ordinary folder: config, tokenizer, safetensors
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

Family = Literal["llama", "llama3", "mistral", "qwen2", "qwen2_base", "qwen3", "deepseek", "smollm2"]
FAMILIES: tuple[Family, ...] = get_args(Family)

# LoRA and NF4 work on matrices of this width as they do on wide ones; a step takes milliseconds.
SIZES = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}
_VOCABULARY = 640  # tokens at most: 256 bytes, special ones, and what the texts have most


@dataclass(frozen=True)
class _Kind:
    """What a family has that others have not. `begin` goes before every text that is encoded with special tokens."""

    config: str  # transformers' class of its settings
    sentencepiece: bool  # words carry their space before them, and rare characters are bytes; else byte-level BPE
    end: str  # the tokenizer's end token
    begin: str = ""
    turn: tuple[str, ...] = ()  # further special tokens, which the chat template writes
    template: str = ""  # none: a base model, asked with bare prompts
    settings: tuple[tuple[str, Any], ...] = ()


_CHATML = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\n{{ SYSTEM }}<|im_end|>\n{% endif %}"
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
_HEADERS = (
    "{{ bos_token }}{% for message in messages %}<|start_header_id|>{{ message.role }}<|end_header_id|>\n\n"
    "{{ message.content | trim }}<|eot_id|>{% endfor %}"
    "{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}"
)
_INSTRUCTIONS = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role == 'user' %}[INST] {{ message.content }} [/INST]"
    "{% elif message.role == 'assistant' %} {{ message.content }}{{ eos_token }}"
    "{% else %}{{ raise_exception('only user and assistant roles are supported') }}{% endif %}{% endfor %}"
)
_SPEAKERS = (
    "{{ bos_token }}{% for message in messages %}{% if message.role == 'user' %}User: {{ message.content }}\n\n"
    "{% elif message.role == 'assistant' %}Assistant: {{ message.content }}{{ eos_token }}"
    "{% else %}{{ message.content }}\n\n{% endif %}{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}"
)


def _chatml(system: str) -> str:
    return _CHATML.replace("{{ SYSTEM }}", system)


_IM = ("<|im_start|>", "<|im_end|>")
_TIED = (("tie_word_embeddings", True),)
KINDS: dict[Family, _Kind] = {
    "llama": _Kind("LlamaConfig", True, "</s>", "<s>"),
    "llama3": _Kind(
        "LlamaConfig",
        False,
        "<|eot_id|>",
        "<|begin_of_text|>",
        ("<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>"),
        _HEADERS,
    ),
    "mistral": _Kind("MistralConfig", True, "</s>", "<s>", ("[INST]", "[/INST]"), _INSTRUCTIONS),
    "qwen2": _Kind("Qwen2Config", False, "<|im_end|>", turn=("<|endoftext|>", *_IM), template=_chatml("You are Qwen.")),
    # A base model that brings the template of its chat model: what ends a turn is not what ends a text.
    "qwen2_base": _Kind(
        "Qwen2Config", False, "<|endoftext|>", turn=_IM, template=_chatml("Please reason step by step.")
    ),
    "qwen3": _Kind(
        "Qwen3Config", False, "<|im_end|>", turn=("<|endoftext|>", *_IM), template=_chatml(""), settings=_TIED
    ),
    "deepseek": _Kind("LlamaConfig", False, "<｜end▁of▁sentence｜>", "<｜begin▁of▁sentence｜>", (), _SPEAKERS),
    "smollm2": _Kind("LlamaConfig", False, "<|im_end|>", turn=_IM, template=_chatml("You are SmolLM."), settings=_TIED),
}


def save_shrunken(folder: Path, family: Family, texts: Sequence[str], *, seed: int = 0) -> Path:
    """Write a random model of the family to `folder`, with a tokenizer trained on `texts`."""
    import transformers

    kind, tokenizer = KINDS[family], shrunken_tokenizer(family, texts)
    config = getattr(transformers, kind.config)(
        **SIZES | dict(kind.settings),
        vocab_size=len(tokenizer),
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    return _save(folder, config, tokenizer, seed)


def shrink(folder: Path, source: Path, *, seed: int = 0) -> Path:
    """Write a random model of the architecture of the local folder `source` to `folder`, with that folder's tokenizer."""
    from transformers import AutoConfig

    from sei.target.load import load_tokenizer

    tokenizer = load_tokenizer(source)
    config = AutoConfig.from_pretrained(source, trust_remote_code=False, **SIZES)
    config.update({name: None for name in ("quantization_config", "layer_types") if getattr(config, name, None)})
    return _save(folder, config, tokenizer, seed)


def _save(folder: Path, config: PretrainedConfig, tokenizer: Any, seed: int) -> Path:
    import torch
    from transformers import AutoModelForCausalLM

    from sei.target.load import quiet_libraries

    quiet_libraries()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def shrunken_tokenizer(family: Family, texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer of the family's kind, with its special tokens and its chat template."""
    from transformers import PreTrainedTokenizerFast

    kind = KINDS[family]
    special = list(dict.fromkeys(filter(None, (kind.begin, kind.end, *kind.turn))))
    backend = _sentencepiece(special, texts) if kind.sentencepiece else _byte_level(special, texts)
    if kind.begin:
        from tokenizers.processors import TemplateProcessing

        backend.post_processor = TemplateProcessing(
            single=[kind.begin, "$A"], special_tokens=[(kind.begin, backend.token_to_id(kind.begin))]
        )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token=kind.begin or None,
        eos_token=kind.end,
        unk_token="<unk>" if kind.sentencepiece else None,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.chat_template = kind.template or None
    return tokenizer


def _byte_level(special: Sequence[str], texts: Iterable[str]) -> Any:
    """As Llama 3, Qwen and DeepSeek: every byte has a token, and a space belongs to the word after it."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_VOCABULARY,
        special_tokens=list(special),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def _sentencepiece(special: Sequence[str], texts: Iterable[str]) -> Any:
    """As Llama 2 and Mistral: a space is put before every text, words carry theirs as `▁`, other characters are bytes."""
    from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

    learned = Tokenizer(models.BPE())
    # Merges stay within words, digits and line breaks are tokens of their own: only while it is trained, as there.
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always"),
            pre_tokenizers.Split(Regex(r"[0-9]|▁?[^▁0-9]*"), "isolated"),
        ]
    )
    trainer = trainers.BpeTrainer(vocab_size=_VOCABULARY - 256, show_progress=False)
    learned.train_from_iterator((line for text in texts for line in text.splitlines()), trainer)
    model = json.loads(learned.to_str())["model"]
    names = ["<unk>", *special, *(f"<0x{byte:02X}>" for byte in range(256)), *model["vocab"]]
    vocabulary = {name: index for index, name in enumerate(dict.fromkeys(names))}
    merges = [tuple(pair) for pair in model["merges"]]
    backend = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    backend.add_special_tokens(["<unk>", *special])
    return backend
