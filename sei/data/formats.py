"""The fields each published set really has, read into the fields of a `Problem`.

Place in the flow: `sei.data.sources` names one reader a set; `rows.to_problems` calls it for every row and adds path and
line to what it raises. A reader knows the hub's version and the original release where they differ.

Example::

    gsm8k({"question": "2 apples and 3 more?", "answer": "2+3=<<2+3=5>>5\\n#### 5"})["answer"]      # "5"
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from sei import answers
from sei.data.files import Fault, Row
from sei.data.rows import Skip, optional, text


def gsm8k(row: Row) -> dict[str, Any]:
    """question, answer; the answer field holds the solution, with the number behind the last `####`."""
    split = split_gsm8k(text(row, "answer"))
    if split is None:
        raise Fault("field 'answer' has no last line '#### n'")
    solution, answer = split
    return {"question": text(row, "question"), "answer": answer, "solution": solution}


def split_gsm8k(written: str) -> tuple[str, str] | None:
    """(solution, answer) of a text that ends in `#### answer`, as GSM8K writes it; None where nothing is so marked."""
    _, marker, answer = written.rpartition("####")
    return (written.replace("\r\n", "\n"), answer.strip().replace(",", "")) if marker else None


def math(row: Row) -> dict[str, Any]:
    """problem, solution, level, type (MATH), or with answer and subject (MATH-500); MATH has its answer in the last box."""
    solution = text(row, "solution")
    answer = text(row, "answer") if "answer" in row else answers.boxed(solution)
    if not answer:
        raise Fault("field 'solution' has no \\boxed{answer} and there is no field 'answer'")
    level = re.search(r"[1-5]", optional(row, "level"))
    return {
        "question": text(row, "problem", "question"),
        "answer": answer,
        "solution": solution,
        "family": optional(row, "subject", "type"),
        "level": int(level[0]) if level else 0,
    }


def question(row: Row) -> str:
    """The question of a row of any set that puts it as a text, whatever the set calls it."""
    if "Body" in row:  # SVAMP
        body = text(row, "Body")
        body += "" if body[-1] in ".?!," else ","  # a third of the bodies are clauses of the question
        return f"{body} {text(row, 'Question')}"
    if "body" in row:  # ASDiv
        return f"{text(row, 'body')} {text(row, 'question')}"
    return text(row, "question", "problem", "query")


def svamp(row: Row) -> dict[str, Any]:
    """Body, Question, Equation, Answer, Type."""
    answer = re.sub(r"\.0$", "", text(row, "Answer"))
    equation = text(row, "Equation")
    return {
        "question": question(row),
        "answer": answer,
        "solution": f"{equation} = {answer}\n#### {answer}",
        "family": optional(row, "Type"),
    }


def asdiv(row: Row) -> dict[str, Any]:
    """body, question, answer, formula, solution_type."""
    answer = re.sub(r"\s*\([^()]*\)\s*$", "", text(row, "answer"))  # "9 (apples)"
    if answers.extract(answer, "gsm8k") is None or re.search(r"[A-Za-z;:]", answer):
        raise Skip  # LeMa evaluates on the numeric answers alone: 2,084 of 2,305
    formula = optional(row, "formula")
    return {
        "question": question(row),
        "answer": answer,
        "solution": f"{formula}\n#### {answer}".lstrip(),
        "family": optional(row, "solution_type"),
    }


def csqa(row: Row) -> dict[str, Any]:
    """question, choices, answerKey."""
    nested = isinstance(row.get("question"), dict)  # the original release nests stem and choices
    inner: Row = row["question"] if nested else row
    choices = inner.get("choices")
    if isinstance(choices, dict) and all(isinstance(choices.get(name), list) for name in ("label", "text")):
        pairs = list(zip(choices["label"], choices["text"], strict=False))
    elif isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        pairs = [(choice.get("label"), choice.get("text")) for choice in choices]
    else:
        raise Fault("field 'choices': expected labels and texts")
    options = [f"({label}) {option}" for label, option in pairs]
    return _choice(text(inner, "stem", "question"), options, row, "answerKey")


def sat_math(row: Row) -> dict[str, Any]:
    """query, gold (hub), or question, options, label (AGIEval)."""
    if "query" in row:  # the hub's copy: the question with its options in one text, gold as a list of one index
        gold = row.get("gold")
        if not (isinstance(gold, list) and len(gold) == 1 and isinstance(gold[0], int) and 0 <= gold[0] < 5):
            raise Fault(f"field 'gold': expected a list with one index, found {gold!r}")
        letter = "ABCDE"[gold[0]]
        return {"question": text(row, "query"), "answer": letter, "solution": f"The answer is ({letter})."}
    options = row.get("options")
    if not isinstance(options, list) or not options:
        raise Fault("field 'options': expected a list such as ['(A)2', '(B)4']")
    return _choice(text(row, "question"), [str(option) for option in options], row, "label")


def _choice(stem: str, options: list[str], row: Row, key: str) -> dict[str, Any]:
    """A question with its options; the answer is "(C) garage", so that an output may name the option's text."""
    letter = text(row, key)
    chosen = [option for option in options if option.startswith(f"({letter})")]
    if len(chosen) != 1:
        raise Fault(f"field '{key}': {letter!r} is none of the options {', '.join(options)}")
    return {
        "question": f"{stem}\nAnswer Choices: {' '.join(options)}",
        "answer": chosen[0],
        "solution": f"The answer is ({letter}).",
    }


def benchmark(topic: str) -> Callable[[Row], dict[str, Any]]:
    """Rows of MWPBench's full_test.json: every set in one file, told apart by `data_topic`."""

    def read(row: Row) -> dict[str, Any]:
        found = text(row, "data_topic")
        if found != topic and not found.startswith(topic + "."):
            raise Skip
        return {
            "question": text(row, "question"),
            "answer": text(row, "answer"),
            "solution": f"The answer is {text(row, 'answer')}.",
            "family": found.removeprefix(topic).lstrip("."),
        }

    return read
