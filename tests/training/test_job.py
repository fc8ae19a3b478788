"""Training in separate processes, on two CPU processes (gloo)."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from pytorch_lightning.loggers.logger import Logger
from safetensors.torch import load_file

from sei.errors import UserError
from sei.records import Example
from sei.target.load import adapter_fingerprint
from sei.training import job
from sei.training.job import train
from sei.training.run import Loop
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from tests.target.small import save_small
from tests.training.test_dpo import pairs

SFT = Hyperparameters(learning_rate=1e-3, epochs=2, batch_examples=3, max_tokens=64)
DPO = PreferenceHyperparameters(learning_rate=1e-3, epochs=2, batch_examples=3, max_tokens=64, beta=0.5)


class Heard(Logger):
    def __init__(self) -> None:
        super().__init__()
        self.metrics: list[tuple[int, dict[str, float]]] = []

    name = version = ""

    def log_hyperparams(self, *_: Any, **__: Any) -> None: ...

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.metrics.append((step, metrics))


def examples() -> list[Example]:
    return [Example(one.id, one.prompt, one.chosen, "cot", ()) for one in pairs()]


def apart(one: Path, other: Path) -> float:
    """The largest difference between two adapters' weights."""
    first, second = (load_file(path / "adapter_model.safetensors") for path in (one, other))
    assert first.keys() == second.keys()
    return max(float((first[name] - second[name]).abs().max()) for name in first)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "strategy"), [("sft", "ddp"), ("dpo", "fsdp2")])
def test_two_processes_give_what_one_gives_and_all_is_shown(kind: job.Kind, strategy: str, tmp_path: Path) -> None:
    base = save_small(tmp_path / "base", initializer_range=0.05)
    rows: list[Any] = [*(examples() if kind == "sft" else pairs())]
    settings = dataclasses.replace(SFT if kind == "sft" else DPO, keep_every=4)
    results, said, heard = {}, {}, {}
    for name, devices in (("one", 1), ("two", 2)):
        (tmp_path / name).mkdir()
        said[name], heard[name] = [], Heard()
        loop = Loop(accelerator="cpu", devices=devices, strategy=strategy, loggers=[heard[name]])
        results[name] = train(kind, tmp_path / name, str(base), rows, settings, loop, say=said[name].append)
    assert results["two"].pop("kept_steps") == results["one"].pop("kept_steps") == [4, 8]
    assert results["two"]["loss_curve"] == pytest.approx(results["one"]["loss_curve"], abs=1e-5)
    for key in ("tokens", "label_tokens", "steps", "trained_parameters", "rejected"):
        assert results["two"][key] == results["one"][key], key
    assert apart(tmp_path / "one/adapter", tmp_path / "two/adapter") < 1e-4
    assert apart(tmp_path / "one/adapter/steps/000004", tmp_path / "two/adapter/steps/000004") < 1e-4
    shared = ", which share the model (fsdp2)" if strategy == "fsdp2" else ""
    assert said["two"] == [f"training on 2 devices, in separate processes{shared}", *said["one"]]
    assert [step for step, _ in heard["two"].metrics] == [step for step, _ in heard["one"].metrics] == list(range(1, 9))
    for (_, one), (_, two) in zip(heard["one"].metrics, heard["two"].metrics, strict=True):
        assert two == pytest.approx(one, abs=1e-3)
    if kind == "dpo":
        assert results["two"]["first_loss"] == pytest.approx(0.6931472, abs=1e-6)


SLURM = {"NTASKS": "1", "NTASKS_PER_NODE": "1", "NNODES": "1", "NODELIST": "localhost", "JOB_ID": "7", "PROCID": "0"}
TORCHRUN = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "4", "MASTER_ADDR": "192.0.2.1", "MASTER_PORT": "9"}


@pytest.mark.slow
@pytest.mark.parametrize("tasks", ["1", "4"])
def test_what_other_launchers_leave_behind_does_not_matter(
    tasks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever has started this process, nobody else starts the second one of its training."""
    allocation = SLURM | {"NTASKS": tasks, "LOCALID": "0", "NODEID": "0", "JOB_NAME": "train"}
    for name, value in {f"SLURM_{name}": value for name, value in allocation.items()}.items():
        monkeypatch.setenv(name, value)
    for name, value in TORCHRUN.items() if tasks == "4" else ():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    base = save_small(tmp_path / "base", initializer_range=0.05)
    said: list[str] = []
    result = train("sft", tmp_path, str(base), examples(), SFT, Loop(accelerator="cpu", devices=2), say=said.append)
    assert said[0] == "training on 2 devices, in separate processes"
    assert result["steps"] == len(result["loss_curve"]) == 8


STAGE = """
import dataclasses, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell has its background jobs ignore it
from sei.training.job import train
from sei.training.run import Loop
from tests.training.test_job import SFT, examples
folder, base, strategy = sys.argv[1:]
loop = Loop(accelerator="cpu", devices=2, strategy=strategy, checkpoint_every=2)
result = train("sft", Path(folder), base, examples(), dataclasses.replace(SFT, steps=300), loop, say=print)
print("from", result["resumed_from_step"])
"""


def begin(folder: Path, base: Path, strategy: str) -> subprocess.Popen[str]:
    """A stage that trains in two processes, in a process group of its own as a terminal's command is."""
    folder.mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-c", STAGE, str(folder), str(base), strategy],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A base, and the adapters that trainings end with that nobody disturbs, by strategy."""
    folder = tmp_path_factory.mktemp("undisturbed")
    save_small(folder / "base", initializer_range=0.05)
    for strategy in ("ddp", "fsdp2"):
        stage = begin(folder / strategy, folder / "base", strategy)
        assert "from 0" in stage.communicate(timeout=300)[0]
    return folder


def alive(folder: Path) -> list[int]:
    """Processes whose command line names the folder, the oldest first."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if str(folder) in words and "sei.training.job" in words:
            found.append(int(entry.parent.name))
    return sorted(found)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a process with its parent")
@pytest.mark.parametrize(
    ("strategy", "whom", "how"),
    [
        ("ddp", "stage", signal.SIGKILL),
        ("fsdp2", "stage", signal.SIGKILL),
        ("ddp", "first", signal.SIGKILL),
        ("fsdp2", "other", signal.SIGKILL),
        ("ddp", "first", signal.SIGTERM),  # which all of them end by, after the same step
        ("fsdp2", "first", signal.SIGTERM),
        ("ddp", "all", signal.SIGINT),
        ("fsdp2", "all", signal.SIGINT),
    ],
)
def test_a_killed_training_leaves_no_process_and_the_same_command_ends_with_the_same_weights(
    strategy: str, whom: str, how: signal.Signals, undisturbed: Path, tmp_path: Path
) -> None:
    folder, base = tmp_path / "scratch", undisturbed / "base"
    stage = begin(folder, base, strategy)
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*/step=4.ckpt")):
        assert stage.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    first, other = alive(folder)
    if whom == "all":  # as a terminal does with Ctrl-C
        os.killpg(stage.pid, how)
    else:
        os.kill({"stage": stage.pid, "first": first, "other": other}[whom], how)
    _, errors = stage.communicate(timeout=30)
    assert stage.returncode != 0
    assert ("RuntimeError: training ended with status" in errors) == (
        whom in ("first", "other") and how == signal.SIGKILL
    )
    assert ("Ended by SIGTERM. Run the same command to resume." in errors) == (how == signal.SIGTERM)
    deadline = time.monotonic() + 10
    while alive(folder) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert alive(folder) == []
    assert not (folder / "adapter").exists()
    said, _ = begin(folder, base, strategy).communicate(timeout=300)
    assert int(said.rpartition("from ")[2]) >= 2
    assert apart(folder / "adapter", undisturbed / strategy / "adapter") == 0


def order(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a stage had started this process as its job."""
    monkeypatch.setattr(job, "end_with_parent", lambda: None)
    monkeypatch.setattr(job, "_LOCK_WAIT", 0.1)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    folder.mkdir()


def test_a_second_training_in_one_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order(tmp_path / "scratch", monkeypatch)
    with (
        FileLock(tmp_path / "scratch" / "job.lock"),
        pytest.raises(UserError, match="another training is using this folder"),
    ):
        job.main(tmp_path / "scratch", os.getppid())


def test_a_job_whose_stage_has_ended_does_not_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order(tmp_path / "scratch", monkeypatch)
    with pytest.raises(SystemExit, match="process 1, which asked for this training, has ended"):
        job.main(tmp_path / "scratch", 1)


def test_order_and_result_come_through_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stage's side and the job's side, with a stand-in for the process between them."""
    base = save_small(tmp_path / "base", initializer_range=0.05)
    start = tmp_path / "start"
    train("sft", tmp_path / "first", str(base), examples(), SFT, Loop(accelerator="cpu"), say=lambda text: None)
    (tmp_path / "first" / "adapter").rename(start)
    fingerprint = adapter_fingerprint(start)

    class Process:
        def __init__(self, command: list[str], **_: Any) -> None:
            assert command[1:3] == ["-m", "sei.training.job"]
            monkeypatch.setattr(job, "end_with_parent", lambda: None)
            # One device, so that the training needs no second process.
            path = Path(command[3]) / "order.json"
            written = json.loads(path.read_text())
            written["options"]["devices"] = 1
            path.write_text(json.dumps(written))
            job.main(Path(command[3]), os.getppid())
            self.returncode = 0

        def poll(self) -> int:
            return 0

    monkeypatch.setattr(subprocess, "Popen", Process)
    heard, said = Heard(), []
    (tmp_path / "dpo").mkdir()
    loop = Loop(accelerator="cpu", devices=2, adapter=start, loggers=[heard])
    result = train("dpo", tmp_path / "dpo", str(base), pairs(), DPO, loop, say=said.append)
    assert result["first_loss"] == pytest.approx(0.6931472, abs=1e-6)
    assert result["rejected"] == []
    assert len(said) == 2
    assert "Pair pair-0 of 12" in said[1]
    assert [step for step, _ in heard.metrics] == list(range(1, 9))
    assert heard.metrics[0][1]["loss"] == result["first_loss"]
    assert adapter_fingerprint(start) == fingerprint != adapter_fingerprint(tmp_path / "dpo" / "adapter")
