"""The arithmetic world: procedural grade-school word problems in GSM8K's format.

Place in the flow: `data=arithmetic` is `Arithmetic`, and the embedded target (`sei.target.tiny`) was pretrained
on its stream. The stream and every split are disjoint by content: the equations of a problem decide where it belongs,
so the same sum under other names never appears in two of them.

Example::

    splits = load(train=2000, validation=200, test=500, seed=0)
    splits.tests["out_of_domain"][0].solution     # "The pens cost <<3*4=12>>12 dollars.\\n...\\n#### 8"
"""

from __future__ import annotations

from sei.data.arithmetic.families import FAMILIES
from sei.data.arithmetic.generate import load, pretraining_problems, pretraining_stories
from sei.data.arithmetic.world import Arithmetic

__all__ = ["FAMILIES", "Arithmetic", "load", "pretraining_problems", "pretraining_stories"]
