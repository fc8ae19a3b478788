"""What of `hydra/launcher=slurm` needs no Slurm: the script, what is refused, and what is made of Slurm's answers."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from sei.errors import UserError
from sei.launch import slurm
from sei.launch.jobs import Ending
from tests.launch.app import ROOT, start

PRESETS = ROOT / "conf/hydra/launcher"


def program(folder: Path, name: str, script: str) -> None:
    """A program of Slurm's that says what a test wants."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all programs that there are."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")
    program(tmp_path / "bin", "sbatch", "exit 1")
    return tmp_path / "bin"


def script(tmp_path: Path, preset: str, *words: str) -> list[str]:
    """What a dry run prints of the script, where there is no Slurm."""
    pytest.importorskip("submitit", reason='needs pip install -e ".[slurm]"')
    output, errors = start(tmp_path, "do=done,bug", "dry_run=true", f"hydra/launcher={preset}", *words).communicate(
        timeout=120
    )
    assert "#!/bin/bash" in output, errors
    return output.partition("#!/bin/bash")[2].splitlines()


def test_a_dry_run_prints_the_script_that_a_preset_and_the_command_line_make(tmp_path: Path) -> None:
    edited = ["hydra.launcher.account=lab", "hydra.launcher.minutes=90", "+hydra.launcher.more.qos=low"]
    lines = script(tmp_path, "slurm_two_nodes", *edited, "hydra.launcher.setup=[module load cuda]")
    found = dict(line.removeprefix("#SBATCH --").partition("=")[::2] for line in lines if line.startswith("#SBATCH"))
    wanted = {"nodes": "2", "ntasks-per-node": "4", "gpus-per-node": "4", "cpus-per-task": "8", "array": "0-1%2"}
    wanted |= {"account": "lab", "time": "90", "qos": "low", "signal": "USR2@120", "requeue": ""}
    assert wanted.items() <= found.items()
    assert "partition" not in found, "the cluster's default"
    assert lines.index("module load cuda") < next(i for i, line in enumerate(lines) if line.startswith("srun"))
    [run] = [line for line in lines if line.startswith("srun")]
    assert "--cpus-per-task=8 --kill-on-bad-exit=1" in run
    assert not (tmp_path / "sweep/.slurm").exists()


def test_every_setting_is_in_the_file_that_a_person_edits() -> None:
    written = yaml.safe_load((PRESETS / "slurm.yaml").read_text())
    assert set(written) - {"_target_"} == set(vars(slurm.SlurmLauncher())) - {"setup_lines"} | {"setup"}
    for name in ("slurm_four_gpus", "slurm_two_nodes"):
        assert set(yaml.safe_load((PRESETS / f"{name}.yaml").read_text())) <= set(written) | {"defaults"}


@pytest.mark.parametrize(
    ("sacct", "said"),
    [
        ("echo Slurm accounting storage is disabled >&2; exit 1", r"\(Slurm accounting storage is disabled\)"),
        (None, r"No such file.*sacct"),
    ],
)
def test_without_sacct_it_refuses(
    programs: Path, monkeypatch: pytest.MonkeyPatch, sacct: str | None, said: str
) -> None:
    monkeypatch.setenv("PATH", f"{programs}:/bin" if sacct else str(programs))
    if sacct:
        program(programs, "sacct", sacct)
    with pytest.raises(UserError, match=f"sacct does not answer .*{said}"):
        slurm.check_cluster()


def test_without_sbatch_or_submitit_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"there is no sbatch here.*hydra/launcher=local"):
        slurm.check_cluster()
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r'pip install -c constraints.txt -e "\.\[slurm\]"'):
        slurm.SlurmLauncher()._executor(tmp_path)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"minutes": 2}, r"minutes=2: a job is told 120 seconds before its time is up"),
        ({"gpus_per_node": -1}, r"gpus_per_node=-1: give a whole number from 0 on"),
        ({"memory_gb": "16G"}, r"memory_gb=16G: give a whole number"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        slurm.SlurmLauncher(**settings)._executor(tmp_path)


class Cluster:
    """Slurm's answers to a `_Watch`, and its clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.queue: dict[str, str] | None = {}
        self.records: dict[str, str] = {}
        self.now = 0.0
        monkeypatch.setattr(slurm, "_queue", lambda: self.queue)
        monkeypatch.setattr(slurm, "_accounted", lambda numbers: {one: self.records[one] for one in numbers})
        monkeypatch.setattr(slurm.time, "monotonic", lambda: self.now)


def test_a_job_counts_as_lost_only_when_no_ending_can_come_any_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster, watch = Cluster(monkeypatch), slurm._Watch(tmp_path)
    cluster.records = {"7_0": "PREEMPTED"}  # of its first start

    def look(seconds: float, queue: dict[str, str] | None) -> tuple[bool, bool, Ending | None]:
        cluster.now += seconds
        cluster.queue = queue
        watch.look(["7_0"])
        return watch.has_started("7_0"), watch.has_gone_back("7_0"), watch.ending("7_0")

    assert look(0, {"7_0": "PENDING"}) == (False, False, None)
    assert look(5, {"7_0": "RUNNING"}) == (True, False, None)
    assert look(5, None) == (False, False, None), "Slurm does not answer"
    assert look(90, {"7_0": "COMPLETING"}) == (False, False, None)
    assert look(5, {"7_0": "PENDING"}) == (False, True, None)
    assert look(5, {"7_0": "RUNNING"}) == (True, False, None)
    assert look(5, {}) == (False, False, None), "its ending may not be seen yet"
    cluster.records = {"7_0": "RUNNING"}
    assert look(40, {}) == (False, False, None), "the records are behind"
    cluster.records = {"7_0": "NODE_FAIL"}
    lost = look(5, {})[2]
    assert lost is not None
    assert str(lost.error).startswith("Slurm lost this job: NODE_FAIL.")
    (tmp_path / "7_0_ending.json").write_text(json.dumps({"value": 0.5, "error": None}))
    assert look(5, {})[2] == Ending(0.5), "what the job said goes first"
