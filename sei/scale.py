"""How long a run would take on other machines and at other sizes, and what would limit it: `python -m sei.scale`.

Place in the flow: before machines are booked, or a teacher's limits are raised. Two ways to know how fast things go:

- stated rates: the target's work and the teacher's calls are those of a dry run (`recipe.work`, `recipe.calls`), GPU-seconds are
  those of `sei.gpu_hours`, what runs over all records is what `benchmarks/growth.py` and `benchmarks/rouge.py` measured;
- `--measured RUN`: seconds of each stage of runs on one machine, for a run of another size on the same machine. One run says
  how long a stage takes for each of its records; two runs of different sizes say also what it takes whatever its size.

An estimate, of one round: stages come one after another, GPUs share the work evenly, and nothing is said of a busy network or of
a teacher that is down.

Example::

    python -m sei.scale model=llama3-8b-instruct --times 1,10 --gpus 1,8 --requests 500 --tokens 300000
    python -m sei.scale --measured SMALL --measured LARGER data.train=4000 recipe.synthesis.budget=2000
    python -m sei.scale --measured SMALL --measured LARGER --beside RUN
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.table import Table

from sei import fit
from sei.compose import configured
from sei.errors import UserError
from sei.gpu_hours import GPU, RATES, Rate, generation_hours, training_hours
from sei.lab import Lab
from sei.recipes.costs import Asked
from sei.recipes.work import Generated, Trained
from sei.target.shape import Shape
from sei.tracking.display import Display, print_table
from sei.tracking.page.folder import RunFolder
from sei.workspace import Workspace

# Seconds of one process; measured, see docs/scale.md. A question's near copies are looked for in time that grows with the
# references; all else takes so much for each problem, mistake and candidate, and for each answer of the teacher.
_QUESTION, _REFERENCE, _RECORD, _ANSWER = 1e-4, 1e-8, 1e-3, 3e-4
# One-shot selection asks in rounds, each of which waits for the one before it: 55 to 110 for 300 to 10,000 candidates.
_ROUNDS = 100
_WORDS_A_SECOND, _WAITS = 60.0, 0.7  # tokens of a teacher's answer in a second, and seconds until the first (ours)
_FIXED = (
    "evaluation",
    "validation",
    "diagnoses of test",
)  # what test sets cost does not grow with the training problems


@dataclass(frozen=True)
class Place:
    """Where and how large: `times` the problems and candidates of the configuration; the teacher's limits are for a minute."""

    times: float
    gpus: int
    requests: float
    tokens: float
    in_flight: int


@dataclass(frozen=True)
class Spent:
    """What a step takes at a place. `limit` says what would have to be more for it to take less."""

    seconds: float
    limit: str
    gpu_seconds: float = 0.0
    dollars: float | None = 0.0  # None: the price is not known


@dataclass(frozen=True)
class Step:
    """One part of a run."""

    name: str
    at: Callable[[Place], Spent]


@dataclass(frozen=True)
class Sizes:
    """What the time of a run's stages grows with."""

    problems: int
    candidates: int
    tests: int
    tokens: int


def generating(work: Generated, shape: Shape, rate: Rate) -> Step:
    """The target answers: the GPUs share the answers; rounds wait for one another."""

    def at(place: Place) -> Spent:
        completions = math.ceil(work.completions * _times(work.stage, place))
        shares = dataclasses.replace(work, completions=math.ceil(completions / place.gpus))
        shared = 3600 * generation_hours(shape, shares, rate)
        rounds = _ROUNDS if work.stage.startswith("selection") else 1
        waiting = (rounds - 1) * 3600 * generation_hours(shape, dataclasses.replace(work, completions=1), rate)
        used = 3600 * generation_hours(shape, dataclasses.replace(work, completions=completions), rate)
        return Spent(shared + waiting, "GPUs" if shared >= waiting else "rounds, one after another", used)

    return Step(work.stage, at)


def training(work: Trained, shape: Shape) -> Step:
    """Each optimizer step is shared by as many GPUs as it has rows; a budget of tokens or steps does not grow."""
    phase = work.phase
    rows = max(1, phase.batch_tokens // phase.max_tokens) if phase.batch_tokens else phase.batch_examples
    fixed = phase.tokens is not None or phase.steps is not None

    def at(place: Place) -> Spent:
        used = 3600 * training_hours(shape, work) * (1 if fixed else place.times)
        sharing = min(place.gpus, rows)
        return Spent(used / sharing, "GPUs" if place.gpus <= rows else f"rows in a step, {rows:,}", used)

    return Step(f"training, {work.key}", at)


def asking(asked: Asked) -> Step:
    """The teacher answers: the tightest of its limits counts."""
    cost = asked.estimate(None)

    def at(place: Place) -> Spent:
        times = _times(asked.stage, place)
        answer = _WAITS + cost.tokens_out / max(1, cost.calls) / _WORDS_A_SECOND
        limits = {
            "teacher's requests a minute": 60 * cost.calls / place.requests,
            "teacher's tokens a minute": 60 * (cost.tokens_in + cost.tokens_out) / place.tokens,
            "teacher's calls in flight": cost.calls * answer / place.in_flight,
            "the store": cost.calls * _ANSWER,
        }
        limit = max(limits, key=lambda name: limits[name])
        return Spent(times * limits[limit], limit, dollars=None if cost.usd is None else times * cost.usd)

    return Step(f"teacher: {asked.stage}", at)


def records(sizes: Sizes) -> Iterator[Step]:
    """What runs over all records, in one process."""

    def near_copies(place: Place) -> Spent:
        problems, made = sizes.problems * place.times, sizes.candidates * place.times
        overlap = problems * (_QUESTION + sizes.tests * _REFERENCE)
        novelty = made * (_QUESTION + (sizes.tests + problems + made / 2) * _REFERENCE)
        return Spent(overlap + novelty, "one core")

    def bookkeeping(place: Place) -> Spent:
        return Spent(_RECORD * (2 * sizes.problems + sizes.candidates) * place.times, "one core")

    yield Step("near copies: overlap and novelty", near_copies)
    yield Step("all else over records", bookkeeping)


def _times(stage: str, place: Place) -> float:
    return 1.0 if stage.startswith(_FIXED) else place.times


def steps(lab: Lab, rate: Rate) -> list[Step]:
    """The configured run's first round, by stated rates."""
    shape = fit.shape(lab.config)
    work = [
        generating(one, shape, rate) if isinstance(one, Generated) else training(one, shape)
        for one in lab.config.recipe.work(lab, None)
    ]
    return [*work, *map(asking, lab.config.recipe.calls(lab, None)), *records(sizes_of(lab))]


def sizes_of(lab: Lab) -> Sizes:
    """The sizes of the configured run."""
    recipe = lab.config.recipe
    tokens = sum(one.tokens for one in recipe.work(lab, None) if isinstance(one, Trained))
    made = getattr(recipe, "synthesis", None)  # of the recipes that write new problems
    tests = sum(len(lab.test(name)) for name in lab.splits.tests)
    return Sizes(len(lab.splits.train), made.budget if made else 0, tests, tokens)


def show_stated(lab: Lab, places: Sequence[Place], rate: Rate, gpu_dollars: float | None, display: Display) -> None:
    """Time by step at each place, then what it comes to and what limits it."""
    found, sizes = steps(lab, rate), sizes_of(lab)
    table = Table(title=f"One round {rate.name}, GPUs as one {GPU} each (rates: sei/gpu_hours.py, sei/scale.py)")
    for column in ("", *(f"place {number}" for number in range(1, len(places) + 1))):
        table.add_column(column, justify="right" if column else "left")
    about: dict[str, list[float]] = {
        "training problems": [sizes.problems * place.times for place in places],
        "candidates": [sizes.candidates * place.times for place in places],
        "GPUs": [place.gpus for place in places],
        "teacher: requests a minute": [place.requests for place in places],
        "teacher: tokens a minute": [place.tokens for place in places],
        "teacher: calls in flight": [place.in_flight for place in places],
    }
    for name, values in about.items():
        table.add_row(name, *(f"{value:,.0f}" for value in values))
    table.add_section()
    spent = {step.name: [step.at(place) for place in places] for step in found}
    for name, row in spent.items():
        table.add_row(name, *(duration(one.seconds) for one in row))
    columns = [[row[place] for row in spent.values()] for place in range(len(places))]
    totals = [sum(one.seconds for one in column) for column in columns]
    table.add_row("in all", *map(duration, totals))
    table.add_row("most of it", *(_most(spent, place) for place in range(len(places))))
    used = [sum(one.gpu_seconds for one in column) / 3600 for column in columns]
    booked = [total / 3600 * place.gpus for total, place in zip(totals, places, strict=True)]
    table.add_row(
        "GPU-hours used, of those booked", *(f"{u:,.1f} of {b:,.1f}" for u, b in zip(used, booked, strict=True))
    )
    table.add_row("teacher, US dollars", *(_dollars([one.dollars for one in column]) for column in columns))
    if gpu_dollars is not None:
        table.add_row("GPUs booked throughout, US dollars", *(f"{hours * gpu_dollars:,.0f}" for hours in booked))
    print_table(display.console, table)


def _most(spent: Mapping[str, Sequence[Spent]], place: int) -> str:
    """The step that takes longest, and its limit: what saturates first."""
    name, one = max(((name, row[place]) for name, row in spent.items()), key=lambda pair: pair[1].seconds)
    share = one.seconds / sum(row[place].seconds for row in spent.values())
    return f"{name} ({share:.0%}; {one.limit})"


def _dollars(costs: Sequence[float | None]) -> str:
    known = [cost for cost in costs if cost is not None]
    return f"{sum(known):,.0f}" if len(known) == len(costs) else "price unknown"


def duration(seconds: float) -> str:
    """`0.4 s`, `12 min`, `3.5 h`, `12 days`."""
    for most, unit, name in ((100, 1, "s"), (6000, 60, "min"), (360_000, 3600, "h")):
        if seconds < most:
            return f"{seconds / unit:.1f} {name}" if seconds < 10 * unit else f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86400:,.0f} days"


# By measured runs


def read_run(path: Path) -> RunFolder:
    """A finished run. Raises UserError for anything else."""
    run = RunFolder(path)
    if not run.results or not run.stages:
        raise UserError(
            f"{path}: is no finished run (no results.json, or its status is not done). Give a run's folder."
        )
    return run


def sizes_of_run(run: RunFolder) -> Sizes:
    """The sizes that a run had."""
    counts: dict[str, int] = {}
    for stage in run.stages:
        counts.setdefault(stage.manifest["stage"], stage.manifest["records"])  # of the first round
    problems = next((stage.manifest["received"] for stage in run.stages), 0)
    tests = sum(entry["before"]["n"] for entry in run.results["eval"].values())
    return Sizes(problems, counts.get("synthesize", 0), tests, int(run.results["tokens_trained"]))


_BY_CANDIDATES = ("synthesize", "verify", "select", "evolve")
_BY_TOKENS = ("finetune", "prefer")


def _grows_with(name: str, verb: str, sizes: Sizes) -> int:
    """What the time of a stage, called `name` in the run, grows with."""
    if verb in _BY_TOKENS:
        return sizes.tokens
    if verb in _BY_CANDIDATES:
        return sizes.candidates
    return sizes.tests if "before" in name or "after" in name else sizes.problems


def predicted(runs: Sequence[RunFolder], wanted: Sizes) -> dict[str, float]:
    """Seconds of each stage at other sizes, by those of `runs`: so many whatever the size, and so many for each unit of it."""
    points: dict[str, list[tuple[int, float]]] = {}
    verbs: dict[str, str] = {}
    for run in runs:
        sizes = sizes_of_run(run)
        for stage in run.stages:
            verbs[stage.published] = stage.manifest["stage"]
            point = _grows_with(stage.published, verbs[stage.published], sizes), stage.manifest["seconds"]
            points.setdefault(stage.published, []).append(point)
    found = {}
    for name, measured in points.items():
        start, rate = line(measured)
        found[name] = start + rate * _grows_with(name, verbs[name], wanted)
    return found


def line(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Start and slope of the line of least squares through (size, seconds); neither is below 0. One size: through the origin."""
    sizes, seconds = [size for size, _ in points], [spent for _, spent in points]
    mean_size, mean = sum(sizes) / len(points), sum(seconds) / len(points)
    spread = sum((size - mean_size) ** 2 for size in sizes)
    slope = sum((size - mean_size) * (spent - mean) for size, spent in points) / spread if spread else -1.0
    start = mean - slope * mean_size
    if spread and slope >= 0 and start >= 0:
        return start, slope
    if spread and slope < 0:
        return mean, 0.0
    squares = sum(size * size for size in sizes)
    return (0.0, sum(size * spent for size, spent in points) / squares) if squares else (mean, 0.0)


def show_measured(predictions: Mapping[str, float], wanted: Sizes, beside: RunFolder | None, display: Display) -> None:
    """Predicted seconds by stage, beside those of a run where one is given."""
    measured = {stage.published: float(stage.manifest["seconds"]) for stage in beside.stages} if beside else {}
    about = ", ".join(f"{value:,} {name}" for name, value in dataclasses.asdict(wanted).items())
    table = Table(title=f"Seconds of stages, by measured runs: {about}")
    for column in ("stage", "predicted", *(("measured", "predicted / measured") if beside else ())):
        table.add_column(column, justify="left" if column == "stage" else "right")
    rows = {**predictions, "in all": sum(predictions.values())}
    if beside:
        measured["in all"] = sum(seconds for name, seconds in measured.items() if name in predictions)
    for name, seconds in rows.items():
        cells = [f"{seconds:,.1f}"]
        if beside:
            spent = measured.get(name)
            cells += ["-", "-"] if spent is None else [f"{spent:,.1f}", f"{seconds / spent:.2f}" if spent else "-"]
        table.add_row(name, *cells)
    print_table(display.console, table)


def _places(options: argparse.Namespace) -> list[Place]:
    """The places of the command line: of each list one value, or as many as the others have."""
    lists = {name: getattr(options, name) for name in ("times", "gpus", "requests", "tokens", "in_flight")}
    count = max(map(len, lists.values()))
    for name, values in lists.items():
        if len(values) not in (1, count):
            raise UserError(
                f"--{name.replace('_', '-')}: {len(values)} values; give one, or {count} as the longest has"
            )
        if min(values) <= 0:
            raise UserError(f"--{name.replace('_', '-')} {min(values):g}: must be above 0")
    return [
        Place(**{name: values[place if len(values) > 1 else 0] for name, values in lists.items()})
        for place in range(count)
    ]


def _arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m sei.scale", description=__doc__.partition("\n")[0] if __doc__ else ""
    )

    def numbers(text: str) -> list[float]:
        return [float(value) for value in text.split(",")]

    def counts(text: str) -> list[int]:
        return [int(value) for value in text.split(",")]

    parser.add_argument(
        "--times",
        metavar="N,N",
        type=numbers,
        default=[1.0],
        help="the configured problems and candidates so often",
    )
    parser.add_argument("--gpus", metavar="N,N", type=counts, default=[1])
    parser.add_argument(
        "--requests", metavar="N,N", type=numbers, default=[500.0], help="the teacher takes in a minute"
    )
    parser.add_argument(
        "--tokens", metavar="N,N", type=numbers, default=[300_000.0], help="the teacher takes in a minute"
    )
    parser.add_argument("--in-flight", metavar="N,N", type=counts, default=[64], help="calls to the teacher at once")
    parser.add_argument("--transformers", action="store_true", help="generate with transformers instead of vLLM")
    parser.add_argument("--gpu-dollars", type=float, help="US dollars for a GPU-hour")
    parser.add_argument(
        "--measured", type=Path, action="append", metavar="RUN", help="a finished run of this machine, for its rates"
    )
    parser.add_argument("--beside", type=Path, metavar="RUN", help="predict this run's size, and show what it took")
    parser.add_argument("overrides", nargs="*", help="as for train.py: model=llama3-8b-instruct recipe=sei ...")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    options = _arguments().parse_intermixed_args(arguments)
    try:
        if options.beside and not options.measured:
            raise UserError("--beside needs --measured RUN: runs to take the rates from")
        places, display = _places(options), Display()
        if options.measured:
            runs = [read_run(path) for path in options.measured]
            beside = read_run(options.beside) if options.beside else None
            wanted = sizes_of_run(beside) if beside else sizes_of(_lab(options.overrides, display))
            show_measured(predicted(runs, wanted), wanted, beside, display)
        else:
            lab = _lab(options.overrides, display)
            show_stated(lab, places, RATES[1 if options.transformers else 0], options.gpu_dollars, display)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def _lab(overrides: Sequence[str], display: Display) -> Lab:
    """The configured run's problems and recipe; nothing is computed."""
    config = configured(overrides)
    return Lab(config, Workspace(Path("."), config.cache_dir, compute=False), display)


if __name__ == "__main__":
    sys.exit(main())
