"""vLLM's processes, one for each group of GPUs: started, fed, watched, restarted and ended.

Place in the flow: `engine` makes a `Pool` at its first question and closes it with the phase. Requests are dealt in their
order, some at a time, to the process with the fewest tokens outstanding, so a slow or late process gets fewer of them and
neighbours, which often begin alike, meet in one prefix cache. A process that dies, or makes no step for ten minutes, is started
again once in a call; what had ended is kept, what it had not answered is dealt anew. The second time the call fails with what
the process said last.

The children talk over pipes and not through vLLM's own server: no port that others on the machine could reach, no second
tokenizer and template between the prompt and the model, and a pipe ends with its process, whichever of the two dies. Each
child is the head of a session of its own. It gets no Ctrl-C from the terminal, and the whole of it, vLLM's engine processes
included, can be ended at once (`worker` says how it ends when nobody is left to end it).

Example::

    pool = Pool(python, [Spec({"model": "runs/base"}, {"CUDA_VISIBLE_DEVICES": "0"})])
    for request, answer in pool.run([Request(0, [1, 5, 9], {"temperature": 0.0, "max_tokens": 20}, None)]):
        answer.tokens
"""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import select
import selectors
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from sei.errors import UserError
from sei.target.vllm import worker

START_S = 3600.0  # until a process is ready: the weights of a large model are read from a network, graphs are captured
STALL_S = 600.0  # without a step while there is work
CLOSE_S = worker.GRACE_S + 5.0
BLOCK = 32  # requests dealt together at most
DEPTH = 2  # requests that a process holds, for each one that it works on at a time: it never waits for the next
_MAX_LINE = 1 << 26
_LAST_LINES = 25


@dataclass(frozen=True)
class Spec:
    """One process: vLLM's engine arguments, and what is set in its environment."""

    engine: Mapping[str, Any]
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Request:
    """Token ids to go on from; `sampling` are the fields of vLLM's SamplingParams, `adapter` those of a LoRARequest."""

    id: int
    prompt: Sequence[int]
    sampling: Mapping[str, Any]
    adapter: Mapping[str, Any] | None

    @property
    def cost(self) -> int:
        """Tokens at most."""
        return len(self.prompt) + int(self.sampling["max_tokens"])


@dataclass(frozen=True)
class Answer:
    """The new token ids, an end token included, and why there are no more: vLLM's `finish_reason`."""

    tokens: list[int]
    reason: str


class Pool:
    """Processes that share the requests of each call. Nothing is started before `run`."""

    def __init__(self, python: str, specs: Sequence[Spec], *, depth: int = 256) -> None:
        """`depth`: how many requests a process works on at a time."""
        self._folder = Path(tempfile.mkdtemp(prefix="sei-vllm-"))
        self._children = [Child(python, spec, self._folder / f"process-{n}.log") for n, spec in enumerate(specs)]
        self._depth = depth * DEPTH
        self.ready: dict[str, Any] = {}  # what the processes say of themselves when they are: `vllm`, `max_model_len`

    def start(self) -> None:
        """Start all processes and wait until they are ready. Raises UserError where one does not get there."""
        for child in self._children:
            if not child.alive:
                child.start()
        while not all(child.ready for child in self._children):
            for _ in self._messages():
                pass
            for child in self._children:
                if child.failed:
                    raise child.error("could not start")
        self.ready = self._children[0].ready

    def run(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Answer]]:
        """Each request with its answer, as they end. Raises UserError where a process fails twice; then all are ended, and
        so they are where the caller takes no more."""
        waiting, missing = deque(requests), len(requests)
        restarted: set[Child] = set()
        try:
            self.start()
            while missing:
                self._deal(waiting)
                for child, message in self._messages():
                    if (request := child.outstanding.pop(message.get("id", -1), None)) is not None:
                        missing -= 1
                        yield request, Answer([int(token) for token in message["tokens"]], str(message["reason"]))
                for child in self._children:
                    if not child.failed:
                        continue
                    if child in restarted or not child.ready:
                        raise child.error(f"failed, with {missing:,} of {len(requests):,} completions missing")
                    restarted.add(child)
                    waiting.extendleft(reversed(child.outstanding.values()))
                    child.restart()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes and all that they started. Idempotent."""
        for child in self._children:
            child.ask_to_end()
        limit = time.monotonic() + CLOSE_S
        for child in self._children:
            child.end(limit)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _deal(self, waiting: deque[Request]) -> None:
        while waiting:
            open_ones = [child for child in self._children if child.ready and child.room(self._depth)]
            if not open_ones:
                return
            child = min(open_ones, key=lambda child: child.load)
            # Towards the end by ones and twos, so that all end at about the same time.
            block = max(1, min(BLOCK, child.room(self._depth), len(waiting) // (2 * len(self._children))))
            child.send([waiting.popleft() for _ in range(min(block, len(waiting)))])

    def _messages(self) -> Iterator[tuple[Child, dict[str, Any]]]:
        """What has come, after waiting a moment where nothing has."""
        with selectors.DefaultSelector() as selector:
            for child in self._children:
                if child.channel is not None:
                    selector.register(child.channel, selectors.EVENT_READ, child)
            for key, _ in selector.select(timeout=0.5):
                for message in key.data.receive():
                    yield key.data, message


class Child:
    """One worker process, and what it was asked and has not answered."""

    def __init__(self, python: str, spec: Spec, log: Path) -> None:
        self._command = [python, "-u", inspect.getfile(worker.main)]
        self._spec, self._log = spec, log
        self._process: subprocess.Popen[bytes] | None = None
        self._rest = b""
        self._moved = self._steps = 0.0
        self.outstanding: dict[int, Request] = {}
        self.ready: dict[str, Any] = {}
        self.channel: IO[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._process is not None and self.channel is not None

    @property
    def failed(self) -> bool:
        """Whether it has died, or does not move."""
        # What a dead process has sent is read first. Its end of the pipe may be open still, in a process that it forked.
        if self.channel is None or (self._exited() and not select.select([self.channel], [], [], 0)[0]):
            return True
        idle = time.monotonic() - self._moved
        return idle > START_S if not self.ready else bool(self.outstanding) and idle > STALL_S

    @property
    def load(self) -> int:
        """Tokens outstanding, at most."""
        return sum(request.cost for request in self.outstanding.values())

    def room(self, depth: int) -> int:
        return max(0, depth - len(self.outstanding))

    def start(self) -> None:
        """Start it. Not ready before it says so."""
        self._rest, self.ready, self.outstanding = b"", {}, {}
        self._moved, self._steps = time.monotonic(), 0.0
        environment = {**os.environ, **self._spec.environment}
        with self._log.open("ab") as log:
            try:
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    env=environment,
                    start_new_session=True,
                )
            except OSError as error:
                raise UserError(f"engine.python={self._command[0]}: cannot be started ({error.strerror}).") from error
        self.channel = self._process.stdout
        # A signal at this process's death is sent at the death of the thread that starts the child, which is the same for
        # the main thread alone.
        bound = threading.current_thread() is threading.main_thread()
        self._write({"engine": dict(self._spec.engine), "bound": bound})

    def restart(self) -> None:
        self.ask_to_end()
        self.end(time.monotonic())
        self.start()

    def send(self, requests: Sequence[Request]) -> None:
        if not self.outstanding:
            self._moved = time.monotonic()
        for one in requests:
            self.outstanding[one.id] = one
            self._write({"id": one.id, "prompt": list(one.prompt), "sampling": one.sampling, "adapter": one.adapter})

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have come whole; also keeps account of what they say about the process itself."""
        assert self.channel is not None
        block = os.read(self.channel.fileno(), 1 << 16)
        *lines, self._rest = (self._rest + block).split(b"\n")
        if not block or len(self._rest) > _MAX_LINE:
            self._close_channel()
            return []
        try:
            messages: list[dict[str, Any]] = [json.loads(line) for line in lines]
        except ValueError:  # half a line, of a process that died in it
            self._close_channel()
            return []
        for message in messages:
            self.ready = message.get("ready") or self.ready
            if message.get("steps") != self._steps:  # an answer is a move, too
                self._moved, self._steps = time.monotonic(), message.get("steps", self._steps)
        return messages

    def ask_to_end(self) -> None:
        """Close its input, which is the order."""
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()

    def end(self, limit: float) -> None:
        """Wait until then for it to end by itself; then end what is left of its group."""
        if self._process is None:
            return
        while not self._exited() and time.monotonic() < limit:
            time.sleep(0.05)
        # Its number is not given to another process as long as one of its group is there.
        group, limit = self._process.pid, time.monotonic() + worker.TIDY_S
        _signal_group(group, signal.SIGTERM)
        while (self._process.poll() is None or _signal_group(group, 0)) and time.monotonic() < limit:
            time.sleep(0.05)
        _signal_group(group, signal.SIGKILL)
        self._process.wait()
        self._process = None
        self._close_channel()

    def error(self, what: str) -> UserError:
        lines = self._log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
        said = "\n".join(f"  | {line}" for line in lines) or "  (nothing)"
        return UserError(
            f"engine=vllm: a process {what}. The last that it said:\n{said}\n"
            "What is finished is kept: the same command goes on from there. Where memory is short, lower engine.memory or "
            "engine.batch_size; engine=hf needs no process of its own."
        )

    def _exited(self) -> bool:
        """Whether it has ended; it is not reaped, see `end`."""
        assert self._process is not None
        return os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _write(self, message: dict[str, Any]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it has died, which `failed` will see
            self._process.stdin.write(json.dumps(message).encode() + b"\n")
            self._process.stdin.flush()

    def _close_channel(self) -> None:
        if self.channel is not None:
            self.channel.close()
            self.channel = None


def _signal_group(group: int, number: int) -> bool:
    """Whether there is a process in the group to signal."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True
