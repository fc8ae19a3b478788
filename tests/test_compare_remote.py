"""`python -m sei.compare wandb:ENTITY/PROJECT/GROUP`, with a stand-in for W&B's public interface."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from sei.compare import main
from sei.comparison.remote import group_runs
from sei.comparison.rows import compare
from sei.errors import UserError
from sei.records import Outcome, Verdict
from sei.workspace import write_records


class Uploaded:
    """An `evaluation` artifact; `download` writes its files as W&B does."""

    type = "evaluation"

    def __init__(self, after: str) -> None:
        self.after = after

    def download(self, root: str) -> str:
        Path(root).mkdir(parents=True)
        for name, marks in (("outcomes_before", "0000"), ("outcomes", self.after)):
            verdicts = [Verdict.CORRECT if mark == "1" else Verdict.WRONG for mark in marks]
            rows = [Outcome(f"o{i}", "test", f"p{i}", "", verdict, "") for i, verdict in enumerate(verdicts)]
            write_records(Path(root, f"{name}.jsonl"), rows)
        return root


def remote(identity: str, recipe: str, after: str, *, state: str = "finished", uploads: bool = True) -> Any:
    config = {"recipe": {"name": recipe}, "seed": 0, "model": {"name": "tiny"}, "variant": recipe,
              "overrides": [f"recipe={recipe}", "seed=0", "logger=wandb"]}  # fmt: skip
    summary = {
        "tokens_trained": 1000,
        "seconds/total": 12.5,
        "usd/used": 0.25,
        "error": "UserError: no",
        "_timestamp": 1.0,
    }
    other = SimpleNamespace(type="dataset")
    artifacts = [other, Uploaded(after)] if uploads else [other]
    return SimpleNamespace(id=identity, state=state, config=config, summary=summary, logged_artifacts=lambda: artifacts)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    def serve(*runs: Any) -> list[Any]:
        asked: list[Any] = []

        class Api:
            def runs(self, path: str, filters: dict[str, str]) -> list[Any]:
                asked.append((path, filters))
                return list(runs)

        monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(Api=Api))
        return asked

    return serve


def test_a_group_is_compared_like_folders(online: Callable[..., list[Any]], tmp_path: Path) -> None:
    asked = online(
        remote("a", "cot", "1000"),
        remote("b", "sei", "1110"),
        remote("c", "sei", "", state="crashed"),
        remote("d", "cot", "", uploads=False),
    )
    comparison = compare(group_runs("wandb:team/sei/recipe-1a", tmp_path))
    assert asked == [("team/sei", {"group": "recipe-1a"})]
    cot, _ = comparison.of_kind("accuracy")
    assert (cot.recipe, cot.after, cot.tokens_trained, cot.seconds, cot.dollars) == ("cot", 0.25, 1000, 12.5, 0.25)
    assert [(row.recipe, row.against, row.difference) for row in comparison.of_kind("paired")] == [("sei", "cot", 0.5)]
    assert [(row.recipe, row.remark) for row in comparison.of_kind("failed")] == [
        ("sei", "UserError: no"),
        ("cot", "it uploaded no outcomes (logger.upload=none)"),
    ]


def test_the_command_leaves_no_files_but_those_named(
    online: Callable[..., list[Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    online(remote("a", "cot", "1000"), remote("b", "sei", "1110"))
    monkeypatch.chdir(tmp_path)
    main(["wandb:team/sei/recipe-1a", "--output", "table.md"])
    assert [path.name for path in tmp_path.iterdir()] == ["table.md"]
    assert capsys.readouterr().err.splitlines()[-1] == "wrote table.md"


def test_what_is_wrong_with_a_group_is_said(online: Callable[..., list[Any]], tmp_path: Path) -> None:
    online()
    with pytest.raises(UserError, match=r"wandb:team/sei/g: no run of team/sei is in this group"):
        group_runs("wandb:team/sei/g", tmp_path)
    with pytest.raises(UserError, match=r"wandb:team/sei: give wandb:ENTITY/PROJECT/GROUP"):
        group_runs("wandb:team/sei", tmp_path)
    broken = remote("a", "cot", "1000")
    del broken.config["seed"]
    online(broken)
    with pytest.raises(UserError, match="field 'seed' is missing"):
        group_runs("wandb:team/sei/g", tmp_path)
