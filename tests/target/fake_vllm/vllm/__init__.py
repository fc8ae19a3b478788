"""A stand-in for vllm, put on the path of the worker by tests: the part of its interface that `sei.target.vllm.worker` uses.

It completes a prompt with the prompt's own tokens and the first end token, one token a step. Like vllm it has an engine
process of its own. What it is told it writes to the file FAKE_VLLM_LOG. Environment variables make it fail:

- FAKE_VLLM_STEP_S: seconds a step takes
- FAKE_VLLM_DIE: how many processes die, each after FAKE_VLLM_DIE_AFTER answers
- FAKE_VLLM_HANG: the same, but they stop moving instead
- FAKE_VLLM_BROKEN: it cannot start
- FAKE_VLLM_FITS: how many tokens of one request it has memory for
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from types import SimpleNamespace
from typing import Any

from vllm.sampling_params import SamplingParams as SamplingParams

__version__ = "0.32.0"


def log(**entry: Any) -> None:
    with open(os.environ["FAKE_VLLM_LOG"], "a") as file:
        file.write(json.dumps({"pid": os.getpid(), **entry}) + "\n")


def is_one_of(variable: str) -> bool:
    """Whether this process is among the first so many that ask."""
    for number in range(int(os.environ.get(variable, "0"))):
        try:
            os.close(os.open(f"{os.environ['FAKE_VLLM_LOG']}.{variable}.{number}", os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            continue
        return True
    return False


class EngineArgs(SimpleNamespace):
    pass


class LLMEngine:
    def __init__(self, arguments: EngineArgs) -> None:
        if "FAKE_VLLM_BROKEN" in os.environ:
            raise RuntimeError("no kernel for this card")
        print("vllm prints to standard output")
        self.core = multiprocessing.get_context("fork").Process(target=time.sleep, args=(600,), daemon=True)
        self.core.start()
        log(event="start", core=self.core.pid, engine=vars(arguments), invariant=os.environ["VLLM_BATCH_INVARIANT"])
        self.vllm_config = SimpleNamespace(
            model_config=SimpleNamespace(max_model_len=int(os.environ.get("FAKE_VLLM_FITS", "4096")))
        )
        self.running: list[tuple[str, list[int], SamplingParams, list[int]]] = []
        self.seats = arguments.max_num_seqs
        self.answers = 0
        self.dies, self.hangs = is_one_of("FAKE_VLLM_DIE"), is_one_of("FAKE_VLLM_HANG")

    @classmethod
    def from_engine_args(cls, arguments: EngineArgs) -> LLMEngine:
        return cls(arguments)

    def add_request(self, name: str, prompt: Any, params: SamplingParams, lora_request: Any = None) -> None:
        ids = prompt["prompt_token_ids"]
        log(event="request", id=name, prompt=ids, sampling=vars(params), adapter=lora_request and vars(lora_request))
        self.running.append((name, ids, params, []))

    def has_unfinished_requests(self) -> bool:
        return bool(self.running)

    def step(self) -> list[Any]:
        time.sleep(float(os.environ.get("FAKE_VLLM_STEP_S", "0")))
        while not self.core.is_alive():
            time.sleep(60)
        if self.answers >= int(os.environ.get("FAKE_VLLM_DIE_AFTER", "0")):
            if self.dies:
                print("out of memory, says the stand-in", file=sys.stderr)
                os._exit(9)
            while self.hangs:
                time.sleep(60)
        outputs = []
        for one in self.running[: self.seats]:
            name, ids, params, made = one
            made.append([*ids, params.stop_token_ids[0]][len(made)])
            reason = "stop" if made[-1] in params.stop_token_ids else None
            reason = reason or ("length" if len(made) == params.max_tokens else None)
            if reason:
                self.running.remove(one)
                self.answers += 1
                log(event="answer", id=name)
                outputs.append(
                    SimpleNamespace(
                        finished=True,
                        request_id=name,
                        outputs=[SimpleNamespace(token_ids=made, finish_reason=reason)],
                    )
                )
        return outputs
