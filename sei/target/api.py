"""The engine behind an OpenAI-compatible endpoint: another model's attempts, each paid for once.

Place in the flow: with it the stages mine the mistakes of served models, or sample a teacher's paths (LeMa takes both
from several). It asks through the client that an API teacher uses, so answers lie in the same store and are never asked
for twice, load is balanced, faults are retried, and a budget holds. Nothing is opened before the first completion: a run
that finds its attempts in the cache needs neither key nor server.

Example::

    engine = ApiEngine(ApiSettings(model="gpt-4o"), store=cache / "teacher.sqlite", run_folder=run)
    engine.complete([Query(prompt, question)], Sampling(temperature=0.7, samples=4))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sei.llm.answer import Answer
from sei.llm.client import Client
from sei.llm.request import Request, user
from sei.llm.settings import ApiSettings
from sei.target.engine import Completion, Query, Sampling

PROMPT = "target"  # what the store files these answers under; the prompts are the target's own, filled by the stages
_SEED_STRIDE = 1_000_000  # more than anybody's samples a query, so that every seed has sample numbers of its own


class ApiEngine:
    """Engine over chat completions: a query's prompt is the one user message."""

    name = "api"

    def __init__(self, settings: ApiSettings, *, store: Path, run_folder: Path) -> None:
        """Answers are kept in `store` and charged to `run_folder`. Opens nothing."""
        self.settings, self._store, self._run_folder = settings, store, run_folder
        self._client: Client | None = None

    def fingerprint(self) -> dict[str, Any]:
        """The model's name: what decides its answers. Not where it is reached."""
        return {"engine": self.name, "model": self.settings.model}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        """For each query its completions, in the order of samples. A greedy completion is made once and repeated.

        Refused, empty and filtered answers are completions without text: graded as no answer they count in an evaluation,
        and no number in a refusal's words is taken for a wrong answer. A call that failed for good gives no completion, so
        a query may have fewer than `samples`, or []. Raises ValueError for a `top_p` other than 1, which requests do not
        carry, and what the client raises (UserError, BudgetExceeded, KeyboardInterrupt): all answers until then are kept.
        """
        if sampling.top_p != 1.0:
            raise ValueError(f"top_p={sampling.top_p}: an API engine samples with top_p 1; set the temperature instead")
        greedy = sampling.temperature == 0.0
        samples = range(1 if greedy else sampling.samples)
        offset = 0 if greedy else sampling.seed * _SEED_STRIDE
        requests = [_request(query, sampling, offset + sample) for query in queries for sample in samples]
        client = self._open()
        answers = client.ask_many(requests)
        tokens = {key: row.tokens_out for key, row in client.store.get({answer.key for answer in answers}).items()}
        results: list[list[Completion]] = []
        for start in range(0, len(answers), len(samples)):
            answered = [answer for answer in answers[start : start + len(samples)] if answer.status != "failed"]
            completions = [self._completion(answer, tokens.get(answer.key, 0), sampling.stop) for answer in answered]
            results.append(completions * (sampling.samples if greedy else 1))
        return results

    def close(self) -> None:
        """Close connections and store. Idempotent; the next completion opens them again."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _open(self) -> Client:
        if self._client is None:
            self._client = Client.open(self.settings, store=self._store, run_folder=self._run_folder)
        return self._client

    def _completion(self, answer: Answer, tokens: int, stop: Sequence[str]) -> Completion:
        """The answer up to the first stop string, which is cut here: the store holds answers as they came."""
        text = answer.text if answer.status in ("ok", "truncated") else ""
        cuts = [position for position in map(text.find, stop) if position >= 0]
        text = text[: min(cuts)] if cuts else text
        return Completion(text, tokens, answer.status == "truncated" and not cuts, self.settings.model)


def _request(query: Query, sampling: Sampling, sample: int) -> Request:
    return Request(
        messages=(user(query.prompt),),
        prompt=PROMPT,
        prompt_hash="",
        max_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        sample=sample,
        stage="attempt",
    )
