"""What a run would do: the machine it needs, the stages to come, the prompts as they would be sent, and the cost.

Place in the flow: `sei.run` refuses with `check_machine` what this machine cannot do, and shows `plan` instead of running
where `dry_run=true`. A plan computes nothing, asks nobody and needs no key; what is in the cache already is counted. The flow
itself is not told here: the plan runs the recipe until the first stage that is not in the cache, and asks it for its calls.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from sei.config import Config
from sei.errors import UserError
from sei.lab import Lab
from sei.recipes.costs import Asked
from sei.target.engine import Hosts, Replays
from sei.tracking.display import Display, print_table
from sei.workspace import NotComputed, Workspace


def check_machine(config: Config, *, keys: bool = True) -> None:
    """Refuse at once what this machine cannot run; with `keys` also an API whose key is not there."""
    if keys:
        config.recipe.check(config)
    config.engine.check()
    if isinstance(config.engine, Replays):
        return
    from sei.target.load import check_fits

    check_fits(
        config.model.name,
        config.model.path,
        config.model.parameters_billion,
        quantization=config.model.quantization,
        method=config.recipe.training.method,
        train=config.trainer.enabled,
        accelerator=config.trainer.accelerator,
        sharded=config.trainer.sharded,
        gated=config.model.gated,
    )


def announce_engine(lab: Lab) -> None:
    """Say what an engine with processes of its own will start. Raises UserError where it could not."""
    if isinstance(lab.config.engine, Hosts):
        for line in lab.config.engine.announce(lab.weights()):
            lab.note(line)


def plan(config: Config, display: Display) -> None:
    """Dry run: what is finished already, what would come, the prompts as they would be sent, and the cost."""
    done = Workspace(Path("."), config.cache_dir, compute=False, on_stage=display.stage, on_note=display.note)
    with Lab(config, done, display) as lab:
        try:
            check_machine(config, keys=False)
            announce_engine(lab)
        except UserError as error:
            display.note(f"This machine cannot run it:\n{error}\n")
        train, tests = lab.splits.train, lab.splits.tests
        sizes = ", ".join(f"{name} {len(lab.test(name)):,}" for name in tests)
        display.note(f"Plan: recipe {config.recipe.name}, model {config.model.name}, teacher {config.teacher.name}")
        display.note(f"Problems: train {len(train):,}; tests: {sizes or 'none'}\n")
        display.note(f"The method:\n{_boxed(_algorithm(config))}\n")
        display.note("Stages already in the cache:")
        try:
            config.recipe.run(lab)
            display.note("all of them: the run would only print its report")
        except NotComputed as missing:
            display.note(f"Next to compute: {missing.stage}")
        if lab.trains:
            display.note(f"Before and after: evaluation on {sizes}")
        for stage, text in config.recipe.prompts(lab):
            display.note(f"\nPrompt of stage {stage}, filled:\n{_boxed(text)}")
        mistakes = next((artifact.records for artifact in done.done if artifact.stage == "mistakes"), None)
        asked = list(config.recipe.calls(lab, mistakes))
        if asked:
            _show(asked, "Calls of the first round" + ("" if mistakes else ", at most"), lab, display)
        elif "teacher" in config.recipe.uses:
            display.note(f"\nTeacher: {config.teacher.name}; sends no prompt and costs nothing.")


def _algorithm(config: Config) -> str:
    """The recipe's own words: the box in its module's docstring."""
    words = inspect.getdoc(sys.modules[type(config.recipe).__module__]) or ""
    return "\n".join(line for line in words.splitlines() if line.startswith("    ")) or words


def _show(planned: Sequence[Asked], title: str, lab: Lab, display: Display) -> None:
    """Calls, tokens and dollars by stage, and one filled prompt of each."""
    from sei.llm.store import Store

    table = Table(title=title)
    for column in ("stage", "model", "calls", "tokens in", "tokens out", "US dollars", "output length from"):
        left = column in ("stage", "model", "output length from")
        table.add_column(column, justify="left" if left else "right")
    store = Store(lab.place.store) if lab.place.store.exists() else None
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
