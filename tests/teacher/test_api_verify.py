"""Verification of synthetic problems in a whole run, against the fault server."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sei.errors import UserError
from tests.teacher.fault_server import Running
from tests.teacher.test_api_run import wrong_attempts
from tests.test_config import composed
from tests.test_run import recorded, small


def test_problems_whose_answer_the_teacher_does_not_reach_again_are_left_out(tmp_path: Path) -> None:
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m")
    overrides = (*overrides, "recipe.synthesis.verify_samples=3", "recipe.synthesis.rouge_threshold=1.0")
    with Running() as right:
        first = small(tmp_path, *overrides, f"teacher.base_url={right.url}", folder="right", cache="a")["ledger"]
    made = first["synthetic"]["records"]
    assert made > 1
    assert first["verified"] == {"received": made, "passed": made, "records": made, "rejected": {}}
    question = json.loads((tmp_path / "right" / "synthetic.jsonl").read_text().splitlines()[0])["question"]
    with Running(gold={question: "1"}) as wrong:  # solves that one otherwise than its author
        second = small(tmp_path, *overrides, f"teacher.base_url={wrong.url}", folder="wrong", cache="b")["ledger"]
    assert second["synthetic"] == first["synthetic"]
    assert second["verified"]["rejected"] == {"majority_disagrees": 1}
    assert second["verified"]["passed"] == made - 1


def test_without_samples_nothing_is_verified(tmp_path: Path) -> None:
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m", "recipe=self_instruct")
    with Running() as server:
        ledger = small(tmp_path, *overrides, f"teacher.base_url={server.url}")["ledger"]
    assert ledger["synthetic"]["records"] > 0
    assert "verified" not in ledger


def test_the_symbolic_teacher_needs_no_verification() -> None:
    with pytest.raises(UserError, match=r"verify_samples=3: teacher=symbolic does not solve"):
        composed("recipe.synthesis.verify_samples=3")
    composed("recipe.synthesis.verify_samples=3", "teacher=gpt-4o")
