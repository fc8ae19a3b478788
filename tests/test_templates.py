"""Thought templates: every style round-trips, malformed text gives its reason, answers are read from their part alone."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sei.answers import grade
from sei.records import Verdict
from sei.templates import (
    STYLES,
    WITH_GENERALIZED,
    Malformed,
    Step,
    TemplateStyle,
    ThoughtTemplate,
    answer_line,
    answer_of,
    make_trace,
    one_line,
    parse,
    shield,
    steps_of,
    unshield,
    write,
)

TEMPLATE = ThoughtTemplate((Step("12 pens cost <<12*3=36>>36.", "Times."), Step("36 < 40 & so on.")), "Multiply.", "36")
XML = write(TEMPLATE)
HOSTILE = (
    "<Step1>", "</Step1>", "<Key>", "</Key>", "<\\Key>", "<Answer>", "</Answer>", "<Generalized>", "<<3*4=12>>", "a<b & c>d",
    "&lt;", "#### 5", "\\#### 5", "Step 1: x", "Step 2:", "Key: a", "A: 3", "\\Answer: 1", "Generalized:", "\\frac{1}{2}",
)  # fmt: skip
LINES = (
    st.lists(st.one_of(st.text(max_size=10), st.sampled_from(HOSTILE)), min_size=1, max_size=4)
    .map(lambda pieces: one_line("".join(pieces)))
    .filter(bool)
)
TEMPLATES = st.builds(
    ThoughtTemplate,
    st.lists(st.builds(Step, LINES, st.none() | LINES), min_size=1, max_size=4).map(tuple),
    LINES,
    LINES,
)


@settings(max_examples=300, deadline=None, derandomize=True)
@given(TEMPLATES, st.sampled_from(STYLES))
def test_every_style_reads_what_it_writes(template: ThoughtTemplate, style: TemplateStyle) -> None:
    text = write(template, style)
    assert parse(text, style) == template.in_style(style)
    assert answer_of(text, style) == template.answer
    assert steps_of(text, style) == [step.text for step in template.steps]


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.lists(st.one_of(st.text(max_size=6), st.sampled_from(HOSTILE))).map("".join), st.sampled_from(STYLES))
def test_any_text_is_a_template_or_has_a_reason(text: str, style: TemplateStyle) -> None:
    found = parse(text, style)
    if isinstance(found, ThoughtTemplate):
        assert found.in_style(style) == found
    else:
        assert found.reason
        assert found.detail
    assert unshield(shield(text)) == text


def test_the_styles_differ_in_one_thing_each() -> None:
    assert write(TEMPLATE, "cot") == "12 pens cost <<12*3=36>>36.\n36 < 40 & so on.\n#### 36"
    assert write(TEMPLATE, "hierarchical") == "12 pens cost <<12*3=36>>36.\n  Times.\n36 < 40 & so on.\n#### 36"
    general = "12 pens cost <<12*3=36>>36.\n  Times.\n36 < 40 & so on.\n\nMultiply.\n#### 36"
    assert write(TEMPLATE, "hierarchical_generalized") == general
    labels = (
        "Step 1: 12 pens cost <<12*3=36>>36.\nKey: Times.\nStep 2: 36 < 40 & so on.\nGeneralized: Multiply.\nAnswer: 36"
    )
    assert write(TEMPLATE, "not_xml") == labels
    assert XML == (
        "<Step1>12 pens cost <<12*3=36>>36.<Key>Times.</Key></Step1>\n<Step2>36 < 40 & so on.</Step2>\n"
        "<Generalized>Multiply.</Generalized>\n<Answer>36</Answer>"
    )


@pytest.mark.parametrize("style", WITH_GENERALIZED)
def test_what_a_style_shows_must_be_there(style: TemplateStyle) -> None:
    with pytest.raises(ValueError, match="generalized"):
        write(TEMPLATE.in_style("cot"), style)


@pytest.mark.parametrize(
    "made", [lambda: Step("two\nlines"), lambda: Step("x", " "), lambda: ThoughtTemplate((), "g", "1")]
)
def test_parts_are_single_lines(made: object) -> None:
    with pytest.raises(ValueError, match=r"one line|at least one"):
        made()  # type: ignore[operator]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("<Step2>", "<Step3>", "unclosed_tag"),  # closed as </Step2>
        ("Step2>", "Step3>", "step_number"),
        ("Step2>", "Step1>", "step_number"),
        ("</Step1>", "", "nested_steps"),
        ("</Key>", "", "unclosed_tag"),
        ("</Answer>", "", "unclosed_tag"),
        ("</Generalized>", "", "unclosed_tag"),
        ("<Answer>36</Answer>", "<Answer>36</Answer><Answer>40</Answer>", "two_answers"),
        ("<Answer>36</Answer>", "<Answer>36</Answer> Done.", "text_outside_tags"),
        ("<Step2>", "so <Step2>", "text_outside_tags"),
        ("36 < 40 & so on.", " ", "empty_part"),
        ("Times.", "", "empty_part"),
        ("<Answer>36</Answer>", "<Answer></Answer>", "empty_part"),
        ("<Key>Times.</Key>", "<Key>Times.</Key><Key>Again.</Key>", "two_keys"),
        ("<Generalized>Multiply.</Generalized>", "", "no_generalized"),
        ("<Generalized>", "<Generalized>A.</Generalized><Generalized>", "two_generalized"),
        ("<Answer>36</Answer>", "", "no_answer"),
        ("<Answer>36</Answer>", "<Key>36</Key>", "misplaced_tag"),
        ("<Answer>36</Answer>", "</Answer>", "misplaced_tag"),
        ("<Answer>36</Answer>", "<Step3>x</Step3><Answer>36</Answer>", "misplaced_tag"),
        ("<Answer>36</Answer>", "<Cause>36</Cause>", "misplaced_tag"),
        (XML, "", "no_steps"),
    ],
)
def test_malformed_tags_give_their_reason(old: str, new: str, reason: str) -> None:
    assert old in XML
    found = parse(XML.replace(old, new))
    assert isinstance(found, Malformed)
    assert found.reason == reason


@pytest.mark.parametrize(
    ("style", "text", "reason"),
    [
        ("cot", "#### 5", "no_steps"),
        ("cot", "2+3=5", "no_answer"),
        ("cot", "2+3=5\n#### 5\n#### 6", "two_answers"),
        ("cot", "2+3=5\n#### 5\nDone.", "misplaced_tag"),
        ("cot", "2+3=5\n\n#### 5", "empty_part"),
        ("hierarchical", "  Key first.\n2+3=5\n#### 5", "misplaced_tag"),
        ("hierarchical_generalized", "2+3=5\n#### 5", "no_generalized"),
        ("hierarchical_generalized", "2+3=5\n\nAdd.\nAgain.\n#### 5", "two_generalized"),
        ("not_xml", "Step 1: 2+3=5\nStep 3: x\nGeneralized: Add.\nAnswer: 5", "step_number"),
        ("not_xml", "Step 1: 2+3=5\nand on\nGeneralized: Add.\nAnswer: 5", "text_outside_tags"),
        ("not_xml", "Step 1:\nGeneralized: Add.\nAnswer: 5", "empty_part"),
    ],
)
def test_malformed_lines_give_their_reason(style: TemplateStyle, text: str, reason: str) -> None:
    found = parse(text, style)
    assert isinstance(found, Malformed)
    assert found.reason == reason


def test_a_key_may_stand_anywhere_in_its_step() -> None:
    found = parse("<Step1>First\n <Key>Care</Key> then.</Step1><Generalized>g</Generalized><Answer>5</Answer>")
    assert found == ThoughtTemplate((Step("First then.", "Care"),), "g", "5")


@pytest.mark.parametrize(
    ("text", "truncated", "verdict"),
    [
        (XML, False, Verdict.CORRECT),
        (XML.replace("<Step2>", ""), False, Verdict.CORRECT),  # malformed, but its answer is plain
        (XML.replace("<Answer>36", "<Answer>3"), False, Verdict.WRONG),
        (XML + "\n<Step3>36", True, Verdict.CORRECT),  # it ran on after its answer
        (XML.replace("</Answer>", ""), True, Verdict.TRUNCATED),
        (XML.replace("</Answer>", ""), False, Verdict.NO_ANSWER),
        (XML.replace("<Answer>36</Answer>", ""), False, Verdict.NO_ANSWER),  # 36 stands in a step, and does not count
        (XML + "<Answer>36</Answer>", False, Verdict.NO_ANSWER),
        (XML.replace("<Answer>36</Answer>", "<Answer> </Answer>"), False, Verdict.NO_ANSWER),
    ],
)
def test_templates_are_graded_from_their_answer(text: str, truncated: bool, verdict: Verdict) -> None:
    assert grade(answer_line(text), "36", truncated=truncated) is verdict


def test_answers_of_other_styles_and_gradings() -> None:
    labels = write(TEMPLATE, "not_xml")
    assert grade(answer_line(labels, "not_xml"), "36") is Verdict.CORRECT
    assert grade(answer_line(labels, "not_xml"), "36", truncated=True) is Verdict.TRUNCATED  # may go on: 360
    assert grade(answer_line(labels + "\nQ", "not_xml"), "36", truncated=True) is Verdict.CORRECT
    assert answer_of("2+3=5\nno mark", "cot") is None
    formula = XML.replace("<Answer>36<", "<Answer>\\frac{1}{2}<")
    assert grade(answer_line(formula, grading="math"), "0.5", "math") is Verdict.CORRECT
    assert (
        grade(answer_line(formula.replace("\\frac{1}{2}", "\\boxed{0.5}"), grading="math"), "0.5", "math")
        is Verdict.CORRECT
    )
    assert (
        grade(answer_line(XML.replace("<Answer>36<", "<Answer>B<"), grading="choice"), "(B)", "choice")
        is Verdict.CORRECT
    )


def test_steps_are_read_from_malformed_outputs_too() -> None:
    assert steps_of("x <Step1>2+3=5<Key>k</Key></Step1> y <Step2>5-1=4<Key>open</Step2><Step3>cut") == [
        "2+3=5",
        "5-1=4",
    ]
    assert steps_of("no steps at all") == []


def test_reading_takes_linear_time() -> None:
    """Hostile text of 400,000 characters: quadratic reading would take hours."""
    for piece in ("<Step1>", "<Answer>", "<Step1><Key>", "</Step1>", "<\\\\\\\\\\"):
        text = piece * (400_000 // len(piece))
        assert isinstance(parse(text), Malformed)
        answer_of(text)
        steps_of(text)
        shield(text)


def test_a_trace_is_normalized() -> None:
    trace = make_trace("mistake-1", "teacher", 2, " a\n cause ", "3*4=12 \n\n 12-2=10", "10")
    assert (trace.cause, trace.correction) == ("a cause", "3*4=12\n12-2=10")
    assert trace.id == make_trace("mistake-1", "teacher", 2, "a cause", "3*4=12\n12-2=10", "10").id
