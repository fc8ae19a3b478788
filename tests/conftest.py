"""Settings of the test process: threads that wait soon sleep, as in `train.py`; parallel processes share the processors."""

import os
import signal
from pathlib import Path

import pytest

from tests.chat_model import INSTALL, chat_model_folder

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")
if workers := os.environ.get("PYTEST_XDIST_WORKER_COUNT"):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // int(workers))))

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background: what tests start would not hear it either
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whole runs first: dealt out last, the longest file would keep one process busy after the others have ended."""
    items.sort(key=lambda item: not item.path.name.startswith("test_run"))


@pytest.fixture(scope="session")
def chat_model() -> Path:
    """The folder of a real chat model of 135M parameters; fails with the command that brings it where it is not there."""
    folder = chat_model_folder()
    if folder is None:
        pytest.fail(f"no chat model here: {INSTALL}, or set SEI_CHAT_MODEL to a folder with SmolLM2-135M-Instruct")
    return folder
