"""What a run would do: the machine it needs, the stages to come, the prompts as they would be sent, and the cost.

Place in the flow: `sei.run` refuses with `check_machine` what this machine cannot do, and shows `plan` instead of running
where `dry_run=true`. A plan computes nothing, asks nobody and needs no key; what is in the cache already is counted.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
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

_SAMPLE = 50  # records whose filled prompts stand for a stage's mean
_PHRASES_PER_CALL = 100  # as sei.clustering.llm.Llm.batch


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
    sizes = ", ".join(f"{name} {len(problems):,}" for name, problems in tests.items())
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
    if asked or api_sources(config):
        mistakes = next((artifact.records for artifact in done.done if artifact.stage == "mistakes"), None)
        _plan_teacher(config, kit, recipe.STEPS, mistakes, display)


def api_sources(config: DictConfig) -> list[tuple[str, DictConfig]]:
    """The sources of attempts that are asked over an API, with the key that names them."""
    names = {"mistake_sources"} if config.recipe.name == "correction" else set()
    if config.recipe.name in ("cot", "correction"):
        names.add("path_sources")
    return [(name, source) for name in sorted(names) for source in config.recipe[name] if source.kind == "api"]


def _plan_teacher(
    config: DictConfig, kit: Kit, steps: Sequence[str], mistakes: list[Mistake] | None, display: Display
) -> None:
    """Calls, tokens and dollars of the first round by stage, and one filled prompt of each.

    While the mistakes are not known, every training problem counts as one (so the figures are upper bounds), and gold
    solutions stand in for wrong ones in the prompts.
    """
    if config.teacher.kind == "symbolic":
        display.note("\nTeacher: symbolic; works from arithmetic annotations, sends no prompt, costs nothing.")
        if not api_sources(config):
            return
        steps = ()
    from sei.teacher.api.store import Store
    from sei.teacher.api.teacher import estimate

    roles, settings = kit.roles, api_settings(config.teacher)
    attempts = sum(source.samples for source in config.recipe.mistake_sources) if "corrections" in steps else 1
    number = len(kit.splits.train) * attempts if mistakes is None else len(mistakes)
    sample = (mistakes or [_stand_in(problem) for problem in kit.splits.train])[:_SAMPLE]
    synthesis = config.recipe.synthesis
    stages: dict[str, tuple[list[Any], int]] = {}
    asked: dict[str, ApiSettings] = {}  # stages that do not ask the teacher
    if "diagnoses" in steps:
        stages["diagnoses"] = ([roles.diagnose(mistake) for mistake in sample], number)
    if "error_types" in steps and kit.trains and config.eval.diagnose:
        tested = sum(len(problems[: config.eval.limit]) for problems in kit.splits.tests.values())
        stages["diagnoses of test mistakes"] = ([roles.diagnose(mistake) for mistake in sample], 2 * tested)
    if "corrections" in steps:
        blank = [Diagnosis(mistake.id, mistake.id, 0, "", (), "") for mistake in sample]
        stages["corrections"] = ([roles.correct(*pair) for pair in zip(sample, blank, strict=True)], number)
    clustering = config.clustering
    if "error_types" in steps and clustering.kind == "llm":  # as if every mistake had a keyphrase of its own
        phrases = [f"stand-in keyphrase for the error of mistake {n}" for n in range(min(number, _PHRASES_PER_CALL))]
        stages["error_types"] = (
            [roles.group_phrases(phrases, (), divide=False, sample=0)],
            -(-number // _PHRASES_PER_CALL) + 1,
        )  # the last one merges
    elif "error_types" in steps and clustering.kind == "hybrid":
        stages["error_types"] = (
            [roles.name_type("cluster", ["stand-in keyphrase for an error"] * 12, [])],
            clustering.max_types + 1,
        )
    if "templates" in steps:
        options, problems = config.recipe.templates, kit.splits.train
        taught = round(options.share * len(problems))
        stages["templates"] = ([roles.template(problem) for problem in problems[:_SAMPLE]], taught)
        checked = taught if options.check_share else 0
        located = len(next(iter(kit.splits.tests.values()))[: config.eval.limit]) if config.eval.diagnose else 0
        traced = len(problems) - taught + checked + located
        stages["traces"] = ([roles.trace(mistake, gold=True) for mistake in sample], traced)
        if options.inspector_rounds:  # as if everything were right at the first look
            looks = [roles.inspect_trace(mistake, _blank_trace(mistake)) for mistake in sample]
            stages["inspections"] = (looks, taught + traced)
            if options.inspector_model:
                asked["inspections"] = dataclasses.replace(settings, model=options.inspector_model, price=None)
    evolution = config.recipe.evolution
    if "corrections" in steps and evolution.strategy != "none":
        stages["evolved"] = ([roles.evolve(mistake.question, mistake.id) for mistake in sample], evolution.seeds)
        stages["answers of evolved"] = (
            [roles.solve(mistake.question, mistake.id) for mistake in sample],
            evolution.seeds * evolution.samples,
        )
        stages["diagnoses of evolved"] = (stages["diagnoses"][0], evolution.seeds * attempts)
        stages["corrections of evolved"] = (stages["corrections"][0], evolution.seeds * attempts)
    if "synthetic" in steps:
        stages["synthetic"] = ([roles.synthesize(_request(sample, config))], -(-synthesis.budget // synthesis.per_call))
        if synthesis.verify_samples:
            solutions = [roles.solve(mistake.question, mistake.id) for mistake in sample]
            stages["verified"] = (solutions, synthesis.budget * synthesis.verify_samples)
    table = Table(title=f"Teacher {settings.model}, first round{'' if mistakes else ': at most'}")
    for column in ("stage", "calls", "tokens in", "tokens out", "US dollars", "output length from"):
        table.add_column(column, justify="left" if column in ("stage", "output length from") else "right")
    path = Path(config.cache_dir) / "teacher.sqlite"
    store = Store(path) if path.exists() else None
    total: float | None = 0.0
    for name, source in api_sources(config):  # asked with the target's prompt, which is about as long as the teacher's
        stage = f"attempts by {source.model}, {name}"
        solutions = [roles.solve(mistake.question, mistake.id) for mistake in sample]
        stages[stage] = (solutions, len(kit.splits.train) * source.samples)
        asked[stage] = source_settings(source, config.teacher.budget_usd)
    for stage, (jobs, calls) in stages.items():
        cost = estimate(jobs, asked.get(stage, settings), roles, calls=calls, store=store)
        total = None if total is None or cost.usd is None else total + cost.usd
        dollars = "no price known" if cost.usd is None else f"{cost.usd:,.2f}"
        table.add_row(stage, f"{cost.calls:,}", f"{cost.tokens_in:,}", f"{cost.tokens_out:,}", dollars, cost.basis)
    table.add_row("in all", "", "", "", "" if total is None else f"{total:,.2f}", "")
    display.console.print(table)
    for stage, (jobs, _) in stages.items():
        if stage.startswith("attempts by"):
            continue  # their prompt is that of stage attempts
        text = "\n\n".join(content for _, content in jobs[0].request.messages)
        display.note(f"\nPrompt of stage {stage}, filled:\n{_boxed(text)}")


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
