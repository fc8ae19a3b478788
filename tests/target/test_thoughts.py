"""Prompts and responses of templates and checks: what is trained is what is asked and read later."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sei.records import Template, Trace
from sei.target.thoughts import ALL_RIGHT, Check, Thoughts
from sei.templates import STYLES, Malformed, make_trace, one_line

PLAIN = Thoughts("plain")
TRACE = make_trace(
    "mistake-1", "teacher", 2, "Step 2 adds where it should subtract.", "Left: 12-2=<<12-2=10>>10\nSo 10.", "10"
)
RESPONSE = (
    "Step 2.\n<Cause>Step 2 adds where it should subtract.</Cause>\n<Correction>\n"
    "Step 2: Left: 12-2=<<12-2=10>>10\nStep 3: So 10.\n</Correction>\n<Answer>10</Answer>"
)
TEXT = st.one_of(
    st.text(max_size=12), st.sampled_from(("</Cause>", "<Answer>", "Step 2:", "a<b", "<\\Correction>", "<Step1>"))
)
LINE = st.lists(TEXT, min_size=1, max_size=3).map(lambda parts: one_line("".join(parts))).filter(bool)


def fields(trace: Trace) -> Check:
    return Check(trace.step, trace.cause, trace.correction, trace.answer)


def test_a_check_response_is_read_back() -> None:
    assert PLAIN.check_response(TRACE) == RESPONSE
    assert PLAIN.read_check(RESPONSE) == fields(TRACE)
    right = make_trace("mistake-1", "student", 0, "", "", "")
    assert PLAIN.check_response(right) == ALL_RIGHT
    assert PLAIN.read_check(f" {ALL_RIGHT}\n") == Check(0)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(1, 20), LINE, st.lists(LINE, min_size=1, max_size=3), LINE)
def test_every_trace_is_read_back(step: int, cause: str, steps: list[str], answer: str) -> None:
    trace = make_trace("mistake-1", "teacher", step, cause, "\n".join(steps), answer)
    assert PLAIN.read_check(PLAIN.check_response(trace)) == fields(trace)


def test_the_thought_of_preference_training_is_a_part_of_the_check() -> None:
    """After `Step k.`, which is given, the chosen text is the whole rest of the check."""
    assert PLAIN.named(2) + PLAIN.thought(TRACE) == RESPONSE


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("Step 2.\n<", "<", "no_step_named"),
        ("Step 2.\n<", "Step 0.\n<", "no_step_named"),
        ("</Cause>", "", "unclosed_tag"),
        ("</Answer>", "", "unclosed_tag"),
        ("<Answer>10</Answer>", "", "no_answer"),
        ("<Answer>10</Answer>", "<Answer>10</Answer><Answer>11</Answer>", "two_answers"),
        ("<Answer>10</Answer>", "<Answer> </Answer>", "empty_part"),
        ("<Answer>", "so <Answer>", "text_outside_tags"),
        ("<Answer>10</Answer>", "<Answer>10</Answer> Done.", "text_outside_tags"),
        ("Step 3:", "Step 4:", "step_number"),
        ("Step 2: Left", "Left", "step_number"),
        ("Step 3: So 10.", "Step 3:", "empty_part"),
        ("<Cause>Step 2 adds where it should subtract.</Cause>\n", "", "misplaced_tag"),
        ("<Answer>10</Answer>", "</Answer>", "misplaced_tag"),
    ],
)
def test_malformed_checks_give_their_reason(old: str, new: str, reason: str) -> None:
    assert old in RESPONSE
    found = PLAIN.read_check(RESPONSE.replace(old, new))
    assert isinstance(found, Malformed)
    assert found.reason == reason


@pytest.mark.parametrize("style", ["plain", "alpaca"])
def test_prompts_hold_what_they_are_given(style: Literal["plain", "alpaca"]) -> None:
    for template_style in STYLES:
        thoughts = Thoughts(style, template_style)
        assert "How many?" in thoughts.solve("How many?")
        assert set(thoughts.fingerprint()["prompts"]) == {f"template_{template_style}", "check", "reflect"}
        assert thoughts.reflect("How many?", ["a", "b"]).endswith(thoughts.solve("How many?"))
        for prompt in (thoughts.check("How many?", ["a", "b"]), thoughts.reflect("How many?", ["a", "b"])):
            assert "How many?" in prompt
            assert "Step 1: a\nStep 2: b\n" in prompt
    assert len({Thoughts(style, one).solve("q") for one in STYLES}) == (5 if style == "alpaca" else 2)


def test_what_a_target_goes_on_with_is_no_part_of_its_template_or_check() -> None:
    xml = "<Step1>2+3=5</Step1>\n<Generalized>g</Generalized>\n<Answer>5</Answer>"
    check = "Step 2.\n<Cause>c</Cause>\n<Correction>\nStep 2: 2+3=5\n</Correction>\n<Answer>5</Answer>"
    for before, after in (("", "\n\nQuestion: And then?\n<Answer>7</Answer>"), ("<think>7?</think>\n", "<end>")):
        ran_on = before + xml + after
        assert PLAIN.solution(ran_on) == "2+3=5\n#### 5"
        assert (PLAIN.template(ran_on), PLAIN.steps(ran_on)) == (PLAIN.template(xml), ["2+3=5"])
        assert PLAIN.read_answer(ran_on) == PLAIN.read_answer(xml) != ""
        assert PLAIN.read_check(before + check + after) == PLAIN.read_check(check)
    assert PLAIN.read_check(check).step == 2


def test_outputs_become_solutions_for_teachers() -> None:
    xml = "<Step1>2+3=5<Key>k</Key></Step1>\n<Step2>5-1=4</Step2>\n<Generalized>g</Generalized>\n<Answer>4</Answer>"
    assert PLAIN.solution(xml) == "2+3=5\n5-1=4\n#### 4"
    assert PLAIN.solution(PLAIN.solution(xml)) == PLAIN.solution(xml)
    assert PLAIN.solution(xml.replace("<Answer>4</Answer>", "")) == "2+3=5\n5-1=4"
    assert Thoughts("plain", "cot").solution("2+3=5\n#### 5") == "2+3=5\n#### 5"
    assert PLAIN.solve_response(Template("t", "p", xml + "\n", "4")) == xml
