"""What a run would do: the machine it needs, the stages to come, the prompts as they would be sent, and the cost.

Place in the flow: `sei.run` refuses with `check_machine` what this machine cannot do, and shows `plan` instead of running
where `dry_run=true`. A plan computes nothing, asks nobody and needs no key; what is in the cache already is counted. The flow
itself is not told here: the plan runs the recipe until the first stage that is not in the cache, and asks it for its calls.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.table import Table

from sei import fit
from sei.config import Config, Origin
from sei.data.sources import SOURCES, load_tests, stand_ins
from sei.data.splits import Splits
from sei.errors import UserError
from sei.lab import Lab
from sei.prospect import Nearby, nearest, show_needs, show_work
from sei.recipes.costs import Asked
from sei.stages.assemble import from_problems
from sei.target.engine import Hosts, Replays
from sei.target.hub import hub_answers, missing_weights
from sei.target.machine import found_memory
from sei.target.shape import cached_snapshot
from sei.tracking.display import Display, print_table
from sei.training import liger
from sei.workspace import NotComputed, Workspace


def check_machine(config: Config, nearby: Nearby | None = None) -> None:
    """Refuse at once what this machine cannot run, with everything that is missing, and the nearest command that runs.

    The hub may be asked for its list of files. `nearby`: see `plan`.
    """
    if missing := list(what_is_missing(config, ask=True)):
        lines = "\n".join(f"  - {one}" for one in missing)
        instead = nearest(config, nearby, _runs(online=hub_answers())) if nearby else ""
        raise UserError(
            f"model={config.model.name} with recipe={config.recipe.name} cannot run here:\n{lines}"
            + (f"\nNearest command that runs here: {instead}" if instead else "")
        )


def what_is_missing(config: Config, *, ask: bool) -> Iterator[str]:
    """What this machine lacks for the run: keys, memory, weights, room on the disk, problem sets."""
    for check in (lambda: config.recipe.check(config), config.engine.check):
        try:
            check()
        except UserError as error:
            yield str(error)
    yield from (said for _, said in config.eval.missing_sets(config.data))
    if isinstance(config.engine, Replays):
        return
    memory = found_memory()
    yield from fit.device_complaints(config, memory)
    if (said := fit.complaint(config, memory)) or (said := fit.disk_complaint(config)):
        yield said
    yield from fit.optimizer_complaints(config, memory)
    if config.trainer.enabled and config.trainer.liger and (said := liger.complaint(on_gpu=fit.on_gpu(config, memory))):
        yield said
    yield from fit.source_complaints(config, memory)
    model = config.model
    if said := missing_weights(model.path, model.revision, gated=model.gated, ask=ask):
        yield f"weights: {said}"
    for key, source in config.recipe.other_models():
        if said := missing_weights(source.path, source.revision, gated=source.gated, ask=ask):
            yield f"weights: {key}: {said.replace('model.revision', f'{key}.revision').replace('model.path', f'{key}.path')}"


def announce_engine(lab: Lab) -> None:
    """Say what an engine with processes of its own will start. Raises UserError where it could not."""
    if isinstance(lab.config.engine, Hosts):
        for line in lab.config.engine.announce(lab.weights()):
            lab.note(line)


def _engine_not_started(lab: Lab) -> list[str]:
    """Say what an engine with processes of its own would start; what it could not start, where it is there at all."""
    try:
        lab.config.engine.check()
    except UserError:  # said with all that is missing
        return []
    try:
        announce_engine(lab)
    except UserError as error:
        return [str(error)]
    return []


def plan(config: Config, display: Display, origin: Origin, nearby: Nearby | None = None) -> None:
    """Dry run: what is finished already, what would come, the prompts as they would be sent, the cost, and what is missing.

    `origin` names the ablation and the experiment; `nearby` gives command lines near this one, see `sei.compose.nearby`.
    """
    missing = list(what_is_missing(config, ask=False))
    done = Workspace(Path("."), config.cache_dir, compute=False, on_stage=display.stage, on_note=display.note)
    with Lab(config, done, display) as lab:
        with _without_waiting(config):
            missing += _engine_not_started(lab)
            unread = _stand_in(lab, display)
        train, tests = lab.splits.train, lab.splits.tests
        sizes = ", ".join(f"{name} {len(lab.test(name)):,}" for name in tests)
        teacher = f", teacher {config.teacher.name}" if "teacher" in config.recipe.uses else ""
        about = f"recipe {config.recipe.name}, model {config.model.name}{teacher}"
        display.note(f"Plan: {about}, ablation {origin.ablation}, experiment {origin.experiment}, seed {config.seed}")
        left_out = f" ({len(lab.splits.unread):,} rows are no problems and left out)" if lab.splits.unread else ""
        display.note(f"Problems: train {len(train):,}{left_out}; tests: {sizes or 'none'}\n")
        display.note(f"The method:\n{_boxed(_algorithm(config))}\n")
        display.note("Stages already in the cache:")
        try:
            config.recipe.run(lab)
            display.note("all of them: the run would only print its report")
        except NotComputed as next_one:
            display.note(f"Next to compute: {next_one.stage}")
        if lab.trains:
            display.note(f"Before and after: evaluation on {sizes}")
        for stage, text in config.recipe.prompts(lab):
            display.note(f"\nPrompt of stage {stage}, filled:\n{_boxed(text)}")
        _describe_target(lab, display)
        mistakes = next((artifact.records for artifact in done.done if artifact.stage == "mistakes"), None)
        asked = list(config.recipe.calls(lab, mistakes))
        if asked:
            _show(asked, "Calls of the first round" + ("" if mistakes else ", at most"), lab, display)
        elif "teacher" in config.recipe.uses:
            display.note(f"\nTeacher: {config.teacher.name}; sends no prompt and costs nothing.")
        if not isinstance(config.engine, Replays):
            show_work(lab, mistakes, display)
    show_needs(config, display)
    missing += [said for said in unread.values() if said not in missing]
    if not missing:
        display.note("\nNothing is missing on this machine.")
        return
    display.note("\nMissing on this machine:\n" + "\n".join(f"  - {one}" for one in missing))
    if nearby is not None:
        display.note(f"Nearest command that runs here: {nearest(config, nearby, _runs(online=not unread)) or 'none'}")


@contextlib.contextmanager
def _without_waiting(config: Config) -> Iterator[None]:
    """Where the hub does not answer, what is in its cache is read at once, and the rest is not waited for."""
    if not _from_hub(config) or hub_answers():
        yield
        return
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    # They read the variable when they are imported, which an earlier job of a sweep may have done.
    readers = [sys.modules[name] for name in ("huggingface_hub.constants", "datasets.config") if name in sys.modules]
    values = [vars(reader)["HF_HUB_OFFLINE"] for reader in readers]
    try:
        for reader in readers:
            vars(reader)["HF_HUB_OFFLINE"] = True
        yield
    finally:
        for reader, value in zip(readers, values, strict=True):
            vars(reader)["HF_HUB_OFFLINE"] = value
        del os.environ["HF_HUB_OFFLINE"]
        if before is not None:
            os.environ["HF_HUB_OFFLINE"] = before


def _from_hub(config: Config) -> bool:
    """Whether problem sets are read from the hub."""
    sets = {name: config.eval.paths.get(name) for names in config.eval.sets.values() for name in names}
    sets[config.data.name] = getattr(config.data, "path", None)
    return any(name in SOURCES and path is None for name, path in sets.items())


def _runs(*, online: bool) -> Callable[[Config], bool]:
    """Whether a configuration lacks nothing here; what must come from the hub is lacking where that cannot be reached."""

    def runs(config: Config) -> bool:
        model = config.model.path
        local = (Path(model).is_dir() or cached_snapshot(model)) and not _from_hub(config)
        return (online or bool(local)) and not any(what_is_missing(config, ask=False))

    return runs


def _stand_in(lab: Lab, display: Display) -> dict[str, str]:
    """Read the problem sets; for published ones that cannot be read, put as many of another kind. Set -> what is wrong."""
    config = lab.config
    gone, unread = dict(config.eval.missing_sets(config.data)), dict[str, str]()
    try:
        data = config.data.load()
    except UserError as error:
        found = stand_ins(config.data.name, getattr(config.data, "path", None))
        if found is None:
            raise
        unread[config.data.name], data = str(error), found
    tests = dict(data.tests)
    for name in dict.fromkeys(name for names in config.eval.sets.values() for name in names if name not in tests):
        try:
            if unread and name not in config.eval.paths:  # the hub was asked once, and patience has an end
                raise UserError(f"test set {name}: not tried, as data={config.data.name} could not be read either.")
            tests |= load_tests([name], {key: path for key, path in config.eval.paths.items() if key == name})
        except UserError as error:
            found = stand_ins(name, config.eval.paths.get(name))
            if found is None:
                raise
            tests |= found.tests
            unread[name] = gone.get(name, str(error))
    if not unread:
        return unread
    wanted = list(dict.fromkeys(name for names in config.eval.sets.values() for name in names)) or list(data.tests)
    held = getattr(config.data, "validation", 0) if config.data.name in unread else 0
    train, validation = data.train[held:], data.validation or data.train[:held]
    lab.splits = Splits(train, validation, {name: tests[name] for name in wanted})
    display.note(
        f"Not read here: {', '.join(unread)}. Counted below as their published numbers of problems, with texts about as long "
        "as GSM8K's in their place."
    )
    return unread


def _describe_target(lab: Lab, display: Display) -> None:
    """Its tokens, as training and generation will see them."""
    from sei.training.describe import describe

    problem = lab.splits.train[0]
    row = from_problems([problem], lab.formats)[0]
    try:
        text = describe(
            lab.weights(), lab.formats.solve(problem.question), row, max_tokens=lab.config.recipe.training.max_tokens
        )
    except UserError as error:
        text = str(error)
    display.note(f"\nThe target, as it is asked and trained:\n{_boxed(text)}")


def _algorithm(config: Config) -> str:
    """The recipe's own words: the box in its module's docstring."""
    words = inspect.getdoc(sys.modules[type(config.recipe).__module__]) or ""
    return "\n".join(line for line in words.splitlines() if line.startswith("    ")) or words


def _show(planned: Sequence[Asked], title: str, lab: Lab, display: Display) -> None:
    """Calls, tokens and dollars by stage, and one filled prompt of each."""
    from sei.llm.shared import is_store, open_store

    table = Table(title=title)
    for column in ("stage", "model", "calls", "tokens in", "tokens out", "US dollars", "output length from"):
        left = column in ("stage", "model", "output length from")
        table.add_column(column, justify="left" if left else "right")
    store = open_store(lab.place.store) if is_store(lab.place.store) else None
    total: float | None = 0.0
    for one in planned:
        cost = one.estimate(store)
        total = None if total is None or cost.usd is None else total + cost.usd
        dollars = "price unknown" if cost.usd is None else f"{cost.usd:,.2f}"
        counts = (f"{cost.calls:,}", f"{cost.tokens_in:,}", f"{cost.tokens_out:,}")
        table.add_row(one.stage, one.model, *counts, dollars, cost.basis)
    table.add_row("in all", "", "", "", "", "" if total is None else f"{total:,.2f}", "")
    print_table(display.console, table)
    if store is not None:
        store.close()
    shown: set[str] = set()
    for one in planned:
        text = "\n\n".join(content for _, content in one.jobs[0].request.messages)
        if one.shows_prompt and text not in shown:
            display.note(f"\nPrompt of stage {one.stage}, filled:\n{_boxed(text)}")
        shown.add(text)


def _boxed(text: str) -> str:
    return "\n".join(f"  | {line}" for line in text.splitlines())
