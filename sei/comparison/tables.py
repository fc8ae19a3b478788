"""The tables of a comparison, whatever they are printed on.

Place in the flow: rows -> **tables** -> a terminal, a Markdown or a LaTeX file. A cell is text; percentages have one decimal.
Example::

    for sheet in sheets(comparison):
        print(sheet.title, sheet.rows[0])
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sei.comparison.rows import Comparison, Row, by_set, with_size
from sei.statistics import CONFIDENCE

_INTERVAL = f"{100 * CONFIDENCE:.0f} % interval"
MOST_PARTS = 6  # families or error types of one set that a terminal is shown; files have all


@dataclass(frozen=True)
class Sheet:
    """One table. The first `texts` columns are names, the others figures; `hidden` rows were left out of it."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[str]]
    texts: int = 1
    hidden: int = 0


def sheets(comparison: Comparison, *, most_parts: int | None = None) -> Iterator[Sheet]:
    """Accuracy, what else was measured, paired tests, failed runs, transitions; nothing of what there is nothing of.

    `most_parts`: of a set with more families (or error types) than these, those with the most items that changed are shown.
    """
    for eval_set, rows in by_set(comparison.of_kind("accuracy")):
        yield _accuracy(eval_set, rows)
    for eval_set, rows in by_set(comparison.of_kind("share")):
        yield _shares(eval_set, rows)
    for eval_set, rows in by_set(comparison.of_kind("paired")):
        yield _tests(eval_set, rows, comparison.of_kind("mcnemar"))
    if failed := comparison.of_kind("failed"):
        cells = [[row.recipe, row.seeds, row.remark] for row in failed]
        yield Sheet("Failed", ("recipe", "seed", "error"), cells, texts=3)
    for eval_set, rows in by_set(comparison.of_kind("transition")):
        yield from _transitions(eval_set, rows, most_parts)


def _accuracy(eval_set: str, rows: Sequence[Row]) -> Sheet:
    paper = any(row.paper is not None for row in rows)
    costs = any(row.dollars != 0 for row in rows)  # unknown dollars are shown too
    columns = ["recipe", "seeds", "before", *(("measured", _INTERVAL, "paper") if paper else ("after", _INTERVAL))]
    columns += ["change", "tokens", "seconds", *(["dollars"] if costs else [])]
    cells = [
        [
            row.recipe,
            str(len(row.seeds.split())),
            _percent(row.before),
            _percent(row.after),
            _range(row.low, row.high),
            *([_percent(row.paper)] if paper else []),
            _points(row.difference),
            _number(row.tokens_trained),
            _number(row.seconds),
            *(["?" if row.dollars is None else f"{row.dollars:,.2f}"] if costs else []),
        ]
        for row in rows
    ]
    title = f"Accuracy on {with_size(eval_set, rows[0])}, %; accuracy and cost are means over seeds"
    return Sheet(title, tuple(columns), cells)


def _shares(eval_set: str, rows: Sequence[Row]) -> Sheet:
    names = list(dict.fromkeys(row.remark for row in rows))
    cells = []
    for label in dict.fromkeys(row.recipe for row in rows):
        found = {row.remark: row for row in rows if row.recipe == label}
        cells.append([label, *(_share(found.get(name)) for name in names)])
    return Sheet(f"Also measured on {eval_set}: %, mean over seeds, {_INTERVAL}", ("recipe", *names), cells)


def _tests(eval_set: str, rows: Sequence[Row], by_seed: Sequence[Row]) -> Sheet:
    columns = ("recipe", "seeds", "difference", _INTERVAL, "p", "p (Holm)", "won : lost", "odds ratio", "McNemar p")
    everywhere = rows[0].against if len({row.against for row in rows}) == 1 else None
    cells = []
    for row in rows:
        key = (eval_set, row.recipe, row.against)
        tests = [test.p for test in by_seed if (test.eval_set, test.recipe, test.against) == key]
        cells.append(
            [
                row.recipe if everywhere else f"{row.recipe} - {row.against}",
                str(len(row.seeds.split())),
                _points(row.difference),
                _range(row.low, row.high, signed=True),
                _p(row.p),
                _p(row.p_holm),
                "-" if row.only_recipe is None else f"{row.only_recipe:,} : {row.only_against:,}",
                _odds(row),
                " ".join(f"{p:.3f}" for p in tests) or "-",
            ]
        )
    title = f"Paired tests on {eval_set}{f' against {everywhere}' if everywhere else ''}: difference in points on the same items"
    return Sheet(title, columns, cells)


def _transitions(eval_set: str, rows: Sequence[Row], most_parts: int | None) -> Iterator[Sheet]:
    """One table for each way to part the items."""
    columns = ("recipe", "fixed", "of the wrong, %", "broken", "of the right, %", "still wrong", "still right")
    for by in dict.fromkeys(row.by for row in rows):
        own = [row for row in rows if row.by == by]
        changed = Counter[str]()
        for row in own:
            changed[row.part] += (row.fixed or 0) + (row.broken or 0)
        most = {part for part, _ in changed.most_common(most_parts)}
        cells = [_transition(row, by) for row in own if row.part in most]
        title = f"What training changed on {eval_set}: items of all seeds, {_INTERVAL} over items"
        if by == "all":
            yield Sheet(title, columns, cells)
        else:
            named = ("recipe", by, *columns[1:])
            yield Sheet(f"{title}, by {by}", named, cells, texts=2, hidden=len(own) - len(cells))


def _transition(row: Row, by: str) -> list[str]:
    return [
        row.recipe,
        *([row.part] if by != "all" else []),
        f"{row.fixed:,}",
        _plain(row.fixed_share, row.fixed_low, row.fixed_high),
        f"{row.broken:,}",
        _plain(row.broken_share, row.broken_low, row.broken_high),
        f"{row.still_wrong:,}",
        "-" if row.still_right is None else f"{row.still_right:,}",
    ]


def markdown(found: Sequence[Sheet], remarks: Sequence[str]) -> str:
    """The tables and remarks as Markdown."""
    parts = []
    for sheet in found:
        lines = [_markdown_row(sheet.columns), _markdown_row(_rules(sheet)), *map(_markdown_row, sheet.rows)]
        parts.append(f"**{_escaped(sheet.title, _MARKDOWN)}**\n\n" + "\n".join(lines))
    if remarks:
        parts.append("\n".join(f"- {_escaped(remark, _MARKDOWN)}" for remark in remarks))
    return "\n\n".join(parts) + "\n"


def latex(found: Sequence[Sheet], remarks: Sequence[str]) -> str:
    """The tables as LaTeX, with booktabs; remarks are comments."""
    parts = ["% needs \\usepackage{booktabs}", *(f"% {remark}" for remark in remarks)]
    for sheet in found:
        rows = [" & ".join(_escaped(cell, _LATEX) for cell in row) + r" \\" for row in (sheet.columns, *sheet.rows)]
        layout = "l" * sheet.texts + "r" * (len(sheet.columns) - sheet.texts)
        parts += [
            r"\begin{table}\centering",
            rf"\caption{{{_escaped(sheet.title, _LATEX)}}}",
            rf"\begin{{tabular}}{{{layout}}}",
            r"\toprule",
            rows[0],
            r"\midrule",
            *rows[1:],
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    return "\n".join(parts) + "\n"


def _rules(sheet: Sheet) -> list[str]:
    return ["---" if place < sheet.texts else "---:" for place in range(len(sheet.columns))]


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_escaped(cell, _MARKDOWN) for cell in cells)} |"


_MARKDOWN = {"|": r"\|", "\n": " ", "*": r"\*", "_": r"\_", "`": r"\`", "<": "&lt;", "[": r"\["}
_LATEX = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",  # after a line break LaTeX would read it as a length
    "\n": " ",
}


def _escaped(text: str, marks: Mapping[str, str]) -> str:
    return text if set(text) <= {"-", ":"} else "".join(marks.get(mark, mark) for mark in text)


def _share(row: Row | None) -> str:
    if row is None:
        return ""
    paper = "" if row.paper is None else f" (paper {100 * row.paper:.1f})"
    return f"{_plain(row.after, row.low, row.high)}{paper}"


def _plain(share: float | None, low: float | None, high: float | None) -> str:
    if share is None or low is None or high is None:
        return "-"
    return f"{100 * share:.1f}" + ("" if math.isnan(low) else f" [{100 * low:.1f}, {100 * high:.1f}]")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _points(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:+.1f}"


def _range(low: float | None, high: float | None, signed: bool = False) -> str:
    if low is None or high is None:
        return "-"
    return f"[{100 * low:+.1f}, {100 * high:+.1f}]" if signed else f"[{100 * low:.1f}, {100 * high:.1f}]"


def _p(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _odds(row: Row) -> str:
    if row.odds_ratio is None:
        return "-"
    return f"{row.odds_ratio:.2f} [{row.odds_low:.2f}, {row.odds_high:.2f}]"


def _number(value: float | None) -> str:
    return "?" if value is None else f"{value:,.0f}"
