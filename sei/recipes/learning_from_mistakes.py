"""Learning from Mistakes (LeMa, arXiv 2310.20689): chains of thought plus mistake-correction pairs.

Place in the flow: `train.py` runs this for `recipe=correction`. One round::

    mistakes = wrong attempts of the target and other models       (recipe.mistake_sources)
    corrections = teacher(wrong step, explanation, right steps), kept if they reach the gold answer
    evolved = new problems from the corrected ones                 (recipe.evolution), probed and corrected likewise
    adapter = train(chains of thought + corrections, of this and earlier rounds)
"""

from __future__ import annotations

from collections.abc import Sequence

from sei.recipes.kit import Kit, require_mistakes
from sei.recipes.resources import Adapter
from sei.recipes.results import Results
from sei.records import Correction, Example, Mistake, Problem

STEPS = ("problems", "attempts", "mistakes", "diagnoses", "corrections", "adapter")


def run(kit: Kit) -> Results:
    """All rounds, evaluated before the first and after the last."""
    adapter: Adapter | None = None
    problems = kit.problems
    evolved: list[Problem] = []
    pairs: list[Example] = []
    for round in range(1, kit.config.recipe.rounds + 1):
        mistakes, corrections = probe(kit, problems, adapter, round=round)
        if not require_mistakes(mistakes, kit.display):
            break
        if not corrections:
            kit.display.note("No mistake was corrected: this round adds chains of thought alone.")
        pairs += kit.correction_rows(corrections, mistakes)
        new = kit.evolve(problems, corrections, mistakes, evolved, round=round)
        if new:
            evolved += new
            mistakes, corrections = probe(kit, new, adapter, of="evolved.", round=round)
            pairs += kit.correction_rows(corrections, mistakes)
        if kit.trains:
            thoughts = kit.thought_rows([*problems, *evolved], adapter, round=round)
            # Sources that are not trained make the same mistakes in every round: each correction is one row.
            adapter = kit.finetune([*thoughts, *{row.id: row for row in pairs}.values()], adapter, round=round)
    return kit.finish(Results(), adapter)


def probe(
    kit: Kit, problems: Sequence[Problem], adapter: Adapter | None, *, of: str = "", round: int
) -> tuple[list[Mistake], list[Correction]]:
    """The mistakes that the sources make on `problems`, and their corrections. `of` goes before the stages' names."""
    attempts = kit.sample(problems, kit.config.recipe.mistake_sources, adapter, name=f"{of}attempts", round=round)
    mistakes = kit.mine(problems, attempts, name=f"{of}mistakes", round=round)
    diagnoses = kit.diagnose(mistakes, name=f"{of}diagnoses", round=round)
    corrections = kit.correct(mistakes, diagnoses, name=f"{of}corrections", round=round)
    kit.success_rates(problems, mistakes, corrections, name=f"{of}corrections", round=round)
    return mistakes, corrections
