"""Self-Error-Instruct (SEI, arXiv 2505.22591): learn from new problems of the types one gets wrong.

Place in the flow: `train.py` runs this for `recipe=sei`. One round::

    attempts = target(train problems)            mistakes = wrong attempts
    diagnoses = teacher(mistakes)                types = clusters of their keyphrases
    synthetic = teacher(new problems per type)   selected = top share as one-shot demonstration
    (between the two, where `verify_samples` asks for it: synthetic = those most of the teacher's solutions agree with)
    adapter = train(selected, of this and earlier rounds)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from sei.clustering.base import AsksTeacher, PhraseTeacher
from sei.recipes import costs
from sei.recipes.common import (
    any_mistakes,
    checkpoint_complaints,
    diagnoses_of,
    evaluate,
    finetune,
    mistakes_of,
    phase_complaints,
    with_replay,
)
from sei.recipes.recipe import Recipe
from sei.recipes.work import Generated, Trained, Work
from sei.records import Attempt, ErrorType, Mistake, Problem, Synthetic
from sei.results import Results
from sei.stages import assemble
from sei.stages.attempt import attempt
from sei.stages.cluster import cluster
from sei.stages.select import development_set, select
from sei.stages.synthesize import synthesize
from sei.stages.verify import verify
from sei.target.engine import Replays
from sei.target.weights import Adapter
from sei.teacher.base import Solver, can
from sei.values import Count, PositiveFloat, PositiveShare, Share, Whole

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True)
class Synthesis:
    """Step 4."""

    budget: Count = 15000  # problems asked for in all
    per_call: Count = 20
    mistakes_shown: Count = 5
    synthesized_shown: Whole = 3
    rouge_threshold: PositiveShare = 0.7
    max_calls_factor: PositiveFloat = 3.0  # give up on a type after this many times the calls its budget needs
    verify_samples: Whole = 0  # solve each problem so many times; keep it where the majority reaches its answer
    aim: Literal["all", "odd", "even"] = "all"  # every other type by size: to see whether what is aimed at shrinks more


@dataclass(frozen=True)
class Selection:
    """Step 5."""

    enabled: bool = True
    wrong_problems: Count = 10
    right_problems: Count = 10
    keep: PositiveShare = 0.2


def aimed_at(types: Sequence[ErrorType], aim: Literal["all", "odd", "even"]) -> list[ErrorType]:
    """The types that new problems are made for: all, or by size every other one, from the largest on (odd) or the next."""
    if aim == "all":
        return list(types)
    return sorted(types, key=lambda kind: (-kind.size, kind.id))[aim == "even" :: 2]


@dataclass(frozen=True, kw_only=True)
class SelfErrorInstruct(Recipe):
    """New problems for each type of error."""

    uses: ClassVar[frozenset[str]] = frozenset({"teacher", "clustering", "embedder"})

    rounds: Count = 1
    synthesis: Synthesis = field(default_factory=Synthesis)
    selection: Selection = field(default_factory=Selection)
    replay: Share = 0.0  # share of the training rows that are gold solutions of training problems, against forgetting

    def run(self, lab: Lab) -> Results:
        results = Results()
        adapter: Adapter | None = None
        made: list[Synthetic] = []
        pool: list[Synthetic] = []
        problems = lab.problems
        for round in range(1, self.rounds + 1):
            attempts = lab.do(
                attempt, problems, lab.target(adapter), lab.formats, lab.sampling, style=lab.style, round=round
            )
            mistakes = mistakes_of(lab, problems, attempts, round=round)
            if not any_mistakes(lab, mistakes):
                break
            types = self.types(lab, mistakes, results, round)
            synthetic = self.verified(lab, self.synthetic(lab, types, mistakes, made, round), round)
            made += synthetic
            pool += self.selected(lab, synthetic, problems, attempts, mistakes, adapter, round)
            if lab.trains:
                rows = with_replay(lab, assemble.from_synthetic(pool, lab.formats), self.replay)
                adapter = finetune(lab, rows, self.training, adapter, rounds=self.rounds, round=round)
        return evaluate(lab, results, adapter)

    def types(self, lab: Lab, mistakes: Sequence[Mistake], results: Results, round: int) -> list[ErrorType]:
        """Error types: the teacher names what went wrong, and the phrases are grouped."""
        diagnoses = diagnoses_of(lab, mistakes, round=round)
        clusterer = lab.config.clustering
        types = lab.do(
            cluster,
            diagnoses,
            results.error_types,
            embedder=lab.config.embedder,
            clusterer=clusterer.asking(cast(PhraseTeacher, lab.teacher))
            if isinstance(clusterer, AsksTeacher)
            else clusterer,
            seed=0,  # the types of a sweep's jobs must be the same types
            round=round,
        )
        results.remember(types)
        return types

    def synthetic(
        self, lab: Lab, types: Sequence[ErrorType], mistakes: Sequence[Mistake], made: Sequence[Synthetic], round: int
    ) -> list[Synthetic]:
        """New problems for each type, unlike everything they must not resemble, what earlier rounds made included."""
        wanted = self.synthesis
        return lab.do(
            synthesize,
            aimed_at(types, wanted.aim),
            mistakes,
            lab.held_out,
            lab.teacher,
            earlier=made,
            budget=wanted.budget,
            per_call=wanted.per_call,
            mistakes_shown=wanted.mistakes_shown,
            synthesized_shown=wanted.synthesized_shown,
            rouge_threshold=wanted.rouge_threshold,
            max_calls_factor=wanted.max_calls_factor,
            style=lab.style,
            seed=lab.config.seed,
            round=round,
        )

    def verified(self, lab: Lab, candidates: list[Synthetic], round: int) -> list[Synthetic]:
        """The candidates whose answer most of the teacher's own solutions reach; all where `verify_samples` is 0."""
        samples = self.synthesis.verify_samples
        if not samples or not candidates:
            return candidates
        return lab.do(verify, candidates, lab.teacher, samples=samples, style=lab.style, round=round)

    def selected(
        self,
        lab: Lab,
        candidates: list[Synthetic],
        problems: Sequence[Problem],
        attempts: Sequence[Attempt],
        mistakes: Sequence[Mistake],
        adapter: Adapter | None,
        round: int,
    ) -> list[Synthetic]:
        """The candidates that help the target most as a demonstration. All of them where there is nobody to ask."""
        wanted = self.selection
        if not wanted.enabled or isinstance(lab.config.engine, Replays) or not candidates:
            return candidates
        wrong, right = development_set(
            problems,
            attempts,
            mistakes,
            candidates,
            wrong=wanted.wrong_problems,
            right=wanted.right_problems,
            seed=lab.config.seed,
        )
        target = lab.target(adapter)
        return lab.do(
            select,
            candidates,
            wrong,
            right,
            target,
            lab.formats,
            lab.sampling,
            keep=wanted.keep,
            style=lab.style,
            round=round,
        )

    def complaints(self, config: Config) -> Iterator[str]:
        yield from phase_complaints(self.training, "recipe.training", self.rounds)
        yield from checkpoint_complaints(config.eval.select, {"recipe.training": self.training})
        if (
            "clustering" in self.uses
            and isinstance(config.clustering, AsksTeacher)
            and not can(config.teacher, PhraseTeacher)
        ):
            yield (
                f"clustering={config.clustering.name} asks a language model: add teacher=gpt-4o or teacher=local, or use "
                "clustering=kmeans"
            )
        if self.replay == 1:
            yield "recipe.replay=1 leaves no room for synthesized problems; training on gold solutions is recipe=cot"
        samples = self.synthesis.verify_samples
        if samples and not can(config.teacher, Solver):
            yield (
                f"recipe.synthesis.verify_samples={samples}: teacher={config.teacher.name} does not solve; what it "
                "synthesizes is verified by executing it. Set 0, or choose an API teacher"
            )

    def prompts(self, lab: Lab) -> Iterator[tuple[str, str]]:
        yield from super().prompts(lab)
        if self.selection.enabled:
            shown, asked = lab.splits.train[0], lab.splits.train[-1]
            yield "selected", lab.formats.one_shot(shown.question, shown.solution, asked.question)

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        work, wanted, rounds = Work(lab), self.selection, self.rounds
        yield work.attempts("attempts", len(lab.splits.train) * rounds)
        made = self.synthesis.budget
        if wanted.enabled:
            asked = made * (wanted.wrong_problems + wanted.right_problems)
            yield work.attempts("selection, one-shot", asked * rounds, longer=work.prompt + work.solution)
            made = round(made * wanted.keep)
        if lab.trains:
            rows = made / (1 - min(self.replay, 0.99)) * rounds * (rounds + 1) / 2  # each round trains on all so far
            yield work.training("recipe.training", self.training, round(rows))
        yield from super().work(lab, mistakes)

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        asked = costs.Teacher.of(lab, mistakes)
        yield from asked.diagnoses()
        yield from asked.test_diagnoses()
        yield from asked.types()
        yield from asked.synthesis(self.synthesis)
