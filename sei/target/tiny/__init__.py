"""The embedded target: a LLaMA of 0.7M parameters, pretrained by this framework on the arithmetic world.

Place in the flow: `model=tiny` loads the folder `WEIGHTS` like any Hugging Face model. `python -m
sei.target.tiny.pretrain --out DIR` made it; `weights/pretraining.json` records how.

Example::

    AutoModelForCausalLM.from_pretrained(WEIGHTS)
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
