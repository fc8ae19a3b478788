"""The index of what was claimed and tried: `python -m sei.experiments`.

Place in the flow: outside of it. Every file in `experiments/` has a question, a command, the paper's figures (`expected`) and
where it ran or what it needs; this prints them as a table, and `--write` makes `docs/experiments.md` of them. A file's head says
`# Question:`, `# Command:`, and `# Outcome:`, `# Run here:` or `# Needs:`; a line that begins with more spaces goes on with
the one before. Example::

    python -m sei.experiments
    python -m sei.experiments --write
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from sei.errors import UserError
from sei.terminal import Terminal
from sei.tracking.display import print_table
from sei.tracking.page.folder import read_yaml

ROOT = Path(__file__).parents[1]
FOLDER, PAGE = ROOT / "experiments", ROOT / "docs" / "experiments.md"
_LABEL = re.compile(r"# ([A-Z][A-Za-z ]*):\s+(.*)")
_GOES_ON = re.compile(r"#\s{2,}(\S.*)")
_MUST = ("Question", "Command")
_MAY = ("Outcome", "Run here", "Needs")  # one of these at least
_FEW = 4  # figures of a paper that stand in the index itself


@dataclass(frozen=True)
class Experiment:
    """One file of `experiments/`. `said` has its head by label, lines joined; of commands each line is one."""

    name: str
    said: Mapping[str, str]
    commands: tuple[str, ...]
    expected: tuple[Mapping[str, Any], ...]  # the paper's figures that its jobs are compared with
    own: bool  # whether these figures stand in its file, and not in one that it is made from

    @property
    def paper(self) -> str:
        """The paper's figures in a few words."""
        if not self.expected:
            return "none"
        if len(self.expected) <= _FEW:
            return "; ".join(f"{_about(one)}, {one['set']}: {one['accuracy']}" for one in self.expected)
        sources = ", ".join(dict.fromkeys(str(one.get("source", "source not given")) for one in self.expected))
        return f"{len(self.expected)} figures: {sources}"

    @property
    def ours(self) -> str:
        """What came out here, or where it is written."""
        return self.said.get("Outcome", "not run")

    @property
    def ran(self) -> str:
        """Where it ran, or what it needs."""
        parts = [self.said[label] for label in ("Run here", "Needs") if label in self.said]
        effort = re.findall(r"\(([^)]*)\)\s*$", self.said["Command"].partition("\n")[0])
        return " ".join(parts) or f"run here: {effort[0] if effort else 'see the outcome'}"


def read_all(folder: Path = FOLDER) -> list[Experiment]:
    """Every experiment, by name. Raises UserError for a file without a question, a command, or a word on whether it ran."""
    return [_read(path) for path in sorted(folder.glob("*.yaml"))]


def _read(path: Path) -> Experiment:
    lines: dict[str, list[str]] = {}
    label = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith("#"):
            break
        if match := _LABEL.fullmatch(line):
            label = match[1]
            lines[label] = [match[2].strip()]
        elif label and (match := _GOES_ON.fullmatch(line)):
            lines[label].append(match[1].strip())
    missing = [name for name in _MUST if name not in lines]
    missing += [] if any(name in lines for name in _MAY) else [" or ".join(_MAY)]
    if missing:
        raise UserError(
            f"{path}: its head lacks {', '.join(f'`# {one}:`' for one in missing)}. See {FOLDER}/lema_main.yaml."
        )
    said = {name: ("\n" if name == "Command" else " ").join(texts) for name, texts in lines.items()}
    commands = tuple(re.split(r"\s{2,}", line)[0] for line in lines["Command"] if line.startswith("python "))
    composed = _with_parents(path)
    swept = ((composed.get("hydra") or {}).get("sweeper") or {}).get("params") or {}
    own = read_yaml(path) or {}
    return Experiment(
        path.stem, said, commands, tuple(_of_these(composed.get("expected") or (), swept)), bool(own.get("expected"))
    )


def _with_parents(path: Path) -> dict[str, Any]:
    """What a file sets, with the experiments that it is made from: of these what it does not set itself."""
    values = read_yaml(path) or {}
    for part in values.get("defaults") or ():
        if isinstance(part, str) and part != "_self_":
            values = {**_with_parents(path.with_name(f"{part}.yaml")), **values}
    return values


def _of_these(expected: Sequence[Mapping[str, Any]], swept: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The figures that are about jobs of this sweep: its models, recipes and ablations, where it names them."""

    def options(key: str) -> list[str]:
        return [one.strip() for one in str(swept.get(key, "")).split(",") if one.strip()]

    def belongs(one: Mapping[str, Any]) -> bool:
        return all(not options(key) or one.get(key, "none") in options(key) for key in ("model", "recipe", "ablation"))

    return [one for one in expected if belongs(one)]


def _about(one: Mapping[str, Any]) -> str:
    """Which job a figure is about."""
    more = [str(one["ablation"])] if "ablation" in one else []
    more += [f"trained on {one['data']}"] if "data" in one else []
    more += ["second pass"] if one.get("second_pass") else []
    return " ".join([str(one["model"]), str(one["recipe"]), *(f"({part})" for part in more)])


COLUMNS = ("experiment", "question", "paper's figures, %", "ours", "where it ran, or what it needs")


def table(experiments: Sequence[Experiment]) -> Table:
    """The index for a terminal."""
    found = Table(title="Experiments: python train.py experiment=NAME", show_lines=True)
    for column in COLUMNS:
        found.add_column(column, overflow="fold", min_width=min(len(column), 12))
    for one in experiments:
        found.add_row(one.name, one.said["Question"], one.paper, one.ours, one.ran)
    return found


def page(experiments: Sequence[Experiment]) -> str:
    """`docs/experiments.md`: the index, and below it each experiment with its commands and the paper's figures."""
    lines = [
        "# Experiments",
        "",
        "Made by `python -m sei.experiments --write` from the files in [`experiments/`](../experiments); edit those. Each claim",
        "of the papers, and each of ours, is one of them. Figures are accuracies in percent.",
        "",
        _row(COLUMNS),
        _row(["---"] * len(COLUMNS)),
        *(
            _row([f"[{one.name}](#{one.name})", one.said["Question"], one.paper, one.ours, one.ran])
            for one in experiments
        ),
    ]
    for one in experiments:
        lines += [
            "",
            f"## {one.name}",
            "",
            f"{_text(one.said['Question'])} [The file](../experiments/{one.name}.yaml).",
        ]
        lines += ["", "```bash", *one.commands, "```", "", f"- Ours: {_text(one.ours)}"]
        lines += [f"- {label}: {_text(text)}" for label, text in one.said.items() if label not in (*_MUST, "Outcome")]
        lines += _figures(one)
    return "\n".join(lines) + "\n"


def _figures(one: Experiment) -> list[str]:
    """The paper's figures: a row for each job, a column for each set."""
    if not one.own or not one.expected:
        return []
    sets = list(dict.fromkeys(str(figure["set"]) for figure in one.expected))
    rows: dict[str, dict[str, str]] = {}
    for figure in one.expected:
        rows.setdefault(_about(figure), {})[str(figure["set"])] = str(figure["accuracy"])
    sources = ", ".join(dict.fromkeys(str(figure.get("source", "not given")) for figure in one.expected))
    return [
        "",
        f"The paper's figures ({sources}):",
        "",
        _row(["job", *sets]),
        _row(["---"] * (len(sets) + 1)),
        *(_row([job, *(found.get(name, "") for name in sets)]) for job, found in rows.items()),
    ]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(_text(cell) for cell in cells)} |"


def _text(text: str) -> str:
    """Words of a file in Markdown, with links where they name a page of ours."""
    linked = re.sub(r"(?<![\w/(])docs/(\w+\.md)", r"[docs/\1](\1)", text)
    return re.sub(r"(?<![\w/])README\.md", "[README.md](../README.md)", linked).replace("|", r"\|")


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m sei.experiments", description="The index of experiments.")
    parser.add_argument("--write", action="store_true", help=f"write {PAGE.relative_to(ROOT)} anew")
    args = parser.parse_args(arguments)
    try:
        found = read_all()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if args.write:
        PAGE.write_text(page(found), encoding="utf-8")
        print(f"wrote {PAGE}")
        return 0
    print_table(Terminal(highlight=False), table(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
