"""SuperCorrect's stages bound to one configuration: templates, traces, pairs, preference training, the second pass.

Place in the flow: `recipes.super_correct` works with this kit; the stages that other recipes use too are in `Kit`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from omegaconf import OmegaConf

from sei.answers import Style
from sei.recipes.kit import Kit
from sei.recipes.resources import Adapter, api_settings
from sei.recipes.results import Results
from sei.records import Attempt, Example, Mistake, Outcome, Pair, Problem, Template, Trace
from sei.stages import assemble
from sei.stages import evaluate as evaluation
from sei.target.thoughts import Thoughts
from sei.teacher.review import Author, Inspector
from sei.workspace import Output

if TYPE_CHECKING:
    from sei.teacher.symbolic.template import StepKind


class ThoughtKit(Kit):
    """A `Kit` with the stages of SuperCorrect."""

    @classmethod
    @contextmanager
    def of(cls, kit: Kit) -> Iterator[ThoughtKit]:
        """One with the configuration, workspace and display of `kit`, closed at the end."""
        own = cls(kit.config, kit.workspace, kit.display, kit.tracker)
        try:
            yield own
        finally:
            own.end()

    @cached_property
    def thoughts(self) -> Thoughts:
        """The target's prompts and responses for templates and checks."""
        style: Literal["plain", "alpaca"] = "plain" if self.prompt_style == "plain" else "alpaca"
        return Thoughts(style, self.config.recipe.templates.style)

    @cached_property
    def inspector(self) -> Inspector:
        """Who checks what the teacher wrote: another model at its endpoint, or the teacher itself."""
        model = self.config.recipe.templates.inspector_model
        if self.config.teacher.kind != "api" or model is None:
            return cast(Inspector, self.teacher)
        from sei.teacher.api.teacher import ApiTeacher

        settings = dataclasses.replace(api_settings(self.config.teacher), model=model, price=None)
        return ApiTeacher.open(
            settings,
            dataset=self.style,
            store=self._teacher_store,
            run_folder=self.workspace.run,
            limits=self._teacher_limits,
        )

    def hard_steps(self) -> frozenset[StepKind]:
        """The kinds of steps at which the target fails most on validation problems; an API teacher judges for itself."""
        if self.config.teacher.kind != "symbolic":
            return frozenset()
        from sei.teacher.symbolic.template import hard_kinds, step_rates

        validation = self.splits.validation
        attempts = self.attempt(validation, name="validation.attempts")
        mistakes = self.mine(validation, attempts, name="validation.mistakes")
        diagnoses = self.diagnose(mistakes, name="validation.diagnoses")
        hard = hard_kinds(step_rates(validation, mistakes, diagnoses))
        if not hard:
            self.display.note(
                f"No kind of step stands out as hard in {len(validation)} validation problems (data.validation): no template "
                "gets a key."
            )
        return hard

    def template(self, problems: Sequence[Problem], hard: frozenset[StepKind]) -> list[Template]:
        """The teacher's thought templates, inspected, with a key at every hard step."""
        from sei.stages.template import template

        options = self.config.recipe.templates
        author, described = self._author(hard)
        rounds = options.inspector_rounds

        return self._stage(
            "templates",
            Template,
            lambda scratch: template(
                problems,
                author(),
                template_style=options.style,
                style=self.style,
                inspector=self.inspector if rounds else None,
                rounds=rounds,
            ),
            code=("sei.stages.template", *self._teacher_code),
            inputs={"problems": problems},
            parameters={"author": described, "style": self.style, "template_style": options.style, **self._inspecting},
        ).records

    def check_rows(self, problems: Sequence[Problem], templates: Sequence[Template]) -> list[Example]:
        """Checks of the target's own solutions, right and wrong, to go among the templates (`templates.check_share`)."""
        share = self.config.recipe.templates.check_share
        if share == 0:
            return []
        attempts = self.attempt(problems, name="checks.attempts")
        mistakes = self.mine(problems, attempts, name="checks.mistakes")
        traces = self.trace(mistakes, name="checks.traces")
        count = round(len(templates) * share / (1 - share))
        return assemble.from_checks(
            problems, attempts, mistakes, traces, self.thoughts, count=count, seed=self.config.seed
        )

    def trace(self, mistakes: Sequence[Mistake], *, name: str = "traces") -> list[Trace]:
        """The teacher's traces of the mistakes: first wrong step, cause and correction, inspected."""
        from sei.stages.inspect import inspect
        from sei.stages.trace import trace

        author, described = self._author(frozenset())
        rounds = self.config.recipe.templates.inspector_rounds
        asked = {"author": described, "template_style": self.thoughts.template_style}
        written = self._stage(
            name,
            Trace,
            lambda scratch: trace(mistakes, author(), self.thoughts),
            code=("sei.stages.trace", *self._teacher_code),
            inputs={"mistakes": mistakes},
            parameters=asked,
            cache_as="traces",
        ).records
        if not rounds:
            return written
        return self._stage(
            f"{name}.inspected",
            Trace,
            lambda scratch: inspect(written, mistakes, self.inspector, author(), self.thoughts, rounds=rounds),
            code=("sei.stages.inspect", *self._teacher_code),
            inputs={"traces": written, "mistakes": mistakes},
            parameters=asked | self._inspecting,
            cache_as="traces.inspected",
        ).records

    def student_traces(
        self, mistakes: Sequence[Mistake], adapter: Adapter | None, *, name: str = "student_traces"
    ) -> list[Trace]:
        """What the target itself says of its mistakes, without knowing the answer."""
        from sei.stages.trace import student_traces

        sampling = self.thought_sampling
        return self._stage(
            name,
            Trace,
            lambda scratch: student_traces(mistakes, self.engine(adapter), self.thoughts, sampling),
            code=("sei.stages.trace", f"sei.target.{self.config.engine.kind}"),
            inputs={"mistakes": mistakes},
            parameters=self._asking(adapter),
            cache_as="student_traces",
        ).records

    def student_thoughts(
        self, mistakes: Sequence[Mistake], truths: Sequence[Trace], found: Sequence[Trace], adapter: Adapter
    ) -> list[Trace]:
        """`found`, but where the student missed the step that `truths` name (and not by being right): told it, it says why."""
        from sei.stages.trace import reaches_gold, student_thoughts

        step_of = {truth.mistake_id: truth.step for truth in truths}
        right = reaches_gold(found, mistakes, self.style)
        kept = [one for one in found if right[one.id] or 0 < one.step == step_of.get(one.mistake_id)]
        settled = {one.mistake_id for one in kept}
        asked = [mistake for mistake in mistakes if mistake.id not in settled]
        if not asked:
            return kept
        sampling = self.thought_sampling
        told = self._stage(
            "student_thoughts",
            Trace,
            lambda scratch: student_thoughts(asked, truths, self.engine(adapter), self.thoughts, sampling),
            code=("sei.stages.trace", f"sei.target.{self.config.engine.kind}"),
            inputs={"mistakes": asked, "truths": truths},
            parameters=self._asking(adapter),
        ).records
        return [*kept, *told]

    def pair(
        self, mistakes: Sequence[Mistake], teacher: Sequence[Trace], student: Sequence[Trace], kind: str
    ) -> list[Pair]:
        """Preference pairs: the teacher's thought beside the student's own, or what a baseline compares."""
        from sei.stages.pair import pairs

        limit, seed = self.config.recipe.preference.max_pairs, self.config.seed
        made = self._stage(
            "pairs",
            Pair,
            lambda scratch: pairs(mistakes, teacher, student, self.thoughts, cast(Any, kind), style=self.style),
            code=("sei.stages.pair",),
            inputs={"mistakes": mistakes, "teacher": teacher, "student": student},
            parameters={"kind": kind, "prompts": self.thoughts.hashes(), "style": self.style},
        ).records
        if limit is not None and limit < len(made):
            self.display.note(f"recipe.preference.max_pairs={limit}: so many of the {len(made)} pairs, by seed")
            made = assemble.thin(made, limit, seed=seed)
        return made

    def imitate(self, pairs: Sequence[Pair], start: Adapter) -> Adapter:
        """The baseline of preference training: supervised on the chosen side alone, with its hyperparameters."""
        options = OmegaConf.masked_copy(self.config.recipe.preference, list(self.config.recipe.training))
        return self._train("finetune", assemble.from_chosen(pairs), options, start)

    def prefer(self, pairs: Sequence[Pair], start: Adapter) -> Adapter:
        """Direct preference optimization on the pairs, on from `start`, which is also the reference."""
        preference = self.config.recipe.preference
        options = OmegaConf.masked_copy(preference, [key for key in preference if key not in ("kind", "max_pairs")])
        return self._train("prefer", pairs, options, start)

    def finish(self, results: Results, adapter: Adapter | None, thoughts: Thoughts | None = None) -> Results:
        """As in `Kit`; with `eval.passes=2` also the outcomes after a second look at each solution."""
        results = super().finish(results, adapter, thoughts)
        if self.config.eval.passes == 2 and results.chosen is not None and thoughts is not None:
            results.second = self.second_pass("after", results.chosen)
        return results

    def second_pass(self, when: str, adapter: Adapter) -> dict[str, list[Outcome]]:
        """Outcomes after the target has looked at its solutions once more, on every test set."""
        from sei.stages.second import second_pass

        results, way, sampling = {}, self.config.eval.second, self.thought_sampling
        for name, attempts in self._test_attempts(when, adapter, self.thoughts).items():
            problems, style = self._test(name), self.style_of(name)

            def run(
                scratch: Path, name: str = name, attempts: list[Attempt] = attempts, style: Style = style
            ) -> Output[Attempt]:
                with self.display.progress(f"second.{when}.{name}") as progress:
                    return second_pass(
                        self._test(name),
                        attempts,
                        self.engine(adapter),
                        self.thoughts,
                        sampling,
                        style=style,
                        scratch=scratch,
                        way=cast(Any, way),
                        on_progress=progress,
                    )

            second = self._stage(
                f"second.{when}.{name}",
                Attempt,
                run,
                code=("sei.stages.second", f"sei.target.{self.config.engine.kind}"),
                inputs={"problems": problems, "attempts": attempts},
                parameters=self._asking(adapter) | {"way": way, "style": style},
                cache_as="second",
            ).records
            results[name] = evaluation.outcomes(name, problems, second, {}, style)
        return results

    def locate(self, results: Results, student: Adapter) -> Results:
        """How often student and chosen adapter find the first wrong step of the student's mistakes on the first test
        set, and correct it. Costs a teacher's trace per mistake, so `eval.diagnose=false` leaves it out."""
        adapter = results.chosen
        if not self.config.eval.diagnose or adapter is None or not results.after:
            return results
        from sei.stages.trace import locate

        name = next(iter(self.splits.tests))
        attempts = self._test_attempts("student", student, self.thoughts)[name]
        mistakes = self.mine(self._test(name), attempts, name=f"{name}.mistakes")
        if not mistakes:
            return results
        truths = self.trace(mistakes, name=f"{name}.truths")
        whose = (
            {"student": student}
            if adapter.fingerprint == student.fingerprint
            else {"student": student, "adapter": adapter}
        )
        for label, one in whose.items():
            traces = self.student_traces(mistakes, one, name=f"{name}.traces.{label}")
            results.located[label] = locate(mistakes, truths, traces, style=self.style_of(name)) | {"set": name}
        return results

    def _author(self, hard: frozenset[StepKind]) -> tuple[Callable[[], Author], dict[str, Any]]:
        """Who writes templates and traces (made when needed), and what identifies it."""
        if self.config.teacher.kind == "symbolic":
            from sei.teacher.symbolic import SymbolicTeacher

            author = SymbolicTeacher(hard)
            return lambda: author, author.fingerprint()
        return lambda: cast(Author, self.teacher), self._teacher_fingerprint

    def _asking(self, adapter: Adapter | None) -> dict[str, Any]:
        return {
            "engine": self._engine_fingerprint(adapter),
            "prompts": self.thoughts.hashes(),
            "sampling": vars(self.thought_sampling),
        }

    @property
    def _inspecting(self) -> dict[str, Any]:
        options = self.config.recipe.templates
        return {"inspector": options.inspector_model, "inspector_rounds": options.inspector_rounds}
