"""Second pass: the model looks at its own solutions once more.

Place in the flow: attempts -> **second attempts** -> outcomes. SuperCorrect's way (arXiv 2410.09008, section 4.2) is to verify
step by step and to take over the answer of a correction; Reflexion's, the baseline, is to be told that the solution was
wrong and to solve again. Neither looks at the gold answer, so right answers can be lost too: that is counted.

Example::

    second_pass(problems, attempts, engine, thoughts, sampling, style="gsm8k", scratch=folder).numbers["wrong_to_right"]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from sei.answers import Style, grade
from sei.records import Attempt, Problem, Verdict, content_id
from sei.stage import Output, stage
from sei.stages.ask import ask
from sei.target.engine import Completion, Engine, Query, Sampling
from sei.target.thoughts import Thoughts
from sei.templates import Malformed, marked

Way = Literal["check", "reflect"]
BETWEEN = "\n\n---\n\n"  # stands between the two passes in `Attempt.output`


@stage(Attempt, "second")
def second_pass(
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    engine: Engine,
    thoughts: Thoughts,
    sampling: Sampling,
    *,
    style: Style,
    scratch: Path,
    way: Way = "check",
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output[Attempt]:
    """One second attempt per attempt, in order, with the verdict on the answer that stands in the end.

    The new answer stands where the check names a wrong step (`way` check) or the second solution has an answer (reflect);
    where every step is found right, or the text cannot be read, the first answer stands with its verdict. `output` holds
    both passes around `BETWEEN`, to be read and not to be graded again; attempts without readable steps stay as they are.
    """
    problem_of = {problem.id: problem for problem in problems}
    steps = [thoughts.steps(one.output) for one in attempts]
    prompt = thoughts.check if way == "check" else thoughts.reflect
    questions = [problem_of[one.problem_id].question for one in attempts]
    queries = [Query(prompt(q, lines), q) for q, lines in zip(questions, steps, strict=True) if lines]
    texts = iter(ask(engine, queries, sampling.until(thoughts.stop), scratch, "second", on_progress))
    second = [
        _joined(one, next(texts), problem_of[one.problem_id].answer, thoughts, way, style) if lines else one
        for one, lines in zip(attempts, steps, strict=True)
    ]
    return Output(second, received=len(attempts), numbers=_numbers(attempts, second, thoughts, way, style))


def _joined(
    first: Attempt, answers: Sequence[Completion], gold: str, thoughts: Thoughts, way: Way, style: Style
) -> Attempt:
    if not answers:  # a recorded engine that has none for it
        return first
    answer = answers[0]
    line = _new_answer(answer.text, thoughts, way, style)
    verdict = grade(line, gold, style, truncated=answer.truncated) if line else first.verdict
    if verdict in (Verdict.NO_ANSWER, Verdict.TRUNCATED):  # the second pass was cut within its answer
        verdict = first.verdict
    output = f"{first.output}{BETWEEN}{answer.text}"
    return Attempt(
        id=content_id("attempt", first.id, way, answer.model, answer.text),
        problem_id=first.problem_id,
        model=answer.model,
        output=output,
        verdict=verdict,
        sample=first.sample,
        output_tokens=first.output_tokens + answer.tokens,
        truncated=answer.truncated,
    )


def _new_answer(text: str, thoughts: Thoughts, way: Way, style: Style) -> str:
    """The answer that the second pass puts in place of the first, ready to be graded; "" where it leaves it."""
    if way == "reflect":
        return thoughts.read_answer(text, style)
    check = thoughts.read_check(text)
    return "" if isinstance(check, Malformed) or check.step == 0 else marked(check.answer, style)


def _numbers(
    first: Sequence[Attempt], second: Sequence[Attempt], thoughts: Thoughts, way: Way, style: Style
) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for one, two in zip(first, second, strict=True):
        text = two.output.removeprefix(one.output + BETWEEN)
        if text == two.output:
            counts["not_asked"] += 1
        elif _new_answer(text, thoughts, way, style):
            counts["new_answer"] += 1
        elif way == "check" and not isinstance(thoughts.read_check(text), Malformed):
            counts["all_right"] += 1
        else:
            counts["unreadable"] += 1
        was, is_now = one.verdict is Verdict.CORRECT, two.verdict is Verdict.CORRECT
        counts["right_to_wrong"] += was and not is_now
        counts["wrong_to_right"] += is_now and not was
    names = ("new_answer", "all_right", "unreadable", "not_asked", "right_to_wrong", "wrong_to_right")
    return {name: counts[name] for name in names} | {"output_tokens": sum(two.output_tokens for two in second)}
