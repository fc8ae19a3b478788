"""The engine that replays a file of recorded solutions.

Place in the flow: with `engine=recorded` the stages mine mistakes that real models made earlier, without any model at
hand. The file is JSONL; each line has `question` and `solution` (text) and may have `model` and `finish_reason` (`length`:
the solution was cut at its token limit); other fields are ignored.

Example::

    engine = RecordedEngine(Path("attempts.jsonl"))
    check_known(engine.questions(), (problem.question for problem in problems), path=engine.path)
    engine.complete([Query(prompt="", question=problem.question)], Sampling())
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sei.errors import UserError
from sei.target.engine import Completion, Query, Sampling, ended_at_limit
from sei.target.weights import Weights

_QUOTES = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "′": "'", "″": '"'})


@dataclass(frozen=True)
class Recorded:
    """`engine=recorded`: attempts that real models made earlier, from a file."""

    path: str | None = None

    def open(self, weights: Weights) -> RecordedEngine:
        """The file's attempts, whatever the weights."""
        return RecordedEngine(self.path or "")

    def questions(self) -> list[str]:
        """The distinct questions of the file."""
        return RecordedEngine(self.path or "").questions()

    def fingerprint(self) -> dict[str, Any]:
        """Nothing: the engine says which file it is."""
        return {}

    def complaints(self) -> list[str]:
        if not self.path:
            return ["engine=recorded replays a file: set engine.path=FILE (JSONL with question and solution)"]
        return [] if Path(self.path).is_file() else [f"engine.path={self.path}: no such file"]

    def check(self) -> None:
        """Any machine will do."""


class RecordedEngine:
    """Engine over recorded solutions, looked up by question."""

    name = "recorded"

    def __init__(self, path: str | Path) -> None:
        """Read the file. Raises UserError with path, line and field where it is missing, malformed or empty."""
        self.path = Path(path)
        try:
            raw = self.path.read_bytes()
            text = raw.decode("utf-8")
        except OSError as error:
            raise UserError(f"engine.path={self.path}: {error.strerror}. Give a JSONL file of attempts.") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: not UTF-8 text (byte {error.start}).") from error
        self._hash = hashlib.sha256(raw).hexdigest()
        self._questions: dict[str, str] = {}  # normalized -> as first written
        self._completions: dict[str, list[Completion]] = {}
        # Only "\n" ends a line of JSONL: questions may hold U+2028, at which str.splitlines would split.
        for number, line in enumerate(text.split("\n"), start=1):
            if line.strip():
                self._add(line, number)
        if not self._completions:
            raise UserError(f"{self.path}: holds no attempts. Each line is a JSON object with question and solution.")

    def fingerprint(self) -> dict[str, Any]:
        """The file's SHA-256."""
        return {"engine": self.name, "file": self._hash}

    def questions(self) -> list[str]:
        """The distinct questions, in the file's order, as written there."""
        return list(self._questions.values())

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """All recorded completions of each question, [] where the file has none. `sampling` has no influence."""
        return [list(self._completions.get(normalize_question(query.question), ())) for query in queries]

    def close(self) -> None:
        """Nothing to free."""

    def _add(self, line: str, number: int) -> None:
        where = f"{self.path}:{number}"
        try:
            row = json.loads(line)
        except ValueError as error:
            raise UserError(f"{where}: not JSON ({error}).") from error
        if not isinstance(row, dict):
            raise UserError(f"{where}: expected a JSON object with question and solution, found {type(row).__name__}.")
        for name in ("question", "solution"):
            if name not in row:
                raise UserError(f"{where}: field '{name}' is missing (found: {', '.join(sorted(row)) or 'nothing'}).")
        for name in ("question", "solution", "model"):
            if not isinstance(row.get(name, ""), str):
                raise UserError(f"{where}: field '{name}' must be text, found {json.dumps(row[name])[:80]}.")
        if not row["question"].strip():
            raise UserError(f"{where}: field 'question' is empty.")
        key = normalize_question(row["question"])
        self._questions.setdefault(key, row["question"])
        # The file says nothing about tokens, so words are counted.
        tokens, truncated = len(row["solution"].split()), ended_at_limit(row.get("finish_reason"))
        completion = Completion(row["solution"], tokens, truncated, row.get("model", "recorded"))
        self._completions.setdefault(key, []).append(completion)


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
