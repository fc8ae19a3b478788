"""What messages tell a user to set exists: every configuration key that the code names in its strings."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import yaml

from sei.config import Evaluation, Logger, Model
from sei.schema import TARGET, keys_of, load_class
from sei.training.settings import Trainer

ROOT = Path(__file__).parents[1]
GROUPS = "teacher|data|model|recipe|trainer|eval|engine|embedder|clustering|logger"
KEY = re.compile(rf"(?<![\w./-])(?:{GROUPS})\.[a-z_]+(?:\.[a-z_]+)*(?=[\s=,;:.()'\"`]|$)")
FILES = {"teacher.json", "teacher.sqlite"}  # are called like keys and are none
FREE = ("eval.sets.", "eval.paths.")  # the keys below are the user's own names


def known() -> set[str]:
    """The full name of every key that some option of a group has."""
    keys = {
        *keys_of(Model, "model"),
        *keys_of(Trainer, "trainer"),
        *keys_of(Evaluation, "eval"),
        *keys_of(Logger, "logger"),
    }
    for path in (ROOT / "conf").glob("*/*.yaml"):
        if option := (yaml.safe_load(path.read_text()) or {}).get(TARGET):
            keys.update(keys_of(load_class(option, "x"), path.parent.name))
    return keys


def named(text: str) -> Iterator[str]:
    """The keys that a module's strings name, its docstrings (which may show a typo) left out."""
    tree = ast.parse(text)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {id(node.body[0].value) for node in ast.walk(tree)
                  if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)}  # fmt: skip
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield from KEY.findall(node.value)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "key":
            yield from (f"teacher.{one.value}" for one in node.args
                        if isinstance(one, ast.Constant) and isinstance(one.value, str))  # fmt: skip


def test_every_key_that_a_message_names_exists() -> None:
    keys = known()
    found = {
        (path.name, key) for path in (ROOT / "sei").rglob("*.py") for key in named(path.read_text(encoding="utf-8"))
    }
    assert {one for one in found if one[1] not in keys | FILES and not one[1].startswith(FREE)} == set()


def test_a_key_that_does_not_exist_is_seen() -> None:
    assert set(named('raise E(f"give it with teacher.store={x}")')) - known() == {"teacher.store"}
    assert set(named("settings.key('base_url')")) == {"teacher.base_url"}
