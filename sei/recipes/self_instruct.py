"""Self-instruct from mistakes: SEI without error types, its ablation "without clustering".

Place in the flow: `train.py` runs this for `recipe=self_instruct`. The problems are synthesized from any mistakes, drawn
without regard to what went wrong; everything else is as in `self_error_instruct`.
"""

from __future__ import annotations

from sei.recipes.kit import Kit, require_mistakes
from sei.recipes.resources import Adapter
from sei.recipes.results import Results
from sei.records import Synthetic
from sei.stages import assemble

STEPS = ("problems", "attempts", "mistakes", "synthetic", "selected", "adapter")


def run(kit: Kit) -> Results:
    """All rounds, evaluated before the first and after the last."""
    adapter: Adapter | None = None
    made: list[Synthetic] = []
    pool: list[Synthetic] = []
    problems = kit.problems
    for round in range(1, kit.config.recipe.rounds + 1):
        attempts = kit.attempt(problems, adapter, round=round)
        mistakes = kit.mine(problems, attempts, round=round)
        if not require_mistakes(mistakes, kit.display):
            break
        synthetic = kit.synthesize(kit.one_type(mistakes, round=round), mistakes, made, round=round)
        synthetic = kit.verify(synthetic, round=round)
        made += synthetic
        pool += kit.select(synthetic, problems, attempts, mistakes, adapter, round=round)
        if kit.trains:
            adapter = kit.finetune(kit.with_replay(assemble.from_synthetic(pool, kit.formats)), adapter, round=round)
    return kit.finish(Results(), adapter)
