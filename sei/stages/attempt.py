"""Attempt: the model answers every problem, and every answer is graded.

Place in the flow: problems -> **attempts** -> mistakes. The same stage evaluates test sets. Completions are saved every few
minutes (`stages.ask`), so that an interrupted run repeats little.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from sei.answers import Style, grade_many
from sei.records import Attempt, Problem, Rejected, content_id
from sei.stage import Output, stage
from sei.stages.ask import ask
from sei.target.engine import Asking, Completion, Engine, Query, Sampling


@stage(Attempt, "attempts")
def attempt(
    problems: Sequence[Problem],
    engine: Engine,
    formats: Asking,
    sampling: Sampling,
    *,
    style: Style,
    scratch: Path,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Output[Attempt]:
    """Attempts of `engine` at `problems`, in order; `formats` makes the text to complete from a question, says where to stop,
    and takes from an output what is to be graded.

    A problem without any completion (a recorded engine that has none for it) is rejected as `no_attempt`.
    """
    queries = [Query(formats.solve(problem.question), problem.question) for problem in problems]
    answers = ask(engine, queries, sampling.until(formats.stop), scratch, "completions", on_progress)
    attempts = _grade(problems, answers, style, formats)
    answered = {item.problem_id for item in attempts}
    silent = [Rejected.make(problem.id, "no_attempt") for problem in problems if problem.id not in answered]
    return Output(
        attempts,
        received=len(problems),
        passed=len(problems) - len(silent),
        rejected=silent,
        numbers={
            "output_tokens": sum(item.output_tokens for item in attempts),
            "missing_samples": max(0, len(answered) * sampling.samples - len(attempts)),  # calls of an API that failed
        },
    )


def _grade(
    problems: Sequence[Problem], answers: Sequence[Sequence[Completion]], style: Style, formats: Asking
) -> list[Attempt]:
    given = [
        (problem, sample, completion)
        for problem, completions in zip(problems, answers, strict=True)
        for sample, completion in enumerate(completions)
    ]
    verdicts = grade_many(
        [(formats.read_answer(completion.text, style), problem.answer) for problem, _, completion in given],
        style,
        truncated=[completion.truncated for _, _, completion in given],
    )
    return [
        Attempt(
            id=content_id("attempt", problem.id, completion.model, sample, completion.text),
            problem_id=problem.id,
            model=completion.model,
            output=completion.text,
            verdict=verdict,
            sample=sample,
            output_tokens=completion.tokens,
            truncated=completion.truncated,
        )
        for (problem, sample, completion), verdict in zip(given, verdicts, strict=True)
    ]
