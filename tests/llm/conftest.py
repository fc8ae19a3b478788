"""A store for one test of the client."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sei.llm.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store(tmp_path / "s.sqlite")
    yield store
    store.close()
