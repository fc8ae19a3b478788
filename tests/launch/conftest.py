"""The small program of `tests.launch.app`, as Hydra runs it in this process."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.utils import create_automatic_config_search_path
from hydra.core.global_hydra import GlobalHydra

from tests.launch.app import write_app


@pytest.fixture
def hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Hydra, Any]]:
    """The program, as Hydra runs it in this process."""
    script = write_app(tmp_path)
    spec = importlib.util.spec_from_file_location("app", script)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    path = create_automatic_config_search_path(str(script), None, "conf")
    yield Hydra.create_main_hydra2("app", path), module.main.__wrapped__
    GlobalHydra.instance().clear()
