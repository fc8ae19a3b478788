"""The options of `conf/teacher/`: each builds, says what is wrong with it before anything is spent, and opens cheaply."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter, ValidationError

from sei.errors import UserError
from sei.llm.store import Store
from sei.records import Diagnosis
from sei.teacher.api import Api
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Charged, Evolver, Place, Priced, Solver, TeacherChoice, can
from sei.teacher.review import Author, AuthorChoice, Inspector, NeedsHardSteps
from sei.teacher.symbolic import Symbolic, SymbolicTeacher
from tests.teacher.fault_server import Running
from tests.teacher.test_api_faults import mistakes

OPTIONS = sorted((Path(__file__).parents[2] / "conf" / "teacher").glob("*.yaml"))


def built(path: Path) -> TeacherChoice:
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    module, _, name = values.pop("_target_").rpartition(".")
    choice: TeacherChoice = TypeAdapter(getattr(importlib.import_module(module), name)).validate_python(values)
    return choice


def place(folder: Path) -> Place:
    return Place("gsm8k", folder / "store.sqlite", folder / "run")


@pytest.mark.parametrize("path", OPTIONS, ids=lambda path: path.stem)
def test_every_option_builds_and_opens_without_a_key_or_a_file(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    choice = built(path)
    assert choice.name == path.stem
    expected = ["teacher.model: name the model that the endpoint serves"] if path.stem == "local" else []
    assert choice.complaints() == expected
    teacher = choice.open(place(tmp_path))
    assert teacher.fingerprint()
    teacher.close()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"base_url": "http://me:secret@host/v1"}, "teacher.base_url holds a user name or password"),
        ({"api_key_env": "sk-secret-x"}, "teacher.api_key_env: give the NAME of an environment variable"),
        ({"model": None}, "teacher.model: name the model"),
        ({"price": {"input": 1}}, "teacher.price: give both input and output"),
        ({"budget_usd": 1}, "teacher.budget_usd=1: no price is known for model 'mine'"),
        ({"limits": {"judge": {}}}, "teacher.limits.judge={}: a role is one of solve, "),
        ({"limits": {"solve": {"max_tokens": 0}}}, "teacher.limits.solve.max_tokens=0: needs a whole number from 1"),
    ],
)
def test_what_is_wrong_is_said_and_no_secret_repeated(values: dict[str, Any], complaint: str) -> None:
    choice = TypeAdapter(Api).validate_python({"name": "mine", "model": "mine", **values})
    (said,) = choice.complaints()
    assert said.startswith(complaint)
    assert "secret" not in said


@pytest.mark.parametrize("values", [{"mode": "later"}, {"max_concurrency": 0}, {"limits": {"solve": 5}}])
def test_types_refuse_the_rest(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Api).validate_python({"name": "mine", "model": "mine", **values})


def test_settings_are_the_clients() -> None:
    choice = Api("mine", "m", ("http://a/v1", "http://b/v1"), budget_usd=2.0)
    assert (choice.settings.model, choice.settings.base_urls) == ("m", ("http://a/v1", "http://b/v1"))
    assert choice.settings.price is None
    own = TypeAdapter(Api).validate_python({"name": "n", "model": "m", "price": {"input": 1, "output": 2}})
    assert own.settings.price is not None
    assert own.settings.price.cost(1_000_000, 1_000_000) == 3.0


def test_the_key_is_checked_before_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(UserError, match="environment variable OPENAI_API_KEY is not set"):
        Api("gpt-4o", "gpt-4o").check()
    Api("local", "m", "http://127.0.0.1:8000/v1").check()
    Symbolic().check()


def test_what_a_choice_can_do_is_known_before_it_is_opened() -> None:
    symbolic, api = Symbolic(), Api("gpt-4o", "gpt-4o")
    everyone = (Author, Inspector, Evolver)
    assert all(can(choice, capability) for choice in (symbolic, api) for capability in everyone)
    assert [can(symbolic, capability) for capability in (Solver, Charged, NeedsHardSteps)] == [False, False, True]
    assert [can(api, capability) for capability in (Solver, Charged, NeedsHardSteps)] == [True, True, False]
    assert isinstance(api, Priced)
    assert not isinstance(symbolic, Priced)
    assert isinstance(api, AuthorChoice)
    assert isinstance(symbolic, AuthorChoice)


def test_a_price_is_told_without_asking() -> None:
    choice = Api("gpt-4o", "gpt-4o")
    jobs = [choice.roles("gsm8k").diagnose(mistake) for mistake in mistakes(2)]
    own, other = choice.estimate(jobs, "gsm8k", calls=10), choice.estimate(jobs, "gsm8k", calls=10, model="o1-preview")
    assert own.calls == other.calls == 10
    assert own.usd is not None
    assert other.usd is not None
    assert other.usd > own.usd > 0


def test_the_symbolic_teacher_is_told_which_steps_are_hard() -> None:
    plain = SymbolicTeacher()
    told = plain.with_hard_steps(frozenset({"subtract"}))
    assert (plain.hard, told.hard) == (frozenset(), {"subtract"})
    assert told.fingerprint() == SymbolicTeacher(["subtract"]).fingerprint() != plain.fingerprint()
    assert plain.hard_steps([], [], []) == frozenset()


def test_the_symbolic_teacher_inspects_itself_and_names_no_model() -> None:
    teacher = SymbolicTeacher()
    assert teacher.inspector(None) is teacher
    (said,) = Symbolic().inspector_complaints("o1-preview")
    assert said.startswith("recipe.templates.inspector_model=o1-preview: names a model at an API teacher's endpoint")
    with pytest.raises(UserError, match="inspects by executing"):
        teacher.inspector("o1-preview")


def test_another_model_inspects_at_the_same_endpoint_and_is_closed_with_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed: list[Store] = []
    close = Store.close
    monkeypatch.setattr(Store, "close", lambda store: (closed.append(store), close(store))[1])
    with Running() as server:
        teacher = Api("first", "one", server.url).open(place(tmp_path))
        second = teacher.inspector("two")
        assert teacher.inspector(None) is teacher
        assert teacher.inspector("two") is second
        assert (second.name, second.settings.base_urls) == ("two", (server.url,))
        assert second.fingerprint() != teacher.fingerprint()
        assert not (tmp_path / "store.sqlite").exists()
        assert isinstance(teacher.diagnose(mistakes(1))[0], Diagnosis)
        assert isinstance(second.diagnose(mistakes(1))[0], Diagnosis)
        assert server.get("stats")["asks"] == 2
        assert teacher.client.run == second.client.run, "both are charged to one run"
        teacher.close()
    assert closed == [second.client.store, teacher.client.store]


def test_a_budget_needs_a_price_of_the_inspector_too() -> None:
    assert Api("mine", "gpt-4o", budget_usd=1.0).inspector_complaints("o1-preview") == []
    (said,) = Api("mine", "gpt-4o", budget_usd=1.0).inspector_complaints("mine")
    assert "no price is known for model 'mine'" in said


def test_what_was_charged_is_told_by_role(tmp_path: Path) -> None:
    with Running() as server:
        teacher = ApiTeacher(Api("gpt-4o", "gpt-4o", server.url).settings, place(tmp_path))
        teacher.diagnose(mistakes(3))
        charged = teacher.charged()
        spent = teacher.client.store.spent(teacher.client.run)
        teacher.close()
    assert charged is not None
    assert set(charged) == {"diagnose"}
    assert charged["diagnose"] == pytest.approx(spent)
    assert ApiTeacher(Api("mine", "mine").settings, place(tmp_path)).charged() is None
