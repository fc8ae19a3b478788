"""One W&B run for each job, seen through the offline files that `wandb sync` would upload."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import wandb

from sei.config import Logger
from sei.tracking.journal import Journal
from sei.tracking.lineage import Lineage
from sei.tracking.names import Labels
from sei.tracking.summary import summary
from sei.tracking.tables import Table
from sei.tracking.tracker import Tracker
from sei.workspace import Artifact
from tests.tracking.wandb_file import read_page

ROOT = Path(__file__).parents[2]
LABELS = Labels("cot, a=1", "none", "none", "cot, a=1, seed 0", "sweep", "cot", "tiny-arithmetic", ["cot"])


def tracker(folder: Path, kind: Any = "offline", said: list[str] | None = None, **more: Any) -> Tracker:
    told = [] if said is None else said
    return Tracker(Logger(**{"kind": kind, "upload": "none", **more}), folder, LABELS, {"seed": 0}, say=told.append)


@pytest.fixture(scope="module", autouse=True)
def afterwards() -> Iterator[None]:
    """Let the next module begin with W&B as it finds it."""
    yield
    wandb.teardown()


def trained(key: str, losses: list[float], stage: str = "adapter") -> Artifact[Any]:
    numbers = {"loss_curve": losses, "tokens_curve": [100 * n for n in range(1, len(losses) + 1)]}
    numbers |= {"tokens": 100 * len(losses)}
    counts = {"received": 3, "passed": 3, "records": 3, "rejected": {}, "seconds": 1.5}
    return Artifact(stage, [], [], {**counts, "numbers": numbers, "key": key, "stage": "finetune"}, None, True)


KILLED = """
import os, signal, sys, time
from pathlib import Path
from tests.tracking.test_wandb import trained, tracker
from tests.tracking.wandb_file import records
with tracker(Path(sys.argv[1])) as tracked:
    tracked.stage(trained("k1", [3.0, 2.0]))
    while sum(row.HasField("history") for row in records(next(Path(sys.argv[1]).glob("wandb/offline-run-*/*.wandb")))) < 3:
        time.sleep(0.05)
    follow = tracked.following("adapter.round2", "k2")
    for step, loss in enumerate([1.5, 1.25, 1.125], start=1):
        follow(step, {"loss": loss, "tokens": 100 * step})
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_job_goes_on_in_the_same_run_where_it_was(tmp_path: Path) -> None:
    environment = os.environ | {"WANDB_X_TRANSACTION_LOG_FLUSH_INTERVAL": "0.1"}  # else every 15 s
    job = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, env=environment, check=False)
    assert job.returncode == -signal.SIGKILL
    with tracker(tmp_path) as tracked:
        tracked.stage(trained("k1", [3.0, 2.0]))  # from the cache
        follow = tracked.following("adapter.round2", "k2")
        for step, loss in ((3, 1.125), (4, 1.0)):  # from the checkpoint of step 2
            follow(step, {"loss": loss, "tokens": 100 * step})
        assert (tmp_path / "curves" / "adapter.round2.csv").read_text().split() == [
            "step,loss,tokens", "1,1.5,100", "2,1.25,200", "3,1.125,300", "4,1.0,400",
        ]  # fmt: skip
        tracked.stage(trained("k2", [1.5, 1.25, 1.125, 1.0], "adapter.round2"))
    page = read_page(tmp_path)
    assert len(page.files) == 2
    assert len({run.run_id for run in page.runs}) == 1
    steps = [row["_step"] for row in page.history]
    assert steps == sorted(set(steps)), "nothing restarts"
    # What W&B had not written when the job was killed is there again; what it had written may be there twice.
    assert sorted(set(page.series("round1/train/loss"))) == [(1, 3.0), (2, 2.0)]
    assert sorted(set(page.series("round2/train/loss"))) == [(1, 1.5), (2, 1.25), (3, 1.125), (4, 1.0)]
    tokens = sorted(set(page.series("round2/train/loss", "tokens_trained")))
    assert tokens == [(300, 1.5), (400, 1.25), (500, 1.125), (600, 1.0)]
    assert page.summary["status"] == "done"
    assert page.exits[-1] == 0


def opened(path: Path, to: str = "offline") -> set[str]:
    journal = Journal(path, "unused")
    journal.open(to)
    return journal.rows


def test_rows_of_the_last_seconds_before_a_kill_count_as_lost(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    lines = [{"id": "x"}, {"to": "offline"}]
    lines += [{"step": n, "row": f"r{n}", "time": 100.0 + 10 * n} for n in range(6)]
    killed = "\n".join(map(json.dumps, lines)) + "\n"
    path.write_text(killed + '{"step": 6, "ro')
    journal = Journal(path, "unused")
    assert (journal.run_id, journal.next_step) == ("x", 6)
    path.write_text(killed)
    assert sorted(opened(path)) == ["r0", "r1", "r2"]
    again = Journal(path, "unused")
    again.open("offline")
    again.add("r9")
    assert sorted(opened(path)) == ["r0", "r1", "r2"], "a second kill long after brings nothing back"
    path.write_text(killed)
    Journal(path, "unused").finish()
    assert len(opened(path)) == 6


def test_what_went_to_one_place_has_not_arrived_at_another(tmp_path: Path) -> None:
    path = tmp_path / "history.log"
    for to in ("offline", "a page"):
        journal = Journal(path, "x")
        journal.open(to)
        assert journal.rows == set()
        journal.add("row")
        journal.finish()
    assert opened(path, "a page") == opened(path) == {"row"}
    assert Journal(path, "x").next_step == 2


def test_a_job_that_fails_is_marked_so_and_can_still_end_well(tmp_path: Path) -> None:
    def fails(tracked: Tracker) -> None:
        with tracked:
            tracked.stage(trained("k1", [3.0]))
            raise RuntimeError("out of memory\nand more")

    with pytest.raises(RuntimeError):
        fails(tracker(tmp_path))
    page = read_page(tmp_path)
    assert (page.exits, page.summary["status"]) == ([1], "failed")
    assert page.summary["error"] == "RuntimeError: out of memory"
    with tracker(tmp_path) as tracked:
        tracked.stage(trained("k1", [3.0]))
    page = read_page(tmp_path)
    assert (page.exits, page.summary["status"], page.summary["error"]) == ([1, 0], "done", None)
    assert [row["_step"] for row in page.history] == [0, 1]


def test_wandbs_own_variables_are_honoured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "PROJECT": "their project", "ENTITY": "team", "RUN_GROUP": "their group", "NAME": "their name", "NOTES": "a note",
        "TAGS": "one,two", "JOB_TYPE": "their type", "RUN_ID": "their-id", "DIR": str(tmp_path / "elsewhere"),
    }.items():  # fmt: skip
        monkeypatch.setenv(f"WANDB_{name}", value)
    (tmp_path / "elsewhere").mkdir()
    wandb.teardown()  # it reads its variables once
    with tracker(tmp_path / "run"):
        pass
    run = read_page(tmp_path / "elsewhere").run
    assert (run.project, run.entity, run.run_group) == ("their project", "team", "their group")
    assert (run.display_name, run.notes, run.job_type, run.run_id) == ("their name", "a note", "their type", "their-id")
    assert set(run.tags) == {"cot", "one", "two"}
    given = {"project": "p", "entity": "e", "group": "g", "name": "n", "notes": "o"}
    monkeypatch.setenv("WANDB_DIR", str(tmp_path / "elsewhere2"))
    (tmp_path / "elsewhere2").mkdir()
    wandb.teardown()
    with tracker(tmp_path / "run2", **given):
        pass
    run = read_page(tmp_path / "elsewhere2").run
    assert (run.project, run.entity, run.run_group, run.display_name, run.notes) == tuple(given.values()), (
        "said on the line"
    )


@pytest.mark.parametrize(("kind", "mode", "tracked"), [("offline", "disabled", False), ("wandb", "offline", True)])
def test_wandb_mode_may_keep_a_run_here(
    kind: str, mode: str, tracked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", mode)
    said: list[str] = []
    with tracker(tmp_path, kind, said) as one:
        one.stage(trained("k1", [3.0]))
    assert bool(list(tmp_path.glob("wandb/offline-run-*/*.wandb"))) == tracked
    assert (tmp_path / "curves" / "adapter.csv").is_file()
    assert said == []


def test_an_offline_run_is_not_sent_away_by_a_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    said: list[str] = []
    with tracker(tmp_path, "offline", said):
        pass
    assert read_page(tmp_path).exits == [0]
    assert said == ["WANDB_MODE=online, but logger=offline: give logger=wandb to upload this run."]


def test_without_an_account_an_online_run_goes_on_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    said: list[str] = []
    with tracker(tmp_path, "wandb", said) as tracked:
        tracked.stage(trained("k1", [3.0]))
    assert read_page(tmp_path).series("round1/train/loss") == [(1, 3.0)]
    (line,) = said
    assert line.startswith("W&B online cannot start (no account is known: run `wandb login` or set WANDB_API_KEY)")
    assert f"wandb sync {tmp_path}/wandb/offline-run-*" in line


@pytest.mark.parametrize("broken", ["init", "log"])
def test_wandb_never_makes_a_job_fail(broken: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise OSError("no space left\non device")

    class Run:
        step, offline, log, summary = 0, True, fails, {}
        define_metric = finish = staticmethod(lambda *_, **__: None)

    monkeypatch.setattr("wandb.init", fails if broken == "init" else lambda **_: Run())
    said: list[str] = []
    with tracker(tmp_path, said=said) as tracked:
        tracked.stage(trained("k1", [3.0, 2.0, 1.0]))
        tracked.summarize({"eval": {}, "tokens_trained": 3, "checkpoints": None}, {"a": 1})
    trouble = {"init": "cannot start, so this run is not tracked", "log": "takes no rows"}[broken]
    assert said == [f"W&B {trouble} (no space left). Everything is in {tmp_path} all the same."]
    assert len((tmp_path / "curves" / "adapter.csv").read_text().splitlines()) == 4


def test_each_job_of_a_process_stages_in_its_own_folder(tmp_path: Path) -> None:
    before = dict(os.environ)
    for name in ("one", "two"):
        with tracker(tmp_path / name):
            assert os.environ["WANDB_DATA_DIR"] == str(tmp_path / name / "wandb" / "data")
    assert {key: os.environ.get(key) for key in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")} == {
        key: before.get(key) for key in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR")
    }


def test_a_stage_is_told_of_while_it_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sei.tracking.tracker._EVERY", 0.02)
    spent = iter(range(1, 10_000))
    told = Tracker(Logger(), tmp_path, LABELS, {}, say=print, spent=lambda: {"used_usd": next(spent) / 4})
    with told, told.watching("evaluate.before.set") as update:
        update(3, 10)
        while len(told._journal.rows if told._journal.next_step < 2 else "xx") < 2:  # type: ignore[union-attr]
            pass
    page = read_page(tmp_path)
    assert ("ledger/evaluate_before_set/done", 3) in page.history[0].items()
    assert page.history[0]["ledger/evaluate_before_set/total"] == 10
    assert [row["teacher/used_usd"] for row in page.history[:2]] == [0.25, 0.5]
    seconds = [row["ledger/evaluate_before_set/seconds"] for row in page.history]
    assert seconds == sorted(seconds)


def test_every_job_has_the_same_keys_whatever_it_found() -> None:
    def figures(*sides: Any) -> dict[str, Any]:
        entry = dict(zip(("before", "after", "change"), sides, strict=True))
        return {
            "eval": {"my.set": entry}, "averages": {}, "validation": None, "error_types": [], "tokens_trained": 0,
            "commit": "c", "device": None,
        }  # fmt: skip

    share = {"n": 10, "accuracy": 0.5, "low": 0.25, "high": 0.75}
    change = {"mean": 0.25, "low": 0.0, "high": 0.5, "fixed": 3, "broken": 1, "p": 0.6}
    spent = {"used_usd": 5.0, "paid_usd": 1.0}
    whole = summary(figures(share, share, change), [trained("k", [1.0])], spent)
    bare = summary(figures(share, None, None), [], {})
    assert whole.keys() == bare.keys()
    assert (whole["my_set/change"], whole["my_set/change_high"], whole["my_set/fixed"]) == (0.25, 0.5, 3)
    assert (whole["usd/used"], whole["usd/paid"], whole["usd/per_fixed"]) == (5.0, 1.0, 2.5)
    assert (whole["seconds/finetune"], whole["seconds/synthesize"], whole["seconds/total"]) == (1.5, 0.0, 1.5)
    assert (bare["my_set/after"], bare["my_set/pass_at_1"], bare["usd/per_fixed"]) == (None, None, None)


HOSTILE = '<img src=x onerror=alert(1)>\x00\ud800 [a](javascript:b) {"_type": "html-file"}'


def test_texts_are_shown_as_they_are_and_only_where_they_may_leave(tmp_path: Path) -> None:
    shown = {"items": Table(("text", "n"), [[HOSTILE, None], ["x", 1]]), "parts": Table(("n",), [[1]], texts=False)}
    for upload in ("none", "data"):
        folder = tmp_path / upload
        with tracker(folder, upload=upload) as tracked:
            (folder / "outcomes.jsonl").write_text("{}\n")
            tracked.show(shown, ["outcomes.jsonl"])
            tracked.show(shown, ["outcomes.jsonl"])
    page = read_page(tmp_path / "data")
    assert page.table("tables/items") == [{"text": HOSTILE, "n": None}, {"text": "x", "n": 1}]
    assert len(page.series("tables/items")) == 1, "the same table is logged once"
    assert page.artifacts["tiny-arithmetic-evaluation"].type == "evaluation"
    page = read_page(tmp_path / "none")
    assert "tables/items" not in page.summary
    assert page.table("tables/parts") == [{"n": 1}]
    assert {name for name in page.artifacts if not name.startswith("run-")} == set()


def test_online_what_the_outcomes_were_made_from_is_an_input(tmp_path: Path) -> None:
    class Run:
        """The calls of a W&B run that has a network; whether a server takes them is not tested here."""

        id, offline = "run", False

        def __init__(self) -> None:
            self.calls: list[tuple[str, str]] = []
            self.files: dict[str, list[str]] = {}

        def log_artifact(self, artifact: Any, aliases: list[str]) -> Any:
            self.calls.append(("log", artifact.name))
            self.files[artifact.name] = sorted(artifact.manifest.entries)
            artifact.wait = lambda timeout: self.calls.append(("wait", artifact.name))
            return artifact

        def use_artifact(self, artifact: Any) -> None:
            self.calls.append(("use", artifact.name))

    run = Run()
    lineage = Lineage(run, Journal(tmp_path / "log", "x"), tmp_path, upload="all", prefix="m")
    for stage in ("problems", "adapter", "adapter"):
        folder = tmp_path / "stages" / stage
        (folder / "files" / "steps").mkdir(parents=True, exist_ok=True)
        for name in ("records.jsonl", "files/adapter_model.safetensors", "files/steps/kept"):
            (folder / name).write_text(stage)
        artifact = trained(f"key-{stage}", [1.0], stage)
        if stage == "problems":
            artifact.manifest["numbers"].clear()
        lineage.stage(dataclasses.replace(artifact, folder=f"stages/{stage}", place=f"stages/{stage}/files"))
    (tmp_path / "outcomes.jsonl").write_text("")
    lineage.evaluation(["outcomes.jsonl"], "key")
    logged = [name for call, name in run.calls if call == "log"]
    assert logged == ["m-problems", "m-training-set", "m-adapter", "m-evaluation"], "each once"
    assert run.files["m-adapter"] == ["adapter_model.safetensors"]
    assert run.calls[4:] == [(call, name) for name in logged[:-1] for call in ("wait", "use")]


def test_no_secret_is_in_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "0123456789abcdef0123456789abcdef01234567"
    for name in ("WANDB_API_KEY", "OPENAI_API_KEY", "HF_TOKEN"):
        monkeypatch.setenv(name, secret)
    wandb.teardown()
    with tracker(tmp_path) as tracked:
        tracked.stage(trained("k1", [3.0]))
    read_page(tmp_path)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) > 5
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


@pytest.mark.parametrize(("given", "on"), [(None, False), (True, True)])
def test_commit_console_and_device_metrics_have_a_switch(
    given: bool | None, on: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings: list[Any] = []
    init = wandb.init
    monkeypatch.setattr("wandb.init", lambda **more: (settings.append(more["settings"]), init(**more))[1])
    with tracker(tmp_path, commit=given, console=given, device_metrics=given):
        pass
    (used,) = settings
    assert (used.console != "off", not used.disable_git, not used.x_disable_stats) == (on, on, on)


def test_where_wandb_cannot_be_reached_an_online_run_goes_on_offline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"BASE_URL": "http://127.0.0.1:9", "API_KEY": "0" * 40, "INIT_TIMEOUT": "1"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    wandb.teardown()
    said: list[str] = []
    with tracker(tmp_path, "wandb", said) as tracked:
        tracked.stage(trained("k1", [3.0]))
    assert read_page(tmp_path).series("round1/train/loss") == [(1, 3.0)]
    (line,) = said
    assert line.startswith("W&B online cannot start (")
    monkeypatch.undo()
    wandb.teardown()


def test_the_service_of_the_process_that_started_this_one_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb.teardown()
    monkeypatch.setenv("WANDB_SERVICE", f"3-{os.getppid()}-unix-{tmp_path / 'nowhere'}")
    said: list[str] = []
    with tracker(tmp_path / "run", said=said) as tracked:
        tracked.stage(trained("k1", [3.0]))
    assert (said, read_page(tmp_path / "run").exits) == ([], [0])
