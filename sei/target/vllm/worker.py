"""The child of `engine=vllm`: reads requests as JSON lines, lets vLLM complete them, writes answers as JSON lines.

Place in the flow: `pool` starts one such process for each group of GPUs, with the Python that has vLLM (`engine.python`). It
runs as a script and imports the standard library and vllm alone, so that environment need not have this package.

The first line in is the settings, every other one a request; each goes out as it ends, in any order::

    <- {"engine": {"model": "runs/base", "dtype": "float32", ...}, "bound": true}
    -> {"ready": {"vllm": "0.32.0", "max_model_len": 2048}}
    <- {"id": 7, "prompt": [1, 5, 9], "sampling": {"temperature": 0, "max_tokens": 200}, "adapter": null}
    -> {"steps": 12}                                                (every few seconds: it is alive and moving)
    -> {"id": 7, "tokens": [4, 4, 2], "reason": "stop"}

Nothing of it outlives the process that started it. The end of its input is the order to end, and a dead parent's pipe ends
too. Where Linux can, a signal at the parent's death comes in addition, in case somebody else holds the pipe open. vLLM's own
processes are in this one's group and die with the one that started them. Python's resource tracker is left to end by itself
where there is time: it removes the shared memory of the others when they are gone.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Any

GRACE_S = 10.0  # for vLLM to end its processes and remove its shared memory; then all are killed
TIDY_S = 3.0  # from the signal to end, which the resource tracker ignores, to the one that nothing can ignore
BEAT_S = 5.0
_PR_SET_PDEATHSIG = 1  # linux/prctl.h

Send = Callable[[dict[str, Any]], None]


def main() -> None:
    """Serve until the input ends."""
    send = _sender()
    inbox = Inbox()
    signal.signal(signal.SIGTERM, lambda *_: inbox.end())
    settings = inbox.first()
    if settings is None:
        return
    _prepare_forks(bound=settings["bound"])
    if settings["bound"]:
        die_with_parent(signal.SIGTERM)
    import vllm

    engine = vllm.LLMEngine.from_engine_args(vllm.EngineArgs(**settings["engine"]))
    send({"ready": {"vllm": vllm.__version__, "max_model_len": engine.vllm_config.model_config.max_model_len}})
    progress = [0]
    threading.Thread(target=_watch, args=(inbox, send, progress), daemon=True).start()
    serve(engine, inbox, send, progress)
    del engine
    gc.collect()


def serve(engine: Any, inbox: Inbox, send: Send, progress: list[int]) -> None:
    """Hand requests to vLLM as they come, and answers out as they end. `progress[0]` counts vLLM's steps."""
    from vllm import SamplingParams
    from vllm.lora.request import LoRARequest
    from vllm.sampling_params import RequestOutputKind

    while not inbox.ended:
        for request in inbox.take(wait=not engine.has_unfinished_requests()):
            engine.add_request(
                str(request["id"]),
                {"prompt_token_ids": request["prompt"]},
                SamplingParams(**request["sampling"], output_kind=RequestOutputKind.FINAL_ONLY),
                lora_request=LoRARequest(**request["adapter"]) if request["adapter"] else None,
            )
        if not engine.has_unfinished_requests():
            continue
        for output in engine.step():
            if output.finished:
                [made] = output.outputs
                send({"id": int(output.request_id), "tokens": list(made.token_ids), "reason": made.finish_reason})
        progress[0] += 1


class Inbox:
    """The input's lines, read by a thread of its own: the parent never waits for vLLM, and its end is seen at once."""

    def __init__(self) -> None:
        self.ended = False
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()

    def first(self) -> Any:
        """The first line's value, None where there is none."""
        line = self._lines.get()
        return None if line is None else json.loads(line)

    def take(self, *, wait: bool) -> Iterator[Any]:
        """All that came since the last time; with `wait`, at least one, or the end."""
        with contextlib.suppress(queue.Empty):
            while not self.ended:
                line = self._lines.get(block=wait)
                if line is not None:
                    yield json.loads(line)
                wait = False

    def end(self) -> None:
        """No more is read; what has not ended by itself after the grace is killed."""
        if not self.ended:
            self.ended = True
            self._lines.put(None)
            timer = threading.Timer(GRACE_S, _kill_group)
            timer.daemon = True
            timer.start()

    def _read(self) -> None:
        # Not through sys.stdin, whose lock a process forked meanwhile would find taken for ever.
        rest = b""
        with contextlib.suppress(OSError):
            while block := os.read(0, 1 << 16):
                *lines, rest = (rest + block).split(b"\n")
                for line in lines:
                    self._lines.put(line)
        self.end()


def _sender() -> Send:
    """Writes to what was standard output. vLLM and its processes print there too, and from now on to standard error instead."""
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def send(message: dict[str, Any]) -> None:
        with lock, contextlib.suppress(BrokenPipeError):  # the parent is gone, as the end of the input will say
            channel.write(json.dumps(message) + "\n")
            channel.flush()

    return send


def _watch(inbox: Inbox, send: Send, progress: list[int]) -> None:
    """Tell of the progress every few seconds. End all when one of vLLM's processes has ended: vLLM would wait for ever."""
    started = [child.sentinel for child in multiprocessing.active_children()]
    while not multiprocessing.connection.wait(started, timeout=BEAT_S):
        send({"steps": progress[0]})
    if not inbox.ended:
        print("A process that vLLM had started has ended.", file=sys.stderr, flush=True)
        _kill_group()


def _signal_group(number: signal.Signals) -> None:
    """To this process and all that it started, if it is the head of a group of its own."""
    if os.getpgrp() == os.getpid():
        os.killpg(0, number)


def _kill_group() -> None:
    _signal_group(signal.SIGTERM)
    threading.Event().wait(TIDY_S)
    _signal_group(signal.SIGKILL)
    os._exit(1)


def die_with_parent(number: signal.Signals) -> None:
    """Ask the kernel for this signal when the thread that started this process ends. Only Linux can."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number)


def _prepare_forks(*, bound: bool) -> None:
    """Every process forked here ends by SIGTERM, and where `bound` with the one that forked it. (One that is spawned runs the
    last lines of this file.)"""
    by_main_thread = [True]

    def before() -> None:
        by_main_thread[0] = threading.current_thread() is threading.main_thread()

    def in_child() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if bound and by_main_thread[0]:  # the end of another thread is not the end of the process
            die_with_parent(signal.SIGKILL)

    os.register_at_fork(before=before, after_in_child=in_child)


if __name__ == "__mp_main__":
    die_with_parent(signal.SIGKILL)
if __name__ == "__main__":
    try:
        main()
    except BaseException:
        traceback.print_exc()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        _signal_group(signal.SIGTERM)
        os._exit(0)
