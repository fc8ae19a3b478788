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
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from sei import prompts, templates
from sei.answers import Style, equivalent_many
from sei.llm.request import Request, user
from sei.records import Correction, Diagnosis, Mistake, Problem, Trace, content_id
from sei.steps import join_steps, number_steps, split_steps
from sei.teacher.api.limits import LIMITS, Limits, RoleName
from sei.teacher.api.replies import (
    CorrectionReply,
    DiagnosisReply,
    GroupItem,
    GroupMerge,
    GroupsReply,
    InspectionReply,
    LocationReply,
    MergeItem,
    MergesReply,
    PhraseGroup,
    ProblemItem,
    ProblemsReply,
    QuestionReply,
    TraceReply,
    TypeName,
    TypeNameReply,
)
from sei.teacher.api.structured import ParseError, after_reasoning, parse, parse_list, schema_text
from sei.teacher.base import Draft, Seed, Solution, SynthesisRequest
from sei.teacher.review import Inspection, Revision
from sei.templates import Malformed, ThoughtTemplate, make_trace

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
T_model = TypeVar("T_model", bound=BaseModel)


@dataclass(frozen=True)
class Harvest:
    """A synthesize reply taken apart: usable drafts, and what could not be used (reason, detail, text)."""

    drafts: tuple[Draft, ...]
    unusable: tuple[tuple[str, str, str], ...]


@dataclass(frozen=True)
class Job(Generic[T_co]):
    """One record to ask about. `read` turns the reply's text into the result or raises ParseError.

    `items`: the reply is a list of which whatever is whole is of use, so `read` is given a reply that was cut off too.
    """

    source_id: str
    request: Request
    read: Callable[[str], T_co]
    items: bool = False


@dataclass(frozen=True)
class Roles:
    """Fills prompts. `style` decides the answer's format and the worked examples."""

    style: Style
    limits: Mapping[RoleName, Limits] = dataclasses.field(default_factory=lambda: LIMITS)

    def solve(self, question: str, source_id: str, sample: int = 0, temperature: float | None = None) -> Job[str]:
        """A solution in the style's format. `temperature` replaces the role's where several samples are wanted."""
        job = self._job("solve", "solve", source_id, _solution, None, sample, question=question, **self._format())
        if temperature is None:
            return job
        return dataclasses.replace(job, request=dataclasses.replace(job.request, temperature=temperature))

    def diagnose(self, mistake: Mistake) -> Job[Diagnosis]:
        steps = split_steps(mistake.output, self.style)[0]

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
            "steps": _numbered(mistake, self.style),
        }
        return self._job("diagnose", "diagnose", mistake.id, read, DiagnosisReply, **values)

    def locate(self, solution: Solution) -> Job[int]:
        """The first wrong step of a solution that may be right, 0 where none is. The gold solution is not shown."""

        def read(text: str) -> int:
            step, last = parse(text, LocationReply).step, len(solution.steps)
            _expect(
                0 <= step <= last,
                f"step: {step}, but the solution's steps are 1 to {last}, and 0 says that none is wrong",
            )
            return step

        values = {"question": solution.question, "steps": number_steps(solution.steps)}
        return self._job("locate", "locate", solution.id, read, LocationReply, **values)

    def correct(self, mistake: Mistake, diagnosis: Diagnosis | None = None) -> Job[Correction]:
        """A correction as in LeMa: without the gold solution. A diagnosis that names a step is passed on as a remark."""
        own_steps = split_steps(mistake.output, self.style)[0]
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

        values = {"question": mistake.question, "steps": _numbered(mistake, self.style), "hint": hint}
        return self._job("correct", f"correct/{self.style}", mistake.id, read, CorrectionReply, **values)

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
            return self._harvest(parse_list(text, "problems", ProblemItem), wish.count, parents)

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
        request = dataclasses.replace(job.request, error_type=wish.error_type_id)
        return dataclasses.replace(job, request=request, items=True)

    def top_up(self, job: Job[Harvest], wish: SynthesisRequest, reply: str, harvest: Harvest) -> Job[Harvest]:
        """The follow-up call for the problems that `reply` left out, repeated or spoiled."""
        counts = {"usable": len(harvest.drafts), "count": wish.count, "missing": wish.count - len(harvest.drafts)}
        complaint = "; ".join(f"{reason}: {detail}" for reason, detail, _ in harvest.unusable[:5]) or "too few"
        text = prompts.load("teacher/missing").fill(complaint=complaint, **{k: str(v) for k, v in counts.items()})
        taken = {_normal(draft.question) for draft in harvest.drafts}
        parents = tuple(seed.id for seed in (*wish.mistakes, *wish.synthesized))

        def read(text: str) -> Harvest:
            return self._harvest(parse_list(text, "problems", ProblemItem), counts["missing"], parents, taken)

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
        question, answer = _without_number(reply.question), self._value(reply.answer)
        steps, answer_on_line = split_steps(reply.solution)
        _expect(bool(question and steps and answer), "question, solution and answer must not be empty")
        if answer_on_line is not None:
            written = self._value(answer_on_line)
            same = written == answer or equivalent_many([(written, answer)], self.style)[0]
            _expect(same, f"the solution ends in {answer_on_line[:80]}, but answer is {answer[:80]}", "answer_mismatch")
        if self.style == "gsm8k":
            _expect(bool(_NUMBER.fullmatch(answer)), f"answer: {answer[:80]!r} is not a number")
        return Draft(question, join_steps(steps, answer), answer, parents)

    def _value(self, text: str) -> str:
        """An answer as the style writes it: for `gsm8k` the one number that `text` holds (5 of "5.0" and of "5 pens")."""
        bare = _answer(text)
        if self.style != "gsm8k":
            return bare
        numbers = _NUMBER_IN_TEXT.findall(bare.translate(_MINUS).replace("{,}", ","))
        if len(numbers) != 1 or len(numbers[0]) > _MOST_DIGITS:
            return bare
        number = re.sub(r"^(-?)\.", r"\g<1>0.", _answer(numbers[0]))
        return re.sub(r"(\.\d*?)0+$", r"\1", number).removesuffix(".")

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
            found = _valid(parse_list(text, "groups", GroupItem), GroupItem)
            _expect(bool(found), "groups: there must be at least one")
            _expect(all(group.name.strip() for group in found), "name: it is empty")
            return tuple(
                PhraseGroup(" ".join(group.name.split()), group.description.strip(), tuple(group.phrases))
                for group in found
            )

        values = {"phrases": "\n".join(f"- {phrase}" for phrase in phrases)}
        if groups:
            values["groups"] = "\n".join(f"- {name}: {description}" for name, description in groups)
            job = self._job("cluster_extend", "cluster_extend", "keyphrases", read, GroupsReply, sample, **values)
        else:
            values["task"] = prompts.load(f"teacher/cluster_task/{'divide' if divide else 'form'}").text
            job = self._job("cluster_seed", "cluster_seed", "keyphrases", read, GroupsReply, sample, **values)
        return dataclasses.replace(job, items=True)

    def merge_groups(self, groups: Sequence[tuple[str, str, Sequence[str]]]) -> Job[tuple[GroupMerge, ...]]:
        """Which error types (name, description, some phrases) are the same weakness."""

        def read(text: str) -> tuple[GroupMerge, ...]:
            found = _valid(parse_list(text, "merges", MergeItem), MergeItem)
            _expect(all(merge.name.strip() for merge in found), "name: it is empty")
            return tuple(
                GroupMerge(" ".join(merge.name.split()), merge.description.strip(), tuple(merge.names))
                for merge in found
            )

        lines = [f"- {name}: {description} Phrases: {'; '.join(phrases)}" for name, description, phrases in groups]
        job = self._job("cluster_merge", "cluster_merge", "keyphrases", read, MergesReply, groups="\n".join(lines))
        return dataclasses.replace(job, items=True)

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

    def _format(self) -> dict[str, str]:
        return {"answer_format": prompts.load(f"teacher/answer_format/{self.style}").text}

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
        text = prompt.fill(**values)
        if schema is not None and self.style == "math":
            text += "\n\n" + prompts.load("teacher/latex").text
        request = Request(
            messages=(user(text),),
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
    talk = (*request.messages, ("assistant", after_reasoning(reply).strip() or "(no reply)"), user(text))
    return dataclasses.replace(request, messages=talk, prompt=f"{request.prompt}+", sample=request.sample)


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?|-?\d+/\d+")
_MOST_DIGITS = 300  # more come from a model stuck in a loop
_MINUS = str.maketrans("−–", "--")
_NUMBER_IN_TEXT = re.compile(r"-?\d+/\d+|-?(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|-?\.\d+")
# "1. ", "(1) ", "1: ", "Problem 1: ", "**Q1.** ", "### Question 2 - "
_PROBLEM_LABEL = re.compile(
    r"[#*_\s]*(?:(?:word[ -])?(?:problem|question|exercise|task|item|example|q|no\.?|number)\s*#?(?P<named>\d{1,3})"
    r"\s*[*_]*[.:)–—-]+"
    r"|[(\[](?P<bracketed>\d{1,3})[)\]][.:]?"
    r"|#?(?P<bare>\d{1,3})[.):])[*_]*\s+",
    re.IGNORECASE,
)
_STEP_LABEL = re.compile(r"^(?:Step\s*\d+\s*[:.]|\d+[.)])\s+", re.IGNORECASE)


def read_template(text: str) -> ThoughtTemplate:
    """A thought template from its XML, whatever stands before and after it. Raises ParseError."""
    text = after_reasoning(text)
    start, end = text.find("<Step1>"), text.rfind("</Answer>")
    if start < 0:
        raise ParseError("malformed", "there is no <Step1>")
    template = templates.parse(text[start : end + len("</Answer>")] if end > start else text[start:])
    if isinstance(template, Malformed):
        raise ParseError("malformed", f"{template.reason}: {template.detail}")
    return template


def _solution(text: str) -> str:
    """A solution in plain text, without the reasoning before it."""
    solution = after_reasoning(text).strip()
    _expect(bool(solution) or not text.strip(), "there is nothing after the reasoning", "malformed")
    return solution


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
    try:
        return ProblemItem.model_validate(item)
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) or "object" for problem in error.errors())
        raise ParseError("wrong_schema", f"missing or of the wrong kind: {fields}") from error


def _valid(items: Sequence[Any], model: type[T_model]) -> list[T_model]:
    """Those of `items` that are what they should be. Raises ParseError where none of several is."""
    found, complaint = [], ""
    for item in items:
        try:
            found.append(model.model_validate(item))
        except ValidationError as error:
            complaint = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()[:8])
    _expect(bool(found) or not items, complaint)
    return found


def _expect(held: bool, complaint: str, fault: Any = "wrong_schema") -> None:
    if not held:
        raise ParseError(fault, complaint)


def _numbered(mistake: Mistake, style: Style = "gsm8k") -> str:
    steps, answer = split_steps(mistake.output, style)
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


def _without_number(question: str) -> str:
    """A question without the number that a list of questions gave it."""
    question = question.strip()
    if not (label := _PROBLEM_LABEL.match(question)):
        return question
    rest = question[label.end() :]
    number = int(label["named"] or label["bracketed"] or label["bare"])
    counts_on = re.search(rf"[\n.,;:?!]\s*[(\[]?{number + 1}[.):\]]", rest)  # the number is of a part of the question
    return question if not rest or (counts_on and not label["named"]) else rest


def _normal(question: str) -> str:
    return " ".join(question.casefold().split())
