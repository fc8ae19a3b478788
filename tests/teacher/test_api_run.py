"""A whole recipe through the API teacher, against the fault server."""

from __future__ import annotations

import base64
import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from sei.ledger import read_ledger, sums
from sei.llm.account import BudgetExceeded
from sei.run import run
from sei.teacher.scripted import scripted
from tests.llm.hostile import completion, respond, serving
from tests.teacher.fault_server import Running
from tests.test_config import composed
from tests.test_run import artifacts, gsm8k_row, recorded, small, small_of, write_jsonl
from tests.tracking.run_folder import embedded
from tests.tracking.wandb_file import read_page

ROOT = Path(__file__).parents[2]


def wrong_attempts() -> list[dict[str, str]]:
    return [
        {"question": gsm8k_row(n)["question"], "solution": f"{n} * {n + 2} = {n * (n + 2)}\n#### {n * (n + 2)}"}
        for n in range(3, 9)
    ]


def kept(folder: Path) -> dict[str, bytes]:
    """A run's artifacts, less the note of problems that a spoiled reply held twice: others were asked for instead."""
    found = artifacts(folder)
    name = next(path for path in found if path.endswith("-synthetic/rejected.jsonl"))
    found[name] = b"\n".join(row for row in found[name].splitlines() if json.loads(row)["reason"] != "duplicate")
    return found


def test_faults_change_no_artifact_and_nothing_is_asked_twice(tmp_path: Path) -> None:
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m")
    with Running() as calm:
        ledger = small(tmp_path, *overrides, f"teacher.base_url={calm.url}", folder="calm", cache="a")["ledger"]
    with Running(rate=0.3, repairs_fail=False) as faulty:
        small(tmp_path, *overrides, f"teacher.base_url={faulty.url}", folder="faulty", cache="b")
        asked = faulty.get("stats")["asks"]
        small(tmp_path, *overrides, f"teacher.base_url={faulty.url}", folder="again", cache="b")
        assert faulty.get("stats")["asks"] == asked, "a rerun asks nothing"
    assert ledger["diagnoses"]["passed"] == 6
    assert ledger["synthetic"]["records"] > 0
    assert kept(tmp_path / "calm") == kept(tmp_path / "faulty") == kept(tmp_path / "again")
    assert artifacts(tmp_path / "faulty") == artifacts(tmp_path / "again")


def test_the_plan_shows_calls_and_dollars_and_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    overrides = (*small_of("sei"), *recorded(tmp_path, *wrong_attempts()), "teacher=gpt-4o", "dry_run=true")
    overrides = (*overrides, f"cache_dir={tmp_path / 'cache'}", "recipe.synthesis.budget=40")
    run(composed(*overrides), tmp_path / "run", overrides)
    printed = capsys.readouterr().out
    assert "teacher gpt-4o" in printed
    assert "US dollars" in printed
    assert "Prompt of stage diagnoses, filled" in printed
    assert not (tmp_path / "run").exists()


def test_no_key_reaches_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret-of-the-test")
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m", "logger=offline")
    with Running() as server:
        small(tmp_path, *overrides, f"teacher.base_url={server.url}")
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or b"sk-secret-of-the-test" not in path.read_bytes(), path
    assert json.loads((tmp_path / "run" / "status.json").read_text())["status"] == "done"


def many_wrong_attempts(tmp_path: Path, count: int) -> tuple[str, ...]:
    """Overrides of a run that mines `count` mistakes from recorded attempts."""
    overrides = recorded(tmp_path, *wrong_attempts())
    rows = [gsm8k_row(number) for number in range(100, 100 + count)]
    write_jsonl(tmp_path / "data" / "train.jsonl", *rows)
    write_jsonl(
        tmp_path / "attempts.jsonl", *[{"question": row["question"], "solution": "2 - 1 = 1\n#### 1"} for row in rows]
    )
    return (*overrides, "teacher=local", "teacher.model=m")


def test_a_budget_stops_before_the_call_that_would_exceed_it_and_more_of_it_goes_on(tmp_path: Path) -> None:
    overrides = (
        *many_wrong_attempts(tmp_path, 60),
        "teacher.price.input=10",
        "teacher.price.output=100",
        "logger=offline",
    )
    with Running() as server:
        overrides = (*overrides, f"teacher.base_url={server.url}")
        with pytest.raises(BudgetExceeded, match=r"teacher\.budget_usd=0\.3: .*run the same command with a higher"):
            small(tmp_path, *overrides, "teacher.budget_usd=0.3")
        asked = server.get("stats")["asks"]
        assert 0 < asked < 60
        status = json.loads((tmp_path / "run" / "status.json").read_text())
        assert status["status"] == "failed"
        assert "teacher.budget_usd=0.3" in status["error"]
        paid = read_ledger(tmp_path / "run").total
        assert (paid.calls, paid.paid_usd) == (asked, paid.used_usd)
        assert 0.2 < paid.paid_usd <= 0.3
        page = embedded(tmp_path / "run" / "report.html")
        assert page["headline"]["dollars"] == {"used": paid.used_usd, "paid": paid.paid_usd, "calls": asked}
        assert "teacher.budget_usd=0.3" in page["status"]["error"]

        small(tmp_path, *overrides, "teacher.budget_usd=20")
        log = server.get("log")
        assert len(log) == len({key for _, key, _ in log}), "no call is repeated"
        whole = read_ledger(tmp_path / "run").total
        assert whole.calls == len(log) > asked
        assert whole.paid_usd == pytest.approx(whole.used_usd), "both halves were paid by this run"
    found = sums(tmp_path / "run")
    assert (found.calls, found.tokens_in, found.tokens_out) == (whole.calls, whole.tokens_in, whole.tokens_out)
    assert (found.used_usd, found.paid_usd) == pytest.approx((whole.used_usd, whole.paid_usd))
    page = read_page(tmp_path / "run")
    assert page.exits == [1, 0]
    assert page.summary["usd/used"] == pytest.approx(whole.used_usd)
    dollars = [row["teacher/used_usd"] for row in page.history if "teacher/used_usd" in row]
    assert dollars == sorted(dollars)
    assert dollars[0] < dollars[-1] == pytest.approx(whole.used_usd)
    assert page.table("tables/synthesized")


def test_an_endpoint_that_dies_in_mid_run_changes_no_artifact(tmp_path: Path) -> None:
    overrides = many_wrong_attempts(tmp_path, 150)
    with Running() as calm:
        small(tmp_path, *overrides, f"teacher.base_url={calm.url}", folder="calm", cache="a")
    with Running(latency_s=0.05) as one, Running(latency_s=0.05) as two:

        def kill_the_second() -> None:
            while two.get("stats")["answered"] < 10:
                time.sleep(0.005)
            two.process.kill()

        threading.Thread(target=kill_the_second).start()
        more = (f"teacher.base_url=[{one.url},{two.url}]", "teacher.max_concurrency=8")
        small(tmp_path, *overrides, *more, folder="one_died", cache="b")
        assert two.process.poll() is not None
        assert one.get("stats")["answered"] > 80
    assert artifacts(tmp_path / "calm") == artifacts(tmp_path / "one_died")


def test_ctrl_c_saves_what_is_in_flight_and_the_same_command_asks_only_for_the_rest(tmp_path: Path) -> None:
    overrides = (*small_of("sei"), *many_wrong_attempts(tmp_path, 60), "teacher.max_concurrency=8", "logger=none")
    with Running(latency_s=0.4) as server:
        command = [
            sys.executable, "train.py", *overrides, f"teacher.base_url={server.url}",
            f"cache_dir={tmp_path / 'cache'}", f"hydra.run.dir={tmp_path / 'run'}",
        ]  # fmt: skip
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        while server.get("stats")["in_flight"] < 8:
            assert process.poll() is None
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode != 0
        assert "calls in flight were saved, the same command goes on" in said
        stats = server.get("stats")
        assert stats["asks"] == stats["answered"] == read_ledger(tmp_path / "run").total.calls < 60

        server.set(latency_s=0.0)
        subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=60)
        log = server.get("log")
        assert len(log) == len({key for _, key, _ in log}) == read_ledger(tmp_path / "run").total.calls > 60


def echoing(key: str, gold: dict[str, str]) -> Any:
    """A server that repeats the key in all that it says: in every text of a reply, its envelope, errors and headers."""
    forms = f"{key} {quote(key, safe='')} {base64.b64encode(key.encode()).decode()} {key.encode().hex()}"

    def echoed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: echoed(item) for name, item in value.items()}
        if isinstance(value, list):
            return [echoed(item) for item in value]
        return f"{value} {forms}" if isinstance(value, str) else value

    asked = count()

    def answer(handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> Any:
        number = next(asked)
        if number % 5 == 1:
            status = (400, 429, 500)[number % 3]
            return respond(handler, status, json.dumps({"error": {"message": forms, "code": key}}).encode(), X_Key=key)
        if number % 5 == 2:
            return {"error": {"message": forms}}  # a 200 that is no completion
        text = scripted(body, gold)
        try:
            text = json.dumps(echoed(json.loads(text)))
        except ValueError:
            text = f"{forms}\n{text}"
        return completion(text, id=key, model=key, system_fingerprint=forms)

    return answer


def test_a_server_that_echoes_the_key_puts_it_into_no_file_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    key = "sk-proj-Secret/of+the-test=1"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m", "logger=offline")
    with serving(echoing(key, {})) as server:
        small(tmp_path, *overrides, f"teacher.base_url={server.url}", "recipe.synthesis.budget=4")
    assert all(headers["authorization"] == f"Bearer {key}" for _, headers, _ in server.asked)
    store = sqlite3.connect(tmp_path / "cache" / "teacher.sqlite")
    assert any("***" in text for (text,) in store.execute("SELECT text FROM answers"))
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    forms = [key, quote(key, safe=""), base64.b64encode(key.encode()).decode()[4:-4], key.encode().hex(), "Secret/of"]
    found = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()).decode("utf-8", "replace")
    said = "".join(capfd.readouterr())
    assert "***" in found
    assert [form for form in forms if form in found or form in said] == []
