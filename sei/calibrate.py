"""Measure a teacher before money is spent on it: does it find the first wrong step, does it put mistakes right, and at what
price?

Place in the flow: a command beside `train.py`, with the same overrides. The mistakes are made, so their truth is known: one
step of a gold solution is spoiled and the steps after it go on from the wrong value. They come from the arithmetic world
and, with `data=gsm8k`, from GSM8K's annotated solutions too. With `dry_run=true` it only prints the price.

Example::

    python -m sei.calibrate teacher=local teacher.model=NAME teacher.base_url=http://127.0.0.1:8000/v1
    python -m sei.calibrate --items 200 teacher=gpt-4o data=gsm8k data.path=DIR dry_run=true
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
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

from sei.arithmetic import ArithmeticRefused, evaluate, parse
from sei.config import CONF, explain_unknown_keys, register, validate
from sei.data.arithmetic.corrupt import corrupt
from sei.data.arithmetic.generate import IN_DOMAIN, stories
from sei.equations import ANNOTATION
from sei.errors import UserError
from sei.recipes.kit import Kit
from sei.recipes.resources import api_settings
from sei.records import Correction, Diagnosis, Mistake, Problem, content_id
from sei.stages.correct import correct
from sei.stages.diagnose import diagnose
from sei.statistics import wilson_interval
from sei.steps import join_steps, split_steps
from sei.teacher.base import Teacher
from sei.tracking.display import Display
from sei.workspace import Output, Workspace

_TOKEN = re.compile(r"\d[\d,]*(?:\.\d+)?|\.\d+|[-+*/()]")
_NUMBER = re.compile(r"(?<![\d.,])\d[\d,]*(?:\.\d+)?(?!\d)")
_GAP = r"[\s$A-Za-z]*"  # what may stand between the tokens of an expression in the words: units, `$`
_MOST_TRIES = 20  # ways to spoil one solution before it is passed over


@dataclass(frozen=True)
class Item:
    """A made mistake and the 1-based number of its first wrong step."""

    mistake: Mistake
    step: int


@dataclass(frozen=True)
class Calibration:
    """One teacher on the made mistakes of one source; the fields are the columns of the CSV.

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
    rejected_diagnoses: str  # `reason count`, by `; `
    rejected_corrections: str
    usd_per_1000_diagnoses: float | None
    usd_per_1000_corrections: float | None


# Making mistakes


def arithmetic_items(count: int, seed: int) -> list[Item]:
    """`count` spoiled solutions of the arithmetic world, of problems that are in no training split."""
    rng = random.Random(f"calibrate/{seed}")
    items = (
        Item(_mistake(story.problem("test"), join_steps(list(spoiled.lines), str(spoiled.answer))), spoiled.step)
        for story in stories(IN_DOMAIN, "test", "calibrate", seed)
        for spoiled in [corrupt(story, rng)]
        if len(spoiled.lines) == len(story.lines)  # a missing step is no wrong step to point at
    )
    return _distinct(items, count)


def annotated_items(problems: Sequence[Problem], count: int, seed: int) -> list[Item]:
    """Up to `count` spoiled gold solutions of `problems`, at most one each.

    Used are solutions with one whole-numbered annotation a step, in which it is clear which numbers are earlier results.
    """
    rng = random.Random(f"calibrate/{seed}")
    shuffled = rng.sample(list(problems), len(problems))
    return _distinct((item for problem in shuffled if (item := spoil(problem, rng)) is not None), count)


def spoil(problem: Problem, rng: random.Random) -> Item | None:
    """The problem's gold solution with one step's operation, operand or result made wrong; None where it cannot be."""
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
        if output := _go_on(problem, steps, index, tokens, value):
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
        """The line with another expression and result, in annotation and words; `renamed` are earlier results."""
        places = self.visible() or []
        before, at = "", 0
        for (start, end), token in zip(places, tokens, strict=bool(places)):
            before += _rename(self.before[at:start], renamed) + token
            at = end
        before += _rename(self.before[at:], renamed)
        after = _rename(self.after, renamed if value == self.value else {**renamed, self.value: value})
        return f"{before}<<{''.join(tokens)}={value}>>{after}"

    def visible(self) -> list[tuple[int, int]] | None:
        """Where the tokens stand in the words just before the annotation, None where the words do not repeat them."""
        pattern = _GAP.join(f"({re.escape(token)})" for token in self.tokens)
        found = list(re.finditer(rf"(?<![\d.,]){pattern}{_GAP}=\s*\$?$", self.before))
        return [found[0].span(group) for group in range(1, len(self.tokens) + 1)] if found else None


def _read(problem: Problem) -> list[_Step] | None:
    """The solution as steps, None where it is not of the plain kind that can be spoiled without doubt."""
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
    # A number that may be a result or a given one cannot be followed through.
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


def _go_on(
    problem: Problem, steps: Sequence[_Step], index: int, tokens: tuple[str, ...], value: Fraction
) -> str | None:
    """The solution with step `index` replaced and continued from its value; None where it cannot go on or ends right."""
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
    """The value of an expression where it is a whole number above 0: what school sums go on with."""
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
    """The teacher's diagnoses and corrections of `items`, against what is known. `items` must not be empty."""
    mistakes = [item.mistake for item in items]
    diagnosed = diagnose(mistakes, teacher)
    corrected = correct(mistakes, diagnosed.records, teacher, style="gsm8k")
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


def _priced(result: Calibration, items: Sequence[Item], teacher: Any) -> Calibration:
    """`result` with what the API really charged for the answers used here, also for those paid in earlier runs."""
    from sei.teacher.api.prices import price_of

    settings = teacher.client.settings
    if price_of(settings.model, settings.price) is None:
        return dataclasses.replace(result, usd_per_1000_diagnoses=None, usd_per_1000_corrections=None)
    dollars = {"diagnose": 0.0, "correct": 0.0}
    for use, answer in teacher.client.store.used(teacher.client.run):
        dollars[use.stage] += answer.cost_usd
    return dataclasses.replace(
        result,
        usd_per_1000_diagnoses=1000 * dollars["diagnose"] / len(items),
        usd_per_1000_corrections=1000 * dollars["correct"] / len(items),
    )


def calibrate(config: Any, count: int, display: Display) -> list[Calibration]:
    """Measure `config.teacher` on `count` made mistakes of each source. Raises UserError for what the user can mend."""
    cache = Path(config.cache_dir)
    results = []
    for source, items in made(config, count, display).items():
        # One account for each question asked of each teacher, so that its sums are exact and a rerun is the same run.
        account = content_id("calibration", config.teacher.name, config.teacher.model, [i.mistake.id for i in items])
        kit = Kit(config, Workspace(cache / "calibrations" / account, cache), display)
        if config.teacher.kind == "symbolic":
            results.append(measure(items, kit.teacher, source))
            continue
        teacher: Any = kit.teacher
        try:
            results.append(_priced(measure(items, teacher, source), items, teacher))
        finally:
            teacher.close()
    return results


def made(config: Any, count: int, display: Display) -> dict[str, list[Item]]:
    """The mistakes of every source that the configuration gives."""
    validate(config)
    if count < 1:
        raise UserError(f"--items {count}: give 1 or more")
    sources = {"arithmetic": arithmetic_items(count, config.seed)}
    if config.data.kind == "gsm8k":
        cache = Path(config.cache_dir)
        train = Kit(config, Workspace(cache, cache, compute=False), display).splits.train
        sources["gsm8k"] = annotated_items(train, count, config.seed)
        if not sources["gsm8k"]:
            raise UserError(f"data.path={config.data.path}: no solution with one plain annotation a step to spoil")
    return sources


def foresee(config: Any, count: int, display: Display) -> None:
    """Print what `calibrate` would cost, asking nobody."""
    from sei.teacher.api.store import Store
    from sei.teacher.api.teacher import estimate

    cache = Path(config.cache_dir)
    kit = Kit(config, Workspace(cache, cache, compute=False), display)
    for source, items in made(config, count, display).items():
        if config.teacher.kind == "symbolic":
            display.note(f"{source}: {len(items):,} mistakes; the symbolic teacher costs nothing")
            continue
        roles, settings, path = kit.roles, api_settings(config.teacher), cache / "teacher.sqlite"
        store = Store(path) if path.exists() else None
        for what, role in (("diagnoses", roles.diagnose), ("corrections", roles.correct)):
            cost = estimate([role(item.mistake) for item in items], settings, roles, store=store)
            usd = "no price known" if cost.usd is None else f"about {cost.usd:,.4f} US dollars"
            display.note(f"{source}: {cost.calls:,} {what}, {cost.stored:,} of them in the store; {usd} ({cost.basis})")
        if store is not None:
            store.close()


def show(results: Sequence[Calibration], display: Display) -> None:
    """A table on a terminal, CSV elsewhere."""
    rows = [dataclasses.asdict(result) for result in results]
    if not display.console.is_terminal:
        writer = csv.DictWriter(sys.stdout, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return
    from rich.table import Table

    table = Table(title=f"Teacher {results[0].teacher} on made mistakes")
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
    return "no price known" if usd is None else f"{usd:,.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    from hydra import compose, initialize_config_dir

    parser = argparse.ArgumentParser(prog="python -m sei.calibrate", description="Measure a teacher on made mistakes.")
    parser.add_argument("--items", type=int, default=100, help="mistakes of each source (default: 100)")
    parser.add_argument("overrides", nargs="*", help="as for train.py: teacher=gpt-4o data=gsm8k data.path=DIR ...")
    options = parser.parse_intermixed_args(arguments)
    try:
        explain_unknown_keys(options.overrides)
        register()
        with initialize_config_dir(str(CONF.resolve()), version_base="1.3"):
            config = compose("config", overrides=options.overrides)
        display = Display()
        if config.dry_run:
            foresee(config, options.items, display)
        else:
            show(calibrate(config, options.items, display), display)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
