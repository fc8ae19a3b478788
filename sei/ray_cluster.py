"""The Ray cluster that this process works with: connected to once, in the same way by whoever needs it.

Place in the flow: generation over many nodes (`sei.target.cluster`) and a sweep's jobs on a cluster ask for the module `ray`
here. A node needs this code at the same path. Of this process's environment it is given the settings of this package, the
hub and W&B; everything else, above all keys, a node has of its own. Example::

    ray = connect("engine.cluster=ray", instead="...")     # RAY_ADDRESS, or the cluster that runs on this machine
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

from sei.errors import UserError, missing_extra
from sei.processes import same_code

# What of this process's environment the cluster's processes are given.
_PASSED_ON = ("SEI_", "HF_", "WANDB_")
ANSWER_S = 20.0  # that the head of a cluster has to answer
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD")


def connect(asked_by: str, address: str = "auto", *, instead: str, **settings: Any) -> Any:
    """The module `ray`, connected; `settings` go to `ray.init`. `asked_by` is the option that needs it, and `instead` what else
    its user can do where there is no cluster. Raises UserError."""
    try:
        import ray
    except ImportError:
        raise missing_extra("ray", "ray", asked_by) from None
    if ray.is_initialized():
        return ray
    where = (os.environ.get("RAY_ADDRESS") or address) if address == "auto" else address
    try:
        _knock(where)
        with _own_signals():
            ray.init(
                address=address,
                runtime_env={"env_vars": _environment()},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **settings,
            )
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        why = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"{asked_by}: no connection to a Ray cluster (address {where}: {why}). Start one with `ray start --head`, {instead}"
        ) from error
    return ray


def _knock(address: str) -> None:
    """Raise OSError where nobody is at HOST:PORT: Ray would go on trying for many minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        socket.create_connection((host, int(port)), timeout=ANSWER_S).close()


def _environment() -> dict[str, str]:
    """What of this process's environment the cluster's processes are given, and where this code is."""
    passed = {name: value for name, value in os.environ.items() if name.startswith(_PASSED_ON)}
    return {
        **{name: value for name, value in passed.items() if not any(word in name for word in _SECRET)},
        "PYTHONPATH": same_code()["PYTHONPATH"],
    }


@contextlib.contextmanager
def _own_signals() -> Iterator[None]:
    """What this process does on SIGTERM stays as it is: Ray would have it exit at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
