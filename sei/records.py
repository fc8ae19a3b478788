"""The nouns of the project: every stage takes some of these records and returns others.

Place in the flow::

    Problem -> Attempt -> Mistake -> Diagnosis -> ErrorType -> Synthetic -> Example -> (adapter) -> Outcome
        |                         |-> Correction -----------------------/
        |                         \\-> Trace ----> Pair ----------------/
        \\-> Template ---------------------------------------------------/

Every record has an `id` made from its content, and the ids it came from, so that a training row leads back to
the mistake that caused it. Records are frozen and hold only JSON values; `to_json` and `from_json` round-trip.

Example::

    problem = Problem.make(question="2 apples and 3 more?", answer="5", solution="2+3=<<2+3=5>>5\\n#### 5", source="demo")
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import typing
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


def content_id(kind: str, *parts: object) -> str:
    """A stable id: `kind`, a dash, and 12 hex digits of the SHA-256 of the parts as JSON."""
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, default=str)
    return f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


class Verdict(StrEnum):
    """What grading says of one output. Only WRONG is a mistake whose reasoning can be explained."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"  # the output ended by itself and holds no answer
    TRUNCATED = "truncated"  # the output was cut at the token limit before it gave an answer
    TIMEOUT = "timeout"  # the grader gave up on this pair
    UNGRADABLE = "ungradable"  # the gold answer itself cannot be read


def change(before: str, after: str | None) -> str:
    """What training changed about one item, in words, given its verdicts; `after` is None where nothing was trained."""
    if after is None:
        return "not trained"
    right = (before == Verdict.CORRECT, after == Verdict.CORRECT)
    return {(False, True): "fixed", (True, False): "broken", (True, True): "still right"}.get(right, "still wrong")


@dataclass(frozen=True)
class Record:
    """Base of all records: an id, and conversion to and from plain JSON values."""

    id: str

    def to_json(self) -> dict[str, Any]:
        """This record as a dict of JSON values (tuples become lists, enums their values)."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Self:
        """The record that `to_json` wrote. Raises TypeError for a missing or unknown field."""
        hints = _hints(cls)  # type: ignore[arg-type]  # mypy takes no class for hashable
        values = {name: _restore(hints.get(name), value) for name, value in row.items()}
        return cls(**values)


@functools.cache
def _hints(kind: type[Record]) -> dict[str, Any]:
    """The types of its fields, which take longer to find than a record takes to read."""
    return typing.get_type_hints(kind)


def _restore(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(_restore(None, item) for item in value)
    if hint is Verdict:
        return Verdict(value)
    return value


@dataclass(frozen=True)
class Problem(Record):
    """A question with its gold answer and gold solution.

    `solution` is the gold reasoning in GSM8K's format where the source has it: one step a line, arithmetic
    annotated as `<<a*b=c>>`, last line `#### answer`.
    """

    question: str
    answer: str
    solution: str
    source: str  # the data set
    split: str = "train"  # train | validation | test
    family: str = ""  # the program family (arithmetic world) or subject (MATH); "" where unknown
    level: int = 0  # difficulty, 0 where unknown
    parents: tuple[str, ...] = ()  # ids of the problems it was evolved from

    @classmethod
    def make(cls, *, question: str, answer: str, solution: str, source: str, **more: Any) -> Problem:
        """A problem whose id is made from question and answer, so equal content has equal ids in every split."""
        return cls(content_id("problem", question, answer), question, answer, solution, source, **more)


@dataclass(frozen=True)
class Attempt(Record):
    """One model's solution to one problem, graded."""

    problem_id: str
    model: str
    output: str
    verdict: Verdict
    sample: int = 0  # which of several samples of the same model, from 0
    output_tokens: int = 0
    truncated: bool = False  # the generation hit its token limit


@dataclass(frozen=True)
class Mistake(Record):
    """An attempt with a wrong answer, together with what is needed to explain it without look-ups."""

    problem_id: str
    attempt_id: str
    question: str
    gold_answer: str
    gold_solution: str
    output: (
        str  # the solution in the attempt's output, which `sei.reading` finds; the attempt has the output as it came
    )
    model: str
    family: str = ""
    level: int = 0  # the problem's, 0 where unknown


@dataclass(frozen=True)
class Diagnosis(Record):
    """Why a mistake is wrong: its first wrong step, and one or more short error keyphrases."""

    mistake_id: str
    step: int  # 1-based number of the first wrong step (line) of the output; 0 where there is none to point at
    kind: str  # the teacher's own class of error, free for an LLM, one of `symbolic.finding.KINDS` for ours
    keyphrases: tuple[str, ...]
    explanation: str


@dataclass(frozen=True)
class ErrorType(Record):
    """A cluster of error keyphrases: what SEI calls an error type."""

    name: str
    description: str
    size: int  # number of distinct mistakes
    keyphrases: tuple[str, ...]  # distinct phrases, most frequent first
    medoids: tuple[str, ...]  # the phrases nearest to the centre
    mistake_ids: tuple[str, ...]
    cohesion: float  # mean cosine similarity of the members to the centre, in [-1, 1]
    centroid: tuple[float, ...]  # unit vector in the embedder's space, [dimension]
    status: str = "new"  # new | persistent, against the round before
    round: int = 1
    fits: float | None = None  # share of its mistakes that have all the name's telling words; None: a teacher named it


@dataclass(frozen=True)
class Correction(Record):
    """A mistake put right: the wrong step, why it is wrong, and the solution from that step on."""

    mistake_id: str
    step: int  # 1-based number of the first wrong step of the student's output
    explanation: str
    steps: tuple[str, ...]  # corrected steps from `step` on, without the answer line
    solution: str  # the whole corrected solution: the student's right steps, then `steps`, then `#### answer`
    answer: str


@dataclass(frozen=True)
class Synthetic(Record):
    """A problem written for one error type."""

    question: str
    solution: str
    answer: str
    error_type: str  # id of the ErrorType
    parents: tuple[str, ...]  # ids of the mistakes (and synthetic problems) shown as examples
    round: int = 1
    score: float | None = None  # one-shot score in [0, 1], at least (sei.stages.race); None before selection


@dataclass(frozen=True)
class Example(Record):
    """One training row: the loss is on `response` alone."""

    prompt: str
    response: str
    kind: str  # cot | path | correction | reflection | synthetic | template | check | chosen
    parents: tuple[str, ...]  # ids of the records it was made from
    prefix: str = ""  # the beginning of the response, given and not trained on


@dataclass(frozen=True)
class Template(Record):
    """A problem's solution as a hierarchical thought template (SuperCorrect): numbered steps, hard ones explained."""

    problem_id: str
    text: str  # as the target is trained to write it
    answer: str
    hard: tuple[int, ...] = ()  # 1-based numbers of the steps that carry a <Key>


@dataclass(frozen=True)
class Trace(Record):
    """What an author says of a mistake: the first wrong step, its cause and its correction (SuperCorrect)."""

    mistake_id: str
    author: str  # teacher | student
    step: int  # 1-based; 0: the author finds every step right
    cause: str
    correction: str  # the step as it should be, and how the solution goes on from it
    answer: str = ""  # the answer that the correction reaches, "" where it names none
    inspections: tuple[str, ...] = ()  # the inspector's verdict on each version: "right", or what was wrong with it


@dataclass(frozen=True)
class Pair(Record):
    """One row of preference training: after `prompt`, `chosen` is better than `rejected`."""

    prompt: str
    chosen: str
    rejected: str
    kind: str  # thought | step (which does not end the response) | check | instance
    parents: tuple[str, ...]  # ids of the records it was made from
    prefix: str = ""  # the beginning of the response, the same on both sides and not compared


@dataclass(frozen=True)
class Outcome(Record):
    """One test item answered by one model: the unit of every paired comparison."""

    eval_set: str
    problem_id: str
    family: str
    verdict: Verdict  # of the first sample
    output: str  # the first sample
    error_type: str = ""  # id of the error type of a wrong outcome, "" where right or unassigned
    level: int = 0  # the problem's, 0 where unknown
    votes: tuple[int, ...] = ()  # the answer of each sample as a number: 0 the gold answer, 1.. others, -1 none
    gold: str = ""  # the gold answer
    math_verify: str = ""  # the second grader's verdict on the first sample, "" where it was not asked


@dataclass(frozen=True)
class Disagreement(Record):
    """A test item that only one of the two graders takes for right, for a person to read."""

    when: str  # before | after | second
    eval_set: str
    problem_id: str
    gold: str
    output: str
    verdict: Verdict
    math_verify: str


@dataclass(frozen=True)
class Rejected(Record):
    """What a stage did not pass on, and why. `reason` is a short code that ledgers count."""

    source_id: str
    reason: str
    detail: str = ""
    raw: str = ""  # the text that was rejected, kept as it came

    @classmethod
    def make(cls, source_id: str, reason: str, detail: str = "", raw: str = "") -> Rejected:
        return cls(content_id("rejected", source_id, reason, raw), source_id, reason, detail, raw)
