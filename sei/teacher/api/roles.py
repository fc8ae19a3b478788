"""The things a teacher is asked: for each a prompt, the reply it must give, and what the reply becomes.

Place in the flow: pure functions between records and text. `Roles` fills a role's prompt for one record and returns a
`Job`: the request, and a function that reads the reply. `teacher` asks the jobs; a dry run only counts them. Whether
a correction reaches the gold answer is for the stage to grade; here its structure is checked.

Example::

    job = Roles("gsm8k").diagnose(mistake)
    job.request.messages[0][1]            # the filled prompt
    job.read(reply_text)                  # a Diagnosis, or ParseError
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field

from sei import prompts, templates
from sei.errors import UserError
from sei.records import Correction, Diagnosis, Mistake, Problem, Trace, content_id
from sei.steps import join_steps, number_steps, split_steps
from sei.teacher.api.client import Request, user
from sei.teacher.api.structured import ParseError, parse, schema_text
from sei.teacher.base import Draft, Seed, SynthesisRequest
from sei.teacher.review import Inspection, Revision
from sei.templates import Malformed, ThoughtTemplate, make_trace

Dataset = Literal["gsm8k", "math", "choice"]
RoleName = Literal[
    "solve",
    "diagnose",
    "correct",
    "evolve",
    "synthesize",
    "cluster_seed",
    "cluster_extend",
    "cluster_merge",
    "name_type",
    "template",
    "trace",
    "inspect",
    "judge",
]
T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True)
class Limits:
    """Bounds of one role's calls. `mean_tokens_out` is the dry run's guess until answers of the prompt are stored."""

    max_tokens: int
    temperature: float | None
    mean_tokens_out: int


# Ours. Temperature 0 where one answer is right, 0.8 where variety is wanted; a synthesize reply holds 20 problems of
# about 200 tokens. The means are the lengths of such replies as we would write them, replaced by what the store knows.
# In the order of the flow, in which the ledger shows them.
LIMITS: dict[RoleName, Limits] = {
    "solve": Limits(1024, 0.0, 250),
    "diagnose": Limits(512, 0.0, 90),
    "correct": Limits(1024, 0.0, 180),
    "evolve": Limits(512, 0.8, 100),
    "cluster_seed": Limits(8192, 0.0, 2200),  # copies about 100 phrases of 15 tokens
    "cluster_extend": Limits(8192, 0.0, 2200),
    "cluster_merge": Limits(2048, 0.0, 300),
    "name_type": Limits(512, 0.0, 90),
    "synthesize": Limits(8192, 0.8, 4000),
    "template": Limits(2048, 0.0, 500),
    "trace": Limits(1024, 0.0, 200),
    "inspect": Limits(1024, 0.0, 80),
    "judge": Limits(256, 0.0, 40),
}


def limits_with(overrides: Mapping[str, Mapping[str, Any]]) -> dict[RoleName, Limits]:
    """`LIMITS` with some fields of some roles replaced (`teacher.limits`). Raises UserError naming what is wrong."""
    limits = dict(LIMITS)
    known = {field.name for field in dataclasses.fields(Limits)}
    for role, fields in overrides.items():
        if role not in limits or not set(fields) <= known:
            raise UserError(
                f"teacher.limits.{role}={dict(fields)}: a role is one of {', '.join(limits)}; "
                f"its fields are {', '.join(sorted(known))}"
            )
        for name, value in fields.items():
            free = name == "temperature" and value is None
            kind = (int, float) if name == "temperature" else int
            least = 0 if name == "temperature" else 1
            if not free and (not isinstance(value, kind) or isinstance(value, bool) or value < least):
                expected = "a number from 0, or null (not sent)" if name == "temperature" else "a whole number from 1"
                raise UserError(f"teacher.limits.{role}.{name}={value}: needs {expected}")
        limits[role] = dataclasses.replace(limits[role], **fields)
    return limits


# Replies, as the schema demands them


class _Reply(BaseModel):
    model_config = ConfigDict(extra="ignore", coerce_numbers_to_str=True)


class DiagnosisReply(_Reply):
    step: int
    reason: str
    kind: str
    keyphrases: list[str]


class CorrectionReply(_Reply):
    step: int
    explanation: str
    steps: list[str]
    answer: str


class QuestionReply(_Reply):
    question: str


class ProblemItem(_Reply):
    question: str
    solution: str
    answer: str


class ProblemsReply(_Reply):
    """What the schema demands of a synthesize reply; items are checked one by one, see `_LooseProblemsReply`."""

    problems: list[ProblemItem]


class _LooseProblemsReply(_Reply):
    """One bad item of twenty must not cost the other nineteen."""

    problems: list[Any]


class TypeNameReply(_Reply):
    name: str
    description: str


class GroupItem(TypeNameReply):
    phrases: list[str]


class GroupsReply(_Reply):
    groups: list[GroupItem]


class MergeItem(TypeNameReply):
    names: list[str]


class MergesReply(_Reply):
    merges: list[MergeItem]


class TraceReply(_Reply):
    step: int
    cause: str
    correction: str
    answer: str


class InspectionReply(_Reply):
    correct: bool
    faults: list[str] = Field(default_factory=list)


class JudgementReply(_Reply):
    reason: str
    equivalent: bool


# What replies become, where `sei.records` has no noun for it


@dataclass(frozen=True)
class TypeName:
    """A name and description for an error type."""

    name: str
    description: str


@dataclass(frozen=True)
class PhraseGroup(TypeName):
    """An error type as a clustering reply has it. Its phrases are the reply's, not yet checked against the list."""

    phrases: tuple[str, ...]


@dataclass(frozen=True)
class GroupMerge(TypeName):
    """Error types, by name, that are one; name and description are for the joined type."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Judgement:
    """Whether an answer means the same as the gold answer."""

    equivalent: bool
    reason: str


@dataclass(frozen=True)
class Harvest:
    """A synthesize reply taken apart: usable drafts, and what could not be used (reason, detail, text)."""

    drafts: tuple[Draft, ...]
    unusable: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Job(Generic[T_co]):
    """One record to ask about. `read` turns the reply's text into the result or raises ParseError."""

    source_id: str
    request: Request
    read: Callable[[str], T_co]


@dataclass(frozen=True)
class Roles:
    """Fills prompts. `dataset` decides the answer's format and the worked examples."""

    dataset: Dataset
    limits: Mapping[RoleName, Limits] = dataclasses.field(default_factory=lambda: LIMITS)

    def __post_init__(self) -> None:
        if self.dataset not in get_args(Dataset):
            raise UserError(f"teacher.dataset={self.dataset}: the prompts know {', '.join(get_args(Dataset))}")

    def solve(self, question: str, source_id: str, sample: int = 0, temperature: float | None = None) -> Job[str]:
        """A solution in the dataset's format. `temperature` replaces the role's where several samples are wanted."""
        job = self._job("solve", "solve", source_id, str.strip, None, sample, question=question, **self._format())
        if temperature is None:
            return job
        return dataclasses.replace(job, request=dataclasses.replace(job.request, temperature=temperature))

    def diagnose(self, mistake: Mistake) -> Job[Diagnosis]:
        steps = split_steps(mistake.output, self.dataset)[0]

        def read(text: str) -> Diagnosis:
            reply = parse(text, DiagnosisReply)
            _expect(0 <= reply.step <= len(steps), f"step: {reply.step}, but the student's steps are 1 to {len(steps)}")
            phrases = tuple(dict.fromkeys(" ".join(phrase.split()) for phrase in reply.keyphrases if phrase.strip()))
            _expect(bool(phrases), "keyphrases: at least one phrase is needed")
            parts = (mistake.id, reply.step, reply.kind, phrases, reply.reason)
            return Diagnosis(content_id("diagnosis", *parts), *parts)

        values = {
            "question": mistake.question,
            "gold_solution": mistake.gold_solution,
            "steps": _numbered(mistake, self.dataset),
        }
        return self._job("diagnose", "diagnose", mistake.id, read, DiagnosisReply, **values)

    def correct(self, mistake: Mistake, diagnosis: Diagnosis | None = None) -> Job[Correction]:
        """A correction as in LeMa: without the gold solution. A diagnosis that names a step is passed on as a remark."""
        own_steps = split_steps(mistake.output, self.dataset)[0]
        hint = ""
        if diagnosis is not None and diagnosis.step > 0 and diagnosis.explanation:
            remark = {"step": str(diagnosis.step), "explanation": diagnosis.explanation}
            hint = prompts.load("teacher/correct/hint").fill(**remark)

        def read(text: str) -> Correction:
            reply = parse(text, CorrectionReply)
            last = len(own_steps) + 1
            _expect(1 <= reply.step <= last, f"step: {reply.step}, but it must be between 1 and {last}")
            steps = _clean_steps(reply.steps)
            _expect(bool(steps), "steps: at least one corrected step is needed")
            _expect(bool(reply.explanation.strip()), "explanation: it is empty")
            answer = _answer(reply.answer)
            _expect(bool(answer), "answer: it is empty")
            solution = join_steps([*own_steps[: reply.step - 1], *steps], answer)
            parts = (mistake.id, reply.step, reply.explanation.strip(), steps, solution, answer)
            return Correction(content_id("correction", *parts), *parts)

        values = {"question": mistake.question, "steps": _numbered(mistake, self.dataset), "hint": hint}
        return self._job("correct", f"correct/{self.dataset}", mistake.id, read, CorrectionReply, **values)

    def evolve(self, question: str, source_id: str, sample: int = 0) -> Job[str]:
        """A harder question from an old one, without an answer (LeMa takes the majority of three solutions)."""

        def read(text: str) -> str:
            new = parse(text, QuestionReply).question.strip()
            _expect(bool(new), "question: it is empty")
            _expect(_normal(new) != _normal(question), "question: it is the old problem, not a new one")
            return new

        return self._job("evolve", "evolve", source_id, read, QuestionReply, sample, question=question)

    def synthesize(self, wish: SynthesisRequest) -> Job[Harvest]:
        """`wish.count` new problems. The reply is read item by item; `top_up` asks for what is missing."""
        parents = tuple(seed.id for seed in (*wish.mistakes, *wish.synthesized))
        examples = [_example(number, seed) for number, seed in enumerate((*wish.mistakes, *wish.synthesized), start=1)]

        def read(text: str) -> Harvest:
            reply = parse(text, _LooseProblemsReply)
            return self._harvest(reply.problems, wish.count, parents)

        values = {
            "count": str(wish.count),
            "name": wish.name,
            "description": wish.description,
            "keyphrases": "; ".join(wish.keyphrases),
            "examples": "\n\n".join(examples),
        }
        job = self._job(
            "synthesize", "synthesize", wish.error_type_id, read, ProblemsReply, wish.seed, **values, **self._format()
        )
        return dataclasses.replace(job, request=dataclasses.replace(job.request, error_type=wish.error_type_id))

    def top_up(self, job: Job[Harvest], wish: SynthesisRequest, reply: str, harvest: Harvest) -> Job[Harvest]:
        """The follow-up call for the problems that `reply` left out, repeated or spoiled."""
        counts = {"usable": len(harvest.drafts), "count": wish.count, "missing": wish.count - len(harvest.drafts)}
        complaint = "; ".join(f"{reason}: {detail}" for reason, detail, _ in harvest.unusable[:5]) or "too few"
        text = prompts.load("teacher/missing").fill(complaint=complaint, **{k: str(v) for k, v in counts.items()})
        taken = {_normal(draft.question) for draft in harvest.drafts}
        parents = tuple(seed.id for seed in (*wish.mistakes, *wish.synthesized))

        def read(text: str) -> Harvest:
            return self._harvest(parse(text, _LooseProblemsReply).problems, counts["missing"], parents, taken)

        return dataclasses.replace(job, request=follow_up(job.request, reply, text), read=read)

    def _harvest(
        self, items: Sequence[Any], count: int, parents: tuple[str, ...], taken: set[str] | None = None
    ) -> Harvest:
        seen = set(taken or ())
        drafts: list[Draft] = []
        unusable: list[tuple[str, str, str]] = []
        for item in items:
            try:
                draft = self._draft(item, parents)
            except ParseError as error:
                unusable.append((error.fault, str(error), str(item)))
                continue
            if _normal(draft.question) in seen:
                unusable.append(("duplicate", "the same question twice", draft.question))
            elif len(drafts) == count:
                unusable.append(("surplus", f"more than the {count} asked for", draft.question))
            else:
                seen.add(_normal(draft.question))
                drafts.append(draft)
        return Harvest(tuple(drafts), tuple(unusable))

    def _draft(self, item: Any, parents: tuple[str, ...]) -> Draft:
        reply = parse_item(item)
        answer = _answer(reply.answer)
        steps, answer_on_line = split_steps(reply.solution)
        _expect(bool(reply.question.strip() and steps and answer), "question, solution and answer must not be empty")
        if answer_on_line is not None:
            same = _answer(answer_on_line) == answer
            _expect(same, f"the solution ends in {answer_on_line}, but answer is {answer}", "answer_mismatch")
        if self.dataset == "gsm8k":
            _expect(bool(_NUMBER.fullmatch(answer)), f"answer: {answer!r} is not a number")
        return Draft(reply.question.strip(), join_steps(steps, answer), answer, parents)

    def name_type(self, source_id: str, keyphrases: Sequence[str], taken: Sequence[str]) -> Job[TypeName]:
        """A name for a cluster of keyphrases; `taken` are names given to other clusters."""

        def read(text: str) -> TypeName:
            reply = parse(text, TypeNameReply)
            _expect(bool(reply.name.strip() and reply.description.strip()), "name and description must not be empty")
            return TypeName(" ".join(reply.name.split()), reply.description.strip())

        values = {
            "keyphrases": "\n".join(f"- {phrase}" for phrase in keyphrases),
            "taken": "; ".join(taken) or "(none yet)",
        }
        job = self._job("name_type", "name_type", source_id, read, TypeNameReply, **values)
        return dataclasses.replace(job, request=dataclasses.replace(job.request, error_type=source_id))

    def group_phrases(
        self, phrases: Sequence[str], groups: Sequence[tuple[str, str]], *, divide: bool, sample: int
    ) -> Job[tuple[PhraseGroup, ...]]:
        """Keyphrases into error types, from nothing or into `groups` (name, description) and new ones.

        `divide`: the phrases were one type that grew too broad. `sample` tells a repeated question from the first.
        """

        def read(text: str) -> tuple[PhraseGroup, ...]:
            found = parse(text, GroupsReply).groups
            _expect(bool(found), "groups: there must be at least one")
            _expect(all(group.name.strip() for group in found), "name: it is empty")
            return tuple(
                PhraseGroup(" ".join(group.name.split()), group.description.strip(), tuple(group.phrases))
                for group in found
            )

        values = {"phrases": "\n".join(f"- {phrase}" for phrase in phrases)}
        if groups:
            values["groups"] = "\n".join(f"- {name}: {description}" for name, description in groups)
            return self._job("cluster_extend", "cluster_extend", "keyphrases", read, GroupsReply, sample, **values)
        values["task"] = prompts.load(f"teacher/cluster_task/{'divide' if divide else 'form'}").text
        return self._job("cluster_seed", "cluster_seed", "keyphrases", read, GroupsReply, sample, **values)

    def merge_groups(self, groups: Sequence[tuple[str, str, Sequence[str]]]) -> Job[tuple[GroupMerge, ...]]:
        """Which error types (name, description, some phrases) are the same weakness."""

        def read(text: str) -> tuple[GroupMerge, ...]:
            found = parse(text, MergesReply).merges
            _expect(all(merge.name.strip() for merge in found), "name: it is empty")
            return tuple(
                GroupMerge(" ".join(merge.name.split()), merge.description.strip(), tuple(merge.names))
                for merge in found
            )

        lines = [f"- {name}: {description} Phrases: {'; '.join(phrases)}" for name, description, phrases in groups]
        return self._job("cluster_merge", "cluster_merge", "keyphrases", read, MergesReply, groups="\n".join(lines))

    def template(self, problem: Problem, revision: Revision[ThoughtTemplate] | None = None) -> Job[ThoughtTemplate]:
        """SuperCorrect's thought template from problem and gold solution; a revision mends what an inspector found."""
        values = {"question": problem.question, "gold_solution": problem.solution}
        job = self._job("template", "template", problem.id, read_template, None, **values)
        return job if revision is None else _revised(job, templates.write(revision.version), revision.faults)

    def trace(self, mistake: Mistake, *, gold: bool, revision: Revision[Trace] | None = None) -> Job[Trace]:
        """First wrong step, cause and correction; the author sees the gold solution where `gold`."""
        steps = split_steps(mistake.output)[0]

        def read(text: str) -> Trace:
            reply = parse(text, TraceReply)
            _expect(0 <= reply.step <= len(steps), f"step: {reply.step}, but the student's steps are 1 to {len(steps)}")
            author = "teacher" if gold else "student"
            if reply.step == 0:
                return make_trace(mistake.id, author, 0, "", "", "")
            lines, answer = _clean_steps(reply.correction.split("\n")), _answer(reply.answer)
            _expect(bool(reply.cause.strip() and lines), "cause and correction must not be empty")
            _expect(bool(answer), "answer: it is empty")
            return make_trace(mistake.id, author, reply.step, reply.cause, "\n".join(lines), answer)

        values = {"question": mistake.question, "steps": _numbered(mistake)}
        if gold:
            values["gold_solution"] = mistake.gold_solution
        name = "trace/with_gold" if gold else "trace/without_gold"
        job = self._job("trace", name, mistake.id, read, TraceReply, **values)
        return job if revision is None else _revised(job, _trace_text(revision.version), revision.faults)

    def inspect_trace(self, mistake: Mistake, version: Trace) -> Job[Inspection]:
        """Another model's check of a correction trace against problem and gold solution."""
        values = {"question": mistake.question, "gold_solution": mistake.gold_solution, "steps": _numbered(mistake)}
        text = _trace_text(version)
        return self._job("inspect", "inspect/trace", version.id, _inspection, InspectionReply, text=text, **values)

    def inspect_template(self, problem: Problem, version: ThoughtTemplate) -> Job[Inspection]:
        """Another model's check of a thought template against problem and gold solution."""
        values = {"question": problem.question, "gold_solution": problem.solution, "text": templates.write(version)}
        return self._job("inspect", "inspect/template", problem.id, _inspection, InspectionReply, **values)

    def judge(self, question: str, gold_answer: str, answer: str, source_id: str) -> Job[Judgement]:
        """Whether `answer` is equivalent to `gold_answer`: for pairs that symbolic grading calls ungradable."""

        def read(text: str) -> Judgement:
            reply = parse(text, JudgementReply)
            return Judgement(reply.equivalent, reply.reason.strip())

        values = {"question": question, "gold_answer": gold_answer, "answer": answer}
        return self._job("judge", "judge", source_id, read, JudgementReply, **values)

    def _format(self) -> dict[str, str]:
        return {"answer_format": prompts.load(f"teacher/answer_format/{self.dataset}").text}

    def _job(
        self,
        role: RoleName,
        name: str,
        source_id: str,
        read: Callable[[str], T],
        schema: type[BaseModel] | None,
        sample: int = 0,
        /,
        **values: str,
    ) -> Job[T]:
        prompt = prompts.load(f"teacher/{name}")
        limits = self.limits[role]
        request = Request(
            messages=(user(prompt.fill(**values)),),
            prompt=prompt.name,
            prompt_hash=prompt.hash,
            max_tokens=limits.max_tokens,
            temperature=limits.temperature,
            schema=schema_text(schema) if schema else "",
            schema_name=role if schema else "",
            sample=sample,
            stage=role,
        )
        return Job(source_id, request, read)


def follow_up(request: Request, reply: str, text: str) -> Request:
    """`request` continued: the teacher's `reply`, then our `text`."""
    talk = (*request.messages, ("assistant", reply.strip() or "(no reply)"), user(text))
    return dataclasses.replace(request, messages=talk, prompt=f"{request.prompt}+", sample=request.sample)


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\d+/\d+")
_STEP_LABEL = re.compile(r"^(?:Step\s*\d+\s*[:.]|\d+[.)])\s+", re.IGNORECASE)


def read_template(text: str) -> ThoughtTemplate:
    """A thought template from its XML, whatever stands before and after it. Raises ParseError."""
    start, end = text.find("<Step1>"), text.rfind("</Answer>")
    if start < 0:
        raise ParseError("malformed", "there is no <Step1>")
    template = templates.parse(text[start : end + len("</Answer>")] if end > start else text[start:])
    if isinstance(template, Malformed):
        raise ParseError("malformed", f"{template.reason}: {template.detail}")
    return template


def _inspection(text: str) -> Inspection:
    reply = parse(text, InspectionReply)
    faults = tuple(fault.strip() for fault in reply.faults if fault.strip())
    _expect(reply.correct != bool(faults), "faults: there must be some exactly if correct is false")
    return Inspection(reply.correct, faults)


def _trace_text(trace: Trace) -> str:
    """A trace as its author's reply."""
    fields = {"step": trace.step, "cause": trace.cause, "correction": trace.correction, "answer": trace.answer}
    return json.dumps(fields, ensure_ascii=False, indent=1)


def _revised(job: Job[T], version: str, faults: Sequence[str]) -> Job[T]:
    """The job continued: the version it led to, and what an inspector found in it."""
    text = prompts.load("teacher/revise").fill(faults="\n".join(f"- {fault}" for fault in faults))
    return dataclasses.replace(job, request=follow_up(job.request, version, text))


def parse_item(item: Any) -> ProblemItem:
    """One item of a synthesize reply."""
    from pydantic import ValidationError

    try:
        return ProblemItem.model_validate(item)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "object" for problem in error.errors())
        raise ParseError("wrong_schema", f"missing or of the wrong kind: {fields}") from error


def _expect(held: bool, complaint: str, fault: Any = "wrong_schema") -> None:
    if not held:
        raise ParseError(fault, complaint)


def _numbered(mistake: Mistake, dataset: Dataset = "gsm8k") -> str:
    steps, answer = split_steps(mistake.output, dataset)
    return number_steps(steps) + (f"\nAnswer: {answer}" if answer else "")


def _example(number: int, seed: Seed) -> str:
    values = {"number": str(number), "question": seed.question, "solution": seed.solution}
    return prompts.load("teacher/synthesize_example").fill(**values)


def _clean_steps(steps: Sequence[str]) -> tuple[str, ...]:
    """One line a step, without labels and without an answer line at the end."""
    lines = [" ".join(_STEP_LABEL.sub("", step.strip()).split()) for step in steps]
    return tuple(split_steps("\n".join(line for line in lines if line))[0])


def _answer(text: str) -> str:
    """An answer without the marks that the format forbids and models write all the same."""
    bare = text.strip().removeprefix("####").strip().strip("$").strip().removesuffix(".")
    return bare.replace(",", "") if re.fullmatch(r"-?[\d,]+(\.\d+)?", bare) else bare


def _normal(question: str) -> str:
    return " ".join(question.casefold().split())
