"""Learning from Mistakes (LeMa, arXiv 2310.20689): chains of thought plus mistake-correction pairs.

Place in the flow: `train.py` runs this for `recipe=correction`. One round::

    mistakes = wrong attempts of the target and other models       (recipe.mistake_sources)
    corrections = teacher(wrong step, explanation, right steps), kept if they reach the gold answer
    evolved = new problems from the corrected ones                 (recipe.evolution), probed and corrected likewise
    adapter = train(chains of thought + corrections, of this and earlier rounds)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from sei.data.sources import difficulty
from sei.recipes import costs, sources
from sei.recipes.common import any_mistakes, diagnoses_of, evaluate, finetune, mistakes_of, phase_complaints
from sei.recipes.cot import ChainOfThought
from sei.recipes.sources import FromModel, Source, the_target
from sei.recipes.work import Generated, Trained
from sei.records import Correction, Example, Mistake, Problem
from sei.results import Results
from sei.stages import assemble
from sei.stages.correct import correct
from sei.stages.diagnose import diagnose
from sei.stages.evolve import evolve, seeds
from sei.target.weights import Adapter
from sei.values import Count, PositiveShare

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True)
class CorrectionRows:
    """LeMa's correction rows and their ablations."""

    # paths: corrected solutions as chains of thought (CoT-45K); reflections: wrong, why, and right in one response (LEMMA)
    rows: Literal["pairs", "paths", "reflections", "none"] = "pairs"
    explanation: bool = True
    step: bool = True  # name the wrong step and go on from it, or correct the whole solution


@dataclass(frozen=True)
class Evolution:
    """LeMa's new problems."""

    strategy: Literal["none", "general", "correction_centric"] = "none"
    seeds: Count = 10000  # seed problems drawn, with replacement
    samples: Count = 3  # the teacher's solutions of each new problem; the majority's answer is its answer
    rouge_threshold: PositiveShare = 0.7


@dataclass(frozen=True, kw_only=True)
class LearningFromMistakes(ChainOfThought):
    """Chains of thought, and corrections of wrong solutions."""

    uses: ClassVar[frozenset[str]] = frozenset({"teacher"})

    rounds: Count = 1
    mistake_sources: list[Source] = field(default_factory=the_target)
    max_source_share: PositiveShare = 1.0  # of the mistakes, from one source
    correction: CorrectionRows = field(default_factory=CorrectionRows)
    evolution: Evolution = field(default_factory=Evolution)

    def run(self, lab: Lab) -> Results:
        adapter: Adapter | None = None
        problems = lab.problems
        evolved: list[Problem] = []
        pairs: list[Example] = []
        for round in range(1, self.rounds + 1):
            mistakes, corrections = self.probe(lab, problems, adapter, round=round)
            if not any_mistakes(lab, mistakes):
                break
            if not corrections:
                lab.note("No mistake was corrected: this round adds chains of thought alone.")
            pairs += self.correction_rows(lab, corrections, mistakes)
            new = self.evolve(lab, problems, corrections, mistakes, evolved, round=round)
            if new:
                evolved += new
                mistakes, corrections = self.probe(lab, new, adapter, of="evolved.", round=round)
                pairs += self.correction_rows(lab, corrections, mistakes)
            if lab.trains:
                chains = self.chain_rows(lab, [*problems, *evolved], adapter, round=round)
                # Sources that are not trained make the same mistakes in every round: each correction is one row.
                rows = [*chains, *{row.id: row for row in pairs}.values()]
                adapter = finetune(
                    lab,
                    rows,
                    self.training,
                    adapter,
                    rounds=self.rounds,
                    max_examples=self.max_examples,
                    round=round,
                )
        return evaluate(lab, Results(), adapter)

    def probe(
        self, lab: Lab, problems: Sequence[Problem], adapter: Adapter | None, *, of: str = "", round: int
    ) -> tuple[list[Mistake], list[Correction]]:
        """The mistakes that the sources make on `problems`, and their corrections. `of` goes before the stages' names."""
        attempts = sources.sample(lab, problems, self.mistake_sources, adapter, name=f"{of}attempts", round=round)
        mistakes = mistakes_of(
            lab, problems, attempts, max_share=self.max_source_share, name=f"{of}mistakes", round=round
        )
        if of:  # a few new problems may all be beyond the teacher
            diagnoses = lab.do(diagnose, mistakes, lab.teacher, name=f"{of}diagnoses", round=round)
        else:
            diagnoses = diagnoses_of(lab, mistakes, round=round)
        corrections = lab.do(
            correct, mistakes, diagnoses, lab.teacher, style=lab.style, name=f"{of}corrections", round=round
        )
        self.write_rates(lab, problems, mistakes, corrections, name=f"{of}corrections", round=round)
        return mistakes, corrections

    def evolve(
        self,
        lab: Lab,
        problems: Sequence[Problem],
        corrections: Sequence[Correction],
        mistakes: Sequence[Mistake],
        earlier: Sequence[Problem],
        *,
        round: int,
    ) -> list[Problem]:
        """New problems from those that were corrected (or from any), unlike `problems`, `earlier` ones and all tests."""
        wanted = self.evolution
        if wanted.strategy == "none":
            return []
        seed = lab.config.seed + round - 1
        drawn = seeds(problems, corrections, mistakes, strategy=wanted.strategy, count=wanted.seeds, seed=seed)
        return lab.do(
            evolve,
            drawn,
            lab.teacher,
            [*problems, *earlier],
            lab.held_out,
            style=lab.style,
            samples=wanted.samples,
            rouge_threshold=wanted.rouge_threshold,
            seed=seed,
            round=round,
        )

    def correction_rows(
        self, lab: Lab, corrections: Sequence[Correction], mistakes: Sequence[Mistake]
    ) -> list[Example]:
        """LeMa's mistake-correction pairs, or what an ablation makes of the corrections."""
        wanted = self.correction
        if wanted.rows == "none":
            return []
        if wanted.rows == "paths":
            return assemble.corrected_paths(corrections, mistakes, lab.formats)
        if wanted.rows == "reflections":
            return assemble.from_reflections(corrections, mistakes, lab.formats)
        return assemble.from_corrections(
            corrections, mistakes, lab.formats, explanation=wanted.explanation, step=wanted.step
        )

    def write_rates(
        self,
        lab: Lab,
        problems: Sequence[Problem],
        mistakes: Sequence[Mistake],
        corrections: Sequence[Correction],
        *,
        name: str,
        round: int,
    ) -> None:
        """Which share of the mistakes was corrected, by source and difficulty: a table and a figure in the run folder."""
        from sei.tracking.rates import rates, write

        if lab.workspace.compute:
            levels = {problem.id: difficulty(problem) for problem in problems}
            folder = lab.workspace.run / "correction_rates" / f"{name}.round{round}"
            folder.mkdir(parents=True, exist_ok=True)
            write(folder, rates(corrections, mistakes, levels))

    def complaints(self, config: Config) -> Iterator[str]:
        yield from super().complaints(config)
        yield from phase_complaints(self.training, "recipe.training", self.rounds)
        yield from sources.complaints(self.mistake_sources, "recipe.mistake_sources")
        if not self.mistake_sources:
            yield "recipe.mistake_sources=[]: name at least one source, such as {kind: target}"

    def check(self, config: Config) -> None:
        super().check(config)
        for source in self.mistake_sources:
            source.check()

    def other_models(self) -> Iterator[tuple[str, FromModel]]:
        yield from super().other_models()
        yield from sources.loaded(self.mistake_sources, "recipe.mistake_sources")

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        for _ in range(self.rounds):
            yield from sources.work(lab, self.mistake_sources, "attempts, mistake_sources")
        yield from super().work(lab, mistakes)

    def correction_count(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> int:
        samples = sum(source.samples for source in self.mistake_sources)
        return len(lab.splits.train) * samples if mistakes is None else len(mistakes)

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        samples = sum(source.samples for source in self.mistake_sources)
        asked = costs.Teacher.of(lab, mistakes, attempts=samples)
        yield from asked.diagnoses()
        yield from asked.corrections()
        if self.evolution.strategy != "none":
            yield from asked.evolution(self.evolution, attempts=samples)
        yield from costs.of_sources(lab, self.mistake_sources, "recipe.mistake_sources")
        yield from costs.of_sources(lab, self.path_sources, "recipe.path_sources")
