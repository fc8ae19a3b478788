"""Mine: keep the attempts whose answer is wrong.

Place in the flow: attempts -> **mistakes** -> diagnoses. Only the verdict `wrong` makes a mistake: an output without an
answer, or cut at the token limit, has no reasoning error that a teacher could explain (SEI step 1).
"""

from __future__ import annotations

from collections.abc import Sequence

from sei.records import Attempt, Mistake, Problem, Rejected, Verdict, content_id
from sei.workspace import Output


def mine(problems: Sequence[Problem], attempts: Sequence[Attempt]) -> Output[Mistake]:
    """The mistakes among `attempts`; every other attempt is accounted for under its verdict.

    Two attempts of one model with the same text count once; the repetition is rejected as `duplicate`.
    """
    by_id = {problem.id: problem for problem in problems}
    mistakes: dict[str, Mistake] = {}
    rejected = []
    for item in attempts:
        problem = by_id[item.problem_id]
        identity = content_id("mistake", item.problem_id, item.model, item.output)
        if item.verdict is not Verdict.WRONG:
            rejected.append(Rejected.make(item.id, str(item.verdict)))
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
                output=item.output,
                model=item.model,
                family=problem.family,
                level=problem.level,
            )
    return Output(list(mistakes.values()), received=len(attempts), rejected=rejected)
