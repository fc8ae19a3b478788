"""What a plan says of machines: GPU-hours, memory and disk, and the nearest command line that runs here.

Place in the flow: `sei.plan` prints these for a dry run, and names the nearest command where a run is refused.

Example::

    nearest(config, nearby, fits=lambda one: not list(what_is_missing(one)))     # "python train.py model=tiny recipe=sei"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from rich.table import Table

from sei import fit
from sei.config import Config
from sei.errors import UserError
from sei.gpu_hours import GPU, RATES, generation_hours, training_hours
from sei.lab import Lab
from sei.recipes.work import Generated
from sei.records import Mistake
from sei.target.hub import missing_weights
from sei.target.machine import found_memory, free_disk
from sei.tracking.display import Display, print_table

Nearby = Callable[[Sequence[str], float], Iterator[tuple[str, Callable[[], Config]]]]
"""(words to add, the largest model in billions) -> command lines, nearest first, each with what composes it."""


def show_work(lab: Lab, mistakes: Sequence[Mistake] | None, display: Display) -> None:
    """What the target generates and trains on, and GPU-hours from stated rates."""
    work, shape = list(lab.config.recipe.work(lab, mistakes)), fit.shape(lab.config)
    table = Table(
        title=f"The target's work in all rounds, and GPU-hours of one {GPU} (an estimate: sei/gpu_hours.py has its rates)"
    )
    table.add_column("work")
    for column in ("completions", "tokens in", "tokens out", *(rate.name for rate in RATES)):
        table.add_column(column, justify="right")
    totals = [0.0] * len(RATES)
    for one in work:
        if isinstance(one, Generated):
            hours = [generation_hours(shape, one, rate) for rate in RATES]
            tokens = (f"{one.completions * one.tokens_in:,}", f"{one.completions * one.tokens_out:,}")
            cells = [one.stage, f"{one.completions:,}", *tokens]
        else:
            hours = [training_hours(shape, one)] * len(RATES)
            cells = [f"training, {one.key}", "", f"{one.tokens + one.scored:,}", ""]
        totals = [total + hour for total, hour in zip(totals, hours, strict=True)]
        table.add_row(*cells, *(f"{hour:,.2f}" for hour in hours))
    table.add_row("in all", "", "", "", *(f"{total:,.2f}" for total in totals))
    print_table(display.console, table)


def show_needs(config: Config, display: Display) -> None:
    """Memory of each device by phase, and disk."""
    memory = found_memory()
    wanted, model = fit.needs(config, memory), config.model
    table = Table(title=f"Memory of each {'GPU' if wanted.on_gpu else 'process'}, about, in GiB. {memory}")
    for column in ("phase", "in all", "of it"):
        table.add_column(column, justify="right" if column == "in all" else "left")
    for key, parts in wanted.phases.items():
        table.add_row(key, f"{sum(parts.values()):,.1f}", _listed(parts))
    for key, needed in fit.source_needs(config, memory).items():
        table.add_row(
            key, f"{sum(needed.values()):,.1f}" if needed else "?", _listed(needed) if needed else "size unknown"
        )
    here = not missing_weights(model.path, model.revision, gated=True)
    disk = fit.disk(config, downloaded=here)
    table.add_row("disk", f"{sum(disk.values()):,.1f}", f"{_listed(disk)}; free: {free_disk(config.cache_dir):,.0f}")
    print_table(display.console, table)


def _listed(parts: fit.Parts) -> str:
    return ", ".join(f"{part} {value:,.1f}" for part, value in parts.items() if value >= 0.05) or "next to nothing"


def nearest(config: Config, nearby: Nearby, fits: Callable[[Config], bool]) -> str:
    """The first command line near this one that `fits`, "" where none does."""
    memory = found_memory()
    words = [*((fit.fitting(config, memory) or ((), 0.0))[0]), *_without_missing_sets(config)]
    if not fit.on_gpu(config, memory):
        words += [
            f"{key}.optimizer=adamw"
            for key, phase in config.recipe.phases().items()
            if phase.optimizer.startswith("paged") and config.trainer.enabled
        ]
    for line, compose in nearby(words, fit.largest(memory)):
        try:
            candidate = compose()
        except UserError:
            continue
        if fits(candidate):
            return f"python train.py {line}"
    return ""


def _without_missing_sets(config: Config) -> Iterator[str]:
    """The test sets that can be had, where not all can."""
    missing = {name for name, _ in config.eval.missing_sets(config.data)}
    for domain, names in config.eval.sets.items():
        if (left := [name for name in names if name not in missing]) and len(left) < len(names):
            yield f"eval.sets.{domain}=[{','.join(left)}]"
