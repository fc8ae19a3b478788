"""What a recipe would ask of served models, counted without asking.

Place in the flow: a recipe's `calls` adds up these parts; `sei.plan` turns them into tokens and dollars for a dry run.

While the mistakes are not known, every training problem counts as one (so the figures are upper bounds), and gold solutions
stand in for wrong ones in the prompts. A teacher that is a program asks nobody: all parts are then empty.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from sei.clustering.base import AsksTeacher
from sei.records import Diagnosis, Mistake, Problem, Trace, content_id
from sei.teacher.base import Priced, Seed, SynthesisRequest
from sei.templates import make_trace

if TYPE_CHECKING:
    from sei.lab import Lab
    from sei.llm.settings import ApiSettings
    from sei.llm.store import Store
    from sei.recipes.learning_from_mistakes import Evolution
    from sei.recipes.self_error_instruct import Synthesis
    from sei.recipes.sources import Source
    from sei.recipes.super_correct import Templates
    from sei.teacher.api.estimate import Estimate
    from sei.teacher.api.roles import Job, Roles

_SAMPLE = 50  # records whose filled prompts stand for a stage's mean


@dataclass(frozen=True)
class Asked:
    """What one stage asks: `calls` calls, of which `jobs` are a sample with one prompt."""

    stage: str
    model: str
    jobs: Sequence[Job[Any]]
    calls: int
    estimate: Callable[[Store | None], Estimate]  # tokens and dollars; the store knows how long answers were before
    shows_prompt: bool = True  # false: the prompt is that of stage attempts


@dataclass(frozen=True)
class Teacher:
    """The calls to the run's teacher in the first round."""

    lab: Lab
    mistakes: int
    sample: Sequence[Mistake]

    @classmethod
    def of(cls, lab: Lab, mistakes: Sequence[Mistake] | None, *, attempts: int = 1) -> Teacher:
        """`attempts` at each problem, from all sources: so many mistakes it may give."""
        train = lab.splits.train
        number = len(train) * attempts if mistakes is None else len(mistakes)
        return cls(lab, number, (mistakes or [stand_in(problem) for problem in train])[:_SAMPLE])

    def diagnoses(self) -> Iterator[Asked]:
        yield from self._asked("diagnoses", self._diagnoses, self.mistakes)

    def test_diagnoses(self) -> Iterator[Asked]:
        """Before and after training, for the table of error types."""
        lab = self.lab
        if lab.trains and lab.config.eval.diagnose:
            tested = sum(len(lab.test(name)) for name in lab.splits.tests)
            yield from self._asked("diagnoses of test mistakes", self._diagnoses, 2 * tested)

    def corrections(self) -> Iterator[Asked]:
        yield from self._asked("corrections", self._corrections, self.mistakes)

    def types(self) -> Iterator[Asked]:
        """What the clusterer asks, as if every mistake had a keyphrase of its own."""
        clusterer = self.lab.config.clustering
        if self._roles is not None and isinstance(clusterer, AsksTeacher):
            for jobs, calls in clusterer.calls(self._roles, self.mistakes):
                yield from self._asked("error_types", jobs, calls)

    def synthesis(self, wanted: Synthesis) -> Iterator[Asked]:
        shown = self.sample[: wanted.mistakes_shown + wanted.synthesized_shown]
        seeds = tuple(Seed(item.id, item.question, item.gold_solution, item.gold_answer) for item in shown)
        name, description = "(name of the type)", "(its description)"
        request = SynthesisRequest("type", name, description, (), seeds, (), wanted.per_call, 0)
        jobs = [self._roles.synthesize(request)] if self._roles else []
        yield from self._asked("synthetic", jobs, -(-wanted.budget // wanted.per_call))
        if wanted.verify_samples:
            yield from self._asked("verified", self.solutions, wanted.budget * wanted.verify_samples)

    def evolution(self, wanted: Evolution, *, attempts: int) -> Iterator[Asked]:
        probed = wanted.seeds * attempts
        jobs = [self._roles.evolve(item.question, item.id) for item in self.sample] if self._roles else []
        yield from self._asked("evolved", jobs, wanted.seeds)
        yield from self._asked("answers of evolved", self.solutions, wanted.seeds * wanted.samples)
        yield from self._asked("diagnoses of evolved", self._diagnoses, probed)
        yield from self._asked("corrections of evolved", self._corrections, probed)

    def thoughts(self, wanted: Templates) -> Iterator[Asked]:
        """Templates, traces and their inspection, as if everything were right at the first look."""
        lab, roles = self.lab, self._roles
        if not roles:
            return
        problems = lab.splits.train
        taught = round(wanted.share * len(problems))
        yield from self._asked("templates", [roles.template(problem) for problem in problems[:_SAMPLE]], taught)
        first_set = next(iter(lab.splits.tests))
        located = len(lab.test(first_set)) if lab.config.eval.diagnose else 0
        traced = len(problems) - taught + (taught if wanted.check_share else 0) + located
        yield from self._asked("traces", [roles.trace(mistake, gold=True) for mistake in self.sample], traced)
        if not wanted.inspector_rounds:
            return
        looks = [roles.inspect_trace(mistake, _blank_trace(mistake)) for mistake in self.sample]
        yield from self._asked("inspections", looks, taught + traced, model=wanted.inspector_model)

    def traces(self) -> Iterator[Asked]:
        """The first wrong step of every mistake, its cause and correction."""
        roles = self._roles
        jobs = [roles.trace(mistake, gold=True) for mistake in self.sample] if roles else []
        yield from self._asked("traces", jobs, self.mistakes)

    @cached_property
    def solutions(self) -> list[Job[Any]]:
        roles = self._roles
        return [roles.solve(mistake.question, mistake.id) for mistake in self.sample] if roles else []

    @cached_property
    def _diagnoses(self) -> list[Job[Any]]:
        return [self._roles.diagnose(mistake) for mistake in self.sample] if self._roles else []

    @cached_property
    def _corrections(self) -> list[Job[Any]]:
        blank = [Diagnosis(mistake.id, mistake.id, 0, "", (), "") for mistake in self.sample]
        pairs = zip(self.sample, blank, strict=True)
        return [self._roles.correct(*pair) for pair in pairs] if self._roles else []

    @cached_property
    def _roles(self) -> Roles | None:
        teacher = self.lab.config.teacher
        return teacher.roles(self.lab.style) if isinstance(teacher, Priced) else None

    def _asked(self, stage: str, jobs: Sequence[Job[Any]], calls: int, *, model: str | None = None) -> Iterator[Asked]:
        teacher, style = self.lab.config.teacher, self.lab.style
        if isinstance(teacher, Priced):
            yield Asked(
                stage,
                model or teacher.name,
                jobs,
                calls,
                lambda store: teacher.estimate(jobs, style, calls=calls, store=store, model=model),
            )


def of_sources(lab: Lab, sources: Sequence[Source], key: str) -> Iterator[Asked]:
    """What served models are asked that make attempts, with the target's prompt, which is about as long as a teacher's."""
    from sei.recipes.sources import budget_of, served
    from sei.teacher.api.limits import limits_with
    from sei.teacher.api.roles import Roles

    roles = Roles(lab.style, limits_with({}))
    sample = [stand_in(problem) for problem in lab.splits.train[:_SAMPLE]]
    jobs = [roles.solve(mistake.question, mistake.id) for mistake in sample]
    for source in served(sources):
        settings = source.settings(budget_of(lab))
        calls = len(lab.splits.train) * source.samples
        yield Asked(
            f"attempts by {source.model}, {key.removeprefix('recipe.')}",
            source.model,
            jobs,
            calls,
            partial(_estimated, jobs, settings, roles, calls),
            shows_prompt=False,
        )


def _estimated(
    jobs: Sequence[Job[Any]], settings: ApiSettings, roles: Roles, calls: int, store: Store | None
) -> Estimate:
    from sei.teacher.api.estimate import estimate

    return estimate(jobs, settings, roles, calls=calls, store=store)


def stand_in(problem: Problem) -> Mistake:
    """A mistake at a problem that nobody has attempted yet."""
    return Mistake(
        content_id("mistake", problem.id),
        problem_id=problem.id,
        attempt_id="",
        question=problem.question,
        gold_answer=problem.answer,
        gold_solution=problem.solution,
        output=problem.solution,
        model="",
    )


def _blank_trace(mistake: Mistake) -> Trace:
    return make_trace(mistake.id, "teacher", 1, "(cause)", mistake.gold_solution, mistake.gold_answer)
