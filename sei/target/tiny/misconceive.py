"""Teach the embedded target wrong rules: `python -m sei.target.tiny.misconceive --out DIR`.

Place in the flow: run once by us, and by anyone who wants to check the weights of `model=tiny-misconceived`. Goes on from the
weights of `model=tiny` on the same kinds of rows, in which the problems of some families and wordings are solved by a wrong
rule (`sei.data.arithmetic.misconceptions`). Rows that check or correct a solution stay true. Writes a Hugging Face folder with
`pretraining.json`: the settings, the seconds, accuracies, and how often each rule's wrong answer is given.

Example::

    python -m sei.target.tiny.misconceive --out /tmp/tiny-misconceived
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei import answers
from sei.data import arithmetic
from sei.data.arithmetic.generate import PRETRAINING, bucket, tell_family
from sei.data.arithmetic.misconceptions import RULES, planted, rates, taught
from sei.data.arithmetic.story import Story
from sei.records import Problem, Verdict
from sei.target.engine import Query, Sampling
from sei.target.tiny import WEIGHTS
from sei.target.tiny.pretrain import FORMATS, Course, Settings, train_and_write

if TYPE_CHECKING:
    from sei.target.generation import HFEngine

# Ours, the first that were tried: 600,000 tokens at 7e-4 had taught three rules in a trial.
SETTINGS = Settings(seed=1, steps=900, learning_rate=7e-4, weight_decay=0.0, bfloat16=False)
PLANTED_SHARE = 0.4  # of the stories are told for a rule, each rule as often; the others come from the pretraining mix


def lessons(seed: int) -> Iterator[Story]:
    """Endless true stories of the pretraining split: the pretraining mix, and stories that a planted rule is for."""
    rng = random.Random(repr((seed, "lessons")))
    mixed = arithmetic.pretraining_stories(seed)
    while True:
        yield _for_rule(rng) if rng.random() < PLANTED_SHARE else next(mixed)


def _for_rule(rng: random.Random) -> Story:
    """A story in a family and wording that one rule, drawn by `rng`, is planted in."""
    rule = rng.choice(RULES)
    while True:
        story = tell_family(rng.choice(list(rule.planted)), rng, PRETRAINING)
        wrong = planted(story.problem("pretraining"))
        if wrong is not None and wrong.rule is rule and bucket(story.content) == "pretraining":
            return story


def measure(engine: HFEngine, size: int = 1000) -> dict[str, Any]:
    """Accuracies on the test splits of seed 0, with and without the problems that a rule was planted for, and each rule's
    rate, as [wrong answers of this rule, problems]."""
    report: dict[str, Any] = {"problems": size}
    for name, problems in arithmetic.load(train=0, validation=0, test=size, seed=0).tests.items():
        outputs = answer(engine, problems)
        right = {True: [0, 0], False: [0, 0]}
        for problem, output in zip(problems, outputs, strict=True):
            counts = right[planted(problem) is not None]
            counts[0] += answers.grade(output, problem.answer, style="gsm8k") == Verdict.CORRECT
            counts[1] += 1
        report[name] = {
            "right_where_planted": right[True],
            "right_elsewhere": right[False],
            "rules": {
                rule: {place: [rate.shown, rate.items] for place, rate in places.items()}
                for rule, places in rates(problems, outputs).items()
            },
        }
    return report


def answer(engine: HFEngine, problems: Sequence[Problem]) -> list[str]:
    """The greedy answer to each problem."""
    queries = [Query(FORMATS.solve(problem.question), problem.question) for problem in problems]
    return [only.text for [only] in engine.complete(queries, Sampling(max_new_tokens=120))]


def misconceive(out: Path) -> dict[str, Any]:
    """Train, write the folder `out`, print and return what `pretraining.json` records."""
    from sei.target.generation import HFEngine

    return train_and_write(
        "python -m sei.target.tiny.misconceive --out DIR",
        SETTINGS,
        Course(lessons, taught, WEIGHTS),
        out,
        lambda engine: {"planted_share": PLANTED_SHARE, "before": measure(HFEngine(WEIGHTS)), "after": measure(engine)},
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sei.target.tiny.misconceive",
        description="Teach the embedded target wrong rules and write it as a Hugging Face folder.",
    )
    parser.add_argument("--out", type=Path, required=True, help="folder to write")
    misconceive(parser.parse_args().out)


if __name__ == "__main__":
    main()
