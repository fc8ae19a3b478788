"""What the launcher for Ray says before it asks a cluster for anything; on a real one: tests/cluster/test_ray_launcher.py."""

from __future__ import annotations

import sys

import pytest

from sei.errors import UserError
from sei.launch.ray import RayLauncher


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(UserError, match=r'hydra/launcher=ray needs the package \'ray\'.*-e "\.\[ray\]"'):
        next(RayLauncher().endings([]))
