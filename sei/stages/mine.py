"""Mine: keep the attempts whose answer is wrong, and of several models' mistakes a fair share of each.

Place in the flow: attempts -> **mistakes** -> diagnoses. Only the verdict `wrong` makes a mistake: an output without an
answer, or cut at the token limit, has no reasoning error that a teacher could explain (SEI step 1); nor has one that gives
an answer alone. Where mistakes come
from several models (LeMa step 1), `cap` keeps the weakest of them from being nearly all of the data.

Example::

    mistakes = mine(problems, [*attempts_of_one, *attempts_of_another], Formats("plain")).records
    cap(mistakes, max_share=0.5, seed=0).numbers        # {"sources": {"one": 40, "another": 40}, "max_share": 0.5}
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from fractions import Fraction

from sei.records import Attempt, Mistake, Problem, Rejected, Verdict, content_id
from sei.stage import Output, stage
from sei.steps import only_an_answer
from sei.target.engine import Asking


@stage(Mistake, "mistakes", on_top=True)
def mine(problems: Sequence[Problem], attempts: Sequence[Attempt], formats: Asking) -> Output[Mistake]:
    """The mistakes among `attempts`, each with the solution that `formats` reads in its output, so that whoever explains,
    corrects or trains on it sees that alone; every other attempt is accounted for under its verdict.

    A wrong one is rejected too as `truncated` where the token limit cut its solution, though it had named an answer; as
    `no_steps` where it has none beside its answer; and as `duplicate` where the same model wrote the same solution twice.
    """
    by_id = {problem.id: problem for problem in problems}
    mistakes: dict[str, Mistake] = {}
    rejected = []
    for item in attempts:
        problem, reading = by_id[item.problem_id], formats.read(item.output)
        identity = content_id("mistake", item.problem_id, item.model, reading.text)
        if item.verdict is not Verdict.WRONG:
            rejected.append(Rejected.make(item.id, str(item.verdict)))
        elif reading.unfinished(item.truncated):
            rejected.append(Rejected.make(item.id, str(Verdict.TRUNCATED), raw=item.output))
        elif all(map(only_an_answer, formats.steps(reading.text))):
            rejected.append(Rejected.make(item.id, "no_steps", raw=item.output))
        elif identity in mistakes:
            rejected.append(Rejected.make(item.id, "duplicate"))
        else:
            mistakes[identity] = Mistake(
                identity,
                problem_id=problem.id,
                attempt_id=item.id,
                question=problem.question,
                gold_answer=problem.answer,
                gold_solution=problem.solution,
                output=reading.text,
                model=item.model,
                family=problem.family,
                level=problem.level,
            )
    return Output(list(mistakes.values()), received=len(attempts), rejected=rejected)


@stage(Mistake, "mistakes.capped")
def cap(mistakes: Sequence[Mistake], max_share: float, seed: int) -> Output[Mistake]:
    """The mistakes without repetitions, and of no source (`Mistake.model`) more than `max_share` of all that are kept.

    Equal outputs (up to white space) for one problem count once whichever model wrote them: the first is kept, the others
    are rejected as `duplicate`. Then as many as possible are kept; which of a source's mistakes go, as `over_share`, is
    drawn by `seed`. n sources cannot all hold less than 1/n, so a smaller share means 1/n: all alike, and one source is
    never capped. Numbers: mistakes kept per source, and the share that was applied. Raises ValueError for a share outside
    (0, 1].
    """
    if not 0 < max_share <= 1:
        raise ValueError(f"max_share={max_share}: a share lies in (0, 1]")
    rejected: list[Rejected] = []
    distinct: dict[tuple[str, str], Mistake] = {}
    for mistake in mistakes:
        key = (mistake.problem_id, " ".join(mistake.output.split()))
        if key in distinct:
            rejected.append(Rejected.make(mistake.id, "duplicate", f"as {distinct[key].id} of {distinct[key].model}"))
        else:
            distinct[key] = mistake
    counts = Counter(mistake.model for mistake in distinct.values())
    share = max(Fraction(str(max_share)), Fraction(1, max(1, len(counts))))
    allowed = _fair_counts(counts, share)
    drawn: set[str] = set()
    for model in counts:
        own = [mistake.id for mistake in distinct.values() if mistake.model == model]
        drawn.update(random.Random(f"{seed}/{model}").sample(own, allowed[model]))
    kept = [mistake for mistake in distinct.values() if mistake.id in drawn]
    rejected += [
        Rejected.make(mistake.id, "over_share", mistake.model)
        for mistake in distinct.values()
        if mistake.id not in drawn
    ]
    numbers = {"sources": allowed, "max_share": float(share)}
    return Output(kept, received=len(mistakes), rejected=rejected, numbers=numbers)


def _fair_counts(counts: Mapping[str, int], share: Fraction) -> dict[str, int]:
    """The largest counts, none above its own in `counts` and none above `share` of their sum."""
    total = sum(counts.values())
    while True:  # from above, so the first sum that agrees with itself is the largest one
        limit = math.floor(share * total)
        fair = {model: min(count, limit) for model, count in counts.items()}
        if sum(fair.values()) == total:
            return fair
        total = sum(fair.values())
