"""Training on one device in this process, on several in separate processes: `python -m sei.training.job FOLDER PARENT`.

Place in the flow: `stages.finetune` calls `train`. With several devices Lightning starts its script once for each of them.
That script must be the training alone and not the whole run, or else every process would repeat the other stages. So the
task is written to a folder, this module is started on that folder (on several nodes by Slurm: `training.nodes`), and its result
is read back. What the training prints and logs meanwhile is passed on as it comes. The processes end when the one that
started them does, and a lock keeps two trainings out of one folder. Example::

    result = train("sft", folder, model, examples, hyperparameters, Loop(devices=4), say=print)
"""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from sei.errors import Ended, UserError
from sei.processes import ENDING, end_with_parent, ends_in_order, same_code
from sei.records import Example, Pair, Rejected
from sei.training.nodes import is_first_task, over_nodes
from sei.training.rows import RowLogger
from sei.training.run import Loop, processes, train_dpo, train_sft
from sei.training.settings import Hyperparameters, PreferenceHyperparameters
from sei.workspace import read_records, write_json, write_records

Kind = Literal["sft", "dpo"]

_USER_ERROR = 3  # exit status: the last line of standard error is for the user
_GRACE = 90.0  # seconds that a training has to compute its step, save a checkpoint and end
_POLL = 0.5  # seconds between two looks at the output of the training
_LOCK_WAIT = 10.0  # seconds after which a training whose parent was killed has surely ended
_OF_SLURM = ("srun: ", "slurmstepd: ")  # how lines begin that it adds to what its tasks print
_HERE_ONLY = ("loggers", "callbacks", "on_check")  # fields of a Loop that cannot be passed to another process


def train(
    kind: Kind,
    folder: Path,
    model: str,
    rows: Sequence[Example] | Sequence[Pair],
    hyperparameters: Hyperparameters,
    loop: Loop,
    *,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """`train_sft` (or `train_dpo`) into `folder/adapter`, with checkpoints in `folder`; its result.

    `say` receives the self-check, `loop.loggers` the curves. Raises UserError as these functions do; if a training in other
    processes fails for another reason, RuntimeError with the end of its output.
    """
    loop = dataclasses.replace(loop, checkpoints=folder / "checkpoints", on_check=say)
    order = _Order(kind, model, rows, hyperparameters, loop)
    devices = processes(loop)
    if devices == 1:
        return order.carry_out(folder)
    shared = ", which share the model (fsdp2)" if loop.strategy == "fsdp2" else ""
    nodes = f" of {loop.num_nodes} nodes" if loop.num_nodes > 1 else ""
    say(f"training on {devices} devices{nodes}, in separate processes{shared}")
    if hyperparameters.batch_tokens is None and (most := hyperparameters.batch_examples) < devices:
        say(f"a step has {most} of batch_examples: more than {most} devices make it no faster (trainer.devices={most})")
    return _in_own_processes(order, folder, say)


@dataclass(frozen=True)
class _Order:
    """One training: the arguments of `train_sft` or `train_dpo`."""

    kind: Kind
    model: str
    rows: Sequence[Any]
    hyperparameters: Hyperparameters
    loop: Loop

    def carry_out(self, folder: Path) -> dict[str, Any]:
        if self.kind == "sft":
            return train_sft(self.model, folder / "adapter", self.rows, self.hyperparameters, self.loop)
        assert isinstance(self.hyperparameters, PreferenceHyperparameters)
        return train_dpo(self.model, folder / "adapter", self.rows, self.hyperparameters, self.loop)

    def write(self, folder: Path) -> None:
        write_records(folder / "rows.jsonl", self.rows)
        options = {field.name: getattr(self.loop, field.name) for field in dataclasses.fields(self.loop)}
        order = {
            "kind": self.kind,
            "model": self.model,
            "hyperparameters": dataclasses.asdict(self.hyperparameters),
            "options": {name: value for name, value in options.items() if name not in _HERE_ONLY},
        }
        write_json(folder / "order.json", order)

    @classmethod
    def read(cls, folder: Path, relay: _Relay) -> _Order:
        """What `write` wrote; messages and logs of the training go to `relay`."""
        order = json.loads((folder / "order.json").read_text(encoding="utf-8"))
        values = order["hyperparameters"] | {"target_modules": tuple(order["hyperparameters"]["target_modules"])}
        options = order["options"]
        paths = {name: Path(options[name]) for name in ("adapter", "checkpoints") if options[name] is not None}
        loop = Loop(**(options | paths), loggers=[RowLogger(relay.row)], on_check=relay.say)
        row, settings = (Example, Hyperparameters) if order["kind"] == "sft" else (Pair, PreferenceHyperparameters)
        return cls(order["kind"], order["model"], read_records(folder / "rows.jsonl", row), settings(**values), loop)


def _in_own_processes(order: _Order, folder: Path, say: Callable[[str], None]) -> dict[str, Any]:
    said, errors, result_file = folder / "said.jsonl", folder / "errors.txt", folder / "result.json"
    for path in (said, errors, result_file):
        path.unlink(missing_ok=True)
    order.write(folder)
    heard = 0
    with errors.open("w", encoding="utf-8") as stderr:
        command = [sys.executable, "-m", "sei.training.job", str(folder), str(os.getpid())]
        environment = _environment()
        if order.loop.num_nodes > 1:
            command, environment = over_nodes(command, environment, order.loop)
        process = subprocess.Popen(command, stderr=stderr, stdout=sys.stderr, env=environment)
        try:
            while process.poll() is None:
                time.sleep(_POLL)
                heard = _pass_on(said, heard, order.loop.loggers, say)
        finally:
            if process.poll() is None:  # this process was interrupted
                process.terminate()
                _end(process)
    _pass_on(said, heard, order.loop.loggers, say)
    ended = errors.read_text(encoding="utf-8", errors="replace")
    if process.returncode - 128 in ENDING:
        raise Ended(process.returncode - 128)
    if process.returncode == _USER_ERROR:
        raise UserError([line for line in ended.splitlines() if not line.startswith(_OF_SLURM)][-1])
    if process.returncode != 0:
        killed = (
            " (it or another of its processes was killed, maybe for want of memory)" if process.returncode < 0 else ""
        )
        raise RuntimeError(f"training ended with status {process.returncode}{killed}:\n{ended[-2000:]}")
    result: dict[str, Any] = json.loads(result_file.read_text(encoding="utf-8"))
    result["rejected"] = [Rejected.from_json(row) for row in result["rejected"]]
    return result


def _environment() -> dict[str, str]:
    """This process's, for one with the same code, without what makes a process one of several that something else has started."""
    ranks = ("RANK", "LOCAL_RANK", "NODE_RANK", "GROUP_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    return {name: value for name, value in same_code().items() if name not in ranks}


def _end(process: subprocess.Popen[bytes]) -> None:
    """Wait for a training that was told to end; one that waits for a device which does not answer cannot."""
    try:
        process.wait(_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _pass_on(said: Path, heard: int, loggers: Sequence[Logger], say: Callable[[str], None]) -> int:
    """Pass on the whole lines of `said` from byte `heard` on; returns where the next call starts."""
    if not said.is_file():
        return heard
    with said.open("rb") as file:
        file.seek(heard)
        new = file.read()
    whole = new[: new.rfind(b"\n") + 1]
    for line in whole.splitlines():
        word = json.loads(line)
        if "say" in word:
            say(word["say"])
        for logger in loggers if "metrics" in word else ():
            logger.log_metrics(word["metrics"], step=word["step"])
    return heard + len(whole)


class _Relay:
    """Appends to a file, for the process that started the training to read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def row(self, step: int, metrics: Mapping[str, float]) -> None:
        self._append({"metrics": metrics, "step": step})

    @rank_zero_only
    def say(self, text: str) -> None:
        self._append({"say": text})

    def _append(self, word: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(word, ensure_ascii=False) + "\n")


def main(folder: Path, parent: int) -> None:
    """Carry out the order in `folder`; runs in every process of the training. `parent` is the process that asked for it."""
    import torch.distributed

    order = _Order.read(folder, _Relay(folder / "said.jsonl"))
    lock = FileLock(folder / "job.lock")
    if order.loop.num_nodes > 1:  # all of them are Slurm's tasks
        end_with_parent()
        first = is_first_task()
    else:
        first = "LOCAL_RANK" not in os.environ  # set for the processes that Lightning adds to the first one
        end_with_parent(parent if first else None)
    if first:
        try:
            lock.acquire(timeout=_LOCK_WAIT)
        except Timeout:
            raise UserError(
                f"{folder}: another training is using this folder. Wait for it or stop it, then run the same command again."
            ) from None
    result = order.carry_out(folder)
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        result["rejected"] = [item.to_json() for item in result["rejected"]]
        write_json(folder / "result.json", result)


def leave() -> None:
    """End this process at once: while an interpreter takes itself apart, threads of gloo's may abort what has done its work."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    try:
        with ends_in_order():
            main(Path(sys.argv[1]), int(sys.argv[2]))
            leave()
    except KeyboardInterrupt as stop:
        sys.exit(128 + (stop.number if isinstance(stop, Ended) else signal.SIGINT))
    except UserError as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        sys.exit(_USER_ERROR)
