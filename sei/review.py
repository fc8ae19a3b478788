"""The quality of corrections or of new problems, as a person judges it: a sheet to mark, and a summary of the marks.

Purpose: a correction that reaches the gold answer may still be a poor one, and a new problem that has its answer a riddle.
LeMa (arXiv 2310.20689) had 50 of GPT-4's corrections judged: 35 excellent, 11 good, 4 poor.
Place in the flow: reads `mistakes.jsonl` and `corrections.jsonl`, or `synthetic.jsonl` and `error_types.jsonl`, of a finished
run; writes `review.html`, a page that needs no network, and `review.json`, a summary of the marks that the page saves.

Example::

    python -m sei.review RUN                        # writes RUN/review.html: open it, mark, "Save marks"
    python -m sei.review RUN --marks marks.json     # counts, rates, intervals; writes RUN/review.json
    python -m sei.review RUN --problems --sample 100
    python -m sei.review RUN --problems --marks marks.json
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import html
import json
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rich.table import Table

from sei.answers import Style
from sei.errors import UserError
from sei.prompts import Prompt
from sei.records import Correction, ErrorType, Mistake, Synthetic
from sei.run_files import read_checked, read_object, understood
from sei.statistics import wilson_interval
from sei.steps import split_steps
from sei.terminal import Terminal
from sei.workspace import stage_folder, write_json

MARKS = {
    "excellent": "the wrong step is found, the explanation is sound, and the new steps continue smoothly",
    "good": "step and explanation are right, but the new steps do not quite follow from those before",
    "poor": "the wrong step or the explanation is wrong",
}
MARKS_OF_PROBLEMS = {  # the first that holds, from the last to the first; each rate counts what is at least so good
    "aimed": "sound and readable, and the mistake of its error type can be made in it",
    "readable": "sound, and could stand in a textbook, but the mistake of its error type has no place in it",
    "sound": "question, solution and answer belong together, but no textbook would tell it so",
    "unsound": "the question has another answer, or none, or two",
}
PAPER = {"excellent": 35, "good": 11, "poor": 4}
_PAGE, _SCRIPT = (Path(__file__).parent / name for name in ("review.html", "review.js"))

Pair = tuple[Mistake, Correction]
T = TypeVar("T")


def sheet(run: Path, *, sample: int = 50, seed: int = 0, problems: bool = False) -> Path:
    """Write `review.html` with `sample` corrections (or new problems) drawn by seed, all if there are fewer. Returns its path."""
    meanings = MARKS_OF_PROBLEMS if problems else MARKS
    keys = list(meanings)
    if problems:
        drawn = _drawn(_problems(run), sample, seed)
        ids = [problem.id for _, problem in drawn]
        items = [_problem(number, *pair, keys) for number, pair in enumerate(drawn, start=1)]
    else:
        pairs = _drawn(_pairs(run), sample, seed)
        ids = [correction.id for _, correction in pairs]
        style = _style(run)
        items = [_item(number, *pair, keys, style) for number, pair in enumerate(pairs, start=1)]
    definitions = "".join(
        f"<li><kbd>{number}</kbd> <b>{mark}</b>: {html.escape(text)}</li>"
        for number, (mark, text) in enumerate(meanings.items(), start=1)
    )
    script = _SCRIPT.read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = Prompt("review", _PAGE.read_text(encoding="utf-8")).fill(
        definitions=definitions,
        title="Quality of new problems" if problems else "Quality of corrections",
        items="\n".join(items),
        count=str(len(ids)),
        # A script element ends at any "</", whatever is around it.
        data=json.dumps({"run": _fingerprint(ids), "ids": ids, "marks": keys}).replace("<", "\\u003c"),
        script=script,
        script_hash=f"sha256-{digest}",  # the browser runs this script and no other, even if escaping failed
    )
    path = run / "review.html"
    path.write_text(page, encoding="utf-8")
    return path


def summary(run: Path, marks_file: Path, *, problems: bool = False) -> dict[str, Any]:
    """Counts and rates of the marks in `marks_file`, corrections' beside the paper's; written to `review.json` too.

    Raises UserError if the file is not a marks file, belongs to another run, or marks nothing.
    """
    what, file = ("problems", "synthetic.jsonl") if problems else ("corrections", "corrections.jsonl")
    ids, marks = _read_marks(marks_file, MARKS_OF_PROBLEMS if problems else MARKS)
    pairs: Sequence[tuple[Any, Synthetic | Correction]] = _problems(run) if problems else _pairs(run)
    known = {record.id for _, record in pairs}
    if foreign := sorted(set(ids) - known):
        raise UserError(
            f"{marks_file}: {len(foreign)} of its {len(ids)} {what} are not in {run / file} "
            f"({foreign[0]}, for example). Give the run whose review.html was marked."
        )
    if not marks:
        raise UserError(f"{marks_file}: none of its {len(ids)} {what} is marked. Mark some on the page and save again.")
    counts = Counter(marks.values())
    figures: dict[str, Any] = {"sampled": len(ids), "marked": len(marks)}
    by_id = {identity: marks[identity] for identity in ids if identity in marks}
    if problems:
        order = list(MARKS_OF_PROBLEMS)
        at_least = {mark: sum(counts[better] for better in order[: place + 1]) for place, mark in enumerate(order[:-1])}
        figures["at_least"] = {mark: _figures(count, len(marks)) for mark, count in reversed(at_least.items())}
        figures["by_problem"] = by_id
    else:
        figures["marks"] = {mark: _figures(counts[mark], len(marks)) for mark in MARKS}
        figures["paper"] = {mark: _figures(PAPER[mark], sum(PAPER.values())) for mark in MARKS}
        figures["by_correction"] = by_id
    write_json(run / "review.json", figures)
    return figures


def show(console: Terminal, figures: Mapping[str, Any]) -> None:
    """The summary as a table."""
    if "at_least" in figures:
        console.print(f"{figures['marked']} of {figures['sampled']} sampled problems marked")
        table = Table(title="Quality of new problems (95 % Wilson interval)")
        for column in ("at least", "problems", "rate"):
            table.add_column(column, justify="left" if column == "at least" else "right")
        for mark, ours in figures["at_least"].items():
            table.add_row(mark, str(ours["count"]), _percent(ours))
        console.print(table)
        return
    console.print(f"{figures['marked']} of {figures['sampled']} sampled corrections marked")
    table = Table(title="Quality of corrections (95 % Wilson interval)")
    for column in ("mark", "corrections", "rate", "LeMa: GPT-4, 50 corrections"):
        table.add_column(column, justify="left" if column == "mark" else "right")
    for mark in MARKS:
        ours, paper = figures["marks"][mark], figures["paper"][mark]
        table.add_row(mark, str(ours["count"]), _percent(ours), f"{paper['count']} = {_percent(paper)}")
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sei.review", description="Judge the corrections or the new problems of a run by hand."
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument("--sample", type=_positive, default=50, help="how many to judge (default: 50, as in LeMa)")
    parser.add_argument("--seed", type=int, default=0, help="decides which are drawn (default: 0)")
    parser.add_argument("--problems", action="store_true", help="judge synthesized problems instead of corrections")
    parser.add_argument("--marks", type=Path, help="the file that the page saved; prints a summary of it")
    options = parser.parse_args(arguments)
    console = Terminal()
    try:
        if options.marks is not None:
            show(console, summary(options.run, options.marks, problems=options.problems))
            console.print(f"Wrote {options.run / 'review.json'}")
        else:
            path = sheet(options.run, sample=options.sample, seed=options.seed, problems=options.problems)
            console.print(f"Wrote {path}\nOpen it in a browser, mark what it shows, press 'Save marks', then run:")
            console.print(f"  python -m sei.review {options.run}{' --problems' * options.problems} --marks marks.json")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{number}: must be at least 1")
    return number


def _pairs(run: Path) -> list[Pair]:
    """Each correction of the run with its mistake. Later rounds' files are not read."""
    for name in ("corrections.jsonl", "mistakes.jsonl"):
        if not (run / name).is_file():
            raise UserError(
                f"{run}: no {name} here. Give the folder of a run that made corrections (`python train.py recipe=correction`)."
            )
    mistakes = {mistake.id: mistake for mistake in read_checked(run / "mistakes.jsonl", Mistake)}
    corrections = read_checked(run / "corrections.jsonl", Correction)
    if not corrections:
        raise UserError(f"{run / 'corrections.jsonl'}: this run made no corrections, so there is nothing to judge.")
    if lost := [correction.id for correction in corrections if correction.mistake_id not in mistakes]:
        raise UserError(
            f"{run}: {len(lost)} corrections belong to no mistake in mistakes.jsonl ({lost[0]}, for example)."
        )
    return [(mistakes[correction.mistake_id], correction) for correction in corrections]


def _problems(run: Path) -> list[tuple[ErrorType, Synthetic]]:
    """Each synthesized problem of the run with its error type. Later rounds' files are not read."""
    for name in ("synthetic.jsonl", "error_types.jsonl"):
        if not (run / name).is_file():
            raise UserError(
                f"{run}: no {name} here. Give the folder of a run that made problems (`python train.py recipe=sei`)."
            )
    types = {kind.id: kind for kind in read_checked(run / "error_types.jsonl", ErrorType)}
    made = read_checked(run / "synthetic.jsonl", Synthetic)
    if not made:
        raise UserError(f"{run / 'synthetic.jsonl'}: this run made no problems, so there is nothing to judge.")
    if lost := [problem.id for problem in made if problem.error_type not in types]:
        raise UserError(f"{run}: {len(lost)} problems have no type in error_types.jsonl ({lost[0]}, for example).")
    return [(types[problem.error_type], problem) for problem in made]


def _drawn(pairs: Sequence[T], sample: int, seed: int) -> list[T]:
    return random.Random(f"review/{seed}").sample(list(pairs), min(sample, len(pairs)))


def _fingerprint(ids: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()[:12]


def _read_marks(file: Path, meanings: Mapping[str, str]) -> tuple[list[str], dict[str, str]]:
    """The sampled ids and the marks given to them."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}). Give the file that 'Save marks' wrote.") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}: not JSON ({error}). Give the file that 'Save marks' wrote.") from error
    ids = content.get("ids") if isinstance(content, dict) else None
    marks = content.get("marks") if isinstance(content, dict) else None
    if (
        not isinstance(ids, list)
        or not all(isinstance(identity, str) for identity in ids)
        or not isinstance(marks, dict)
    ):
        raise UserError(
            f"{file}: not a marks file (it needs 'ids' and 'marks'). Give the file that 'Save marks' wrote."
        )
    for identity, mark in marks.items():
        if identity not in ids:
            raise UserError(f"{file}: it marks {identity}, which is not among the sampled ids.")
        if not isinstance(mark, str) or mark not in meanings:
            raise UserError(f"{file}: mark {mark!r} of {identity} is not one of {', '.join(meanings)}.")
    return ids, marks


def _figures(count: int, n: int) -> dict[str, Any]:
    return {"count": count, **wilson_interval(count, n)._asdict()}


def _percent(figures: Mapping[str, Any]) -> str:
    return f"{100 * figures['mean']:.0f} % [{100 * figures['low']:.0f}, {100 * figures['high']:.0f}]"


def _style(run: Path) -> Style:
    """How the run counted steps, from its manifest."""
    folder = stage_folder(run, "corrections")
    if folder is None:  # records without a run around them
        return "gsm8k"
    manifest = read_object(folder / "manifest.json")
    with understood(folder / "manifest.json"):
        style: Style = manifest["parameters"]["style"]
    return style


def _item(number: int, mistake: Mistake, correction: Correction, marks: Sequence[str], style: Style) -> str:
    own, answer = split_steps(mistake.output, style)
    gold = [line for line in mistake.gold_solution.splitlines() if line.strip()]
    buttons = "".join(
        f'<label><input type="radio" name="mark-{number}" value="{mark}"> {mark}</label>' for mark in marks
    )
    return (
        f'<article id="item-{number}"><h2>{number}<small>{html.escape(correction.id)} · {html.escape(mistake.model)}</small></h2>'
        f'<p class="question">{html.escape(mistake.question)}</p><div class="columns">'
        f"<section><h3>Gold solution: {html.escape(mistake.gold_answer)}</h3>{_lines(gold)}</section>"
        f"<section><h3>Wrong solution</h3>{_steps(own, 1, wrong=correction.step)}{_answer(answer)}</section>"
        f"<section><h3>Correction: step {correction.step}</h3><p>{html.escape(correction.explanation)}</p>"
        f"{_steps(correction.steps, correction.step)}{_answer(correction.answer)}</section></div>"
        f'<fieldset aria-label="Mark of correction {number}">{buttons}</fieldset></article>'
    )


def _problem(number: int, kind: ErrorType, problem: Synthetic, marks: Sequence[str]) -> str:
    steps, answer = split_steps(problem.solution)
    buttons = "".join(
        f'<label><input type="radio" name="mark-{number}" value="{mark}"> {mark}</label>' for mark in marks
    )
    return (
        f'<article id="item-{number}"><h2>{number}<small>{html.escape(problem.id)}</small></h2>'
        f'<p class="question">{html.escape(problem.question)}</p><div class="columns">'
        f"<section><h3>Solution</h3>{_steps(steps, 1)}{_answer(answer)}</section>"
        f"<section><h3>Error type: {html.escape(kind.name)}</h3>{_lines(kind.keyphrases[:8])}</section></div>"
        f'<fieldset aria-label="Mark of problem {number}">{buttons}</fieldset></article>'
    )


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _steps(steps: Sequence[str], first: int, *, wrong: int = 0) -> str:
    rows = []
    for number, step in enumerate(steps, start=first):
        flag = ' class="wrong"><b>first wrong step</b> ' if number == wrong else ">"
        rows.append(f"<li{flag}{html.escape(step)}</li>")
    return f'<ol start="{first}">{"".join(rows)}</ol>'


def _answer(answer: str | None) -> str:
    return f'<p class="answer">Answer: {html.escape(answer or "none")}</p>'


if __name__ == "__main__":
    sys.exit(main())
