"""Synthesize: the teacher writes new problems for each error type.

Place in the flow: error types and their mistakes -> **synthetic problems** -> selection (SEI step 4). The budget is split
over types in proportion to their mistakes. Calls go out in waves, one batch for all types, because later calls show
earlier synthesized problems of their type. A draft is kept only if its solution's arithmetic holds and ends in its
answer, and if its question is unlike (ROUGE-L F below the threshold) every seed, every test question and everything kept.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from sei.answers import Style, grade
from sei.data.overlap import SimilarityFilter
from sei.equations import read_equations
from sei.records import ErrorType, Mistake, Problem, Rejected, Synthetic, Verdict, content_id
from sei.stage import Output, stage
from sei.steps import split_steps
from sei.teacher.base import Draft, Seed, SynthesisRequest, Teacher
from sei.teacher.symbolic.story.check import agrees


@stage(Synthetic, "synthetic", on_top=True)
def synthesize(
    types: Sequence[ErrorType],
    mistakes: Sequence[Mistake],
    forbidden: Sequence[Problem],
    teacher: Teacher,
    *,
    earlier: Sequence[Synthetic] = (),
    budget: int,
    per_call: int,
    mistakes_shown: int,
    synthesized_shown: int,
    rouge_threshold: float,
    max_calls_factor: float,
    style: Style,
    round: int,
    seed: int,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output[Synthetic]:
    """About `budget` problems. `forbidden` are the validation and test problems no draft may resemble, `earlier` what
    rounds before have kept.

    A type stops at its share of the budget, or after `max_calls_factor` times the calls that share needs; what is then
    missing is reported in the numbers, per type. Types without a usable mistake are rejected as `type_too_small`.
    """
    by_id = {mistake.id: mistake for mistake in mistakes}
    similar = SimilarityFilter(
        rouge_threshold, [item.question for some in (forbidden, mistakes, earlier) for item in some]
    )
    tested = {content(problem.solution) for problem in forbidden}
    goals = split_budget(budget, [kind.size for kind in types])
    kept: dict[str, list[Synthetic]] = {kind.id: [] for kind in types}
    calls = dict.fromkeys(kept, 0)
    members = {kind.id: _one_a_question(by_id[name] for name in kind.mistake_ids if name in by_id) for kind in types}
    rejected = [Rejected.make(kind.id, "type_too_small", detail=kind.name) for kind in types if not members[kind.id]]
    received = len(rejected)
    active = [(kind, goal) for kind, goal in zip(types, goals, strict=True) if goal > 0 and members[kind.id]]
    while active:
        requests, owners = [], []
        for kind, goal in active:
            for _ in range(-(-(goal - len(kept[kind.id])) // per_call)):
                calls[kind.id] += 1
                draw = random.Random(f"{seed}/{round}/{kind.id}/{calls[kind.id]}")
                examples = _examples(members[kind.id], kept[kind.id], mistakes_shown, synthesized_shown, draw)
                requests.append(_request(kind, *examples, per_call, draw.getrandbits(32), rouge_threshold))
                owners.append((kind, goal))
        for (kind, goal), drafts in zip(owners, teacher.synthesize(requests), strict=True):
            received += len(drafts)
            rejected += _taken(drafts, kind, goal, kept, similar, tested, style, round)
        on_progress(sum(map(len, kept.values())), budget)
        active = [
            (kind, goal)
            for kind, goal in active
            if len(kept[kind.id]) < goal and calls[kind.id] < max_calls_factor * -(-goal // per_call)
        ]
    account = {
        kind.name: {"asked": goal, "kept": len(kept[kind.id]), "calls": calls[kind.id]}
        for kind, goal in zip(types, goals, strict=True)
    }
    records = [item for kind in types for item in kept[kind.id]]
    return Output(
        records, received=received, rejected=rejected, numbers={"types": account, "answers": _read_again(records)}
    )


def _read_again(records: Sequence[Synthetic]) -> dict[str, int]:
    """How many answers a reading of the question alone gives again; it says nothing of questions it does not understand."""
    read = Counter(agrees(item.question, item.answer) for item in records)
    return {"derived_again": read[True], "derived_otherwise": read[False], "not_checked": read[None]}


def _taken(
    drafts: Sequence[Draft | Rejected],
    kind: ErrorType,
    goal: int,
    kept: dict[str, list[Synthetic]],
    similar: SimilarityFilter,
    tested: set[tuple[str, ...]],
    style: Style,
    round: int,
) -> list[Rejected]:
    """What of the drafts cannot be used; the others go to `kept`, and nothing that comes later may resemble them."""
    rejected = []
    for draft in drafts:
        if isinstance(draft, Rejected):
            rejected.append(draft)
        elif (reason := _fault(draft, kind, kept, goal, similar, tested, style)) is not None:
            rejected.append(Rejected.make(draft.parents[0], reason, detail=kind.name, raw=draft.question))
        else:
            similar.add(draft.question)
            identity = content_id("synthetic", draft.question, draft.answer)
            kept[kind.id].append(
                Synthetic(identity, draft.question, draft.solution, draft.answer, kind.id, draft.parents, round)
            )
    return rejected


def split_budget(budget: int, sizes: Sequence[int]) -> list[int]:
    """`budget` split in proportion to `sizes` by largest remainder, so that the parts add up to it."""
    total = sum(sizes)
    exact = [budget * size / total for size in sizes]
    parts = [int(value) for value in exact]
    order = sorted(range(len(sizes)), key=lambda i: (parts[i] - exact[i], i))
    for index in order[: budget - sum(parts)]:
        parts[index] += 1
    return parts


def _one_a_question(mistakes: Iterable[Mistake]) -> list[Mistake]:
    """Several mistakes at one problem are one example. In order of the questions, so that a draw depends on nothing else."""
    distinct = {mistake.question: mistake for mistake in mistakes}
    return [distinct[question] for question in sorted(distinct)]


def _examples(
    members: Sequence[Mistake],
    synthesized: Sequence[Synthetic],
    mistakes_shown: int,
    synthesized_shown: int,
    draw: random.Random,
) -> tuple[list[Seed], list[Seed]]:
    """What one call shows: 5 mistakes and 3 synthesized problems, or 8 mistakes until 3 exist (SEI step 4)."""
    enough = len(synthesized) >= synthesized_shown
    wanted = mistakes_shown if enough else mistakes_shown + synthesized_shown
    chosen = draw.sample(members, min(wanted, len(members)))
    earlier = draw.sample(synthesized, synthesized_shown) if enough else []
    return (
        [Seed(item.id, item.question, item.gold_solution, item.gold_answer) for item in chosen],
        [Seed(item.id, item.question, item.solution, item.answer) for item in earlier],
    )


def _request(
    kind: ErrorType,
    mistakes: Sequence[Seed],
    synthesized: Sequence[Seed],
    count: int,
    seed: int,
    rouge_threshold: float,
) -> SynthesisRequest:
    return SynthesisRequest(
        error_type_id=kind.id,
        name=kind.name,
        description=kind.description,
        keyphrases=kind.keyphrases,
        mistakes=tuple(mistakes),
        synthesized=tuple(synthesized),
        count=count,
        seed=seed,
        rouge_threshold=rouge_threshold,
    )


def _fault(
    draft: Draft,
    kind: ErrorType,
    kept: dict[str, list[Synthetic]],
    goal: int,
    similar: SimilarityFilter,
    tested: set[tuple[str, ...]],
    style: Style,
) -> str | None:
    """Why a draft is not kept, or None. `tested` are the contents of test problems."""
    if len(kept[kind.id]) >= goal:
        return "over_budget"
    if grade(draft.solution, draft.answer, style) is not Verdict.CORRECT:
        return "answer_not_reached"
    if not all(equation.holds for equation in read_equations(split_steps(draft.solution)[0])):
        return "arithmetic_wrong"
    if (computed := content(draft.solution)) and computed in tested:
        return "content_of_a_test_problem"
    if similar.check(draft.question) is not None:
        return "too_similar"
    return None


def content(solution: str) -> tuple[str, ...]:
    """What a problem computes, whatever its words: the expressions of its solution, in order."""
    return tuple("".join(equation.text.split()) for equation in read_equations(split_steps(solution)[0]))
