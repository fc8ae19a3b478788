"""SuperCorrect (arXiv 2410.09008): hierarchical thought templates, then cross-model preference training on the first wrong step.

Place in the flow: `train.py` runs this for `recipe=supercorrect`. Two phases, on two parts of the training problems::

    templates = teacher(gold solution in steps, hard ones explained, the approach in general)     # hard: measured
    student = train(templates)                                                                     # HSFT
    mistakes = wrong templates of the student at the other problems
    teacher traces = teacher(first wrong step, cause, correction), inspected;  student traces = student(the same, without gold)
    adapter = DPO(problem and right steps -> the teacher's thought before the student's), reference = the student

At the end the target may check and correct its solutions in a second pass (`eval.passes=2`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal, cast

from sei.recipes import costs
from sei.recipes.common import (
    any_mistakes,
    attempts_at_tests,
    checkpoint_complaints,
    evaluate,
    finetune,
    mistakes_of,
    phase_complaints,
    prefer,
)
from sei.recipes.recipe import Recipe
from sei.recipes.work import Generated, Trained, Work
from sei.records import Example, Mistake, Pair, Problem, Template, Trace
from sei.results import Results
from sei.stages import assemble
from sei.stages.attempt import attempt
from sei.stages.diagnose import diagnose
from sei.stages.evaluate import outcomes
from sei.stages.inspect import inspect
from sei.stages.pair import pairs
from sei.stages.second import second_pass
from sei.stages.template import template
from sei.stages.trace import locate, reaches_gold, student_thoughts, student_traces, trace
from sei.target.engine import Sampling
from sei.target.thoughts import Thoughts
from sei.target.weights import Adapter
from sei.teacher.base import can
from sei.teacher.review import Author, AuthorChoice, NeedsHardSteps
from sei.templates import TemplateStyle
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from sei.values import Count, Share, Whole

if TYPE_CHECKING:
    from sei.config import Config
    from sei.lab import Lab


@dataclass(frozen=True)
class Templates:
    """The first phase."""

    style: TemplateStyle = "xml"
    share: Share = 0.5  # of the training problems; the target's mistakes at the others make the pairs
    check_share: Share = 0.0  # of the first phase's rows: checks of solutions, for a target that follows no instruction
    max_new_tokens: Count | None = None  # of a template or a check; null: model.max_new_tokens
    inspector_rounds: Whole = 3  # how often a faulty template or trace goes back to the teacher; 0: no inspector
    inspector_model: str | None = None  # another model of the teacher's endpoint; null: the teacher itself


@dataclass(frozen=True)
class PreferencePhase(PreferenceHyperparameters):
    """The second phase: direct preference optimization, and the baselines in its place."""

    # check: ours, the whole check of the whole solution; sft: training on the chosen thoughts alone
    kind: Literal["thought", "step", "check", "instance", "sft", "none"] = "thought"
    max_pairs: Count | None = None  # drawn by seed

    def training(self) -> PreferenceHyperparameters:
        """The hyperparameters alone."""
        names = [one.name for one in dataclasses.fields(PreferenceHyperparameters)]
        return PreferenceHyperparameters(**{name: getattr(self, name) for name in names})

    def supervised(self) -> Hyperparameters:
        """Those that training on the chosen side alone has."""
        names = [one.name for one in dataclasses.fields(Hyperparameters)]
        return Hyperparameters(**{name: getattr(self, name) for name in names})


@dataclass(frozen=True, kw_only=True)
class SuperCorrect(Recipe):
    """Thought templates, then preferences on the first wrong step."""

    checks: ClassVar[bool] = True

    preference: PreferencePhase
    templates: Templates = field(default_factory=Templates)
    max_examples: Count | None = None  # rows of the first phase at most, sampled by seed

    def run(self, lab: Lab) -> Results:
        taught, probed = assemble.halve(lab.problems, self.templates.share, seed=lab.config.seed)
        student = self.teach(lab, taught)
        attempts = lab.do(attempt, probed, lab.target(student), self.thoughts(lab), self.sampling(lab), style=lab.style)
        mistakes = mistakes_of(lab, probed, attempts, self.thoughts(lab))
        adapter = student
        if self.preference.kind != "none" and any_mistakes(lab, mistakes):
            adapter = self.prefer(lab, mistakes, student)
        results = evaluate(lab, Results(), adapter, self.thoughts(lab), self.sampling(lab))
        return self.locate(lab, self.second_pass(lab, results), student)

    # The first phase

    def teach(self, lab: Lab, problems: list[Problem]) -> Adapter:
        """The target learns to write the teacher's thought templates."""
        written = self.write_templates(lab, problems)
        rows = assemble.from_templates(written, problems, self.thoughts(lab))
        checks = self.check_rows(lab, problems, written)
        return finetune(lab, [*rows, *checks], self.training, max_examples=self.max_examples, name="student")

    def write_templates(self, lab: Lab, problems: Sequence[Problem]) -> list[Template]:
        """The teacher's thought templates, inspected, with a key at every hard step."""
        wanted = self.templates
        return lab.do(
            template,
            problems,
            self.author(lab),
            template_style=wanted.style,
            style=lab.style,
            inspector=self.teacher(lab).inspector(wanted.inspector_model) if wanted.inspector_rounds else None,
            rounds=wanted.inspector_rounds,
        )

    def author(self, lab: Lab) -> Author:
        """The teacher, told which kinds of steps the target fails at most where it cannot judge that for itself."""
        teacher = self.teacher(lab)
        if not isinstance(teacher, NeedsHardSteps):
            return teacher
        problems = lab.splits.validation
        attempts = lab.do(
            attempt,
            problems,
            lab.target(),
            lab.formats,
            lab.sampling,
            style=lab.style,
            name="validation.attempts",
        )
        mistakes = mistakes_of(lab, problems, attempts, name="validation.mistakes")
        diagnoses = lab.do(diagnose, mistakes, lab.teacher, name="validation.diagnoses")
        hard = teacher.hard_steps(problems, mistakes, diagnoses)
        if not hard:
            lab.note(
                f"No kind of step stands out as hard in {len(problems)} validation problems (data.validation): no template "
                "gets a key."
            )
        return teacher.with_hard_steps(hard)

    def check_rows(self, lab: Lab, problems: Sequence[Problem], written: Sequence[Template]) -> list[Example]:
        """Checks of the target's own solutions, right and wrong, to go among the templates (`templates.check_share`)."""
        share = self.templates.check_share
        if share == 0:
            return []
        attempts = lab.do(
            attempt, problems, lab.target(), lab.formats, lab.sampling, style=lab.style, name="checks.attempts"
        )
        mistakes = mistakes_of(lab, problems, attempts, name="checks.mistakes")
        traces = self.teacher_traces(lab, mistakes, name="checks.traces")
        return assemble.from_checks(
            problems,
            attempts,
            mistakes,
            traces,
            self.thoughts(lab),
            count=round(len(written) * share / (1 - share)),
            seed=lab.config.seed,
        )

    # The second phase

    def prefer(self, lab: Lab, mistakes: Sequence[Mistake], student: Adapter) -> Adapter:
        """The teacher's thoughts before the student's own, or the baseline that `preference.kind` names."""
        phase = self.preference
        teacher = self.teacher_traces(lab, mistakes)
        own = self.student_traces(lab, mistakes, student)
        if phase.kind != "check":
            own = self.student_thoughts(lab, mistakes, teacher, own, student)
        rows = self.pairs(lab, mistakes, teacher, own)
        if not rows:
            lab.note("No pair to train on: the student is the result.")
            return student
        if phase.kind == "sft":
            return finetune(lab, assemble.from_chosen(rows), phase.supervised(), student)
        return prefer(lab, rows, phase.training(), student)

    def teacher_traces(self, lab: Lab, mistakes: Sequence[Mistake], *, name: str = "traces") -> list[Trace]:
        """The teacher's traces of the mistakes: first wrong step, cause and correction, inspected."""
        thoughts, rounds = self.thoughts(lab), self.templates.inspector_rounds
        written = lab.do(trace, mistakes, self.teacher(lab), thoughts, name=name)
        if not rounds:
            return written
        inspector = self.teacher(lab).inspector(self.templates.inspector_model)
        return lab.do(
            inspect,
            written,
            mistakes,
            inspector,
            self.teacher(lab),
            thoughts,
            rounds=rounds,
            name=f"{name}.inspected",
        )

    def student_traces(
        self, lab: Lab, mistakes: Sequence[Mistake], adapter: Adapter, *, name: str = "student_traces"
    ) -> list[Trace]:
        """What the target itself says of its mistakes, without knowing the answer."""
        target = lab.target(adapter)
        return lab.do(student_traces, mistakes, target, self.thoughts(lab), self.sampling(lab), name=name)

    def student_thoughts(
        self,
        lab: Lab,
        mistakes: Sequence[Mistake],
        truths: Sequence[Trace],
        found: Sequence[Trace],
        adapter: Adapter,
    ) -> list[Trace]:
        """`found`, but where the student missed the step that `truths` name (and not by being right): told it, it says why."""
        step_of = {truth.mistake_id: truth.step for truth in truths}
        right = reaches_gold(found, mistakes, lab.style)
        kept = [one for one in found if right[one.id] or 0 < one.step == step_of.get(one.mistake_id)]
        settled = {one.mistake_id for one in kept}
        asked = [mistake for mistake in mistakes if mistake.id not in settled]
        if not asked:
            return kept
        target = lab.target(adapter)
        told = lab.do(student_thoughts, asked, truths, target, self.thoughts(lab), self.sampling(lab))
        return [*kept, *told]

    def pairs(
        self, lab: Lab, mistakes: Sequence[Mistake], teacher: Sequence[Trace], student: Sequence[Trace]
    ) -> list[Pair]:
        """Preference pairs: the teacher's thought beside the student's own, or what a baseline compares."""
        kind = "thought" if self.preference.kind == "sft" else self.preference.kind
        made = lab.do(pairs, mistakes, teacher, student, self.thoughts(lab), kind, style=lab.style)
        limit = self.preference.max_pairs
        if limit is not None and limit < len(made):
            lab.note(f"Training on {limit:,} of {len(made):,} pairs (recipe.preference.max_pairs), sampled by seed.")
            made = assemble.thin(made, limit, seed=lab.config.seed)
        return made

    # Evaluation

    def second_pass(self, lab: Lab, results: Results) -> Results:
        """With `eval.passes=2` also the outcomes after the target has looked at its solutions once more."""
        if lab.config.eval.passes != 2 or results.chosen is None:
            return results
        attempts_of = attempts_at_tests(lab, "after", results.chosen, self.thoughts(lab), self.sampling(lab))
        for name, attempts in attempts_of.items():
            second = lab.do(
                second_pass,
                lab.test(name),
                attempts,
                lab.target(results.chosen),
                self.thoughts(lab),
                self.sampling(lab),
                style=lab.style_of(name),
                way=lab.config.eval.second,
                name=f"second.after.{name}",
            )
            results.second[name] = outcomes(name, lab.test(name), second, {}, lab.style_of(name))
        return results

    def locate(self, lab: Lab, results: Results, student: Adapter) -> Results:
        """How often student and chosen adapter find the first wrong step of the student's mistakes on the first test
        set, and correct it. Costs a teacher's trace per mistake, so `eval.diagnose=false` leaves it out."""
        adapter = results.chosen
        if not lab.config.eval.diagnose or adapter is None or not results.after:
            return results
        name = next(iter(lab.splits.tests))
        attempts = attempts_at_tests(lab, "student", student, self.thoughts(lab), self.sampling(lab))[name]
        mistakes = mistakes_of(lab, lab.test(name), attempts, self.thoughts(lab), name=f"{name}.mistakes")
        if not mistakes:
            return results
        truths = self.teacher_traces(lab, mistakes, name=f"{name}.truths")
        whose = {"student": student} if adapter.hash == student.hash else {"student": student, "adapter": adapter}
        for label, one in whose.items():
            traces = self.student_traces(lab, mistakes, one, name=f"{name}.traces.{label}")
            results.located[label] = locate(mistakes, truths, traces, style=lab.style_of(name)) | {"set": name}
        return results

    # How it asks

    def teacher(self, lab: Lab) -> Author:
        """The teacher, as the author of templates and traces: `complaints` saw to it that it is one."""
        return cast(Author, lab.teacher)

    def thoughts(self, lab: Lab) -> Thoughts:
        """The target's prompts and responses for templates and checks."""
        return Thoughts("plain" if lab.config.prompt_style == "plain" else "alpaca", self.templates.style)

    def sampling(self, lab: Lab) -> Sampling:
        """Templates and checks are decoded greedily, with room for them."""
        return Sampling(max_new_tokens=self.templates.max_new_tokens or lab.config.model.max_new_tokens)

    def phases(self) -> dict[str, Hyperparameters]:
        second = {} if self.preference.kind == "none" else {"recipe.preference": self.preference}
        return {**super().phases(), **second}

    def check(self, config: Config) -> None:
        super().check(config)
        if isinstance(config.teacher, AuthorChoice) and self.templates.inspector_rounds:
            config.teacher.check_inspector(self.templates.inspector_model)

    def complaints(self, config: Config) -> Iterator[str]:
        first, second = self.training, self.preference
        phases = {"recipe.training": first, "recipe.preference": second}
        if not config.trainer.enabled:
            yield f"recipe={self.name} goes on from what it trains, so trainer=none leaves nothing to do; choose another"
        if self.templates.share in (0, 1):
            yield (
                f"recipe.templates.share={self.templates.share}: must be between 0 and 1, so that both phases have problems"
            )
        if self.templates.check_share == 1:
            yield "recipe.templates.check_share=1 leaves no room for templates"
        for key, phase in phases.items():
            yield from phase_complaints(phase, key)
        yield from checkpoint_complaints(config.eval.select, phases)
        keys = ["method", *(["rank", "alpha", "dropout", "target_modules"] if first.method == "lora" else [])]
        for key in keys if second.kind != "none" else []:
            if getattr(second, key) != getattr(first, key):
                yield (
                    f"recipe.preference.{key}={getattr(second, key)}: the second phase goes on with what the first has "
                    f"trained, so give it recipe.training.{key}={getattr(first, key)}"
                )
        if not can(config.teacher, Author) or not isinstance(config.teacher, AuthorChoice):
            yield f"teacher={config.teacher.name} writes no templates and traces: recipe={self.name} needs one that does"
        else:
            yield from config.teacher.inspector_complaints(self.templates.inspector_model)

    def prompts(self, lab: Lab) -> Iterator[tuple[str, str]]:
        problem = lab.splits.train[0]
        yield "attempts", self.thoughts(lab).solve(problem.question)
        yield "student_traces", self.thoughts(lab).check(problem.question, ["(step 1)", "(step 2)"])

    def work(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[Generated | Trained]:
        work, wanted = Work(lab), self.templates
        taught = round(wanted.share * len(lab.splits.train))
        probed = len(lab.splits.train) - taught
        wrong = probed if mistakes is None else len(mistakes)
        if wanted.check_share:
            yield work.attempts("attempts for checks", taught)
        rows = min(round(taught / (1 - min(wanted.check_share, 0.99))), self.max_examples or 10**12)
        yield work.training(
            "recipe.training", self.training, rows, longer=work.solution
        )  # templates are about twice as long
        yield work.attempts("attempts", probed)
        if self.preference.kind != "none":
            yield work.attempts("the student's traces and thoughts", 2 * wrong, longer=work.solution)
            yield work.training("recipe.preference", self.preference, min(wrong, self.preference.max_pairs or wrong))
        yield from super().work(lab, mistakes)

    def calls(self, lab: Lab, mistakes: Sequence[Mistake] | None) -> Iterator[costs.Asked]:
        yield from costs.Teacher.of(lab, mistakes).thoughts(self.templates)
