"""What the check that SuperCorrect's first phase teaches finds, by sort of mistake, on the embedded targets.

Usage: `python benchmarks/checks.py RUN [RUN ...] [--items 300]`, each a finished run of recipe=supercorrect with checks among its
rows. Prints a table; asserts nothing.

The student checks the solutions that the untrained target gave to test problems, so that all runs of one target are asked about
the same mistakes: those that follow a planted rule (model=tiny-misconceived), slips (a right calculation with a wrong result)
and others; and, for false alarms, the solutions that were right. `found`: the teacher's first wrong step is named.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from sft_training import prepare


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--items", type=int, default=300)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads)
    print(f"{'run':30} {'checked by':18} {'solutions':22} {'n':>4} {'found':>7} {'called right':>13}")
    for run in options.runs:
        for (whose, sort), steps in checked(run, options.items).items():
            found = [step == wanted for step, wanted in steps]
            right = [step == 0 for step, _ in steps]
            shares = f"{100 * sum(found) / len(found):6.1f}% {100 * sum(right) / len(right):12.1f}%"
            print(f"{run.name[-30:]:30} {whose:18} {sort:22} {len(steps):4} {shares}", flush=True)


def checked(run: Path, items: int) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """By who checks and sort of solution: the step that is named (-1: none that can be read), and the first wrong one (0: none).

    The student checks, and where preferences were trained after it, the final adapter too.
    """
    from sei.compose import CONF, register
    from sei.config import build
    from sei.data.arithmetic.misconceptions import wrong_ways
    from sei.lab import Lab
    from sei.reading import read
    from sei.recipes.common import mistakes_of
    from sei.records import Verdict
    from sei.stages.attempt import attempt
    from sei.steps import split_steps
    from sei.target.engine import Query
    from sei.target.weights import Adapter
    from sei.tracking.display import Display
    from sei.workspace import Workspace

    words = yaml.safe_load((run / ".hydra" / "overrides.yaml").read_text(encoding="utf-8"))
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = build(compose("config", [*words, f"++eval.limit={items}"]))
    recipe: Any = config.recipe
    checkers = {"student": Adapter(next(run.glob("stages/*-student")) / "files")}
    if found := next(run.glob("stages/*-adapter"), None):
        checkers["after preferences"] = Adapter(found / "files")
    sorts: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
    with (
        tempfile.TemporaryDirectory() as folder,
        Lab(config, Workspace(Path(folder) / "run", Path(folder) / "cache"), Display()) as lab,
    ):
        problems = {problem.id: problem for problem in lab.test("in_domain")}
        attempts = lab.do(
            attempt, list(problems.values()), lab.target(), lab.formats, lab.sampling, style=lab.style, name="attempts"
        )
        mistakes = mistakes_of(lab, list(problems.values()), attempts, name="mistakes")
        truths = {trace.mistake_id: trace for trace in recipe.teacher_traces(lab, mistakes, name="truths")}
        asked = []  # (sort, first wrong step, question, steps)
        for mistake in mistakes:
            ways = wrong_ways(problems[mistake.problem_id])
            planted = any(way.planted and way.is_shown_by(mistake.output) for way in ways)
            if truth := truths.get(mistake.id):
                slip = truth.cause.startswith("The result is wrong")
                sort = "follows a planted rule" if planted else "slip" if slip else "other mistake"
                asked.append((sort, truth.step, mistake.question, split_steps(mistake.output)[0]))
        for one in attempts:
            if one.verdict is Verdict.CORRECT:
                steps = split_steps(read(one.output).text)[0]
                asked.append(("right", 0, problems[one.problem_id].question, steps))
        thoughts = recipe.thoughts(lab)
        queries = [Query(thoughts.check(question, steps), question) for _, _, question, steps in asked]
        for whose, adapter in checkers.items():
            answers = lab.target(adapter).complete(queries, recipe.sampling(lab))
            for (sort, step, _, _), [answer] in zip(asked, answers, strict=True):
                sorts[whose, sort].append((getattr(thoughts.read_check(answer.text), "step", -1), step))
    return dict(sorted(sorts.items()))


if __name__ == "__main__":
    main()
