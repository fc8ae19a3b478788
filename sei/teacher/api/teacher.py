"""The API teacher: every role as a batch, one result or one `Rejected` per item.

Place in the flow: implements `sei.teacher.base.Teacher` for the stages, and the further roles for the recipes that
need them. A reply that cannot be used is asked for once more, with the complaint; then its record is rejected under a
code that says what happened: truncated, refused, empty, filtered, malformed, wrong_schema, failed (no answer at all);
for single problems of a synthesize reply also answer_mismatch, duplicate, surplus, missing.

Example::

    teacher = ApiTeacher(ApiSettings(model="gpt-4o"), Place("gsm8k", store=path, run_folder=folder))
    diagnoses = teacher.diagnose(mistakes)          # opens the client
    teacher.close()
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, TypeVar

from sei import prompts
from sei.answers import Style
from sei.llm.answer import Answer
from sei.llm.client import Client
from sei.llm.door import shown
from sei.llm.prices import price_of
from sei.llm.request import Request
from sei.llm.settings import ApiSettings
from sei.records import Correction, Diagnosis, Mistake, Problem, Rejected, Trace
from sei.teacher.api.evolve import SOLVE_TEMPERATURE, drafts_of, draw_numbers
from sei.teacher.api.limits import limits_with
from sei.teacher.api.replies import GroupMerge, PhraseGroup, TypeName
from sei.teacher.api.roles import Harvest, Job, Roles, follow_up
from sei.teacher.api.structured import ParseError
from sei.teacher.base import Draft, Place, Solution, SynthesisRequest
from sei.teacher.review import Inspection, Revision
from sei.templates import ThoughtTemplate

T = TypeVar("T")

_COMPLAINTS = {
    "refused": "it declines to answer. The task is ordinary school mathematics",
    "empty": "it is empty",
}
# What a record rejected for its answer's status says, where the server gave no words of its own
_DETAILS = {
    "truncated": "cut off at {tokens} tokens and again at twice as many; teacher.limits.{role}.max_tokens sets more",
    "refused": "the teacher declines to answer, twice",
    "empty": "no text, twice",
    "filtered": "the provider's filter withheld the answer",
    "failed": "no answer",
}


class ApiTeacher:
    """A teacher behind an OpenAI-compatible endpoint. Its client, the store with it, is opened by the first question."""

    def __init__(
        self, settings: ApiSettings, place: Place, limits: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Calls are charged to the run in `place.run_folder`, in all its processes and restarts.

        `limits` replaces fields of `LIMITS` by role, as `teacher.limits` does: {"diagnose": {"max_tokens": 800}}.
        """
        self.name, self.settings = settings.model, settings
        self.roles = Roles(place.style, limits_with(limits or {}))
        self._place, self._limits = place, limits
        self._inspectors: dict[str, ApiTeacher] = {}

    @cached_property
    def client(self) -> Client:
        """The client. Raises UserError where it cannot be opened: no key, or a store that cannot be written."""
        return Client.open(self.settings, store=self._place.store, run_folder=self._place.run_folder)

    def close(self) -> None:
        """Close connections and store, and the inspectors; a second call does nothing."""
        for inspector in self._inspectors.values():
            inspector.close()
        if "client" in self.__dict__:
            self.client.close()

    def fingerprint(self) -> dict[str, Any]:
        """Model, prompts and limits: what decides this teacher's answers. Not where it is reached."""
        hashes = {name: prompts.load(name).hash for name in prompt_names()}
        limits = {role: dataclasses.asdict(limit) for role, limit in self.roles.limits.items()}
        for limit in limits.values():
            del limit["mean_tokens_out"]  # changes estimates, not answers
        return {
            "teacher": "api",
            "model": self.settings.model,
            "style": self.roles.style,
            "prompts": hashes,
            "limits": limits,
        }

    def charged(self) -> dict[str, float] | None:
        """US dollars that the answers this run used have cost, whoever paid them, by role; None where no price is known."""
        if price_of(self.settings.model, self.settings.price) is None:
            return None
        dollars: dict[str, float] = {}
        for use, answer in self.client.store.used(self.client.run):
            dollars[use.stage] = dollars.get(use.stage, 0.0) + answer.cost_usd
        return dollars

    # The Teacher protocol

    def diagnose(self, mistakes: Sequence[Mistake]) -> list[Diagnosis | Rejected]:
        return self.ask([self.roles.diagnose(mistake) for mistake in mistakes])

    def locate(self, solutions: Sequence[Solution]) -> list[int | Rejected]:
        """First wrong steps, found without the gold solutions."""
        return self.ask([self.roles.locate(solution) for solution in solutions])

    def correct(self, mistakes: Sequence[Mistake], diagnoses: Sequence[Diagnosis]) -> list[Correction | Rejected]:
        """Corrections found without the gold solution. A diagnosis with a step goes along as a reviewer's remark."""
        pairs = zip(mistakes, diagnoses, strict=True)
        return self.ask([self.roles.correct(mistake, diagnosis) for mistake, diagnosis in pairs])

    def synthesize(self, requests: Sequence[SynthesisRequest]) -> list[list[Draft | Rejected]]:
        jobs = [self.roles.synthesize(wish) for wish in requests]
        first = self._ask_texts(jobs)
        results: list[list[Draft | Rejected]] = []
        short: list[tuple[int, Job[Harvest]]] = []
        for index, (wish, job, (text, harvest)) in enumerate(zip(requests, jobs, first, strict=True)):
            if isinstance(harvest, Rejected):
                results.append([harvest])
                continue
            results.append([*harvest.drafts, *_unusable(wish, harvest)])
            if len(harvest.drafts) < wish.count:
                short.append((index, self.roles.top_up(job, wish, text, harvest)))
        more = self._ask_texts([job for _, job in short])
        for (index, _), (_, harvest) in zip(short, more, strict=True):
            result, wish = results[index], requests[index]
            if isinstance(harvest, Rejected):
                result.append(harvest)
            else:
                drafts = [draft for draft in result if isinstance(draft, Draft)]
                rejected = [item for item in result if isinstance(item, Rejected)]
                result[:] = [*drafts, *harvest.drafts, *rejected, *_unusable(wish, harvest)]
            missing = wish.count - sum(isinstance(item, Draft) for item in result)
            result.extend(
                Rejected.make(wish.error_type_id, "missing", f"problem {wish.count - left} of {wish.count}")
                for left in range(missing)
            )
        return results

    # Further roles

    def solve(
        self, questions: Sequence[str], source_ids: Sequence[str], samples: int = 1, temperature: float | None = None
    ) -> list[list[str | Rejected]]:
        """For each question `samples` solutions in the style's format. More than one needs a temperature above 0."""
        if samples > 1 and not (temperature or self.roles.limits["solve"].temperature):
            raise ValueError("several samples at temperature 0 would all be the same: give temperature=")
        jobs = [
            self.roles.solve(question, source_id, sample, temperature)
            for question, source_id in zip(questions, source_ids, strict=True)
            for sample in range(samples)
        ]
        flat = self.ask(jobs)
        return [flat[start : start + samples] for start in range(0, len(flat), samples)]

    def evolve(
        self, seeds: Sequence[Problem], *, samples: int, style: Style, rouge_threshold: float, seed: int
    ) -> list[Draft | Rejected]:
        """One harder problem per seed; its answer is the one that most of `samples` own solutions reach."""
        jobs = [
            self.roles.evolve(problem.question, problem.id, sample)
            for problem, sample in zip(seeds, draw_numbers(seeds, seed), strict=True)
        ]
        replies = self.ask(jobs)
        asked = [problem for problem, reply in zip(seeds, replies, strict=True) if isinstance(reply, str)]
        questions = [reply for reply in replies if isinstance(reply, str)]
        temperature = SOLVE_TEMPERATURE if samples > 1 else None
        solutions = self.solve(questions, [problem.id for problem in asked], samples, temperature)
        drafts = iter(drafts_of(asked, questions, solutions, style))
        return [next(drafts) if isinstance(reply, str) else reply for reply in replies]

    def name_types(self, keyphrases: Sequence[Sequence[str]], type_ids: Sequence[str]) -> list[TypeName | Rejected]:
        """Names for clusters, one after the other, each told the names given before it."""
        taken: list[str] = []
        results: list[TypeName | Rejected] = []
        for phrases, type_id in zip(keyphrases, type_ids, strict=True):
            result = self.ask([self.roles.name_type(type_id, phrases, taken)])[0]
            if isinstance(result, TypeName):
                taken.append(result.name)
            results.append(result)
        return results

    def group_phrases(
        self, phrases: Sequence[str], groups: Sequence[tuple[str, str]], *, divide: bool = False, sample: int = 0
    ) -> tuple[PhraseGroup, ...] | Rejected:
        """One batch of keyphrases into error types; see `Roles.group_phrases`."""
        return self.ask([self.roles.group_phrases(phrases, groups, divide=divide, sample=sample)])[0]

    def merge_groups(self, groups: Sequence[tuple[str, str, Sequence[str]]]) -> tuple[GroupMerge, ...] | Rejected:
        """Which error types are the same weakness."""
        return self.ask([self.roles.merge_groups(groups)])[0]

    def template(
        self, problems: Sequence[Problem], revisions: Sequence[Revision[ThoughtTemplate] | None] = ()
    ) -> list[ThoughtTemplate | Rejected]:
        pairs = zip(problems, revisions or [None] * len(problems), strict=True)
        return self.ask([self.roles.template(problem, revision) for problem, revision in pairs])

    def trace(
        self, mistakes: Sequence[Mistake], revisions: Sequence[Revision[Trace] | None] = (), *, gold: bool = True
    ) -> list[Trace | Rejected]:
        """Correction traces, with the gold solution before the author's eyes or without."""
        pairs = zip(mistakes, revisions or [None] * len(mistakes), strict=True)
        return self.ask([self.roles.trace(mistake, gold=gold, revision=revision) for mistake, revision in pairs])

    def inspector(self, model: str | None) -> ApiTeacher:
        """Who checks what this teacher writes: itself, or another model at its endpoint, which is closed with this one."""
        if model is None:
            return self
        if model not in self._inspectors:
            settings = dataclasses.replace(self.settings, model=model, price=None)  # the price given is this model's
            self._inspectors[model] = ApiTeacher(settings, self._place, self._limits)
        return self._inspectors[model]

    def inspect_templates(
        self, problems: Sequence[Problem], templates: Sequence[ThoughtTemplate]
    ) -> list[Inspection | Rejected]:
        return self.ask([self.roles.inspect_template(*pair) for pair in zip(problems, templates, strict=True)])

    def inspect_traces(self, mistakes: Sequence[Mistake], traces: Sequence[Trace]) -> list[Inspection | Rejected]:
        return self.ask([self.roles.inspect_trace(*pair) for pair in zip(mistakes, traces, strict=True)])

    # Asking

    def ask(self, jobs: Sequence[Job[T]]) -> list[T | Rejected]:
        """One result or one Rejected per job, in order, after at most one repair call each."""
        return [result for _, result in self._ask_texts(jobs)]

    def _ask_texts(self, jobs: Sequence[Job[T]]) -> list[tuple[str, T | Rejected]]:
        """As `ask`, each with the text it was read from."""
        answers = self.client.ask_many([job.request for job in jobs])
        results = list(map(_outcome, jobs, answers))
        repairs = [
            (index, repair)
            for index, (job, answer) in enumerate(zip(jobs, answers, strict=True))
            if isinstance(rejected := results[index][1], Rejected)
            and (repair := _repair(job.request, answer, rejected)) is not None
        ]
        if repairs:
            second = self.client.ask_many([repair for _, repair in repairs])
            for (index, _), answer in zip(repairs, second, strict=True):
                results[index] = _outcome(jobs[index], answer)
        return results


def _outcome(job: Job[T], answer: Answer) -> tuple[str, T | Rejected]:
    """An answer's text, and what it is read as.

    Whatever the text does to its reader, the record is rejected: the text is stored, so the same command would end by it again.
    """
    wrong = answer.status != "ok"
    if not wrong or (job.items and answer.status == "truncated"):
        try:
            return answer.text, job.read(answer.text)
        except ParseError as error:
            if not wrong:
                return answer.text, Rejected.make(job.source_id, error.fault, str(error), answer.text)
        except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
            detail = f"reading it failed with {type(error).__name__}: {shown(str(error), 200)}"
            return answer.text, Rejected.make(job.source_id, "malformed", detail, answer.text)
    detail = _DETAILS.get(answer.status, "no usable answer").format(
        tokens=job.request.max_tokens, role=job.request.stage
    )
    detail = answer.error if answer.status in ("failed", "filtered") and answer.error else detail
    more = f" ({answer.error})" if answer.error and answer.error != detail else ""
    return answer.text, Rejected.make(job.source_id, answer.status, detail + more, answer.text)


def _repair(request: Request, answer: Answer, rejected: Rejected) -> Request | None:
    """The call that may mend a reply, None where another call cannot help."""
    if answer.status in ("failed", "filtered"):  # no answer to mend; a provider's filter would say the same again
        return None
    if answer.status == "truncated":
        return dataclasses.replace(request, max_tokens=2 * request.max_tokens)
    complaint = _COMPLAINTS.get(rejected.reason, rejected.detail)
    return follow_up(request, answer.text, prompts.load("teacher/repair").fill(complaint=complaint))


def _unusable(wish: SynthesisRequest, harvest: Harvest) -> list[Rejected]:
    return [Rejected.make(wish.error_type_id, reason, detail, raw) for reason, detail, raw in harvest.unusable]


def prompt_names() -> list[str]:
    """All prompt files of the API teacher."""
    folder = prompts.FOLDER / "teacher"
    return sorted(str(path.relative_to(prompts.FOLDER).with_suffix("")) for path in folder.rglob("*.txt"))
