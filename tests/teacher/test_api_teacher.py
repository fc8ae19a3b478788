"""The teacher's own business: repairs, further roles, the dry run's estimate, and the ledger of a run."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sei.errors import UserError
from sei.ledger import Fixed, Ledger, Sum, notes, read_ledger
from sei.llm.account import run_name
from sei.llm.prices import Price, estimate_tokens
from sei.llm.settings import ApiSettings
from sei.llm.store import Store
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected, Trace
from sei.teacher.api.estimate import estimate
from sei.teacher.api.limits import LIMITS, limits_with
from sei.teacher.api.replies import TypeName
from sei.teacher.api.roles import Roles
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Draft, Place, Teacher
from sei.teacher.review import Author, Inspection, Inspector, Revision
from sei.templates import ThoughtTemplate
from tests.teacher.fault_server import Running
from tests.teacher.test_api_faults import mistakes, wishes

PRICE = Price(10.0, 100.0)


@pytest.fixture
def server() -> Iterator[Running]:
    with Running() as running:
        yield running


def opened(server: Running, folder: Path) -> ApiTeacher:
    settings = ApiSettings(model="m", base_urls=(server.url,), price=PRICE)
    return ApiTeacher(settings, Place("gsm8k", folder / "store.sqlite", folder / "run"))


def test_every_role_answers_in_order(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    as_protocol: Teacher = teacher
    problem = Problem.make(question="2+3?", answer="5", solution="2+3=5\n#### 5", source="demo")
    three = mistakes(3)
    diagnoses = as_protocol.diagnose(three)
    good = [diagnosis for diagnosis in diagnoses if isinstance(diagnosis, Diagnosis)]
    assert [diagnosis.mistake_id for diagnosis in good] == [mistake.id for mistake in three]
    corrections = as_protocol.correct(three, good)
    assert [type(item) for item in corrections] == [Correction] * 3
    solved = teacher.solve(["1?", "2?"], ["a", "b"], samples=3, temperature=0.7)
    assert [len(samples) for samples in solved] == [3, 3]
    assert all(isinstance(text, str) and "####" in text for samples in solved for text in samples)
    with pytest.raises(ValueError, match="temperature"):
        teacher.solve(["1?"], ["a"], samples=3)
    assert isinstance(teacher.evolve([problem], samples=3, style="gsm8k", rouge_threshold=0.7, seed=0)[0], Draft)
    names = teacher.name_types([["adds"], ["divides"]], ["type-1", "type-2"])
    assert [type(name) for name in names] == [TypeName] * 2
    as_author: Author = teacher
    as_inspector: Inspector = teacher
    (template,) = as_author.template([problem])
    assert isinstance(template, ThoughtTemplate)
    assert as_author.template([problem], [Revision(template, ("Faulty.",))]) == [template]
    (trace,) = as_author.trace(three[:1])
    assert isinstance(trace, Trace)
    assert (trace.author, trace.cause) == ("teacher", "A slip.")
    assert teacher.trace(three[:1], gold=False)[0].author == "student"
    assert as_inspector.inspect_templates([problem], [template]) == [Inspection(True, ())]
    assert as_inspector.inspect_traces(three[:1], [trace]) == [Inspection(True, ())]
    teacher.close()


def test_a_second_cluster_is_told_the_first_ones_name(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    first, _ = teacher.name_types([["adds"], ["divides"]], ["type-1", "type-2"])
    assert isinstance(first, TypeName)
    requests = [answer.request for _, answer in teacher.client.store.used(teacher.client.run)]
    assert sum(first.name in request for request in requests) == 1
    teacher.close()


@pytest.mark.parametrize("fault", ["truncated_json", "wrong_schema", "prose", "refusal", "empty", "length"])
def test_one_repair_call_with_the_complaint(tmp_path: Path, fault: str) -> None:
    with Running(rate=1.0, faults=[fault], repairs_fail=False) as server:
        teacher = opened(server, tmp_path)
        result = teacher.diagnose(mistakes(1))[0]
        assert isinstance(result, Diagnosis)
        assert server.get("stats")["asks"] == 2
        teacher.close()


@pytest.mark.parametrize(
    ("fault", "reason", "asks"),
    [
        ("truncated_json", "malformed", 2),
        ("wrong_schema", "wrong_schema", 2),
        ("prose", "malformed", 2),
        ("refusal", "refused", 2),
        ("empty", "empty", 2),
        ("length", "truncated", 2),
        ("filtered", "filtered", 1),
    ],
)
def test_what_cannot_be_repaired_is_told_apart(tmp_path: Path, fault: str, reason: str, asks: int) -> None:
    with Running(rate=1.0, faults=[fault]) as server:
        teacher = opened(server, tmp_path)
        result = teacher.diagnose(mistakes(1))[0]
        assert isinstance(result, Rejected)
        assert (result.source_id, result.reason) == ("mistake-0", reason)
        assert bool(result.raw) == (fault not in ("empty", "filtered"))
        assert server.get("stats")["asks"] == asks
        teacher.close()


def test_limits_reach_the_calls_the_fingerprint_and_the_estimate(tmp_path: Path) -> None:
    limits = {"diagnose": {"max_tokens": 77, "temperature": None, "mean_tokens_out": 5}}
    with Running(rate=1.0, faults=["length"]) as server:
        settings = ApiSettings(model="m", base_urls=(server.url,), price=PRICE)
        place = Place("gsm8k", tmp_path / "store.sqlite", tmp_path / "run")
        teacher = ApiTeacher(settings, place, limits)
        (result,) = teacher.diagnose(mistakes(1))
        requests = [json.loads(answer.request) for _, answer in teacher.client.store.used(teacher.client.run)]
        teacher.close()
    assert isinstance(result, Rejected)
    assert (
        result.detail == "cut off at 77 tokens and again at twice as many; teacher.limits.diagnose.max_tokens sets more"
    )
    assert sorted((asked["max_tokens"], asked["temperature"]) for asked in requests) == [(77, None), (154, None)]
    plain = ApiTeacher(ApiSettings(model="m"), place)
    assert (
        teacher.fingerprint() == ApiTeacher(ApiSettings(model="m"), place, limits).fingerprint() != plain.fingerprint()
    )
    only_the_guess = ApiTeacher(ApiSettings(model="m"), place, {"diagnose": {"mean_tokens_out": 5}})
    assert only_the_guess.fingerprint() == plain.fingerprint()
    changed = Roles("gsm8k", limits_with(limits))
    assert estimate([changed.diagnose(m) for m in mistakes(2)], settings, changed).tokens_out == 10


def test_closing_twice_closes_once(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    teacher.diagnose(mistakes(1))
    teacher.close()
    teacher.close()
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        teacher.diagnose(mistakes(1))


def test_fenced_json_needs_no_repair(tmp_path: Path) -> None:
    with Running(rate=1.0, faults=["fenced"]) as server:
        teacher = opened(server, tmp_path)
        assert isinstance(teacher.diagnose(mistakes(1))[0], Diagnosis)
        assert server.get("stats")["asks"] == 1
        teacher.close()


def test_the_fingerprint_moves_with_prompts_and_limits_only(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    fingerprint = teacher.fingerprint()
    assert json.loads(json.dumps(fingerprint)) == fingerprint
    assert "teacher/diagnose" in fingerprint["prompts"]
    assert server.url not in json.dumps(fingerprint)
    teacher.close()


def test_the_estimate_counts_filled_prompts_and_takes_what_is_stored(server: Running, tmp_path: Path) -> None:
    settings = ApiSettings(model="m", base_urls=(server.url,), price=PRICE)
    roles = Roles("gsm8k")
    jobs = [roles.diagnose(mistake) for mistake in mistakes(10)]
    before = estimate(jobs, settings, roles, calls=100)
    by_hand_in = sum(estimate_tokens(job.request.text) for job in jobs) * 10
    by_hand_out = 100 * LIMITS["diagnose"].mean_tokens_out
    assert (before.calls, before.tokens_in, before.tokens_out) == (100, by_hand_in, by_hand_out)
    assert before.usd == pytest.approx((by_hand_in * 10 + by_hand_out * 100) / 1e6)
    assert before.basis == "configured mean"

    teacher = opened(server, tmp_path)
    teacher.diagnose(mistakes(4))
    rows = [answer for _, answer in teacher.client.store.used(teacher.client.run)]
    after = estimate(jobs, settings, roles, store=teacher.client.store)
    assert (after.calls, after.stored, after.basis) == (10, 4, "mean of 4 stored answers")
    assert after.tokens_out == round(6 * sum(row.tokens_out for row in rows) / 4)
    ratio = sum(row.tokens_in for row in rows) / sum(row.characters for row in rows)
    assert after.tokens_in == pytest.approx(6 * ratio * sum(len(job.request.text) for job in jobs) / 10, rel=1e-3)
    teacher.close()


def test_an_estimate_needs_no_key_and_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    roles = Roles("gsm8k")
    jobs = [roles.diagnose(mistake) for mistake in mistakes(2)]
    assert estimate(jobs, ApiSettings(model="gpt-4o"), roles).usd is not None
    assert estimate(jobs, ApiSettings(model="unknown"), roles).usd is None


def test_a_run_keeps_its_name_over_restarts(tmp_path: Path) -> None:
    name = run_name(tmp_path / "run", tmp_path / "s.sqlite")
    assert run_name(tmp_path / "run", tmp_path / "s.sqlite") == name
    assert run_name(tmp_path / "other" / "run", tmp_path / "s.sqlite") != name


def test_the_ledger_sums_by_hand(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    teacher.diagnose(mistakes(3))
    teacher.synthesize(wishes(2))
    rows = list(teacher.client.store.used(teacher.client.run))
    teacher.close()
    results = {
        "error_types": [{"id": "type-0", "name": "Adds", "mined": [3]}],
        "eval": {
            "test": {
                "before": {"n": 10, "correct": 4},
                "after": {"n": 10, "correct": 6},
                "error_types": {"type-0": {"name": "Adds", "before": 5, "after": 4}},
            }
        },
    }
    (tmp_path / "run" / "results.json").write_text(json.dumps(results))
    ledger = read_ledger(tmp_path / "run")
    cost = {
        stage: sum(answer.cost_usd for use, answer in rows if use.stage == stage)
        for stage in ("diagnose", "synthesize")
    }
    assert ledger.stages["diagnose"].used_usd == pytest.approx(cost["diagnose"])
    assert (ledger.stages["diagnose"].calls, ledger.stages["synthesize"].calls) == (3, 2)
    assert ledger.total.used_usd == pytest.approx(sum(cost.values()))
    assert ledger.total.paid_usd == ledger.total.used_usd
    assert set(ledger.error_types) == {"type-0", "type-1"}
    assert ledger.fixed is not None
    assert ledger.fixed.usd_per_mistake == pytest.approx(ledger.total.used_usd / 2)
    assert ledger.fixed_by_type["type-0"].usd_per_mistake == pytest.approx(ledger.error_types["type-0"].used_usd)

    second = ApiTeacher(
        ApiSettings(model="m", base_urls=(server.url,), price=PRICE),
        Place("gsm8k", tmp_path / "store.sqlite", tmp_path / "second"),
    )
    second.diagnose(mistakes(4))
    second.close()
    again = read_ledger(tmp_path / "second")
    assert again.total.calls == 4
    assert 0 < again.total.paid_usd < again.total.used_usd  # three of four were there already


def test_the_ledger_command(server: Running, tmp_path: Path) -> None:
    teacher = opened(server, tmp_path)
    teacher.diagnose(mistakes(2))
    teacher.close()
    command = [sys.executable, "-m", "sei.ledger", str(tmp_path / "run")]
    table = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert "diagnose" in table.stdout
    assert json.loads(subprocess.run([*command, "--json"], capture_output=True, text=True, check=True).stdout)["stages"]
    with pytest.raises(UserError, match=r"holds no teacher\.json"):
        read_ledger(tmp_path)


def test_the_ledger_says_what_its_tables_do_not() -> None:
    def said(used: float, paid: float, fixed: Fixed | None) -> str:
        total = Sum(calls=2, tokens_in=10, tokens_out=5, used_usd=used, paid_usd=paid)
        return "\n".join(notes(Ledger("run", total, {}, {}, {}, fixed, {})))

    assert "Dollars are 0 because no price was known" in said(0.0, 0.0, None)
    assert "not yet, no evaluation after training" in said(0.0, 0.0, None)
    assert "this run paid $0.5000 of it, the rest lay in the store" in said(2.0, 0.5, None)
    assert "because no price" not in said(2.0, 2.0, None)
    assert "paid" not in said(2.0, 2.0, None)
    assert "9 -> 5. Dollars per mistake fixed: 2.0000 / 4 = 0.5000" in said(2.0, 2.0, Fixed(9, 5, 0.5))
    assert "5 -> 9, so none was fixed" in said(2.0, 2.0, Fixed(5, 9, None))


def test_a_store_that_is_gone_is_said(tmp_path: Path) -> None:
    Store(tmp_path / "s.sqlite").close()
    run_name(tmp_path / "run", tmp_path / "s.sqlite")
    (tmp_path / "s.sqlite").unlink()
    with pytest.raises(UserError, match="does not exist any more"):
        read_ledger(tmp_path / "run")


def test_mistakes_of_several_rounds_share_one_store(server: Running, tmp_path: Path) -> None:
    """An unchanged mistake in round two is answered from the store, whatever its record's id is."""
    teacher = opened(server, tmp_path)
    first = mistakes(1)[0]
    second = Mistake(**{**first.to_json(), "id": "mistake-other"})
    results = [*teacher.diagnose([first]), *teacher.diagnose([second])]
    assert server.get("stats")["asks"] == 1
    assert [result.mistake_id for result in results if isinstance(result, Diagnosis)] == ["mistake-0", "mistake-other"]
    teacher.close()
