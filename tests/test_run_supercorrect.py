"""Whole runs of SuperCorrect on the embedded target: both phases, every preference, the second pass, kills and seeds."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sei.stages.second import BETWEEN
from sei.teacher.symbolic.template import KEYS
from sei.workspace import stage_folder
from tests.test_run import ROOT, artifacts, manifest, rows, small, small_of
from tests.test_run_lema import assert_accounts

FEW = (
    "recipe=supercorrect",
    "data.train=120",
    "data.validation=32",
    "data.test=20",
    "recipe.training.tokens=3000",
    "recipe.training.batch_tokens=256",  # many steps, so that a kill hits training
    "recipe.templates.max_new_tokens=200",
    "recipe.preference.max_pairs=10",
    "recipe.preference.epochs=2",
    "recipe.preference.batch_examples=1",
    "trainer.checkpoint_every=2",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache and one folder of runs for this module: the first phase is trained once."""
    return tmp_path_factory.mktemp("supercorrect")


ABLATIONS = (
    "none",
    "no_inspector",
    "chosen_only",
    "hsft_only",
    "instance_dpo",
    "step_dpo",
    "check_dpo",
    "reflexion",
    "templates_cot",
    "templates_hierarchical",
    "templates_hierarchical_generalized",
    "templates_not_xml",
)
PAIRS = {
    "none": "thought",
    "no_inspector": "thought",
    "instance_dpo": "instance",
    "step_dpo": "step",
    "check_dpo": "check",
}
PARTS = {  # template style -> whether its templates hold keys and a generalized part, and how their first step begins
    "none": (True, True, "<Step1>"),
    "templates_cot": (False, False, ""),
    "templates_hierarchical": (True, False, ""),
    "templates_hierarchical_generalized": (True, True, ""),
    "templates_not_xml": (True, True, "Step 1: "),
}


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_ablation_of_supercorrect_runs_and_does_what_it_says(base: Path, ablation: str) -> None:
    results = small(base, *FEW, "eval.diagnose=false", f"ablation={ablation}", folder=ablation)
    folder = base / ablation
    assert_accounts(results)
    assert results["eval"]["in_domain"]["after"]["n"] == 20
    student = rows(folder, "student")
    assert {row["kind"] for row in student} == {"template", "check"}
    if ablation in PARTS:
        keys, generalized, head = PARTS[ablation]
        templates = rows(folder, "templates")
        keyed = [any(key in row["text"] for key in KEYS.values()) for row in templates]
        assert any(keyed) is keys
        if keys:
            assert keyed == [bool(row["hard"]) for row in templates]
        assert {"First " in row["text"] for row in templates} == {generalized}
        for text in (row["text"] for row in templates):
            assert text.startswith(head)
            assert head or not text.startswith(("<Step", "Step"))
        assert templates[0]["text"] in {row["response"] for row in student}
    inspected = stage_folder(folder, "traces.inspected") is not None
    assert inspected is (ablation in {*PAIRS, "chosen_only"} - {"no_inspector"})
    if ablation in PAIRS or ablation == "chosen_only":
        assert results["adapter"] == "adapter"
        used = rows(folder, "adapter")
        assert 0 < len(used) <= 10
        assert {row["kind"] for row in used} == {PAIRS.get(ablation, "chosen")}
        assert {row["kind"] for row in rows(folder, "pairs")} == {PAIRS.get(ablation, "thought")}
    else:
        assert results["adapter"].endswith("-student/files")
        assert stage_folder(folder, "pairs") is None
    assert (folder / results["adapter"] / "adapter_model.safetensors").is_file()
    assert bool(results["second_pass"]) is (ablation == "reflexion")


@pytest.mark.parametrize("ablation", ["none", "instance_dpo", "step_dpo", "check_dpo", "chosen_only"])
def test_a_pair_leads_back_to_mistake_and_traces(base: Path, ablation: str) -> None:
    small(base, *FEW, "eval.diagnose=false", f"ablation={ablation}", folder=ablation)
    folder = base / ablation
    mistakes = {row["id"]: row for row in rows(folder, "mistakes")}
    teacher = {row["id"]: row for row in rows(folder, "traces.inspected")}
    student = {row["id"]: row for row in rows(folder, "student_traces")}
    assert (stage_folder(folder, "student_thoughts") is None) is (ablation == "check_dpo"), (
        "its own checks are compared"
    )
    if ablation != "check_dpo":
        student |= {row["id"]: row for row in rows(folder, "student_thoughts")}
    pairs = {row["id"]: row for row in rows(folder, "pairs")}
    for row in pairs.values():
        mistake, of_teacher, *of_student = row["parents"]
        assert mistakes[mistake]["question"] in row["prompt"]
        assert teacher[of_teacher]["mistake_id"] == mistake
        assert teacher[of_teacher]["author"] == "teacher"
        assert len(of_student) == (row["kind"] in ("thought", "check"))
        assert all(student[one]["mistake_id"] == mistake for one in of_student)
        assert all(student[one]["author"] == "student" for one in of_student)
        assert row["chosen"] != row["rejected"]
    probed = {row["id"] for row in rows(folder, "problems")} - {row["problem_id"] for row in rows(folder, "templates")}
    assert {row["problem_id"] for row in mistakes.values()} <= probed, "no mistake at a problem of the first phase"
    for row in rows(folder, "adapter"):
        if ablation == "chosen_only":
            assert row["response"] == pairs[row["parents"][0]]["chosen"]
        else:
            assert row == pairs[row["id"]]


@pytest.mark.parametrize("way", ["check", "reflect"])
def test_the_second_pass_has_figures_and_outcomes(base: Path, way: str) -> None:
    # a rate at which the last checkpoint is not the best: the second pass must look at the solutions of the chosen one
    kept = ("recipe.preference.keep_every=10", "recipe.preference.learning_rate=0.001")
    passes = ("eval.passes=2", f"eval.second={way}")
    results = small(base, *FEW, *kept, *passes, folder=f"passes_{way}")
    folder = base / f"passes_{way}"
    assert_accounts(results)
    steps = [row["step"] for row in results["checkpoints"]["scores"]]
    assert results["checkpoints"]["chosen"] < max(steps)
    first, second = rows(folder, "outcomes"), rows(folder, "outcomes_second")
    assert [row["problem_id"] for row in first] == [row["problem_id"] for row in second]
    assert set(results["second_pass"]) == set(results["eval"])
    for name, row in results["second_pass"].items():
        one, two = (
            [item["verdict"] == "correct" for item in some if item["eval_set"] == name] for some in (first, second)
        )
        assert row["n"] == 20
        assert row["first"]["accuracy"] == sum(one) / 20 == results["eval"][name]["after"]["accuracy"]
        assert row["second"]["accuracy"] == sum(two) / 20
        assert row["right_to_wrong"] == sum(a and not b for a, b in zip(one, two, strict=True))
        assert row["wrong_to_right"] == sum(b and not a for a, b in zip(one, two, strict=True))
    outputs = {row["problem_id"]: row["output"] for row in first}
    assert all(row["output"].startswith(outputs[row["problem_id"]]) for row in second)
    assert any(row["output"] != outputs[row["problem_id"]] for row in second)
    asked_again = [row["output"].split(BETWEEN)[1] for row in second if BETWEEN in row["output"]]
    checked = [text.startswith(("All steps are right.", "Step ")) for text in asked_again]
    assert any(checked) is (way == "check"), "asked to solve again, the target writes another template"
    assert set(results["located"]) == {"student", "adapter"}
    for row in results["located"].values():
        assert row["set"] == "in_domain"
        assert row["corrected"]["n"] == results["ledger"]["in_domain.mistakes"]["records"]
    # what was located was found by the chosen checkpoint, not by the last one
    asked = manifest(folder, "in_domain.traces.adapter")["parameters"]["engine"]
    answered = manifest(folder, "evaluate.after.in_domain")["parameters"]["engine"]
    assert asked == answered


def scratch_checkpoints(cache: Path, stage: str) -> list[Path]:
    return list((cache / stage).glob("*.scratch/**/step=*.ckpt"))


def test_one_seed_gives_one_result_and_killed_in_either_phase_the_same_command_ends_with_it(base: Path) -> None:
    """The second phase is killed too; what is not training comes from the cache, so that both kills hit training."""
    whole = small(base, *FEW, folder="whole")
    again = small(base, *FEW, folder="again", cache="again_cache")
    assert again["cached"] == []
    assert whole["eval"] == again["eval"]
    assert artifacts(base / "whole") == artifacts(base / "again")

    cache, killed = base / "killed_cache", base / "killed"
    shutil.copytree(base / "again_cache", cache, ignore=shutil.ignore_patterns("finetune", "prefer"))
    command = [
        sys.executable,
        "train.py",
        *small_of("supercorrect"),
        *FEW,
        f"cache_dir={cache}",
        f"hydra.run.dir={killed}",
    ]
    for stage in ("finetune", "prefer"):
        job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while not scratch_checkpoints(cache, stage) and job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        assert scratch_checkpoints(cache, stage), f"killed while {stage} trained"
        assert not list((cache / stage).glob("*/manifest.json"))
        assert not (killed / "results.json").exists()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert artifacts(killed) == artifacts(base / "whole")
    results: dict[str, Any] = json.loads((killed / "results.json").read_text())
    for part in ("eval", "second_pass", "located", "validation", "ledger", "adapter", "tokens_trained"):
        assert results[part] == whole[part]
    assert {"student", "adapter"} & set(results["cached"]) == {"student"}
