"""A real sweep with several jobs at once on this machine, of which one is killed: `pytest -m cluster`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cluster.sweeps import sweep_with_a_kill

pytestmark = pytest.mark.cluster


def test_a_killed_job_is_reported_the_others_finish_and_the_same_command_resumes(tmp_path: Path) -> None:
    sweep_with_a_kill(tmp_path, "hydra/launcher=local", "hydra.launcher.at_once=2")
