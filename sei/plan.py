"""What a run would do: the machine it needs, the stages to come, the prompts as they would be sent, and the cost.

Place in the flow: `sei.run` refuses with `check_machine` what this machine cannot do, and shows `plan` instead of running
where `dry_run=true`. A plan computes nothing, asks nobody and needs no key; what is in the cache already is counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig
from rich.table import Table

from sei.errors import UserError
from sei.recipes import RECIPES
from sei.recipes.kit import Kit
from sei.recipes.resources import api_settings, source_settings
from sei.records import Diagnosis, Mistake, Problem, Trace, content_id
from sei.teacher.base import Seed, SynthesisRequest
from sei.templates import make_trace
from sei.tracking.display import Display
from sei.workspace import NotComputed, Workspace

if TYPE_CHECKING:
    from sei.teacher.api.client import ApiSettings
    from sei.teacher.api.roles import Job

_SAMPLE = 50  # records whose filled prompts stand for a stage's mean
_PHRASES_PER_CALL = 100  # as sei.clustering.llm.Llm.batch
_ATTEMPTS = "attempts by"  # so begin the stages that ask other models than the teacher


def check_machine(config: DictConfig) -> None:
    """Refuse at once what this machine cannot run, and an API teacher without its key."""
    if config.teacher.kind == "api" and not config.dry_run and config.recipe.name != "cot":
        from sei.teacher.api.client import api_key

        api_key(api_settings(config.teacher))
    if not config.dry_run:
        for _, source in api_sources(config):
            from sei.teacher.api.client import api_key

            api_key(source_settings(source, config.teacher.budget_usd))
    if config.engine.kind == "recorded":
        return
    if config.engine.device.startswith("cuda"):
        import torch

        if not torch.cuda.is_available():
            raise UserError(
                f"engine.device={config.engine.device}: this machine has no GPU that torch sees. Set engine.device=auto"
            )
    from sei.target.load import check_fits

    check_fits(
        config.model.name,
        config.model.path,
        config.model.parameters_billion,
        quantization=config.model.quantization.name,
        method=config.recipe.training.method,
        train=config.trainer.kind != "none",
        accelerator=config.trainer.accelerator,
        sharded="fsdp" in config.trainer.strategy or "deepspeed" in config.trainer.strategy,
        gated=config.model.gated,
    )


def plan(config: DictConfig, display: Display) -> None:
    """Dry run: what is finished already, what would come, the prompts as they would be sent, and the cost."""
    try:
        check_machine(config)
    except UserError as error:
        display.note(f"This machine cannot run it:\n{error}\n")
    done = Workspace(Path("."), Path(config.cache_dir), compute=False, on_stage=display.stage, on_note=display.note)
    kit = Kit(config, done, display)
    recipe = RECIPES[config.recipe.name]
    train, tests = kit.splits.train, kit.splits.tests
    sizes = ", ".join(f"{name} {len(problems[: config.eval.limit]):,}" for name, problems in tests.items())
    display.note(f"Plan: recipe {config.recipe.name}, model {config.model.name}, teacher {config.teacher.name}")
    display.note(f"Problems: train {len(train):,}; tests: {sizes or 'none'}\n")
    display.note("Stages already in the cache:")
    try:
        recipe.run(kit)
        display.note("all of them: the run would only print its report")
    except NotComputed as missing:
        display.note(f"Next to compute: {missing.stage}. A round: {' -> '.join(recipe.STEPS)}")
    if kit.trains:
        display.note(f"Before and after: evaluation on {sizes}")
    display.note(f"\nPrompt of stage attempts, filled:\n{_boxed(kit.formats.solve(train[0].question))}")
    if "selected" in recipe.STEPS and config.recipe.selection.enabled:
        text = kit.formats.one_shot(train[0].question, train[0].solution, train[-1].question)
        display.note(f"\nPrompt of stage selected, filled (example and question stand in):\n{_boxed(text)}")
    asked = any(step in recipe.STEPS for step in ("diagnoses", "corrections", "synthetic", "templates"))
    if asked and config.teacher.kind == "symbolic":
        display.note("\nTeacher: symbolic; works from arithmetic annotations, sends no prompt, costs nothing.")
        asked = False
    if asked or api_sources(config):
        mistakes = next((artifact.records for artifact in done.done if artifact.stage == "mistakes"), None)
        calls = _Calls.of(config, kit, recipe.STEPS, mistakes)
        planned = [*(calls.by_recipe() if asked else ()), *calls.by_sources()]
        whom = f"Teacher {config.teacher.model}" if asked else "Served models"
        _show(planned, f"{whom}, first round{'' if mistakes else ': at most'}", config, kit, display)


def api_sources(config: DictConfig) -> list[tuple[str, DictConfig]]:
    """The sources of attempts that are asked over an API, with the key that names them."""
    names = {"mistake_sources"} if config.recipe.name == "correction" else set()
    if config.recipe.name in ("cot", "correction"):
        names.add("path_sources")
    return [(name, source) for name in sorted(names) for source in config.recipe[name] if source.kind == "api"]


@dataclass(frozen=True)
class _Planned:
    """What one stage of the first round asks: `calls` calls, of which `jobs` are a sample with one prompt."""

    stage: str
    jobs: Sequence[Job[Any]]
    calls: int
    settings: ApiSettings


@dataclass(frozen=True)
class _Calls:
    """Counts the calls of the first round.

    While the mistakes are not known, every training problem counts as one (so the figures are upper bounds), and gold
    solutions stand in for wrong ones in the prompts.
    """

    config: DictConfig
    kit: Kit
    steps: Sequence[str]  # of the recipe
    attempts: int  # at each problem, from all sources: so many mistakes it may give
    mistakes: int
    sample: Sequence[Mistake]

    @classmethod
    def of(cls, config: DictConfig, kit: Kit, steps: Sequence[str], mistakes: Sequence[Mistake] | None) -> _Calls:
        attempts = sum(source.samples for source in config.recipe.mistake_sources) if "corrections" in steps else 1
        number = len(kit.splits.train) * attempts if mistakes is None else len(mistakes)
        sample = (mistakes or [_stand_in(problem) for problem in kit.splits.train])[:_SAMPLE]
        return cls(config, kit, steps, attempts, number, sample)

    def by_recipe(self) -> Iterator[_Planned]:
        """What the recipe asks the teacher, in the order of the table."""
        steps = self.steps
        if "diagnoses" in steps:
            yield from self._of_mistakes()
        if "error_types" in steps:
            yield from self._types()
        if "templates" in steps:
            yield from self._thoughts()
        if "corrections" in steps and self.config.recipe.evolution.strategy != "none":
            yield from self._evolution()
        if "synthetic" in steps:
            yield from self._synthesis()

    def by_sources(self) -> Iterator[_Planned]:
        """What served models are asked that make attempts."""
        for name, source in api_sources(self.config):
            settings = source_settings(source, self.config.teacher.budget_usd)
            # asked with the target's prompt, which is about as long as the teacher's
            calls = len(self.kit.splits.train) * source.samples
            yield _Planned(f"{_ATTEMPTS} {source.model}, {name}", self._solutions, calls, settings)

    def _asked(self, stage: str, jobs: Sequence[Job[Any]], calls: int) -> _Planned:
        return _Planned(stage, jobs, calls, api_settings(self.config.teacher))

    @cached_property
    def _solutions(self) -> list[Job[Any]]:
        return [self.kit.roles.solve(mistake.question, mistake.id) for mistake in self.sample]

    @cached_property
    def _diagnoses(self) -> list[Job[Any]]:
        return [self.kit.roles.diagnose(mistake) for mistake in self.sample]

    @cached_property
    def _corrections(self) -> list[Job[Any]]:
        blank = [Diagnosis(mistake.id, mistake.id, 0, "", (), "") for mistake in self.sample]
        return [self.kit.roles.correct(*pair) for pair in zip(self.sample, blank, strict=True)]

    def _of_mistakes(self) -> Iterator[_Planned]:
        yield self._asked("diagnoses", self._diagnoses, self.mistakes)
        if "error_types" in self.steps and self.kit.trains and self.config.eval.diagnose:
            limit = self.config.eval.limit
            tested = sum(len(problems[:limit]) for problems in self.kit.splits.tests.values())
            yield self._asked("diagnoses of test mistakes", self._diagnoses, 2 * tested)
        if "corrections" in self.steps:
            yield self._asked("corrections", self._corrections, self.mistakes)

    def _types(self) -> Iterator[_Planned]:
        clustering, roles = self.config.clustering, self.kit.roles
        if clustering.kind == "llm":  # as if every mistake had a keyphrase of its own
            shown = min(self.mistakes, _PHRASES_PER_CALL)
            phrases = [f"stand-in keyphrase for the error of mistake {n}" for n in range(shown)]
            grouped = -(-self.mistakes // _PHRASES_PER_CALL)
            jobs: list[Job[Any]] = [roles.group_phrases(phrases, (), divide=False, sample=0)]
            yield self._asked("error_types", jobs, grouped + 1)  # the last one merges
        elif clustering.kind == "hybrid":
            jobs = [roles.name_type("cluster", ["stand-in keyphrase for an error"] * 12, [])]
            yield self._asked("error_types", jobs, clustering.max_types + 1)

    def _thoughts(self) -> Iterator[_Planned]:
        options, splits, roles = self.config.recipe.templates, self.kit.splits, self.kit.roles
        problems = splits.train
        taught = round(options.share * len(problems))
        yield self._asked("templates", [roles.template(problem) for problem in problems[:_SAMPLE]], taught)
        checked = taught if options.check_share else 0
        first_set = next(iter(splits.tests.values()))
        located = len(first_set[: self.config.eval.limit]) if self.config.eval.diagnose else 0
        traced = len(problems) - taught + checked + located
        yield self._asked("traces", [roles.trace(mistake, gold=True) for mistake in self.sample], traced)
        if options.inspector_rounds:  # as if everything were right at the first look
            looks = [roles.inspect_trace(mistake, _blank_trace(mistake)) for mistake in self.sample]
            asked = self._asked("inspections", looks, taught + traced)
            if options.inspector_model:
                settings = dataclasses.replace(asked.settings, model=options.inspector_model, price=None)
                asked = dataclasses.replace(asked, settings=settings)
            yield asked

    def _evolution(self) -> Iterator[_Planned]:
        evolution = self.config.recipe.evolution
        probed = evolution.seeds * self.attempts
        jobs = [self.kit.roles.evolve(mistake.question, mistake.id) for mistake in self.sample]
        yield self._asked("evolved", jobs, evolution.seeds)
        yield self._asked("answers of evolved", self._solutions, evolution.seeds * evolution.samples)
        yield self._asked("diagnoses of evolved", self._diagnoses, probed)
        yield self._asked("corrections of evolved", self._corrections, probed)

    def _synthesis(self) -> Iterator[_Planned]:
        synthesis = self.config.recipe.synthesis
        jobs = [self.kit.roles.synthesize(_request(self.sample, self.config))]
        yield self._asked("synthetic", jobs, -(-synthesis.budget // synthesis.per_call))
        if synthesis.verify_samples:
            yield self._asked("verified", self._solutions, synthesis.budget * synthesis.verify_samples)


def _show(planned: Sequence[_Planned], title: str, config: DictConfig, kit: Kit, display: Display) -> None:
    """Calls, tokens and dollars by stage, and one filled prompt of each."""
    from sei.teacher.api.store import Store
    from sei.teacher.api.teacher import estimate

    table = Table(title=title)
    for column in ("stage", "calls", "tokens in", "tokens out", "US dollars", "output length from"):
        table.add_column(column, justify="left" if column in ("stage", "output length from") else "right")
    path = Path(config.cache_dir) / "teacher.sqlite"
    store = Store(path) if path.exists() else None
    total: float | None = 0.0
    for one in planned:
        cost = estimate(one.jobs, one.settings, kit.roles, calls=one.calls, store=store)
        total = None if total is None or cost.usd is None else total + cost.usd
        dollars = "no price known" if cost.usd is None else f"{cost.usd:,.2f}"
        table.add_row(one.stage, f"{cost.calls:,}", f"{cost.tokens_in:,}", f"{cost.tokens_out:,}", dollars, cost.basis)
    table.add_row("in all", "", "", "", "" if total is None else f"{total:,.2f}", "")
    display.console.print(table)
    for one in planned:
        if one.stage.startswith(_ATTEMPTS):
            continue  # their prompt is that of stage attempts
        text = "\n\n".join(content for _, content in one.jobs[0].request.messages)
        display.note(f"\nPrompt of stage {one.stage}, filled:\n{_boxed(text)}")


def _stand_in(problem: Problem) -> Mistake:
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


def _request(mistakes: Sequence[Mistake], config: DictConfig) -> SynthesisRequest:
    synthesis = config.recipe.synthesis
    shown = mistakes[: synthesis.mistakes_shown + synthesis.synthesized_shown]
    seeds = tuple(Seed(item.id, item.question, item.gold_solution, item.gold_answer) for item in shown)
    return SynthesisRequest("type", "(name of the type)", "(its description)", (), seeds, (), synthesis.per_call, 0)


def _boxed(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
