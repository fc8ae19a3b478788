"""The engine that replays a file of recorded solutions.

Place in the flow: with `engine=recorded` the stages mine mistakes that real models made earlier, without any model at
hand. The file holds rows as `sei.target.recordings` knows them: question and solution, or what lm-evaluation-harness,
NeMo-Skills, or a batch of OpenAI or vLLM wrote (that one with `engine.requests`, the batch's input, for its questions).

Example::

    engine = RecordedEngine(Path("attempts.jsonl"))
    check_known(engine.questions(), (problem.question for problem in problems), path=engine.path)
    engine.complete([Query(prompt="", question=problem.question)], Sampling())
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sei.data.files import MAX_FAULTS, WANTED, Fault, data_files, rows
from sei.data.rows import bad_rows, located
from sei.errors import UserError
from sei.target import recordings
from sei.target.engine import Completion, Query, Sampling
from sei.target.recordings import Recording
from sei.target.weights import Weights

logger = logging.getLogger(__name__)

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "′": "'", "″": '"'})


@dataclass(frozen=True)
class Recorded:
    """`engine=recorded`: attempts that real models made earlier, from a file."""

    path: str | None = None
    requests: str | None = None  # the input of a batch whose output `path` is: its questions, by custom_id

    def open(self, weights: Weights) -> RecordedEngine:
        """The file's attempts, whatever the weights."""
        return RecordedEngine(self.path or "", self.requests)

    def questions(self, known: Iterable[str] = ()) -> list[str]:
        """The distinct questions of the file."""
        return RecordedEngine(self.path or "", self.requests).questions(known)

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: the engine says which file it is."""
        return {}

    def complaints(self) -> list[str]:
        if not self.path:
            return ["engine=recorded replays a file: set engine.path=FILE (JSONL with question and solution)"]
        return [
            f"engine.{key}={path}: is a folder, not a file.{data_files(Path(path))} Name one file"
            if Path(path).is_dir()
            else f"engine.{key}={path}: no such file"
            for key, path in {"path": self.path, "requests": self.requests}.items()
            if path and not Path(path).is_file()
        ]

    def check(self) -> None:
        """Any machine will do."""


class RecordedEngine:
    """Engine over recorded solutions, looked up by question."""

    name = "recorded"

    def __init__(self, path: str | Path, requests: str | Path | None = None) -> None:
        """Read the file. Raises UserError with path, line and field where it is missing, malformed or empty."""
        self.path = Path(path)
        self._requests = Path(requests) if requests else None
        self._questions: dict[str, str] = {}  # normalized -> as first written
        self._completions: dict[str, list[Completion]] = {}
        self._read()
        if not self._completions:
            raise UserError(f"{self.path}: holds no attempts. {WANTED}, with question and solution.")

    def fingerprint(self) -> dict[str, Any]:
        """The files' SHA-256."""
        files = {"file": self.path} | ({"requests": self._requests} if self._requests else {})
        return {"engine": self.name} | {key: _sha256(path) for key, path in files.items()}

    def questions(self, known: Iterable[str] = ()) -> list[str]:
        """The distinct questions, in the file's order, as written there.

        What a batch asked may have its question inside a prompt; it is found there if it is one of `known`.
        """
        asked = self._asked(known)
        written = (question if asked[key] == key else asked[key] for key, question in self._questions.items())
        return list(dict.fromkeys(written))

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """All recorded completions of each question, [] where the file has none. `sampling` has no influence."""
        keys: dict[str, list[str]] = {}
        for key, question in self._asked(query.question for query in queries).items():
            keys.setdefault(question, []).append(key)
        return [
            [one for key in keys.get(normalize_question(query.question), ()) for one in self._completions[key]]
            for query in queries
        ]

    def close(self) -> None:
        """Nothing to free."""

    def _asked(self, known: Iterable[str]) -> dict[str, str]:
        """Normalized text that was asked -> the normalized question in it."""
        if self._requests is None:
            return {key: key for key in self._completions}
        return unwrap(list(self._completions), {normalize_question(question) for question in known})

    def _read(self) -> None:
        faults: list[str] = []
        failed = 0
        filters: dict[str, Counter[str]] = {}
        prompts = self._prompts()
        for where, row in rows(self.path):
            try:
                if isinstance(row, Fault):
                    raise row
                for recording in recordings.read(row):
                    if not recording.same or _is_new(recording, filters):
                        self._add(recording, prompts if "custom_id" in row else None)
            except recordings.Failed:
                failed += 1
            except Fault as fault:
                faults.append(located(where, fault))
                if len(faults) == MAX_FAULTS:
                    break
        if faults:
            raise bad_rows(f"{self.path}", faults, "Mend or remove them")
        if failed:
            logger.warning("%s: %d requests failed, so there are no attempts of them", self.path, failed)

    def _prompts(self) -> dict[str, str]:
        if self._requests is None:
            return {}
        try:
            return recordings.prompts(rows(self._requests))
        except Fault as fault:
            raise UserError(f"{fault}. engine.requests wants the input of the batch, as it was sent.") from None

    def _add(self, recording: Recording, prompts: dict[str, str] | None) -> None:
        question = recording.question
        if prompts is not None and self._requests is not None:
            if question not in prompts:
                raise Fault(f"custom_id {question[:80]!r} is not in engine.requests={self._requests}")
            question = prompts[question]
        elif prompts is not None and len(question.split()) < 2:
            raise Fault(
                f"custom_id {question[:80]!r} is no question, and the output of a batch holds no other. Set "
                "engine.requests=FILE to the batch's input"
            )
        key = normalize_question(question)
        self._questions.setdefault(key, question)
        # Where a file does not say how many tokens there were, words are counted.
        tokens = len(recording.text.split()) if recording.tokens is None else recording.tokens
        completion = Completion(recording.text, tokens, recording.truncated, recording.model)
        self._completions.setdefault(key, []).append(completion)


def _is_new(recording: Recording, filters: dict[str, Counter[str]]) -> bool:
    """Whether no row of another filter had this attempt; rows of the same filter are attempts of their own."""
    attempt, name = recording.same
    seen = filters.setdefault(attempt, Counter())
    before = max(seen.values(), default=0)
    seen[name] += 1
    return seen[name] > before


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_TRIED = 20  # prompts that are looked through for their questions


def unwrap(prompts: Sequence[str], questions: Iterable[str]) -> dict[str, str]:
    """Prompt -> the question in it, where every prompt has the same text around its question; else the prompt itself.

    What is around is what makes the most of the prompts hold one of the `questions`. It is no longer than what the prompts
    have in common at their beginning and end, so that an example shown in all of them is not taken for the question.
    """
    known = dict.fromkeys(questions)
    before, after = _in_common(prompts), _in_common([prompt[::-1] for prompt in prompts])
    places = {(0, 0)}  # characters before the question, and after it
    found = 0
    for prompt in prompts:
        for question in known:
            start = prompt.rfind(question)
            end = len(prompt) - start - len(question)
            if 0 <= start <= before and end <= after:
                places.add((start, end))
                found += 1
        if found >= _TRIED:
            break

    def inside(prompt: str, place: tuple[int, int]) -> str:
        return prompt[place[0] : len(prompt) - place[1]].strip()

    def worth(place: tuple[int, int]) -> tuple[int, int, int]:
        return sum(inside(prompt, place) in known for prompt in prompts), -place[1], -place[0]

    best = max(places, key=worth)
    return {prompt: inside(prompt, best) for prompt in prompts}


def _in_common(texts: Sequence[str]) -> int:
    """How many characters all texts begin with."""
    first, last = min(texts, default=""), max(texts, default="")
    pairs = enumerate(zip(first, last, strict=False))
    return next((index for index, (one, other) in pairs if one != other), min(len(first), len(last)))


def normalize_question(question: str) -> str:
    """`question` with plain quotes and single spaces: copies of a data set differ in these."""
    return " ".join(question.translate(_QUOTES).split())


def check_known(questions: Iterable[str], known: Iterable[str], *, path: str | Path) -> None:
    """Raise UserError where some recorded `questions` are not among the `known` problems' questions."""
    keys = {normalize_question(question) for question in known}
    questions = list(questions)
    unknown = [question for question in questions if normalize_question(question) not in keys]
    if unknown:
        raise UserError(
            f"{path}: {len(unknown)} of {len(questions)} recorded questions belong to no problem of the data; the "
            f"first: {unknown[0][:160]!r}. Give the data set (data.path, split) that the attempts were made on."
        )
