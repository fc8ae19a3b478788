"""Measure a teacher before money is spent on it: does it find the first wrong step, does it correct mistakes, and at what
price?

Place in the flow: a command beside `train.py`, with the same overrides. The mistakes are planted, so the wrong step is known:
one step of a gold solution is spoiled, and the steps after it continue from the wrong value. They come from the arithmetic world
and, with `data=gsm8k`, from GSM8K's annotated solutions too. With `--labels`, a person has marked the first wrong step of
solutions that may be right (see `sei.locating`). With `dry_run=true` it only prints the price.

Example::

    python -m sei.calibrate teacher=local teacher.model=NAME teacher.base_url=http://127.0.0.1:8000/v1
    python -m sei.calibrate --items 200 teacher=gpt-4o data=gsm8k data.path=DIR dry_run=true
    python -m sei.calibrate --labels processbench/gsm8k teacher=gpt-4o
    python -m sei.calibrate --labels FILE teacher=symbolic data=gsm8k data.path=DIR      # gold solutions from there
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import random
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

from sei import locating
from sei.answers import Style
from sei.arithmetic import ArithmeticRefused, evaluate, parse
from sei.compose import configured
from sei.config import Config
from sei.data.arithmetic import Arithmetic
from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import IN_DOMAIN, stories
from sei.data.labelled import FIELDS, SPLITS, Labelled, read_labelled
from sei.data.overlap import content_key
from sei.equations import ANNOTATION
from sei.errors import UserError
from sei.llm.shared import is_store, open_store
from sei.locating import Location, solutions_of
from sei.records import Correction, Diagnosis, Mistake, Problem, content_id
from sei.stage import Output
from sei.stages.correct import correct
from sei.stages.diagnose import diagnose
from sei.statistics import wilson_interval
from sei.steps import join_steps, split_steps
from sei.teacher.api.estimate import Estimate
from sei.teacher.base import Charged, Locator, Place, Priced, Teacher, can
from sei.tracking.display import Display

_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+|[-+*/()]")
_NUMBER = re.compile(r"(?<![\d.,])\d[\d,]*(?:\.\d+)?(?!\d)")
_GAP = r"[\s$A-Za-z]*"  # what may stand between the tokens of an expression in the words: units, `$`
_STYLE: Style = "gsm8k"  # of the mistakes, those of the arithmetic world too
_LABELLED_STYLE: Style = "math"  # of labelled solutions: they may hold LaTeX
_DEFAULT_ITEMS = 100
_MOST_TRIES = 20  # attempts to spoil one solution before it is skipped


@dataclass(frozen=True)
class Item:
    """A planted mistake and the 1-based number of its first wrong step."""

    mistake: Mistake
    step: int


@dataclass(frozen=True)
class Calibration:
    """One teacher on the planted mistakes of one source; the fields are the columns of the CSV.

    Shares are of all `n` items, so what was rejected counts as not found. Dollars are None where no price is known.
    """

    teacher: str
    source: str  # arithmetic | gsm8k
    n: int
    located: int  # diagnoses that name exactly the first wrong step
    locate: float
    locate_low: float  # 95 % interval (Wilson)
    locate_high: float
    corrected: int  # corrections whose answer is the gold answer
    correct: float
    correct_low: float
    correct_high: float
    rejected_diagnoses: str  # `reason count`, separated by `; `
    rejected_corrections: str
    usd_per_1000_diagnoses: float | None
    usd_per_1000_corrections: float | None


# Planting mistakes


def arithmetic_items(count: int, seed: int) -> list[Item]:
    """`count` spoiled solutions of the arithmetic world, of problems that no training split contains."""
    rng = random.Random(f"calibrate/{seed}")
    items = (
        Item(_mistake(story.problem("test"), join_steps(list(spoiled.lines), str(spoiled.answer))), spoiled.step)
        for story in stories(IN_DOMAIN, "test", "calibrate", seed)
        for spoiled in [corrupt(story, rng)]
        if len(spoiled.lines) == len(story.lines)  # a missing step leaves no wrong step to point at
    )
    return _distinct(items, count)


def annotated_items(problems: Sequence[Problem], count: int, seed: int) -> list[Item]:
    """Up to `count` spoiled gold solutions of `problems`, at most one each.

    Only solutions with one whole-number annotation per step are used, and only if it is clear which numbers are earlier
    results.
    """
    rng = random.Random(f"calibrate/{seed}")
    shuffled = rng.sample(list(problems), len(problems))
    return _distinct((item for problem in shuffled if (item := spoil(problem, rng)) is not None), count)


def spoil(problem: Problem, rng: random.Random) -> Item | None:
    """The problem's gold solution with one step's operation, operand or result made wrong; None if it cannot be spoiled."""
    steps = _read(problem)
    if steps is None:
        return None
    for _ in range(_MOST_TRIES):
        index = rng.randrange(len(steps))
        change = rng.choice((_wrong_operation, _wrong_operand, _wrong_result))
        earlier = [_value(token) for step in steps[: index + 1] for token in step.tokens if token[0].isdigit()]
        tokens, value = change(steps[index], earlier, rng)
        if value in (None, steps[index].value):
            continue
        if output := _continued(steps, index, tokens, value):
            return Item(_mistake(problem, output), index + 1)
    return None


@dataclass(frozen=True)
class _Step:
    """A line `before <<tokens=value>> after`; `after` begins with the result as written."""

    line: str
    before: str
    tokens: tuple[str, ...]
    value: Fraction
    after: str

    def rewritten(self, tokens: tuple[str, ...], value: Fraction, renamed: dict[Fraction, Fraction]) -> str:
        """The line with another expression and result, in its annotation and its words; `renamed` are earlier results."""
        places = self.visible() or []
        before, at = "", 0
        for (start, end), token in zip(places, tokens, strict=bool(places)):
            before += _rename(self.before[at:start], renamed) + token
            at = end
        before += _rename(self.before[at:], renamed)
        after = _rename(self.after, renamed if value == self.value else {**renamed, self.value: value})
        return f"{before}<<{''.join(tokens)}={value}>>{after}"

    def visible(self) -> list[tuple[int, int]] | None:
        """Where the tokens are in the words just before the annotation, None if the words do not repeat them."""
        pattern = _GAP.join(f"({re.escape(token)})" for token in self.tokens)
        found = list(re.finditer(rf"(?<![\d.,]){pattern}{_GAP}=\s*\$?$", self.before))
        return [found[0].span(group) for group in range(1, len(self.tokens) + 1)] if found else None


def _read(problem: Problem) -> list[_Step] | None:
    """The solution as steps, None unless it is plain enough to be spoiled unambiguously."""
    lines, answer = split_steps(problem.solution)
    steps: list[_Step] = []
    for line in lines:
        found = list(ANNOTATION.finditer(line))
        if len(found) != 1:
            return None
        match = found[0]
        tokens = tuple(_TOKEN.findall(match["left"]))
        value, claimed = _value("".join(tokens)), _value(match["right"])
        if "".join(tokens) != "".join(match["left"].split()) or len(tokens) < 3 or value is None or value != claimed:
            return None
        after = line[match.end("right") + 2 :]
        shown = _NUMBER.match(after.lstrip(" $"))
        step = _Step(line, line[: match.start()], tokens, value, after)
        if value.denominator != 1 or shown is None or _value(shown[0]) != value:
            return None
        if "=" in after or ("=" in step.before and step.visible() is None):
            return None
        steps.append(step)
    results = [step.value for step in steps]
    given = {_value(text) for text in _NUMBER.findall(problem.question)}
    # A number that may be a result or given in the question cannot be traced through the steps.
    clear = len(set(results)) == len(results) and not given & set(results)
    return steps if clear and answer is not None and results and _value(answer) == results[-1] else None


def _wrong_operation(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    places = [place for place, token in enumerate(step.tokens) if token in "+-*/"]
    place = rng.choice(places)
    return _with(step, place, rng.choice([sign for sign in "+-*/" if sign != step.tokens[place]]))


def _wrong_operand(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    places = [place for place, token in enumerate(step.tokens) if token[0].isdigit()]
    others = [value for value in earlier if value is not None and value.denominator == 1]
    place = rng.choice(places)
    right = _value(step.tokens[place]) or Fraction(0)
    return _with(step, place, str(rng.choice([*others, right + 1, right * 2])))


def _wrong_result(
    step: _Step, earlier: Sequence[Fraction | None], rng: random.Random
) -> tuple[tuple[str, ...], Fraction | None]:
    shown = step.value + rng.choice((-10, -2, -1, 1, 2, 10))
    return step.tokens, shown if shown > 0 else None


def _with(step: _Step, place: int, token: str) -> tuple[tuple[str, ...], Fraction | None]:
    tokens = (*step.tokens[:place], token, *step.tokens[place + 1 :])
    return tokens, _whole("".join(tokens))


def _continued(steps: Sequence[_Step], index: int, tokens: tuple[str, ...], value: Fraction) -> str | None:
    """The solution with step `index` replaced and continued from its value; None if it cannot continue or ends right."""
    lines = [step.line for step in steps[:index]]
    lines.append(steps[index].rewritten(tokens, value, {}))
    renamed = {steps[index].value: value}
    for step in steps[index + 1 :]:
        replaced = tuple(_rename(token, renamed) for token in step.tokens)
        result = _whole("".join(replaced))
        if result is None:
            return None
        lines.append(step.rewritten(replaced, result, renamed))
        if result != step.value:
            renamed[step.value] = result
    answer = renamed.get(steps[-1].value)
    return None if answer is None else join_steps(lines, str(answer))


def _rename(text: str, renamed: dict[Fraction, Fraction]) -> str:
    def other(match: re.Match[str]) -> str:
        value = _value(match[0])
        return str(renamed[value]) if value in renamed else match[0]

    return _NUMBER.sub(other, text)


def _value(text: str) -> Fraction | None:
    try:
        return evaluate(parse(text))
    except ArithmeticRefused:
        return None


def _whole(text: str) -> Fraction | None:
    """The value of an expression if it is a positive whole number, as the results of school problems are; else None."""
    value = _value(text)
    return value if value is not None and value.denominator == 1 and value > 0 else None


def _mistake(problem: Problem, output: str) -> Mistake:
    return Mistake(
        content_id("mistake", problem.id, "calibrate", output),
        problem_id=problem.id,
        attempt_id="",
        question=problem.question,
        gold_answer=problem.answer,
        gold_solution=problem.solution,
        output=output,
        model="calibrate",
        family=problem.family,
    )


def _distinct(items: Iterator[Item], count: int) -> list[Item]:
    """The first `count` items with different mistakes."""
    found: dict[str, Item] = {}
    for item in items:
        if len(found) == count:
            break
        found[item.mistake.id] = item
    return list(found.values())


# Measuring


def measure(items: Sequence[Item], teacher: Teacher, source: str) -> Calibration:
    """The teacher's diagnoses and corrections of `items`, compared with the truth. `items` must not be empty."""
    mistakes = [item.mistake for item in items]
    diagnosed = diagnose(mistakes, teacher)
    corrected = correct(mistakes, diagnosed.records, teacher, style=_STYLE)
    truth = {item.mistake.id: item.step for item in items}
    located = sum(diagnosis.step == truth[diagnosis.mistake_id] for diagnosis in diagnosed.records)
    locate, right = (wilson_interval(hits, len(items)) for hits in (located, len(corrected.records)))
    return Calibration(
        teacher.name,
        source,
        len(items),
        located,
        *locate,
        len(corrected.records),
        *right,
        _reasons(diagnosed),
        _reasons(corrected),
        0.0,
        0.0,
    )


def _reasons(output: Output[Diagnosis] | Output[Correction]) -> str:
    counts = Counter(rejected.reason for rejected in output.rejected)
    return "; ".join(f"{reason} {count}" for reason, count in counts.most_common())


def _priced(result: Calibration, items: Sequence[Item], teacher: Charged) -> Calibration:
    """`result` with what the API really charged for the answers used here, including those paid for in earlier runs."""
    dollars = teacher.charged()
    if dollars is None:
        return dataclasses.replace(result, usd_per_1000_diagnoses=None, usd_per_1000_corrections=None)
    return dataclasses.replace(
        result,
        usd_per_1000_diagnoses=1000 * dollars.get("diagnose", 0.0) / len(items),
        usd_per_1000_corrections=1000 * dollars.get("correct", 0.0) / len(items),
    )


def calibrate(config: Config, count: int, display: Display) -> list[Calibration]:
    """Measure `config.teacher` on `count` planted mistakes per source. Raises UserError for what the user can fix."""
    cache, choice = config.cache_dir, config.teacher
    store = cache / "teacher.sqlite"
    described = choice.open(Place(_STYLE, store, cache)).fingerprint()
    results = []
    for source, items in items_by_source(config, count).items():
        # One account for each teacher and set of mistakes, so that the sums are exact and a rerun counts nothing twice.
        account = content_id("calibration", described, [item.mistake.id for item in items])
        teacher = choice.open(Place(_STYLE, store, cache / "calibrations" / account))
        try:
            result = measure(items, teacher, source)
            results.append(_priced(result, items, teacher) if isinstance(teacher, Charged) else result)
        finally:
            teacher.close()
    return results


def items_by_source(config: Config, count: int) -> dict[str, list[Item]]:
    """The planted mistakes of every source in the configuration."""
    sources = {"arithmetic": arithmetic_items(_positive(count), config.seed)}
    data = config.data
    if not isinstance(data, Arithmetic):
        sources[data.name] = annotated_items(data.load().train, count, config.seed)
        if not sources[data.name]:
            raise UserError(
                f"data={data.name}: no solution has exactly one plain annotation per step, so none can be spoiled"
            )
    return sources


def estimate_costs(config: Config, count: int, display: Display) -> None:
    """Print what `calibrate` would cost, without asking the teacher."""
    choice, path = config.teacher, config.cache_dir / "teacher.sqlite"
    sources = items_by_source(config, count)
    if not isinstance(choice, Priced):
        for source, items in sources.items():
            display.note(f"{source}: {len(items):,} mistakes; teacher={choice.name} is free")
        return
    roles = choice.roles(_STYLE)
    with closing(open_store(path)) if is_store(path) else nullcontext() as store:
        for source, items in sources.items():
            for what, role in (("diagnoses", roles.diagnose), ("corrections", roles.correct)):
                cost = choice.estimate([role(item.mistake) for item in items], _STYLE, store=store)
                _print_cost(f"{source}: ", what, cost, display)


def calibrate_labels(config: Config, name: str, count: int | None) -> list[Location]:
    """Measure how well `config.teacher` finds the labelled steps of `name`. Raises UserError for what the user can fix."""
    choice, labelled = config.teacher, _labelled(config, name, count)
    gold = _gold(config)
    store = config.cache_dir / "teacher.sqlite"
    described = choice.open(Place(_LABELLED_STYLE, store, config.cache_dir)).fingerprint()
    account = content_id("labels", described, [one.id for one in solutions_of(labelled, gold)])
    teacher = choice.open(Place(_LABELLED_STYLE, store, config.cache_dir / "calibrations" / account))
    try:
        results = locating.measure(labelled, cast(Locator, teacher), gold, name=teacher.name, source=name)
        charged = teacher.charged() if isinstance(teacher, Charged) else {}
    finally:
        teacher.close()
    usd = None if charged is None else charged.get("locate", 0.0)
    # What a generator's share of the dollars was is not kept: the whole has it.
    return [dataclasses.replace(result, usd=usd if result.generator == "all" else None) for result in results]


def _labelled(config: Config, name: str, count: int | None) -> list[Labelled]:
    if not can(config.teacher, Locator):
        raise UserError(
            f"--labels: teacher={config.teacher.name} cannot look for a wrong step in solutions that may be right"
        )
    labelled = read_labelled(name)
    if count is None or count >= len(labelled):
        return labelled
    return random.Random(f"labels/{config.seed}").sample(labelled, _positive(count))


def _gold(config: Config) -> dict[str, Problem]:
    """The problems of the data set with their gold solutions, by `content_key` of the question."""
    if isinstance(config.data, Arithmetic):
        return {}
    splits = config.data.load()
    problems = [*splits.train, *splits.validation, *(one for test in splits.tests.values() for one in test)]
    return {content_key(problem.question): problem for problem in problems}


def _positive(count: int) -> int:
    if count < 1:
        raise UserError(f"--items {count}: must be at least 1")
    return count


def estimate_labels(config: Config, name: str, count: int | None, display: Display) -> None:
    """Print what `calibrate_labels` would cost, without asking the teacher."""
    choice, path = config.teacher, config.cache_dir / "teacher.sqlite"
    labelled = _labelled(config, name, count)
    if not isinstance(choice, Priced):
        display.note(f"{name}: {len(labelled):,} labelled solutions; teacher={choice.name} is free")
        return
    roles = choice.roles(_LABELLED_STYLE)
    with closing(open_store(path)) if is_store(path) else nullcontext() as store:
        jobs = [roles.locate(solution) for solution in solutions_of(labelled, {})]
        _print_cost(f"{name}: ", "labelled solutions", choice.estimate(jobs, _LABELLED_STYLE, store=store), display)


def _print_cost(before: str, what: str, cost: Estimate, display: Display) -> None:
    usd = "price unknown" if cost.usd is None else f"about {cost.usd:,.4f} US dollars"
    display.note(f"{before}{cost.calls:,} {what}, {cost.stored:,} of them in the store; {usd} ({cost.basis})")


def _print_csv(rows: Sequence[dict[str, Any]]) -> None:
    writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)


def show_labels(results: Sequence[Location], display: Display) -> None:
    """Print a table on a terminal, CSV elsewhere."""
    if not display.console.is_terminal:
        _print_csv([dataclasses.asdict(result) for result in results])
        return
    from rich.table import Table

    table = Table(title=f"Teacher {results[0].teacher} on the labels of {results[0].source}")
    for column in ("generator", "erroneous", "found", "correct", "passed", "F1", "decided", "right where named"):
        table.add_column(column, justify="left" if column == "generator" else "right")
    for one in results:
        table.add_row(
            one.generator,
            f"{one.erroneous:,}",
            _share(one.accuracy_erroneous),
            f"{one.correct:,}",
            _share(one.accuracy_correct),
            _share(one.f1, one.f1_low, one.f1_high),
            f"{one.decided:,}",
            _share(one.precision, one.precision_low, one.precision_high),
        )
    display.console.print(table)
    display.note(
        f"A gold solution is known for {results[0].with_gold:,} of them; a teacher over an API is not shown it"
    )
    if results[0].rejected:
        display.note(f"Undecided: {results[0].rejected}")
    if results[0].usd is None or results[0].usd > 0:
        display.note(f"US dollars: {_dollars(results[0].usd)}")


def _share(value: float | None, low: float | None = None, high: float | None = None) -> str:
    if value is None:
        return "-"
    return f"{value:.2f}" if low is None or high is None else f"{value:.2f} [{low:.2f}, {high:.2f}]"


def show(results: Sequence[Calibration], display: Display) -> None:
    """Print a table on a terminal, CSV elsewhere."""
    if not display.console.is_terminal:
        _print_csv([dataclasses.asdict(result) for result in results])
        return
    from rich.table import Table

    table = Table(title=f"Teacher {results[0].teacher} on planted mistakes")
    for column in (
        "source",
        "n",
        "first wrong step found",
        "corrected",
        "$ per 1,000 diagnoses",
        "$ per 1,000 corrections",
    ):
        table.add_column(column, justify="left" if column == "source" else "right")
    table.add_column("rejected")
    for result in results:
        table.add_row(
            result.source,
            f"{result.n:,}",
            f"{result.locate:.2f} [{result.locate_low:.2f}, {result.locate_high:.2f}]",
            f"{result.correct:.2f} [{result.correct_low:.2f}, {result.correct_high:.2f}]",
            _dollars(result.usd_per_1000_diagnoses),
            _dollars(result.usd_per_1000_corrections),
            "; ".join(filter(None, (result.rejected_diagnoses, result.rejected_corrections))) or "none",
        )
    display.console.print(table)


def _dollars(usd: float | None) -> str:
    return "price unknown" if usd is None else f"{usd:,.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sei.calibrate", description="Measure a teacher on planted mistakes, or on labels."
    )
    parser.add_argument(
        "--items", type=int, help="mistakes per source (default: 100), or labelled solutions (default: all)"
    )
    parser.add_argument("--labels", help=f"a file with the fields {FIELDS}, or processbench/{'|'.join(SPLITS)}")
    parser.add_argument("overrides", nargs="*", help="as for train.py: teacher=gpt-4o data=gsm8k data.path=DIR ...")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = configured(options.overrides)
        display = Display()
        planted = _DEFAULT_ITEMS if options.items is None else options.items
        if options.labels and config.dry_run:
            estimate_labels(config, options.labels, options.items, display)
        elif options.labels:
            show_labels(calibrate_labels(config, options.labels, options.items), display)
        elif config.dry_run:
            estimate_costs(config, planted, display)
        else:
            show(calibrate(config, planted, display), display)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
