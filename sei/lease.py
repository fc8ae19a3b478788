"""A lock between machines: a file that its holder renews for as long as it lives.

Place in the flow: the workspace holds one while it computes a stage, `sei.run` one while it runs a job, and the shared store of
paid answers (`sei.llm.shared`) one for each call in flight. Locks of the kernel (flock, fcntl) end at the machine on many
network file systems: NFS mounted with `nolock` keeps them local, Lustre without `flock` has none, and a host that dies may
leave them behind. A lease needs of the file system no more than that a file is created once (O_EXCL).

The file names host, process and the time it started. Its holder touches it every `STALE / 3` seconds. Whoever waits takes it
over at once where that process is gone from this machine, and else when the file has not changed for `STALE` seconds of the
waiter's own clock: clocks of two hosts are never compared, and of two who take over at once one wins. All of that is
`filelock.SoftFileLease`.

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

from pathlib import Path

from filelock import SoftFileLease, Timeout

STALE = 60.0  # seconds without a sign of life after which a holder on another machine counts as dead; one figure for all
_POLL = 0.25  # seconds between two looks at a lease that somebody else holds


class Lease:
    """One process's hold on `path`, or its wait for it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.holder = ""  # who held it when it could not be taken: "process 4711 on node2"
        self._lock = SoftFileLease(path, lease_duration=STALE, thread_local=False)

    def take_now(self) -> bool:
        """Whether it is ours now: it was free, or its holder is dead."""
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            owner = self._lock.owner
            if owner is not None:
                self.holder = f"process {owner.pid} on {owner.hostname}"
            return False
        return True

    def wait(self) -> None:
        """Until it is ours."""
        self._lock.acquire(poll_interval=_POLL)

    @property
    def lost(self) -> bool:
        """Whether somebody else took over what we held, having heard nothing of us."""
        owner = self._lock.owner
        return owner is None or owner.token != self._lock.token

    def release(self) -> None:
        """Leave it to others. Nothing happens where it is not ours."""
        self._lock.release()
