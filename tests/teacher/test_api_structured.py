"""Raw text to checked reply: fences, prose, LaTeX in JSON, and complaints fit to show to a teacher."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sei.teacher.api.replies import ProblemsReply, TypeNameReply
from sei.teacher.api.structured import ParseError, find_object, mend_latex, parse, schema_text


class Reply(BaseModel):
    step: int
    title: str = ""


@pytest.mark.parametrize(
    "text",
    [
        '{"step": 2}',
        '```json\n{"step": 2}\n```',
        'Sure! With $\\frac{1}{2}$ in mind:\n{"step": 2}\nHope that helps.',
        '{"step": 2} {"step": 3}',
    ],
)
def test_the_first_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert parse(text, Reply).step == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I think step 2 is wrong.", "malformed"),
        ('{"step": 2, "title": "cut o', "malformed"),
        ('{"problems": [{"step": 1}, {"step"', "malformed"),  # an inner object is not the reply
        ('{"wrong": 2}', "wrong_schema"),
        ('{"step": "two"}', "wrong_schema"),
    ],
)
def test_what_is_no_reply_says_why(text: str, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse(text, Reply)
    assert caught.value.fault == fault


def test_a_complaint_names_the_field() -> None:
    with pytest.raises(ParseError, match="step: "):
        parse('{"step": "two"}', Reply)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (r'{"a": "$\frac{1}{2}$"}', r"$\frac{1}{2}$"),  # a strict parser reads a form feed
        (r'{"a": "$\sqrt{2} \times \beta$"}', r"$\sqrt{2} \times \beta$"),
        (r'{"a": "$\\frac{1}{2}$"}', r"$\frac{1}{2}$"),  # already right
        (r'{"a": "one\nThen two\tthree"}', "one\nThen two\tthree"),
        (r'{"a": "say \"x\" \u00e9"}', 'say "x" é'),
        (r'{"a": "\underline{x}"}', r"\underline{x}"),
        (r'{"a": "row \\\\ next"}', r"row \\ next"),
        (r'{"a": "so\nu = 3"}', "so\nu = 3"),
    ],
)
def test_latex_survives_json(written: str, meant: str) -> None:
    assert find_object(written) == {"a": meant}


@given(st.text())
def test_json_that_a_program_wrote_is_read_back_unless_it_holds_control_characters(text: str) -> None:
    """json.dumps escapes a backslash as two, so mending must leave it alone; \\b and \\f alone are never meant."""
    text = text.replace("\b", "").replace("\f", "").replace("\n", " ").replace("\r", " ").replace("\t", " ")
    assert json.loads(mend_latex(json.dumps({"a": text}))) == {"a": text}


def test_the_schema_is_strict_and_keeps_a_field_named_title() -> None:
    schema = json.loads(schema_text(Reply))
    assert schema["required"] == ["step", "title"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["title"] == {"type": "string"}


def test_the_teacher_is_not_shown_our_docstrings() -> None:
    schema = json.loads(schema_text(ProblemsReply))
    assert "description" not in schema
    assert json.loads(schema_text(TypeNameReply))["properties"]["description"] == {"type": "string"}, "a field of it"
