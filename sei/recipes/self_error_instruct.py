"""Self-Error-Instruct (SEI, arXiv 2505.22591): learn from new problems of the types one gets wrong.

Place in the flow: `train.py` runs this for `recipe=sei`. One round::

    attempts = target(train problems)            mistakes = wrong attempts
    diagnoses = teacher(mistakes)                types = clusters of their keyphrases
    synthetic = teacher(new problems per type)   selected = top share as one-shot demonstration
    (between the two, where `verify_samples` asks for it: synthetic = those most of the teacher's solutions agree with)
    adapter = train(selected, of this and earlier rounds)
"""

from __future__ import annotations

from sei.recipes.kit import Kit, require_mistakes
from sei.recipes.resources import Adapter
from sei.recipes.results import Results
from sei.records import Synthetic
from sei.stages import assemble

STEPS = ("problems", "attempts", "mistakes", "diagnoses", "error_types", "synthetic", "selected", "adapter")


def run(kit: Kit) -> Results:
    """All rounds, evaluated before the first and after the last."""
    results = Results()
    adapter: Adapter | None = None
    made: list[Synthetic] = []
    pool: list[Synthetic] = []
    problems = kit.problems
    for round in range(1, kit.config.recipe.rounds + 1):
        attempts = kit.attempt(problems, adapter, round=round)
        mistakes = kit.mine(problems, attempts, round=round)
        if not require_mistakes(mistakes, kit.display):
            break
        diagnoses = kit.diagnose(mistakes, round=round)
        types = kit.cluster(diagnoses, previous=results.error_types, round=round)
        results.follow(types)
        synthetic = kit.verify(kit.synthesize(types, mistakes, made, round=round), round=round)
        made += synthetic
        pool += kit.select(synthetic, problems, attempts, mistakes, adapter, round=round)
        if kit.trains:
            adapter = kit.finetune(kit.with_replay(assemble.from_synthetic(pool, kit.formats)), adapter, round=round)
    return kit.finish(results, adapter)
