"""Whole runs on the embedded target, small enough for the normal suite."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from sei.data.overlap import SimilarityFilter
from sei.errors import UserError
from sei.records import Rejected
from sei.run import run
from sei.teacher.symbolic import SymbolicTeacher
from sei.workspace import stage_folder
from tests.test_config import composed
from tests.tracking.run_folder import embedded
from tests.tracking.wandb_file import check_page, read_page

ROOT = Path(__file__).parents[1]
SHARED = ROOT / "../shared/data"

SMALL = (
    "data.train=160",
    "data.validation=20",
    "data.test=40",
    "recipe.training.tokens=6000",
    "recipe.training.batch_tokens=1024",
    "trainer.checkpoint_every=2",
    "logger=none",
)
SYNTHESIS = (
    "recipe.synthesis.budget=16",
    "recipe.synthesis.per_call=8",
    "recipe.selection.wrong_problems=2",
    "recipe.selection.right_problems=2",
)
FEW = ("data.train=60", "data.validation=10", "data.test=10", "recipe.training.tokens=1000")
CLUSTERING = ("clustering.min_types=2", "clustering.max_types=4")


def small_of(recipe: str) -> tuple[str, ...]:
    """What makes a job of this recipe small; a key that a recipe does not have would be refused."""
    of_recipe = {
        "sei": (*SYNTHESIS, *CLUSTERING),
        "self_instruct": SYNTHESIS,
        "correction": ("recipe.evolution.seeds=20",),
    }
    return (*SMALL, f"recipe={recipe}", *of_recipe.get(recipe, ()))


def small(tmp_path: Path, *overrides: str, cache: str = "cache", folder: str = "run") -> dict[str, Any]:
    """Run a small job; its results.json (None where it has none)."""
    recipe = next((word.removeprefix("recipe=") for word in reversed(overrides) if word.startswith("recipe=")), "sei")
    overrides = (*small_of(recipe), f"cache_dir={tmp_path / cache}", *overrides)
    run(composed(*overrides), tmp_path / folder, overrides)
    results: dict[str, Any] = json.loads((tmp_path / folder / "results.json").read_text())
    return results


def artifacts(folder: Path) -> dict[str, bytes]:
    """Every JSONL and safetensors file of a run, those of all stages included, and the adapters' settings, by name."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for pattern in ("**/*.jsonl", "**/*.safetensors", "**/adapter_config.json")
        for path in folder.glob(pattern)
    }


# The stages of each method in the order of its paper; those before it, and what the tiny target needs, in front of them.
FLOW = {
    "cot": "problems adapter",
    "rft": "problems sampler paths.attempts paths adapter",
    "reflection": "problems attempts mistakes diagnoses corrections adapter",
    "critique": "problems attempts mistakes traces adapter",
    "correction": "problems attempts mistakes diagnoses corrections adapter",
    "self_instruct": "problems attempts mistakes synthetic selected adapter",
    "sei": "problems attempts mistakes diagnoses error_types synthetic selected adapter",
    "supercorrect": "problems validation.attempts validation.mistakes validation.diagnoses templates "
    "checks.attempts checks.mistakes checks.traces checks.traces.inspected student "
    "attempts mistakes traces traces.inspected student_traces student_thoughts pairs adapter",
}


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """The lines of a JSONL file on top of a run folder, or the records of a stage."""
    path = folder / f"{name}.jsonl"
    if not path.is_file():
        stage = stage_folder(folder, name)
        assert stage is not None, f"{name}: no such stage in {folder}"
        path = stage / "records.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def manifest(folder: Path, name: str) -> dict[str, Any]:
    stage = stage_folder(folder, name)
    assert stage is not None, f"{name}: no such stage in {folder}"
    found: dict[str, Any] = json.loads((stage / "manifest.json").read_text())
    return found


def assert_page_shows(folder: Path, results: dict[str, Any]) -> None:
    """The run's page has its items, types, mistakes and rows, joined with what was said of them."""
    page = embedded(folder / "report.html")
    assert all(item["question"] and item["after"]["output"] for item in page["records"]["items"])
    assert len(page["types"]) == len(results["error_types"])
    assert [stage["name"] for stage in page["flow"]] == list(results["ledger"])
    assert page["counts"]["items"] == 80
    assert len(page["curves"]) == sum(
        name.startswith(("adapter", "student", "sampler")) and "_" not in name for name in results["ledger"]
    )
    assert page["records"]["rows"]
    for mistake in page["records"]["mistakes"] if "diagnoses" in results["ledger"] else ():
        assert mistake["diagnosis"] or mistake["traces"]
    if results["error_types"]:
        assert all(one["types"] for one in page["records"]["mistakes"])
        assert all(one["type"] for one in page["records"]["problems"])
        wrong = [item["before"] for item in page["records"]["items"] if item["before"]["verdict"] == "wrong"]
        assert all(answer["diagnosis"] for answer in wrong if answer["type"])
        assert all(phrase[2] is not None for kind in page["types"] for phrase in kind["rounds"][0]["phrases"])


@pytest.fixture(scope="module")
def shared_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache for the recipes of this module: base attempts and evaluations are shared, as in a sweep."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.parametrize("recipe", sorted(FLOW))
def test_every_recipe_runs_from_problems_to_results(
    shared_cache: Path, recipe: str, capsys: pytest.CaptureFixture[str]
) -> None:
    results = small(shared_cache, f"recipe={recipe}", "logger=offline", folder=recipe)
    folder = shared_cache / recipe
    check_page(folder, results)
    assert results["recipe"] == recipe
    assert results["status"] == "done" == json.loads((folder / "status.json").read_text())["status"]
    used = results["precision"]["training"]
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"Precision: training {used['value']} (auto: {used['why']}), generation float32"
    if results["error_types"]:
        assert said.pop(-2).endswith(f": python -m sei.trace {folder}")
    assert said[-2] == f"report: {folder / 'report.html'}"
    assert said[-1].startswith("next, the same over seeds: python train.py -m ")
    assert set(results["eval"]) == {"in_domain", "out_of_domain"}
    for entry in results["eval"].values():
        for when in ("before", "after"):
            assert entry[when]["n"] == 40
            assert entry[when]["low"] <= entry[when]["correct"] / 40 == entry[when]["accuracy"] <= entry[when]["high"]
        assert sum(part["n"] for part in entry["families"].values()) == 40
    supervised = 6000 if recipe != "supercorrect" else 100_000  # its second phase has a budget of its own
    assert 5000 < results["tokens_trained"] <= supervised, "the same budget for all, less one example at most"
    for stage, account in results["ledger"].items():
        assert account["received"] == account["passed"] + sum(account["rejected"].values()), stage
    evaluation = ("evaluate.", "diagnoses.", "in_domain.")
    assert [stage for stage in results["ledger"] if not stage.startswith(evaluation)] == FLOW[recipe].split()
    assert (folder / "adapter" / "adapter_model.safetensors").is_file()
    assert (folder / "adapter" / "adapter_config.json").is_file()
    assert (folder / "config.yaml").is_file()
    assert len(rows(folder, "outcomes")) == 80
    assert_page_shows(folder, results)


def test_a_training_row_leads_back_to_the_mistake(shared_cache: Path) -> None:
    small(shared_cache, "recipe=sei", folder="sei")
    folder = shared_cache / "sei"
    mistakes = {row["id"] for row in rows(folder, "mistakes")}
    synthetic = {row["id"]: row for row in rows(folder, "synthetic")}
    types = {row["id"]: row for row in rows(folder, "error_types")}

    def leads_to_mistakes(name: str) -> bool:
        return name in mistakes or (name in synthetic and all_lead(synthetic[name]["parents"]))

    def all_lead(parents: list[str]) -> bool:
        return bool(parents) and all(map(leads_to_mistakes, parents))

    trained = [row for row in rows(folder, "adapter") if row["kind"] == "synthetic"]
    assert trained, "no row is of a synthetic problem"
    for row in trained:
        origin, *parents = row["parents"]
        assert synthetic[origin]["error_type"] in types
        assert parents == synthetic[origin]["parents"]
        assert all_lead(parents)
    for kind in types.values():
        assert kind["mistake_ids"]
        assert set(kind["mistake_ids"]) <= mistakes
        assert kind["size"] == len(kind["mistake_ids"])


def test_the_same_seed_gives_the_same_artifacts_and_a_rerun_computes_nothing(
    shared_cache: Path, tmp_path: Path
) -> None:
    small(shared_cache, "recipe=sei", folder="sei")  # beside other recipes, some stages of which it shares
    first = small(tmp_path, "recipe=sei", folder="first")
    again = small(tmp_path, "recipe=sei", folder="again")
    assert artifacts(shared_cache / "sei") == artifacts(tmp_path / "first") == artifacts(tmp_path / "again")
    compared = {Path(name).name for name in artifacts(tmp_path / "first")}
    assert compared >= {"records.jsonl", "rejected.jsonl", "adapter_model.safetensors", "adapter_config.json"}
    assert first["cached"] == []
    assert set(again["cached"]) == set(again["ledger"])


def test_rounds_probe_the_tuned_target_and_types_keep_their_identity(tmp_path: Path) -> None:
    results = small(tmp_path, "recipe=sei", "recipe.rounds=2")
    assert {"attempts.round2", "mistakes.round2", "error_types.round2", "adapter.round2"} <= set(results["ledger"])
    assert all(len(row["mined"]) == 2 for row in results["error_types"])
    assert {row["status"] for row in results["error_types"]} <= {"fixed", "regrouped", "persistent", "new"}
    assert 5000 < results["tokens_trained"] <= 6000, "the token budget is the recipe's, not the round's"


def test_without_mistakes_the_run_says_so_and_ends_well(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from sei.records import Verdict

    monkeypatch.setattr("sei.stages.attempt.grade_many", lambda pairs, *args, **more: [Verdict.CORRECT] * len(pairs))
    results = small(tmp_path, "recipe=sei")
    said = capsys.readouterr().out
    assert "made no mistakes" in said
    assert "nothing is left" not in said
    assert results["eval"]["in_domain"]["after"] is None
    assert results["tokens_trained"] == 0


def test_a_teacher_that_refuses_everything_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = lambda self, mistakes: [Rejected.make(mistake.id, "refused") for mistake in mistakes]  # noqa: E731
    monkeypatch.setattr(SymbolicTeacher, "diagnose", refused)
    for recipe in ("correction", "sei"):
        with pytest.raises(UserError, match=r"None of \d+ mistakes was diagnosed by teacher symbolic \(\d+ refused\)"):
            small(tmp_path, *FEW, f"recipe={recipe}", folder=recipe)
        said = capsys.readouterr().out
        assert "diagnoses: no records passed; reasons are in stages/04-diagnoses/rejected.jsonl" in said
        status = json.loads((tmp_path / recipe / "status.json").read_text())
        assert status["status"] == "failed"
        assert "refused" in status["error"]
    monkeypatch.undo()
    none = lambda self, mistakes, diagnoses: [Rejected.make(one.id, "refused") for one in mistakes]  # noqa: E731
    monkeypatch.setattr(SymbolicTeacher, "correct", none)
    results = small(tmp_path, *FEW, "recipe=correction", folder="uncorrected", cache="other")
    assert "No mistake was corrected: this round adds chains of thought alone." in capsys.readouterr().out
    assert results["ledger"]["corrections"]["rejected"].keys() == {"refused"}
    monkeypatch.setattr(SymbolicTeacher, "diagnose", refused)
    capsys.readouterr()
    small(tmp_path, *FEW, "recipe=supercorrect", "eval.diagnose=false", folder="supercorrect")
    assert "No kind of step stands out as hard in 10 validation problems" in capsys.readouterr().out


def test_a_dry_run_shows_plan_and_prompts_and_computes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides = (*small_of("sei"), f"cache_dir={tmp_path / 'cache'}", "dry_run=true")
    run(composed(*overrides), tmp_path / "run", overrides)
    printed = capsys.readouterr().out
    assert "Next to compute: problems" in printed
    assert "| Question: " in printed
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_is_no_hindrance(tmp_path: Path) -> None:
    """A container's user without a home: W&B's own folders lie in the run folder, the cache in the current folder."""
    (tmp_path / "home").write_text("no folder")
    environment = {"HOME": str(tmp_path / "home"), "PATH": os.environ["PATH"]}
    command = [sys.executable, str(ROOT / "train.py"), *small_of("cot"), *FEW, "logger=offline"]
    done = subprocess.run(
        [*command, f"hydra.run.dir={tmp_path / 'run'}"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "run" / "wandb").glob("offline-run-*/*.wandb"))
    assert (tmp_path / ".cache" / "sei" / "finetune").is_dir()


def test_a_failed_job_of_a_sweep_is_shown_and_the_others_go_on(tmp_path: Path) -> None:
    command = [sys.executable, "train.py", "-m", *SMALL, *FEW, "recipe=cot", "recipe.training.max_tokens=16,512"]
    command += [f"cache_dir={tmp_path / 'cache'}", f"hydra.sweep.dir={tmp_path / 'sweep'}", "logger=offline"]
    swept = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert swept.returncode != 0
    assert "max_tokens=16" in swept.stderr
    assert "Traceback" not in swept.stderr + swept.stdout, "a person can mend it"
    jobs = [line for line in swept.stdout.splitlines() if line.startswith("job ")]
    assert jobs == [f"job {n}/2: recipe.training.max_tokens={tokens}" for n, tokens in ((1, 16), (2, 512))]
    (row,) = [line for line in swept.stdout.splitlines() if line.startswith("| recipe.training.max_tokens=16")]
    assert "| failed |" in row
    assert "UserError: There is nothing to train on" in row
    assert len({path.read_text() for path in (tmp_path / "sweep").glob("*/log.txt")}) == 2
    pages = {page.config["variant"]: page for page in map(read_page, (tmp_path / "sweep").glob("*-*"))}
    failed, done = (pages[f"cot, recipe.training.max_tokens={tokens}"] for tokens in (16, 512))
    assert (failed.exits, failed.summary["status"]) == ([1], "failed")
    assert failed.summary["error"].startswith(
        "UserError: There is nothing to train on: 60 of 60 examples were rejected"
    )
    assert (done.exits, done.summary["status"], done.summary["error"]) == ([0], "done", None)
    assert failed.run.run_id != done.run.run_id
    assert failed.run.run_group == done.run.run_group
    assert done.run.run_group == "sweep"
    statuses = [json.loads(path.read_text()) for path in (tmp_path / "sweep").glob("*/status.json")]
    assert sorted(status["status"] for status in statuses) == ["done", "failed"]
    assert f"next, with paired tests: python -m sei.compare {tmp_path / 'sweep'}" in swept.stdout.splitlines()
    page = embedded(tmp_path / "sweep" / "report.html")
    assert page["counts"] == {"done": 1, "failed": 1}
    assert all((tmp_path / "sweep" / job["href"]).is_file() for job in page["jobs"])
    assert not page["tests"]
    compared = subprocess.run(
        [sys.executable, "-m", "sei.compare", str(tmp_path / "sweep")], cwd=ROOT, capture_output=True, text=True
    )
    assert compared.returncode == 0
    assert "failed" in compared.stdout + compared.stderr


def test_in_a_sweep_a_recipe_leaves_out_the_keys_of_another(tmp_path: Path) -> None:
    command = [sys.executable, "train.py", "-m", "recipe=cot,sei", *SMALL, *SYNTHESIS, *CLUSTERING, *FEW]
    foreign = ("recipe.selection.keep=0.8", "recipe.rounds=2")
    command += [*foreign, f"cache_dir={tmp_path / 'cache'}", f"hydra.sweep.dir={tmp_path / 'sweep'}"]
    swept = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert swept.returncode == 0, swept.stderr
    said = [line for line in swept.stdout.splitlines() if line.endswith(": left out.")]
    assert len(said) == 1, "sei has a use for everything"
    assert said[0].startswith("recipe=cot has no use for ")
    named = said[0].removeprefix("recipe=cot has no use for ").removesuffix(": left out.").split(", ")
    assert sorted(named) == ["clustering", "recipe.rounds", "recipe.selection", "recipe.synthesis"]
    results = {path.parent.name.split("-")[0]: path for path in (tmp_path / "sweep").glob("*/results.json")}
    cot, sei = (json.loads(results[recipe].read_text()) for recipe in ("cot", "sei"))
    of_sei = {word.split("=")[0] for word in (*SYNTHESIS, *CLUSTERING, *foreign)}
    assert {word.split("=")[0] for word in sei["overrides"]} - {
        word.split("=")[0] for word in cot["overrides"]
    } == of_sei
    assert "recipe.training.tokens=1000" in cot["overrides"]
    assert 500 < cot["tokens_trained"] <= 1000, "two rounds are not for it: it has the whole budget"
    assert "adapter.round2" in sei["ledger"]
    assert sei["ledger"]["selected"]["passed"] >= 0.8 * sei["ledger"]["selected"]["received"]


def test_a_failed_run_leaves_its_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: Any, **more: Any) -> Any:
        raise RuntimeError("the teacher broke")

    monkeypatch.setattr("sei.teacher.symbolic.SymbolicTeacher.diagnose", broken)
    with pytest.raises(RuntimeError, match="the teacher broke"):
        small(tmp_path, "recipe=sei")
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status.pop("seconds") > 0
    assert status == {"status": "failed", "error": "RuntimeError: the teacher broke"}


def write_jsonl(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def gsm8k_row(number: int) -> dict[str, str]:
    half = f"Sam has {number} pens and buys {number + 2} more. How many pens does Sam have?"
    total = 2 * number + 2
    return {
        "question": half,
        "answer": f"{number} + {number + 2} = <<{number}+{number + 2}={total}>>{total}\n#### {total}",
    }


def recorded(tmp_path: Path, *attempts: dict[str, Any]) -> tuple[str, ...]:
    folder = tmp_path / "data"
    folder.mkdir()
    write_jsonl(folder / "train.jsonl", *[gsm8k_row(number) for number in range(3, 9)])
    write_jsonl(folder / "test.jsonl", *[gsm8k_row(number) for number in range(20, 24)])
    path = write_jsonl(tmp_path / "attempts.jsonl", *attempts)
    where = ("data=gsm8k", f"data.path={folder}", "data.validation=0", "data.train=null", "data.test=null")
    return (*where, "engine=recorded", f"engine.path={path}", "trainer=none", "recipe=sei")


def test_recorded_attempts_become_types_and_problems_without_training(tmp_path: Path) -> None:
    wrong = [
        {"question": gsm8k_row(n)["question"], "solution": f"{n} * {n + 2} = {n * (n + 2)}\n#### {n * (n + 2)}"}
        for n in range(3, 9)
    ]
    results = small(tmp_path, *recorded(tmp_path, *wrong))
    assert results["ledger"]["mistakes"]["passed"] == 6
    assert results["eval"] == {}
    assert results["ledger"]["synthetic"]["records"] > 0


def test_a_recorded_attempt_at_an_unknown_question_is_refused(tmp_path: Path) -> None:
    overrides = recorded(tmp_path, {"question": "Who are you?", "solution": "#### 1"})
    with pytest.raises(UserError, match=r"attempts\.jsonl.*Who are you"):
        small(tmp_path, *overrides)


@pytest.mark.skipif(not SHARED.exists(), reason="shared data not here")
def test_real_mistakes_of_real_models_become_types(tmp_path: Path) -> None:
    results = small(
        tmp_path,
        "recipe=sei",
        "data=gsm8k",
        f"data.path={SHARED / 'gsm8k'}",
        "data.train=null",
        "data.test=null",
        "engine=recorded",
        f"engine.path={SHARED / 'attempts/gsm8k_test_6b.jsonl'}",
        "trainer=none",
        "clustering.min_types=8",
        "clustering.max_types=16",
        "recipe.synthesis.budget=40",
    )
    assert results["ledger"]["mistakes"] == {
        "received": 2638,
        "passed": 1837,
        "records": 1837,
        "rejected": {"correct": 801},
    }
    seeds = [json.loads(line)["question"] for line in (tmp_path / "run" / "mistakes.jsonl").read_text().splitlines()]
    made = [json.loads(line)["question"] for line in (tmp_path / "run" / "synthetic.jsonl").read_text().splitlines()]
    assert made
    assert SimilarityFilter(0.7, seeds).filter_batch(made) == [None] * len(made)
    diagnosed = results["ledger"]["diagnoses"]["passed"]
    assert diagnosed > 0.98 * 1837
    assert max(row["mined"][0] for row in results["error_types"]) <= 0.4 * diagnosed


def test_killed_at_any_moment_the_same_command_ends_with_the_same_artifacts(shared_cache: Path, tmp_path: Path) -> None:
    whole = small(shared_cache, "recipe=sei", folder="sei")
    command = [sys.executable, "train.py", *small_of("sei"), f"cache_dir={tmp_path / 'cache'}", "logger=offline"]
    command.append(f"hydra.run.dir={tmp_path / 'killed'}")
    finished: set[int] = set()
    for stages in (2, 6):  # killed once early, once late
        job = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 120
        while len(list((tmp_path / "cache").glob("*/*/manifest.json"))) < stages and job.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(job.pid, signal.SIGKILL)
        job.wait()
        finished.add(len(list((tmp_path / "cache").glob("*/*/manifest.json"))))
        assert not (tmp_path / "killed" / "results.json").exists()
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    assert len(finished) == 2, "the second attempt went further than the first"
    assert artifacts(tmp_path / "killed") == artifacts(shared_cache / "sei")
    results = json.loads((tmp_path / "killed" / "results.json").read_text())
    assert results["eval"] == whole["eval"]
    check_page(tmp_path / "killed", results, files=3)
