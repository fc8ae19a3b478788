"""Chain-of-thought fine-tuning: train on the gold solutions of the training problems, and on sampled right paths.

Place in the flow: `train.py` runs this for `recipe=cot`. It looks at no mistake: the baseline the others must beat.
"""

from __future__ import annotations

from sei.recipes.kit import Kit
from sei.recipes.results import Results

STEPS = ("problems", "adapter")


def run(kit: Kit) -> Results:
    """One training phase. `recipe.rounds` has no meaning here."""
    adapter = kit.finetune(kit.thought_rows(kit.problems)) if kit.trains else None
    return kit.finish(Results(), adapter)
