"""Raw text to checked reply: fences, prose, LaTeX in JSON, and complaints fit to show to a teacher."""

from __future__ import annotations

import contextlib
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from sei.teacher.api.replies import ProblemsReply, TypeNameReply
from sei.teacher.api.structured import ParseError, after_reasoning, parse, parse_list, schema_text


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
        '{"first": 1} {"step": 2}',
    ],
)
def test_the_first_object_is_found_whatever_stands_around_it(text: str) -> None:
    assert parse(text, Reply).step == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("I think step 2 is wrong.", "malformed"),
        ('{"step": 2, "title": "cut o', "malformed"),
        ('{"title": "sets {} and', "malformed"),
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
    "text",
    [
        '<think>{"step": 1}? no.</think>{"step": 2}',
        '{"step": 1}</think>\n{"step": 2}',
        '<thinking>{"step": 1}</thinking>```json\n{"step": 2}\n```',
        '<think>a</think>{"step": 1}<think>b</think>{"step": 2}',
        '[THINK]{"step": 1}[/THINK]{"step": 2}',
        '◁think▷{"step": 1}◁/think▷{"step": 2}',
        '<|channel|>analysis<|message|>{"step": 1}<|end|><|start|>assistant<|channel|>final<|message|>{"step": 2}',
        '<seed:think>{"step": 1}</seed:think>{"step": 2}',
        '<REASONING>{"step": 1}</REASONING>{"step": 2}',
        '{"step": 2, "title": "she writes </think> in her answer"}',
        '<think>{"step": 1}</think>{"step": 2} (the mark </think> ends the reasoning)',
    ],
)
def test_the_object_after_the_reasoning_counts(text: str) -> None:
    assert parse(text, Reply).step == 2


def test_reasoning_without_an_end_is_no_answer() -> None:
    assert after_reasoning('<think>{"step": 1}') == ""
    assert after_reasoning("<think>hm</think>\nfour") == "\nfour"
    with pytest.raises(ParseError, match="no JSON object"):
        parse('<think>{"step": 1}', Reply)


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "reply", "arguments": {"step": 2}}',
        '<tool_call>{"name": "reply", "arguments": "{\\"step\\": 2}"}</tool_call>',
        '[{"step": 2}]',
        '{"reply": {"step": 2}}',
        '{"note": 1} {"step": 2}',
        '{"step": 2,}',
        '{x} {"step": 2}',
    ],
)
def test_an_object_in_another_wrapping_is_found(text: str) -> None:
    assert parse(text, Reply).step == 2


ITEMS = [{"step": 1, "title": "a"}, {"step": 2, "title": 'b [c] {d} "e"'}, {"step": 3, "title": "f"}]


@pytest.mark.parametrize(
    "shape",
    [
        '{{"items": [{0}, {1}, {2}]}}',
        "[{0}, {1}, {2}]",
        "Here:\n```json\n[{0}, {1}, {2}]\n```\nDone.",
        "{0}\n{1}\n{2}",
        "1. {0}\n2. {1}\n3. {2}",
        '{{"items": [{0}, {1}, {2},]}}',
        '{{"items": [{0} {1} {2}]}}',
        '{{"questions": [{0}, {1}, {2}]}}',
        '{{"data": {{"items": [{0}, {1}, {2}]}}}}',
        '{{"items": [{0}]}}\n{{"items": [{1}, {2}]}}',
        '{{"items": [{0}, {1}, {2}, {{"step": 4, "ti',
        '{{"items": [{0}, {1}, {2}, {{"step": ',
        "[{0}, {1}, {2}, ",
        "{0}\n{1}\n{2}\n{{",
        '{{"items": [{0}, {1}, {{"step" 9}}, {2}]}}',
        '{{"items": [{0}, {1}, {{"step": oops}}, {2}]}}',
        '<think>{{"items": []}}</think>{{"items": [{0}, {1}, {2}]}}',
        '{{"title": "reply", "arguments": {{"items": [{0}, {1}, {2}]}}}}',
    ],
)
def test_the_whole_items_of_a_list_of_any_shape_are_kept(shape: str) -> None:
    assert parse_list(shape.format(*map(json.dumps, ITEMS)), "items", Reply) == ITEMS


def test_a_list_is_found_in_arguments_that_are_text() -> None:
    arguments = json.dumps({"items": ITEMS})
    assert parse_list(json.dumps({"title": "reply", "arguments": arguments}), "items", Reply) == ITEMS
    assert parse_list(json.dumps({"items": json.dumps(ITEMS)}), "items", Reply) == ITEMS


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("nothing", "malformed"),
        ('{"items": [{"step": 1, "ti', "malformed"),
        ('{"items": "many"}', "wrong_schema"),
        ('{"other": 1}', "wrong_schema"),
        ("[1, 2, 3]", "malformed"),
        ("x" * 500_000, "malformed"),
    ],
)
def test_what_is_no_list_says_why(text: str, fault: str) -> None:
    with pytest.raises(ParseError) as caught:
        parse_list(text, "items", Reply)
    assert caught.value.fault == fault


def test_an_empty_list_is_a_list() -> None:
    assert parse_list('{"items": []}', "items", Reply) == []


HOSTILE = {
    "braces": "{", "objects": '{"a":{', "brackets": "[", "quotes": '"', "starts": '{"{"', "items": '[{"a":1},', "empty": "{}",
    "nested": '{"a":', "backslashes": '{"a": "\\', "commands": '{"a": "$\\nu \\nu ',
    "ends": "</think>", "spaces": "{ ", "lists": "[ [ ",
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_no_text_takes_more_than_linear_time(name: str) -> None:
    """Ten times the text takes about ten times as long, and the longest that is read stays under a second's work."""

    def seconds(size: int) -> float:
        text = (HOSTILE[name] * size)[:size]
        started = time.process_time()
        for read in (lambda: parse(text, Reply), lambda: parse_list(text, "items", Reply)):
            with contextlib.suppress(ParseError):
                read()
        return time.process_time() - started

    assert seconds(1_000_000) < 0.5  # refused for its length, as soon as its length is known
    assert seconds(390_000) < max(0.3, 30 * seconds(39_000))


@pytest.mark.parametrize(
    "text", ['{"step": ' + "9" * 5000 + "}", '{"step": NaN}', '{"step": 1e999}', '{"step": ' + "[" * 10_000]
)
def test_numbers_and_depths_beyond_measure_are_refused(text: str) -> None:
    with pytest.raises(ParseError):
        parse(text, Reply)


def test_half_a_surrogate_pair_is_replaced() -> None:
    assert parse('{"step": 1, "title": "\\ud83d x \\ud83d\\ude00"}', Reply).title == "\ufffd x \U0001f600"


@given(st.text())
def test_json_that_a_program_wrote_is_read_back_unless_it_holds_control_characters(text: str) -> None:
    """json.dumps escapes a backslash as two, so mending must leave it alone; \\b and \\f alone are never meant."""
    text = "".join(" " if letter < " " else letter for letter in text)
    if "begin{" not in text:  # rows without a row break are the one thing that is taken for careless
        assert parse(json.dumps({"step": 1, "title": text}), Reply).title == text


def test_the_schema_is_strict_and_keeps_a_field_named_title() -> None:
    schema = json.loads(schema_text(Reply))
    assert schema["required"] == ["step", "title"]
    assert schema["additionalProperties"] is False
    assert schema["properties"]["title"] == {"type": "string"}


def test_the_teacher_is_not_shown_our_docstrings() -> None:
    schema = json.loads(schema_text(ProblemsReply))
    assert "description" not in schema
    assert json.loads(schema_text(TypeNameReply))["properties"]["description"] == {"type": "string"}, "a field of it"
