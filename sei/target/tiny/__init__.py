"""The embedded targets: a LLaMA of 0.7M parameters, pretrained by this framework on the arithmetic world, and the same one
after lessons in wrong rules.

Place in the flow: `model=tiny` loads the folder `WEIGHTS` like any Hugging Face model, `model=tiny-misconceived` the folder
`MISCONCEIVED`. `python -m sei.target.tiny.pretrain --out DIR` made the first, `python -m sei.target.tiny.misconceive --out DIR`
the second; the `pretraining.json` in each records how.

Example::

    AutoModelForCausalLM.from_pretrained(WEIGHTS)
"""

from __future__ import annotations

from pathlib import Path

WEIGHTS = Path(__file__).parent / "weights"
MISCONCEIVED = Path(__file__).parent / "misconceived"
