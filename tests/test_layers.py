"""Imports flow one way: stages and below never see a configuration or a recipe; nothing evaluates or unpickles text."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "sei"
FILES = sorted(PACKAGE.rglob("*.py"))

# A room may import from itself and from the rooms after the arrow.
ALLOWED = {
    "data": {"answers", "records", "errors", "steps"},
    "teacher": {
        "data",
        "answers",
        "arithmetic",
        "equations",
        "records",
        "errors",
        "steps",
        "templates",
        "prompts",
        "workspace",
    },
    "clustering": {"records", "errors"},
    "target": {"data", "teacher", "answers", "records", "errors", "steps", "templates", "prompts", "workspace"},
    "training": {"target", "records", "errors", "workspace"},
    "stages": {
        "data",
        "teacher",
        "clustering",
        "target",
        "training",
        "answers",
        "arithmetic",
        "equations",
        "metrics",
        "records",
        "errors",
        "steps",
        "statistics",
        "templates",
        "workspace",
    },
}


def imports(path: Path) -> set[str]:
    """The rooms (first name below `sei`) that a file imports."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("sei."):
            rooms.add(node.module.split(".")[1])
        elif isinstance(node, ast.ImportFrom) and node.module == "sei":
            rooms |= {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            rooms |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("sei.")}
    return rooms


@pytest.mark.parametrize("room", sorted(ALLOWED))
def test_imports_flow_down(room: str) -> None:
    found = {other for path in FILES if path.is_relative_to(PACKAGE / room) for other in imports(path)}
    assert found - ALLOWED[room] - {room} == set()


def test_only_train_and_recipes_read_the_configuration() -> None:
    readers = {str(path.relative_to(PACKAGE)) for path in FILES if "omegaconf" in path.read_text()}
    allowed = {
        "config.py",
        "run.py",
        "plan.py",
        "calibrate.py",
        "compare.py",
        "recipes/kit.py",
        "recipes/resources.py",
        "recipes/thought_kit.py",
        "tracking/report.py",
    }
    assert {reader for reader in readers if not reader.startswith("teacher/api")} <= allowed


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_text_is_evaluated_or_unpickled(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in {"eval", "exec", "pickle.load", "pickle.loads", "joblib.load"}, name
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            if name == "torch.load":
                assert keywords.get("weights_only") == "True"
            assert keywords.get("trust_remote_code", "False") == "False"
