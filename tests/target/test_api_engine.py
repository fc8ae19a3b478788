"""The API engine against the fault server: completions as the stages expect them, each paid for once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sei.errors import UserError
from sei.llm.settings import ApiSettings
from sei.records import Problem, Verdict
from sei.stages.attempt import attempt
from sei.target.api import ApiEngine
from sei.target.engine import Query, Sampling
from tests.teacher.fault_server import Running

WARM = Sampling(temperature=0.7, samples=3, max_new_tokens=64)


@pytest.fixture
def server() -> Iterator[Running]:
    with Running() as running:
        yield running


def engine(folder: Path, server: Running, **more: Any) -> ApiEngine:
    options: dict[str, Any] = {
        "model": "m",
        "base_urls": (server.url,),
        "timeout_s": 2.0,
        "patience_s": 60.0,
        "max_attempts": 2,
    } | more
    return ApiEngine(ApiSettings(**options), store=folder / "store.sqlite", run_folder=folder / "run")


def query(number: int) -> Query:
    return Query(f"Solve this.\n<question>\nWhat is {number}?\n</question>", f"What is {number}?")


def ask(folder: Path, server: Running, queries: list[Query], sampling: Sampling) -> list[list[tuple[str, bool]]]:
    asked = engine(folder, server)
    try:
        return [[(c.text, c.truncated) for c in found] for found in asked.complete(queries, sampling)]
    finally:
        asked.close()


def test_completions_come_in_order_and_are_asked_for_once(tmp_path: Path, server: Running) -> None:
    queries = [query(number) for number in range(5)]
    found = ask(tmp_path, server, queries, WARM)
    assert [len(completions) for completions in found] == [3] * 5
    assert len({completions[0] for completions in found}) == 5
    assert found[0][0][0].startswith("Work it out.\nThe result is")
    assert server.get("stats")["asks"] == 15
    assert ask(tmp_path, server, queries[::-1], WARM) == found[::-1]  # another engine, as in a restarted run
    assert server.get("stats")["asks"] == 15
    ask(tmp_path, server, queries, Sampling(temperature=0.7, samples=3, max_new_tokens=64, seed=1))
    assert server.get("stats")["asks"] == 30  # another seed is another draw


def test_a_completion_names_its_model_and_tokens(tmp_path: Path, server: Running) -> None:
    asked = engine(tmp_path, server)
    ((completion,),) = asked.complete([query(1)], Sampling())
    asked.close()
    asked.close()  # idempotent
    assert completion.model == "m"
    assert completion.tokens == len(completion.text) // 4 + 1  # what the server says it used


def test_a_greedy_completion_is_made_once_whatever_the_seed(tmp_path: Path, server: Running) -> None:
    first = ask(tmp_path, server, [query(1), query(2)], Sampling(samples=4))
    assert [len(completions) for completions in first] == [4, 4]
    assert len(set(first[0])) == 1
    assert ask(tmp_path, server, [query(1), query(2)], Sampling(samples=4, seed=7)) == first
    assert server.get("stats")["asks"] == 2


def test_what_is_sent(tmp_path: Path, server: Running) -> None:
    ask(tmp_path, server, [query(1)], WARM)
    rows = sqlite3.connect(tmp_path / "store.sqlite").execute("SELECT request, prompt FROM answers ORDER BY sample")
    sent = [(json.loads(request), prompt) for request, prompt in rows]
    assert [(body["sample"], prompt) for body, prompt in sent] == [(0, "target"), (1, "target"), (2, "target")]
    assert sent[0][0]["messages"] == [["user", query(1).prompt]]
    assert (sent[0][0]["temperature"], sent[0][0]["max_tokens"], sent[0][0]["schema"]) == (0.7, 64, "")


def test_stop_strings_cut_the_text(tmp_path: Path, server: Running) -> None:
    whole = ask(tmp_path, server, [query(1)], Sampling())[0][0][0]
    cut = ask(tmp_path, server, [query(1)], Sampling(stop=("####", "The result")))
    assert cut == [[(whole[: whole.index("The result")], False)]]
    server.set(rate=1.0, faults=["length"])
    half = ask(tmp_path, server, [query(2)], Sampling())
    assert half[0][0][1] is True
    assert ask(tmp_path, server, [query(2)], Sampling(stop=("Work",))) == [[("", False)]]  # it ended before the limit


class Plain:
    """The question between tags, which the scripted server looks for; all of the output is graded."""

    stop = ()

    def fingerprint(self) -> dict[str, str]:
        return {}

    def solve(self, question: str) -> str:
        return f"<question>\n{question}\n</question>"

    def read_answer(self, output: str, grading: str) -> str:
        return output


def test_bad_answers_are_accounted_for_in_the_attempt_stage(tmp_path: Path, server: Running) -> None:
    problems = [
        Problem.make(question=f"What is {number}?", answer="-1", solution="#### -1", source="test")
        for number in range(6)
    ]
    verdicts: dict[str, list[str]] = {}
    for problem, fault in zip(problems, ("", "length", "refusal", "empty", "filtered", "500"), strict=True):
        server.set(rate=1.0 if fault else 0.0, faults=[fault or "500"])
        asked = engine(tmp_path, server)
        scratch = tmp_path / f"scratch-{fault}"
        scratch.mkdir()
        output = attempt(
            [problem],
            asked,
            Plain(),
            Sampling(),
            style="gsm8k",
            scratch=scratch,
        )
        asked.close()
        if fault in ("refusal", "empty", "filtered"):  # a number in a refusal must not become a wrong answer
            assert [item.output for item in output.records] == [""]
        verdicts[fault] = [str(item.verdict) for item in output.records] or [item.reason for item in output.rejected]
    assert verdicts == {
        "": [Verdict.WRONG],
        "length": [Verdict.TRUNCATED],
        "refusal": [Verdict.NO_ANSWER],
        "empty": [Verdict.NO_ANSWER],
        "filtered": [Verdict.NO_ANSWER],
        "500": ["no_attempt"],
    }


def test_some_samples_may_fail_alone(tmp_path: Path, server: Running) -> None:
    server.set(rate=0.5, faults=["500"])
    found = ask(tmp_path, server, [query(number) for number in range(12)], WARM)
    lengths = [len(completions) for completions in found]
    assert 0 < sum(lengths) < 36
    server.set(rate=0.0)
    asks = server.get("stats")["answered"]
    assert [len(completions) for completions in ask(tmp_path, server, [query(n) for n in range(12)], WARM)] == [3] * 12
    assert server.get("stats")["answered"] - asks == 36 - sum(lengths)  # only what had failed


def test_nothing_is_opened_before_the_first_completion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    asked = ApiEngine(
        ApiSettings(model="m", api_key_env="NO_SUCH_KEY"), store=tmp_path / "s.sqlite", run_folder=tmp_path / "run"
    )
    assert asked.fingerprint() == {"engine": "api", "model": "m"}
    assert list(tmp_path.iterdir()) == []
    asked.close()
    with pytest.raises(UserError, match="NO_SUCH_KEY is not set"):
        asked.complete([query(1)], Sampling())


def test_top_p_is_refused(tmp_path: Path) -> None:
    asked = ApiEngine(ApiSettings(model="m"), store=tmp_path / "s.sqlite", run_folder=tmp_path / "run")
    with pytest.raises(ValueError, match=r"top_p=0\.9: an API engine samples with top_p 1"):
        asked.complete([query(1)], Sampling(temperature=0.7, top_p=0.9))
