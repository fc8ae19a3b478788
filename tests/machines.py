"""Two machines on one: processes with names of their own, no lock between them, and a short patience.

Example::

    process = on_machine("node2", "print('hello', flush=True)", tmp_path)
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
STALE = 1.5  # seconds instead of a minute

_START = """
import fcntl, socket, sys
from pathlib import Path
sys.path.insert(0, {root!r})
socket.gethostname = lambda: {host!r}
for name in ("flock", "lockf", "fcntl"):  # as on NFS with nolock: every lock is granted, on each machine by itself
    setattr(fcntl, name, lambda *arguments: 0)
import sei.lease
sei.lease.STALE = {stale}
folder = Path({folder!r})
"""


def on_machine(host: str, code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that runs `code` as if on `host`; the code knows `folder`."""
    start = _START.format(root=str(ROOT), host=host, stale=STALE, folder=str(folder))
    return subprocess.Popen([sys.executable, "-c", start + code], stdout=subprocess.PIPE, text=True)


def wait_for(path: Path, patience: float = 120.0) -> None:
    """Until a file is there."""
    deadline = time.monotonic() + patience
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} does not come"
        time.sleep(0.02)
