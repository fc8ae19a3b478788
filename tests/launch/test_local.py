"""What each of several jobs at once is given of a machine."""

from __future__ import annotations

import pytest

from sei.errors import UserError
from sei.launch import local
from sei.launch.local import shares
from sei.target.machine import Memory


def dealt(jobs: int, cores: int, devices: int, /, **asked: int | None) -> list[tuple[str, str | None]]:
    asked = {"at_once": None, "gpus": None, "threads": None} | asked
    found = shares(jobs, cores, [f"g{number}" for number in range(devices)], **asked)
    assert all(share["RAYON_NUM_THREADS"] == share["OMP_NUM_THREADS"] for share in found)
    return [(share["OMP_NUM_THREADS"], share.get("CUDA_VISIBLE_DEVICES")) for share in found]


def test_cores_and_gpus_are_dealt_out() -> None:
    assert dealt(6, 2, 0) == [("1", None)] * 2
    assert dealt(3, 8, 0) == [("2", None)] * 3, "no more shares than jobs, so that none lies idle"
    assert dealt(9, 8, 0, threads=4) == [("4", None)] * 2
    assert dealt(9, 8, 0, at_once=1) == [("8", None)]
    assert dealt(20, 8, 0, at_once=16) == [("1", None)] * 16
    assert dealt(9, 8, 2) == [("4", "g0"), ("4", "g1")]
    assert dealt(9, 8, 5, gpus=2) == [("4", "g0,g1"), ("4", "g2,g3")]
    assert dealt(9, 8, 2, gpus=0, at_once=2) == [("4", ""), ("4", "")], "a job without a GPU sees none"


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"at_once": 3}, "3 at once with 1 GPUs each need 3, and this machine has 2"),
        ({"gpus": 4}, "1 at once with 4 GPUs each need 4, and this machine has 2"),
        ({"at_once": 0}, r"hydra.launcher.at_once=0: give a whole number from 1 on"),
        ({"threads": 1.5}, r"hydra.launcher.threads=1.5: give a whole number from 1 on"),
        ({"gpus": -1}, r"hydra.launcher.gpus=-1: give a whole number from 0 on"),
    ],
)
def test_what_a_machine_has_not_is_refused(asked: dict[str, int], said: str) -> None:
    with pytest.raises(UserError, match=said):
        dealt(4, 8, 2, **asked)


def test_gpus_are_those_that_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "found_memory", lambda: Memory((80.0, 80.0), 500.0))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert local.visible_gpus() == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, GPU-5f")
    assert local.visible_gpus() == ["3", "GPU-5f"]
    monkeypatch.setattr(local, "found_memory", lambda: Memory((), 500.0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert local.visible_gpus() == []
