"""Measure a teacher before money is spent on it: does it find the first wrong step, does it correct mistakes, and at what
price?

Place in the flow: a command beside `train.py`, with the same overrides. The mistakes are planted, so the wrong step is known:
one step of a gold solution is spoiled, and the steps after it continue from the wrong value. They come from the arithmetic world
and, with `data=gsm8k`, from GSM8K's annotated solutions too. With `--labels`, a person has marked the first wrong step of
solutions that may be right (see `sei.locating`). With `dry_run=true` it only prints the price.
In the order of the work: `planting` (spoils solutions), `mistakes` (measures on them), `labels` (on a person's), `command`.

Example::

    python -m sei.calibrate teacher=local teacher.model=NAME teacher.base_url=http://127.0.0.1:8000/v1
    python -m sei.calibrate --items 200 teacher=gpt-4o data=gsm8k data.path=DIR dry_run=true
    python -m sei.calibrate --labels processbench/gsm8k teacher=gpt-4o
    python -m sei.calibrate --labels FILE teacher=symbolic data=gsm8k data.path=DIR      # gold solutions from there
"""

from __future__ import annotations

from sei.calibrate.command import main
from sei.calibrate.mistakes import Calibration, calibrate, measure
from sei.calibrate.planting import Item, annotated_items, arithmetic_items, spoil

__all__ = ["Calibration", "Item", "annotated_items", "arithmetic_items", "calibrate", "main", "measure", "spoil"]
