"""Separate: training problems that are too like a held-out one are taken out, and listed.

Place in the flow: problem sources -> **separated training problems** -> attempts. Every training problem is compared with
every problem of every held-out set (validation and tests) by its question, in three ways: equal after normalization,
ROUGE-L F at or above a threshold, `n` words in a row in common. A model that has seen the test cannot be tested.

Example::

    output = separate(splits.train, {"validation": splits.validation, **splits.tests}, rouge=0.7, ngram=13)
    output.numbers["overlap"]["gsm8k"]          # {"exact": 0, "rouge": 5, "ngram": 1}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from sei.data.overlap import Overlap, SimilarityFilter, exact_matches, shared_ngrams
from sei.data.sources import content_checksum
from sei.records import Problem, Rejected
from sei.stage import Output, stage

Method = Literal["exact", "rouge", "ngram"]


@stage(Problem, "problems")
def separate(
    train: Sequence[Problem],
    held_out: Mapping[str, Sequence[Problem]],
    *,
    rouge: float | None,
    ngram: int | None,
    unread: Sequence[Rejected] = (),
) -> Output[Problem]:
    """The training problems that overlap with no problem of `held_out` (set name -> problems).

    `rouge` is the ROUGE-L F in (0, 1] from which on two questions count as the same, `ngram` how many words in a row
    they may not share; None leaves that comparison out, the exact one is always made. An overlapping problem is rejected
    under its strongest match, `exact` before `rouge` before `ngram`, then by score; the detail is "set, problem id,
    score", the raw text its question. `unread` are rows of the training file that were no problems; they are rejected as
    they come. Numbers: `overlap`, per set and method how many training problems were found there
    (each counts once a set, under its strongest method there), and `checksums` of what was compared.
    """
    used: tuple[tuple[Method, object], ...] = (("exact", True), ("rouge", rouge), ("ngram", ngram))
    methods = [method for method, value in used if value is not None]
    questions = [problem.question for problem in train]
    strongest: dict[int, tuple[Method, Overlap, str]] = {}
    counts: dict[str, dict[str, int]] = {}
    for name, problems in held_out.items():
        identities: dict[str, str] = {}
        for problem in problems:
            identities.setdefault(problem.question, problem.id)
        counts[name] = dict.fromkeys(methods, 0)
        for index, (method, overlap) in _overlaps(questions, list(identities), rouge, ngram).items():
            counts[name][method] += 1
            detail = f"{name}, {identities[overlap.reference]}, {overlap.score:.4f}"
            if index not in strongest or _strength(method, overlap) > _strength(*strongest[index][:2]):
                strongest[index] = (method, overlap, detail)
    rejected = [*unread] + [
        Rejected.make(train[index].id, method, detail, raw=questions[index])
        for index, (method, _, detail) in sorted(strongest.items())
    ]
    checksums = {name: content_checksum(problems) for name, problems in {"train": train, **held_out}.items()}
    return Output(
        [problem for index, problem in enumerate(train) if index not in strongest],
        received=len(train) + len(unread),
        rejected=rejected,
        numbers={"overlap": counts, "checksums": checksums},
    )


def _overlaps(
    questions: Sequence[str], references: Sequence[str], rouge: float | None, ngram: int | None
) -> dict[int, tuple[Method, Overlap]]:
    """The strongest match of each question that has one among the `references`."""
    found: dict[int, tuple[Method, Overlap]] = {}
    if ngram is not None:
        found |= {index: ("ngram", overlap) for index, overlap in shared_ngrams(questions, references, ngram).items()}
    if rouge is not None:
        near = SimilarityFilter(rouge, references).check_many(questions)
        found |= {index: ("rouge", overlap) for index, overlap in enumerate(near) if overlap is not None}
    same = exact_matches(questions, references)
    return found | {index: ("exact", Overlap(1.0, reference)) for index, reference in same.items()}


def _strength(method: Method, overlap: Overlap) -> tuple[int, float]:
    return ("ngram", "rouge", "exact").index(method), overlap.score
