"""The pages: code shown is the code that runs, links lead somewhere, and every command composes."""

from __future__ import annotations

import ast
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from sei.compose import CONF, prepare, register

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
STANDS_FOR = {
    "FILE": "README.md",
    "DIR": "docs",
    "FOLDER": "docs",
    "URL": "http://127.0.0.1:1/v1",
    "NAME": "some",
    "$seed": "0",
    "...": "1",
}


def commands() -> Iterator[tuple[str, str]]:
    """(page, command line) of every `python train.py` in a code span or block."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```(?:bash)?\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        spans = re.findall(r"(?<!`)`([^`\n]+)`(?!`)", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL))
        for line in [*spans, *"\n".join(blocks).splitlines()]:
            if found := re.search(r"python train\.py( .*)?$", line.partition(" #")[0]):
                yield page.name, found[0].strip()


def first(word: str) -> str:
    """`key=value` with the first of the values that it sweeps over."""
    key, _, value = word.partition("=")
    if interval := re.search(r"interval\(([^,]+),", value):  # of a search
        return f"{key}={interval[1]}"
    return word if value[:1] in ("[", "{") else f"{key}={value.split(',')[0]}"


def overrides(command: str) -> list[str]:
    """Its words, with something in the place of placeholders."""
    words = [word for word in shlex.split(command)[2:] if not word.startswith("-") and "=" in word]
    found = []
    for word in map(first, words):
        key, _, value = word.partition("=")
        for placeholder, stand_in in STANDS_FOR.items():
            value = re.sub(rf"(?<![\w.]){re.escape(placeholder)}(?![\w.])", stand_in, value)
        found.append(f"{key}={value}")
    return found


@pytest.mark.parametrize(("page", "command"), sorted(set(commands())))
def test_every_command_composes(page: str, command: str) -> None:
    register()
    sweep = ["-m"] if "-m" in shlex.split(command) else []
    words = prepare([*sweep, *overrides(command)])  # a rehearsal adds a sweep of its own, sweep=NAME is a folder
    with initialize_config_dir(str(CONF), version_base="1.3"):
        compose("config", overrides=[first(word) for word in words if word not in sweep])


@pytest.mark.parametrize(
    ("page", "recipe", "methods"),
    [
        ("sei", "self_error_instruct", ("run",)),
        ("lema", "learning_from_mistakes", ("run",)),
        ("supercorrect", "super_correct", ("run", "prefer")),
        ("more_recipes", "rejection_sampling", ("run",)),
        ("more_recipes", "critique", ("run",)),
    ],
)
def test_the_code_on_a_method_s_page_is_the_code_that_runs(page: str, recipe: str, methods: tuple[str, ...]) -> None:
    source = (ROOT / f"sei/recipes/{recipe}.py").read_text(encoding="utf-8")
    functions = {one.name: one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.FunctionDef)}
    shown = (ROOT / f"docs/{page}.md").read_text(encoding="utf-8")
    for name in methods:
        lines = source.splitlines()[functions[name].lineno - 1 : functions[name].end_lineno]
        assert textwrap.dedent("\n".join(lines)) in shown, f"docs/{page}.md shows another {name}() than {recipe}.py has"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        place = page.parent / file if file else page
        assert place.exists(), target
        assert not anchor or anchor in anchors(place), target
