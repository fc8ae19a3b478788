"""Recorded attempts as the tools of the field write them.

Purpose: one small reader a form, told by the fields of its rows, so that no file has to be rewritten before it is mined.
Place in the flow: `sei.target.recorded` reads every row of an attempts file here.

Forms:
- ours: question, solution, and where known model and finish_reason;
- lm-evaluation-harness, `samples_*.jsonl` of `--log_samples`: doc, resps, filter;
- NeMo-Skills, `output*.jsonl`: problem, generation, finish_reason, num_generated_tokens;
- batches of OpenAI and vLLM: custom_id, response.body.choices. They hold no questions: `prompts` reads the batch's input.

Example::

    read({"problem": "2+3?", "generation": "It is 5.", "finish_reason": "stop"})      # [Recording("2+3?", "It is 5.")]
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from sei.data import formats
from sei.data.files import Fault, Row
from sei.data.rows import missing, optional
from sei.records import content_id
from sei.target.engine import ended_at_limit


@dataclass(frozen=True)
class Recording:
    """One attempt of a file."""

    question: str
    text: str
    model: str = "recorded"
    tokens: int | None = None  # None: the file does not say
    truncated: bool = False  # the generation hit its token limit
    # Attempts of two rows that are one: equal in the first, unlike in the second. () where every row is its own.
    same: tuple[str, ...] = ()


class Failed(Exception):
    """A row of a request that failed, so that there is no attempt; counted, no fault."""


def read(row: Row) -> list[Recording]:
    """The attempts of one row. Raises Fault where it has none of the known forms, Failed where its request failed."""
    for _, fields, reader in FORMS:
        if all(name in row for name in fields):
            return reader(row)
    nearest = max(reversed(FORMS), key=lambda form: sum(name in row for name in form[1]))
    lacking = next(name for name in nearest[1] if name not in row)
    known = "; ".join(f"{name}: {', '.join(fields)}" for name, fields, _ in FORMS)
    raise Fault(f"{missing(row, lacking)}. Known forms: {known}")


def _harness(row: Row) -> list[Recording]:
    """lm-evaluation-harness: one row for each filter, with the same answers; one answer for each repetition."""
    doc, answers = row["doc"], row["resps"]
    if not isinstance(doc, dict):
        raise Fault(f"field 'doc': expected the item of the data set, found {type(doc).__name__}")
    if isinstance(answers, list) and len(answers) == 1 and isinstance(answers[0], list):
        answers = answers[0]
    elif isinstance(answers, list) and len(answers) > 1 and not all(isinstance(answer, str) for answer in answers):
        answers = None  # several requests, one for each choice
    if not isinstance(answers, list) or not all(isinstance(answer, str) for answer in answers):
        raise Fault(
            "field 'resps': expected texts, as in [['first answer', 'second answer']]; a task that scores given choices "
            "by their likelihood has no attempts"
        )
    question = formats.question(doc)
    same = content_id("answers", optional(row, "doc_id"), question, answers)
    return [
        Recording(question, answer, same=(f"{same}.{number}", optional(row, "filter")))
        for number, answer in enumerate(answers)
    ]


def _nemo_skills(row: Row) -> list[Recording]:
    return [
        Recording(
            formats.question(row),
            _text(row, "generation"),
            _model(row),
            _tokens(row.get("num_generated_tokens")),
            _truncated(row),
        )
    ]


def _batch(row: Row) -> list[Recording]:
    """OpenAI's and vLLM's batches; early vLLM wrote the body as the response."""
    response = row["response"]
    body = response.get("body", response) if isinstance(response, dict) else None
    if row.get("error") or body is None or response.get("status_code", 200) != 200:
        raise Failed
    choices = body.get("choices") if isinstance(body, dict) else None
    if not isinstance(choices, list) or not all(isinstance(choice, dict) for choice in choices):
        raise Fault("field 'response.body.choices': expected a list of completions")
    usage = body.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, dict) and len(choices) == 1 else None
    return [
        Recording(
            _text(row, "custom_id"),
            _content(choice.get("message"), choice.get("text")),
            _model(body),
            _tokens(tokens),
            _truncated(choice),
        )
        for choice in choices
    ]


def _plain(row: Row) -> list[Recording]:
    question = _text(row, "question")
    if not question.strip():
        raise Fault("field 'question' is empty")
    return [Recording(question, _text(row, "solution"), _model(row), truncated=_truncated(row))]


FORMS: tuple[tuple[str, tuple[str, ...], Callable[[Row], list[Recording]]], ...] = (
    # name, the fields that tell it, its reader; what a tool writes may hold the gold solution beside the attempt
    ("lm-evaluation-harness", ("doc", "resps"), _harness),
    ("batch of OpenAI or vLLM", ("custom_id", "response"), _batch),
    ("NeMo-Skills", ("generation",), _nemo_skills),  # with problem or question, as its input had it
    ("ours", ("question", "solution"), _plain),
)


def prompts(rows: Iterable[tuple[str, Row | Fault]]) -> dict[str, str]:
    """custom_id -> what the user says last, of the rows of a batch's input. Raises Fault with the place of a bad row."""
    found: dict[str, str] = {}
    for where, row in rows:
        if isinstance(row, Fault):
            raise Fault(f"{where}: {row}")
        try:
            name, body = _text(row, "custom_id"), row.get("body")
            messages = body.get("messages") if isinstance(body, dict) else None
            if isinstance(messages, list):
                said = [one for one in messages if isinstance(one, dict) and one.get("role") == "user"]
                prompt = _content(said[-1] if said else None, None)
            else:
                prompt = optional(body, "prompt", "input") if isinstance(body, dict) else ""
            if not prompt.strip():
                raise Fault("expected body.messages with a message of the user, or body.prompt")
            if found.setdefault(name, prompt) != prompt:
                raise Fault(f"custom_id {name[:80]!r} stands for two different requests")
        except Fault as fault:
            raise Fault(f"{where}: {fault}") from None
    return found


def _text(row: Row, name: str) -> str:
    if name not in row:
        raise missing(row, name)
    value = row[name]
    if not isinstance(value, str):
        found = "null" if value is None else str(value) if isinstance(value, int | float) else type(value).__name__
        raise Fault(f"field '{name}' must be text, found {found}")
    return value


def _tokens(value: Any) -> int | None:
    """A count of tokens, where it is one: some tools compute with floats."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**31:
        return None
    return int(value)


def _model(row: Row) -> str:
    return _text(row, "model") if "model" in row else "recorded"


_REASONS = ("finish_reason", "stop_reason", "done_reason")  # OpenAI's and vLLM's; Anthropic's; Ollama's


def _truncated(row: Row) -> bool:
    """Whether the limit ended a generation: what is recorded is then no whole attempt."""
    return any(ended_at_limit(row.get(name)) for name in _REASONS)


def _content(message: Any, completion: Any) -> str:
    """The text of a chat's message, which may come in parts, or of a bare completion; "" where there is none."""
    content = message.get("content") if isinstance(message, dict) else completion
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""
