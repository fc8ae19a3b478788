"""`engine=vllm` with a stand-in for vllm (tests/target/fake_vllm) in the child: everything but the tokens themselves."""

from __future__ import annotations

import ast
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from peft import LoraConfig, get_peft_model

from sei.errors import UserError
from sei.lab import Lab
from sei.run import run
from sei.stages.attempt import attempt
from sei.target.engine import Query, Sampling
from sei.target.load import encode_prompt
from sei.target.machine import Memory
from sei.target.vllm import adapters, choice, layout, pool, worker
from sei.target.vllm.choice import VLLM
from sei.target.vllm.engine import VLLMEngine
from sei.target.weights import Adapter, Weights
from sei.tracking.display import Display
from sei.workspace import Workspace
from tests.test_config import composed

from .small import save_small, small_model, small_tokenizer

ROOT = Path(__file__).parents[2]
FAKE = Path(__file__).parent / "fake_vllm"
PROMPTS = ["Tom has 12 apples", "12+30=", "Step 1. apples 42"]
linux = pytest.mark.skipif(sys.platform != "linux", reason="signals at a parent's death are Linux's")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small(tmp_path_factory.mktemp("base"))


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[dict[str, Any]]]:
    """The stand-in on the path; what it was told, by event."""
    file = tmp_path / "fake.jsonl"
    monkeypatch.setenv("PYTHONPATH", str(FAKE))
    monkeypatch.setenv("FAKE_VLLM_LOG", str(file))
    monkeypatch.setattr(worker, "TIDY_S", 0.3)  # the stand-in has no shared memory to remove
    choice.probe.cache_clear()

    def entries(event: str) -> list[dict[str, Any]]:
        lines = file.read_text().splitlines() if file.exists() else []
        return [entry for entry in map(json.loads, lines) if entry["event"] == event]

    return entries


Log = Callable[[str], list[dict[str, Any]]]


def engine_of(base: Path, adapter: Path | None = None, **settings: Any) -> VLLMEngine:
    weights = Weights(str(base), "small", dtype="float32", adapter=None if adapter is None else Adapter(adapter))
    return VLLMEngine(weights, VLLM(**settings))


def queries(prompts: list[str]) -> list[Query]:
    return [Query(prompt, prompt) for prompt in prompts]


def save_adapter(folder: Path, seed: int = 0, **changes: Any) -> Path:
    settings: dict[str, Any] = {"r": 4, "target_modules": ["q_proj", "v_proj"], "init_lora_weights": False}
    model = get_peft_model(small_model(seed), LoraConfig(**(settings | changes)))
    model.save_pretrained(str(folder))
    return folder


def gone(pid: int, within: float = 8.0) -> bool:
    """Whether the process has ended (or will be, as soon as somebody asks for its status)."""
    limit = time.monotonic() + within
    while time.monotonic() < limit:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        time.sleep(0.02)
    return False


def processes(entries: list[dict[str, Any]]) -> list[int]:
    return [pid for entry in entries for pid in (entry["pid"], entry["core"])]


# What is asked and what comes back


def test_token_ids_are_those_of_training_and_come_back_as_text(base: Path, log: Log) -> None:
    engine = engine_of(base)
    completions = engine.complete(queries(PROMPTS), Sampling(max_new_tokens=100))
    assert [one.text for [one] in completions] == PROMPTS
    expected = [encode_prompt(small_tokenizer(), prompt) for prompt in PROMPTS]
    assert [entry["prompt"] for entry in log("request")] == expected
    assert [one.tokens for [one] in completions] == [len(ids) + 1 for ids in expected]  # the end token counts
    assert not any(one.truncated for [one] in completions)
    assert {one.model for [one] in completions} == {"small"}
    [start] = log("start")
    assert (start["engine"]["load_format"], start["engine"]["dtype"]) == ("safetensors", "float32")
    engine.close()
    assert all(gone(pid) for pid in processes(log("start")))


def test_truncated_and_stopped_as_with_transformers(base: Path, log: Log) -> None:
    engine = engine_of(base)
    [[cut]] = engine.complete(queries(["Tom has 12 apples"]), Sampling(max_new_tokens=2))
    assert (cut.truncated, cut.tokens) == (True, 2)
    [[stopped]] = engine.complete(queries(["12+30= Step 1."]), Sampling(max_new_tokens=99, stop=("never", " Step")))
    assert (stopped.text, stopped.truncated) == ("12+30=", False)
    # The last token that there is room for completes a stop string, or is the end token.
    ids = encode_prompt(small_tokenizer(), "12+30=")
    [[at_stop]] = engine.complete(queries(["12+30="]), Sampling(max_new_tokens=len(ids), stop=("=",)))
    [[at_end]] = engine.complete(queries(["12+30="]), Sampling(max_new_tokens=len(ids) + 1))
    [[short]] = engine.complete(queries(["12+30="]), Sampling(max_new_tokens=len(ids)))
    assert [one.truncated for one in (at_stop, at_end, short)] == [False, False, True]
    # 256 positions: a prompt of 200 leaves room for 56, one of 300 for none, and is not asked at all.
    [[long], [longer]] = engine.complete(queries(["é" * 100, "é" * 150]), Sampling(max_new_tokens=100))
    assert (long.tokens, long.truncated) == (56, True)
    assert (longer.tokens, longer.text, longer.truncated) == (0, "", True)
    assert max(len(entry["prompt"]) for entry in log("request")) == 200
    engine.close()


def test_samples_have_seeds_of_their_own(base: Path, log: Log) -> None:
    engine = engine_of(base)
    sampling = Sampling(max_new_tokens=3, temperature=0.7, top_p=0.9, samples=3, seed=5)
    [first, second] = engine.complete(queries(PROMPTS[:2]), sampling)
    assert (len(first), len(second)) == (3, 3)
    asked = [entry["sampling"] for entry in log("request")]
    seeds = [one["seed"] for one in asked]
    assert len(set(seeds)) == 6
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert {(one["temperature"], one["top_p"]) for one in asked} == {(0.7, 0.9)}
    engine.complete(queries(PROMPTS[1:2]), sampling)
    assert [entry["sampling"]["seed"] for entry in log("request")][6:] == seeds[3:], "they depend on nothing else"
    [greedy] = engine.complete(queries(PROMPTS[:1]), Sampling(max_new_tokens=3, samples=3))
    assert len(greedy) == 3
    assert len(log("request")) == 10, "a greedy completion is made once"
    assert "seed" not in log("request")[-1]["sampling"]
    engine.close()


# Processes


def test_requests_go_to_who_has_least_to_do(log: Log, tmp_path: Path) -> None:
    arguments = {"max_num_seqs": 4}
    slow, fast = ({"VLLM_BATCH_INVARIANT": "0", "FAKE_VLLM_STEP_S": seconds} for seconds in ("0.04", "0.004"))
    requests = [
        pool.Request(number, [5, 6, 7], {"max_tokens": 4, "stop_token_ids": [0]}, None) for number in range(120)
    ]
    made = pool.Pool(sys.executable, [pool.Spec(arguments, slow), pool.Spec(arguments, fast)], depth=4)
    answers = list(made.run(requests))
    made.close()
    assert {request.id: answer.tokens for request, answer in answers} == {n: [5, 6, 7, 0] for n in range(120)}
    share = Counter(entry["pid"] for entry in log("request"))
    assert len(share) == 2
    assert max(share.values()) > 2 * min(share.values())
    assert sum(share.values()) == 120, "none was asked twice"


def test_load_is_counted_in_tokens(log: Log) -> None:
    """All is dealt at once; the one long request counts as much as some thirty of the others."""
    spec = pool.Spec({"max_num_seqs": 99}, {"VLLM_BATCH_INVARIANT": "0"})
    requests = [
        pool.Request(number, [5] * (3 if number else 400), {"max_tokens": 4, "stop_token_ids": [0]}, None)
        for number in range(40)
    ]
    made = pool.Pool(sys.executable, [spec, spec], depth=99)
    list(made.run(requests))
    made.close()
    [first] = [entry["pid"] for entry in log("request") if entry["id"] == "0"]
    assert sum(entry["pid"] == first for entry in log("request")) == 10, "the first block, and no other"


@linux
def test_a_process_that_dies_is_started_again_once_and_what_had_ended_is_kept(
    base: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM_DIE", "1")
    monkeypatch.setenv("FAKE_VLLM_DIE_AFTER", "5")
    prompts = [f"{'a' * (number + 1)} {number}" for number in range(12)]  # they end one after the other
    engine = engine_of(base)
    with ThreadPoolExecutor() as thread:  # of whose children the kernel does not take care
        completions = thread.submit(engine.complete, queries(prompts), Sampling(max_new_tokens=100)).result()
    assert [one.text for [one] in completions] == prompts
    first, second = log("start")
    assert all(gone(pid) for pid in processes([first])), "its engine process went with it"
    answered = [entry["id"] for entry in log("answer") if entry["pid"] == first["pid"]]
    again = [entry["id"] for entry in log("request") if entry["pid"] == second["pid"]]
    assert len(answered) >= 5
    assert sorted(answered + again, key=int) == [str(number) for number in range(12)]
    engine.close()
    assert all(gone(pid) for pid in processes([second]))


@linux
def test_a_process_that_dies_twice_fails_with_its_last_words(
    base: Path, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_VLLM_DIE", "2")
    with pytest.raises(UserError, match=r"(?s)with 3 of 3 completions missing.*out of memory, says the stand-in"):
        engine_of(base).complete(queries(PROMPTS), Sampling())
    assert len(log("start")) == 2
    assert all(gone(pid) for pid in processes(log("start")))


@linux
def test_completions_are_handed_over_as_they_end(base: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM_DIE", "2")
    monkeypatch.setenv("FAKE_VLLM_DIE_AFTER", "2")
    prompts = [f"{'a' * (number + 1)} {number}" for number in range(6)]
    had: list[int] = []
    sampling = Sampling(max_new_tokens=100, temperature=1.0, samples=2)

    def take() -> None:
        for place, completions in engine_of(base).stream(queries(prompts), sampling):
            assert [one.text for one in completions] == [prompts[place]] * 2
            had.append(place)

    with pytest.raises(UserError, match="a process failed"):
        take()
    assert had[:2] == [0, 1]
    assert len(had) < 6

    monkeypatch.delenv("FAKE_VLLM_DIE")
    stream = engine_of(base).stream(queries(prompts), sampling)
    next(stream)
    stream.close()
    assert all(gone(pid) for pid in processes(log("start"))), "who takes no more needs no processes"


def test_a_process_that_cannot_start_is_not_tried_again(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM_BROKEN", "1")
    engine = engine_of(base)
    with pytest.raises(UserError, match=r"(?s)could not start.*no kernel for this card"):
        engine.complete(queries(PROMPTS), Sampling())
    monkeypatch.delenv("FAKE_VLLM_BROKEN")
    assert engine.complete(queries(PROMPTS[:1]), Sampling())[0][0].text == PROMPTS[0], "mended, it can be asked again"
    engine.close()


@linux
def test_a_process_that_does_not_move_is_started_again(base: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM_HANG", "1")
    monkeypatch.setattr(pool, "STALL_S", 0.7)
    engine = engine_of(base)
    completions = engine.complete(queries(PROMPTS), Sampling(max_new_tokens=100))
    assert [one.text for [one] in completions] == PROMPTS
    first, _ = log("start")
    assert all(gone(pid) for pid in processes([first]))
    engine.close()


@linux
def test_an_engine_process_that_dies_alone_is_noticed(base: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM_STEP_S", "0.2")
    engine = engine_of(base)
    with ThreadPoolExecutor() as thread:
        asked = thread.submit(engine.complete, queries(PROMPTS), Sampling(max_new_tokens=100))
        while len(log("request")) < 3:
            time.sleep(0.02)
        os.kill(log("start")[0]["core"], signal.SIGKILL)
        assert [one.text for [one] in asked.result()] == PROMPTS
    assert len(log("start")) == 2
    engine.close()


PARENT = """
import os, sys, threading, time
from sei.target.vllm.pool import Child, Pool, Request, Spec
if __name__ == "__main__":
    if sys.argv[1] == "fork":
        start = Child.start
        def and_fork(child):
            start(child)
            if os.fork() == 0:  # a process that holds the pipes open, and has nothing to do with them
                print(os.getpid(), flush=True)
                time.sleep(60)
                os._exit(0)
        Child.start = and_fork
    pool = Pool(sys.executable, [Spec({"max_num_seqs": 8}, {"VLLM_BATCH_INVARIANT": "0"})] * 2)
    asked = [Request(number, [5] * 50, {"max_tokens": 99, "stop_token_ids": [0]}, None) for number in range(8)]
    if sys.argv[1] == "thread":
        thread = threading.Thread(target=lambda: list(pool.run(asked)))
        thread.start()
        thread.join()
    list(pool.run(asked))
"""


@linux
@pytest.mark.parametrize(("how", "sign"), [("thread", "KILL"), ("fork", "KILL"), ("all", "KILL"), ("alone", "INT")])
def test_nothing_outlives_the_parent(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str, sign: str
) -> None:
    """Kill -9: where the pipe alone tells (a child of a thread), where the kernel alone does (another process holds the pipe
    open), and of the workers too, whose engine processes are then alone; and Ctrl-C."""
    monkeypatch.setenv("FAKE_VLLM_STEP_S", "0.5")
    monkeypatch.setenv("PYTHONPATH", f"{FAKE}:{ROOT}")
    (tmp_path / "parent.py").write_text(PARENT)
    command = [sys.executable, str(tmp_path / "parent.py"), how]
    parent = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        limit = time.monotonic() + 60
        while len(log("request")) < 8 and time.monotonic() < limit:
            time.sleep(0.05)
        started = processes(log("start"))
        assert len(started) == 4
        assert not any(gone(pid, within=0.05) for pid in started)
        parent.send_signal(getattr(signal, f"SIG{sign}"))
        if how == "all":
            for entry in log("start"):
                os.kill(entry["pid"], signal.SIGKILL)
        parent.wait(30)
        assert all(gone(pid) for pid in started)
    finally:
        parent.kill()
        if how == "fork":
            assert parent.stdout is not None
            for _ in range(2):
                os.kill(int(parent.stdout.readline()), signal.SIGKILL)
        parent.communicate()


def test_the_worker_needs_vllm_and_the_standard_library_alone() -> None:
    tree = ast.parse(Path(worker.__file__).read_text())
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in ([alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""])
    }
    assert modules - {"vllm"} <= sys.stdlib_module_names


# Adapters


def test_adapters_have_names_of_their_own_and_share_one_base(base: Path, log: Log, tmp_path: Path) -> None:
    folders = [save_adapter(tmp_path / str(seed), seed) for seed in range(3)]
    copied = save_adapter(tmp_path / "copy", 1)
    earlier: VLLMEngine | None = None
    for folder in (*folders, copied, None):
        engine = engine_of(base, folder)
        if earlier is not None:
            assert engine.take_over(earlier)
            earlier.close()  # it has nothing to close any more
        engine.complete(queries(PROMPTS[:1]), Sampling(max_new_tokens=3))
        earlier = engine
    larger = engine_of(base, save_adapter(tmp_path / "large", r=9))
    assert not larger.take_over(earlier), "the base was loaded for adapters up to rank 8"
    assert not engine_of(tmp_path).take_over(earlier), "another base"
    assert not engine_of(base, batch_size=3).take_over(earlier), "other settings"
    assert earlier is not None
    earlier.close()
    larger.complete(queries(PROMPTS[:1]), Sampling(max_new_tokens=3))
    larger.close()

    asked = [entry["adapter"] for entry in log("request")]
    paths, bare = [one["lora_path"] for one in asked if one], asked[4]
    assert paths == [str(folder) for folder in (*folders, copied, tmp_path / "large")]
    assert bare is None
    names = [(one["lora_name"], one["lora_int_id"]) for one in asked if one]
    assert names[1] == names[3], "the same weights in another folder"
    assert len(set(names)) == len({name for name, _ in names}) == len({number for _, number in names}) == 4
    first, second = (entry["engine"] for entry in log("start"))
    assert (first["enable_lora"], first["max_lora_rank"], second["max_lora_rank"]) == (True, 8, 16)


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"modules_to_save": ["embed_tokens"]}, "modules_to_save: embed_tokens"),
        ({"use_dora": True}, "DoRA"),
        ({"bias": "lora_only"}, "biases"),
        ({"lora_bias": True}, "biases"),
        ({"target_modules": ["q_proj", "lm_head"]}, "adapts lm_head"),
        ({"r": 513}, "rank is 513, and vLLM's largest is 512"),
        ({"rank_pattern": {"q_proj": 600}}, "rank is 600"),
        ({"peft_type": "IA3"}, "type IA3"),
    ],
)
def test_what_vllm_cannot_load_is_refused_before_it_starts(
    base: Path, tmp_path: Path, log: Log, changes: dict[str, Any], fault: str
) -> None:
    folder = save_adapter(tmp_path / "adapter")
    file = folder / "adapter_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    with pytest.raises(UserError, match=f"{fault}.*engine=hf"):
        engine_of(base, folder)
    assert log("start") == []


def test_ranks_are_rounded_up() -> None:
    assert [adapters.rank_limit({"r": rank}) for rank in (1, 2, 8, 9, 64, 257, 512)] == [1, 8, 8, 16, 64, 320, 512]
    assert adapters.rank_limit({"r": 8, "rank_pattern": {"q_proj": 40}}) == 64


def test_a_whole_fine_tuned_model_takes_the_base_s_place(base: Path, tmp_path: Path, log: Log) -> None:
    tuned = save_small(tmp_path / "tuned", seed=1)
    engine = engine_of(base, tuned)
    engine.complete(queries(PROMPTS[:1]), Sampling(max_new_tokens=3))
    engine.close()
    [start] = log("start")
    assert start["engine"]["model"] == str(tuned)
    assert "enable_lora" not in start["engine"]


def test_a_training_phase_whose_adapter_could_not_be_loaded_is_refused() -> None:
    with pytest.raises(UserError, match=r"recipe\.training: .*adapts lm_head .*engine=hf"):
        composed("engine=vllm", "recipe.training.target_modules=[q_proj,lm_head]")
    with pytest.raises(UserError, match=r"recipe\.training: .*rank is 600"):
        composed("engine=vllm", "recipe.training.rank=600")
    composed("engine=vllm", "recipe.training.rank=600", "trainer=none")
    composed("engine=hf", "recipe.training.rank=600")


# What this machine has


def test_a_missing_or_unfit_vllm_is_said_with_the_line_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    VLLM().check()
    with pytest.raises(UserError, match=r"engine\.python=/no/python: no such program.*pip install 'vllm"):
        VLLM(python="/no/python").check()
    with pytest.raises(UserError, match=r"is not a Python that runs here"):
        VLLM(python="false").check()
    with pytest.raises(
        UserError, match=r"engine\.nf4=bitsandbytes needs the package 'vllm-bnb-plugin'.*-m pip install"
    ):
        VLLM(nf4="bitsandbytes").check()
    monkeypatch.setenv("PYTHONPATH", "")
    choice.probe.cache_clear()
    monkeypatch.setattr(choice, "_PROBE", choice._PROBE.replace('find_spec("vllm")', 'find_spec("no_such_vllm")'))
    with pytest.raises(
        UserError, match=r"needs the package 'vllm'.*pip install 'vllm>=0\.32,<0\.34'.*add engine\.python="
    ):
        VLLM().check()
    monkeypatch.setattr(choice, "_PROBE", 'print(\'{"version": "0.11.2", "plugin": false}\') # %s')
    choice.probe.cache_clear()
    with pytest.raises(UserError, match=r"0\.32 or newer; 0\.11\.2 is installed"):
        VLLM().check()


def test_groups_of_gpus() -> None:
    def grouped(count: int, needed: float, **more: int) -> list[list[int]]:
        return layout.groups([80.0] * count, needed, **more)

    assert grouped(4, 16) == [[0], [1], [2], [3]]
    assert grouped(4, 150) == [[0, 1], [2, 3]]
    assert grouped(4, 170) == [[0, 1, 2, 3]]
    assert grouped(3, 100) == [[0, 1]], "two of three; the third alone holds nothing"
    assert grouped(4, 16, processes=2) == [[0], [1]]
    assert grouped(4, 16, tensor_parallel=2) == [[0, 1], [2, 3]]
    for count, needed, more in ((1, 100.0, {}), (4, 16.0, {"processes": 5}), (2, 0.0, {"tensor_parallel": 4})):
        with pytest.raises(UserError, match="GPUs are needed"):
            grouped(count, needed, **more)


def test_gpus_are_named_as_they_are_visible_here(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    monkeypatch.setattr(layout, "found_memory", lambda: Memory((80.0, 80.0), 500.0))
    monkeypatch.setattr(layout, "invariant_gpus", lambda: True)
    weights = Weights(str(base), "small")
    made = layout.specs(VLLM(), weights, None)
    assert [spec.environment["CUDA_VISIBLE_DEVICES"] for spec in made] == ["2", "5"]
    assert [spec.environment["VLLM_BATCH_INVARIANT"] for spec in made] == ["1", "1"]
    assert not any("enforce_eager" in spec.engine for spec in made)
    [both] = layout.specs(VLLM(tensor_parallel=2, batch_invariant=False), weights, None)
    assert both.environment["CUDA_VISIBLE_DEVICES"] == "2,5"
    assert (both.engine["tensor_parallel_size"], both.environment["VLLM_BATCH_INVARIANT"]) == (2, "0")


def test_a_quantized_base_is_decided_and_said(base: Path) -> None:
    quantized = Weights(str(base), "small", dtype="bfloat16", quantization="nf4")
    assert VLLM().announce(quantized)[1] == (
        "The target is trained as nf4 and generates as bfloat16, unquantized (engine.nf4=unquantized)"
    )
    assert "in 4 bits" in VLLM(nf4="bitsandbytes").announce(quantized)[1]
    [spec] = layout.specs(VLLM(nf4="bitsandbytes"), quantized, None)
    assert (spec.engine["quantization"], spec.engine["load_format"]) == ("bitsandbytes", "bitsandbytes")
    [spec] = layout.specs(VLLM(), quantized, None)
    assert (spec.engine["quantization"], spec.engine["dtype"]) == (None, "bfloat16")
    assert len(VLLM().announce(Weights(str(base), "small"))) == 1


def test_the_plan_says_what_would_start(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    words = (
        "engine=vllm",
        "model.quantization=nf4",
        "data.train=8",
        "data.test=1",
        "dry_run=true",
        f"cache_dir={tmp_path}",
    )
    run(composed(*words), tmp_path, words)
    said = " ".join(capsys.readouterr().out.split())
    assert "Generation: vllm of unknown version, 1 process, on the CPU; results may depend on the batch" in said
    assert "The target is trained as nf4 and generates as float32, unquantized (engine.nf4=unquantized)" in said
    monkeypatch.setattr("sei.target.vllm.layout.found_memory", lambda: Memory((8.0,), 64.0))
    run(composed(*words, "engine.processes=2"), tmp_path, words)
    said = " ".join(capsys.readouterr().out.split())
    assert "engine=vllm: 2 x 1 GPUs are needed" in said
    assert "Problems: train 8" in said, "the plan goes on"


def test_a_request_that_memory_does_not_hold_is_refused(base: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_VLLM_FITS", "40")
    with pytest.raises(UserError, match=r"up to 57 tokens, .* memory for 40\. Lower model\.max_new_tokens"):
        engine_of(base).complete(queries(PROMPTS), Sampling(max_new_tokens=50))
    assert log("request") == []
    assert all(gone(pid) for pid in processes(log("start")))


# In a run


def test_checkpoints_are_evaluated_on_one_loaded_base_and_the_manifest_says_how(tmp_path: Path, log: Log) -> None:
    config = composed("engine=vllm", "data.train=8", "data.validation=1", "data.test=1", f"cache_dir={tmp_path}")
    workspace = Workspace(tmp_path / "run", tmp_path / "cache")
    checkpoints = [Adapter(save_adapter(tmp_path / str(step), step)) for step in range(3)]
    with Lab(config, workspace, Display()) as lab:
        for step, checkpoint in enumerate(checkpoints):
            target = lab.target(checkpoint)
            made = lab.artifact(attempt, lab.splits.train, target, lab.formats, lab.sampling, style=lab.style)
            assert made.numbers["generated_by"] == {
                "engine": "vllm",
                "vllm": "0.32.0",
                "max_model_len": 4096,
                "processes": 1,
                "tensor_parallel": 1,
                "batch_invariant": False,
            }, step
        [start] = log("start")
        lab.make_room()  # as before training
        assert all(gone(pid) for pid in processes([start]))
        lab.do(attempt, lab.splits.train, lab.target(), lab.formats, lab.sampling, style=lab.style)
        assert len(log("start")) == 2
    assert len({entry["adapter"]["lora_name"] for entry in log("request") if entry["adapter"]}) == 3
    assert len(log("request")) == 4 * 8
    assert all(gone(pid) for pid in processes(log("start")))
