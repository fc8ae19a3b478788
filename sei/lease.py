"""A lock between machines: a file that its holder renews for as long as it lives.

Place in the flow: the workspace holds one while it computes a stage, `sei.run` one while it runs a job, and the shared store of
paid answers (`sei.llm.shared`) one for each call in flight. Locks of the kernel (flock, fcntl) end at the machine on many
network file systems: NFS mounted with `nolock` keeps them local, Lustre without `flock` has none, and a host that dies may
leave them behind. A lease needs no more than that a file is created once (O_EXCL). filelock's `SoftFileLease` does the same
with an exchange of two names, which NFS refuses: there it never takes over from a dead holder (4.2.11).

The file names host, process and the time it started; its holder touches it every `STALE / 3` seconds. Whoever waits takes over
at once where that process is gone from this machine, and else when the file has not changed for `STALE` seconds of the waiter's
own clock: clocks of two hosts are never compared. To take over from `x.lease` is to create `x.lease.1`, from that `x.lease.2`,
and so on: each is created once, so of two who take over at once one wins, and nobody removes another's file. The holder of the
last one removes them all, the first one first, and whoever has just created one looks whether the one before is still there.

A lease is no proof: a holder that was suspended comes back and goes on. What it protects must bear that, as content-addressed
results do that are written aside and renamed; `lost` tells the holder. Example::

    lease = Lease(entry.with_suffix(".lease"))
    if not lease.take_now():
        print(f"held by {lease.holder}")
        lease.wait()
    try:
        work()
    finally:
        lease.release()
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

STALE = 60.0  # seconds without a sign of life after which a holder on another machine counts as dead
_POLL = 0.25  # seconds between two looks at a lease that somebody else holds


@dataclass(frozen=True)
class Holder:
    """A process that holds a lease, or did."""

    pid: int
    host: str
    machine: str  # the host, its boot and its process numbers: containers and restarts have their own
    start: float  # when the process began, so that another one with its number is not taken for it
    token: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    @property
    def here(self) -> bool:
        """Whether it is a process of this machine, where it can be sent a signal."""
        return self.machine == _machine()

    @property
    def gone(self) -> bool:
        """Whether it is a process of this machine that has ended."""
        if not self.here:
            return False
        try:
            process = psutil.Process(self.pid)
            return process.create_time() != self.start or process.status() == psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return True


class Lease:
    """One process's hold on `path`, or its wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder: Holder | None = None  # who held it when it could not be taken
        self._own: tuple[Path, int, str] | None = None  # our file, its descriptor and token
        self._seen: dict[Path, tuple[tuple[str, int], float]] = {}  # what others' files were like, and since when

    def take_now(self) -> bool:
        """Whether it is ours now: it was free, or its holder is dead."""
        before: tuple[Path, str] | None = None  # the file of the dead holder that is taken over
        for path in _names(self.path):
            token = secrets.token_hex(8)
            try:
                file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                found = _look(path)
                if found is None:  # it is gone this moment
                    return False
                text, changed, holder = found
                if not (holder and holder.gone) and not self._silent(path, (text, changed)):
                    self.holder = holder or self.holder
                    return False
                self.holder, before = holder or self.holder, (path, text)
                continue
            try:
                os.write(file, _described(token))
            except OSError:  # a full disk
                os.close(file)
                path.unlink(missing_ok=True)
                raise
            if before is not None and _text(before[0]) != before[1]:
                os.close(file)  # all of them were removed meanwhile: ours stands on nothing
                path.unlink(missing_ok=True)
                return False
            self._own = (path, file, token)
            _Heart.add(file)
            return True
        raise AssertionError("names have no end")

    def _silent(self, path: Path, now: tuple[str, int]) -> bool:
        """Whether a file has been as it is for so long that its holder counts as dead."""
        seen = self._seen.get(path)
        if seen is None or seen[0] != now:
            self._seen[path] = (now, time.monotonic())
            return False
        return time.monotonic() - seen[1] > STALE

    def wait(self) -> None:
        """Until it is ours."""
        while not self.take_now():
            time.sleep(_POLL)

    @property
    def lost(self) -> bool:
        """Whether somebody else took over what we held, having heard nothing of us."""
        if self._own is None:
            return True
        path, _, token = self._own
        found = _look(path)
        mine = found is not None and found[2] is not None and found[2].token == token
        return not mine or _next(path).exists()

    def release(self) -> None:
        """Leave it to others. Nothing happens where it is not ours."""
        if self._own is None:
            return
        lost, (own, file, _) = self.lost, self._own
        self._own = None
        _Heart.remove(file)
        if lost:  # who took over removes it
            return
        for path in _names(self.path):
            path.unlink(missing_ok=True)
            if path == own:
                return


def holder(path: Path) -> Holder | None:
    """Who holds the lease at `path`; None where it is free, or its holder is dead."""
    last: tuple[Path, int, Holder | None] | None = None
    for one in _names(path):
        found = _look(one)
        if found is None:
            break
        last = (one, found[1], found[2])
    if last is None or last[2] is None or last[2].gone:
        return None
    if not last[2].here:
        # One look tells no more than when it last gave a sign, by the clock of the file system.
        with contextlib.suppress(OSError), tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.") as now:
            if os.fstat(now.fileno()).st_mtime_ns - last[1] > STALE * 1e9:
                return None
    return last[2]


def _names(path: Path) -> Iterator[Path]:
    """The file of a lease, of who took it over, of who took it over from that one, ..."""
    while True:
        yield path
        path = _next(path)


def _next(path: Path) -> Path:
    number = path.suffix[1:]
    return path.with_suffix(f".{int(number) + 1}") if number.isdigit() else path.with_name(f"{path.name}.1")


def _look(path: Path) -> tuple[str, int, Holder | None] | None:
    """A file's text, when it was last touched, and whom it names (nobody where it is not written yet); None without a file.

    It is opened each time, which has NFS ask the server instead of remembering.
    """
    try:
        with path.open(encoding="utf-8") as file:
            changed = os.fstat(file.fileno()).st_mtime_ns
            text = file.read()
    except OSError:
        return None
    try:
        return text, changed, Holder(**json.loads(text))
    except (ValueError, TypeError):
        return text, changed, None


def _text(path: Path) -> str | None:
    found = _look(path)
    return found and found[0]


def _described(token: str) -> bytes:
    me = Holder(os.getpid(), socket.gethostname(), _machine(), _start(os.getpid()), token)
    return json.dumps(vars(me)).encode()


@cache
def _start(pid: int) -> float:
    return psutil.Process(pid).create_time()


@cache
def _machine() -> str:
    """This machine since it was started, with its process numbers, which containers have of their own."""
    found = [socket.gethostname()]
    for read in (
        lambda: Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        lambda: os.readlink("/proc/self/ns/pid"),
    ):
        with contextlib.suppress(OSError):  # only Linux has them
            found.append(read())
    return " ".join(found)


class _Heart:
    """One thread of this process that touches all files it holds."""

    _files: set[int] = set()  # noqa: RUF012 (one set per process is the point)
    _lock = threading.Lock()
    _thread: threading.Thread | None = None

    @classmethod
    def add(cls, file: int) -> None:
        with cls._lock:
            cls._files.add(file)
            if cls._thread is None or not cls._thread.is_alive():  # a forked child has none
                cls._thread = threading.Thread(target=cls._beat, name="leases", daemon=True)
                cls._thread.start()

    @classmethod
    def remove(cls, file: int) -> None:
        with cls._lock:
            cls._files.discard(file)
            os.close(file)

    @classmethod
    def _beat(cls) -> None:
        while True:
            time.sleep(STALE / 3)
            with cls._lock:
                for file in cls._files:
                    with contextlib.suppress(OSError):  # the server is away, or the file is no longer ours
                        os.utime(file)
