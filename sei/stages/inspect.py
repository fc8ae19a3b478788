"""Inspect: what teachers write is checked by an inspector, and what is faulty goes back, at most a few rounds.

Place in the flow: traces -> **inspected traces** -> pairs, and inside `stages.template` the same for templates (SuperCorrect,
arXiv 2410.09008, section 4: at most 3 rounds, the inspector another model than the author). One round is one rewriting, so
after 3 rounds a text has had up to 4 versions and as many verdicts; what is faulty then is left out.

Example::

    inspect(traces, mistakes, inspector, author, thoughts, rounds=3).records[0].inspections     # ("Step 2 is right.", "right")
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from sei.records import Mistake, Rejected, Trace
from sei.stage import Output, stage
from sei.stages.trace import as_solutions
from sei.target.thoughts import Thoughts
from sei.teacher.review import Author, Inspection, Inspector, Revision

T = TypeVar("T")
ROUNDS = 3
RIGHT = "right"


@dataclass(frozen=True)
class Inspected(Generic[T]):
    """A version the inspector calls right, with its verdict on each version up to this one."""

    version: T
    verdicts: tuple[str, ...]


@stage(Trace, "traces.inspected")
def inspect(
    traces: Sequence[Trace],
    mistakes: Sequence[Mistake],
    inspector: Inspector,
    author: Author,
    thoughts: Thoughts,
    *,
    rounds: int = ROUNDS,
) -> Output[Trace]:
    """The traces that the inspector calls right, rewritten where needed; verdicts stand in `Trace.inspections`.

    The others are rejected: `still_faulty`, or what the inspector or author failed with.
    """
    by_id = {mistake.id: mistake for mistake in as_solutions(mistakes, thoughts)}
    subjects = [by_id[trace.mistake_id] for trace in traces]
    results = until_right(
        traces,
        [mistake.id for mistake in subjects],
        lambda indices, versions: inspector.inspect_traces([subjects[index] for index in indices], versions),
        lambda indices, revisions: author.trace([subjects[index] for index in indices], revisions),
        rounds,
    )
    kept = [
        dataclasses.replace(result.version, inspections=result.verdicts)
        for result in results
        if isinstance(result, Inspected)
    ]
    rejected = [result for result in results if isinstance(result, Rejected)]
    return Output(kept, received=len(traces), rejected=rejected, numbers=rounds_needed(results))


def until_right(
    versions: Sequence[T],
    source_ids: Sequence[str],
    ask: Callable[[Sequence[int], Sequence[T]], Sequence[Inspection | Rejected]],
    rewrite: Callable[[Sequence[int], Sequence[Revision[T]]], Sequence[T | Rejected]],
    rounds: int,
) -> list[Inspected[T] | Rejected]:
    """The inspector's loop over `versions`, in order. `ask` and `rewrite` get the places of the items they are to treat."""
    results: dict[int, Inspected[T] | Rejected] = {}
    verdicts: list[tuple[str, ...]] = [() for _ in versions]
    open_versions = dict(enumerate(versions))
    for round in range(rounds + 1):
        indices, faulty = list(open_versions), {}
        for index, said in zip(indices, ask(indices, list(open_versions.values())), strict=True):
            if isinstance(said, Rejected):
                results[index] = said
                continue
            verdicts[index] += (RIGHT if said.correct else " ".join(said.faults),)
            if said.correct:
                results[index] = Inspected(open_versions[index], verdicts[index])
            elif round == rounds:
                detail = " | ".join(verdicts[index])
                raw = str(open_versions[index])
                results[index] = Rejected.make(source_ids[index], "still_faulty", detail, raw)
            else:
                faulty[index] = Revision(open_versions[index], said.faults)
        if not faulty:
            break
        open_versions = {}
        for index, new in zip(faulty, rewrite(list(faulty), list(faulty.values())), strict=True):
            if isinstance(new, Rejected):
                results[index] = new
            else:
                open_versions[index] = new
        if not open_versions:
            break
    return [results[index] for index in range(len(versions))]


def rounds_needed(results: Sequence[Inspected[T] | Rejected]) -> dict[str, int]:
    """How many were right at first (`right_first`) and after 1, 2, ... rewritings (`right_after_1`, ...)."""
    counts = Counter(len(result.verdicts) - 1 for result in results if isinstance(result, Inspected))
    return {f"right_after_{round}" if round else "right_first": counts[round] for round in sorted(counts)}
