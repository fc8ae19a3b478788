"""One-shot selection: the race beside asking every candidate everything, on the embedded world and simulated at full size.

Usage: `python benchmarks/selection.py [--candidates 400] [--simulated 15000] [--threads 2]`. Prints shares of generated tokens,
times and whether the same candidates were selected; asserts nothing.

Embedded world: the candidates are those of `python train.py`, as many as asked for. They are scored once by asking
everything and once by a race for each share, every time by the real embedded target.
`least` is the share that nobody can go below who wants just these winners, by bounds alone: of each winner its cheapest right
answers until it is at the cut, of each loser its cheapest wrong ones until it is not above, as if one knew beforehand which
these are.

Simulation: each answer is right with its problem's rate (measured, or that of a stronger target), shifted on the logit scale
by an effect of the candidate that is drawn from a normal distribution; answers are as long as measured.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from hydra import compose, initialize_config_dir
from sft_training import prepare

from sei.records import Problem, Synthetic
from sei.results import Results
from sei.stages.race import Race
from sei.target.engine import Query

KEPT = (0.2, 0.8)  # the paper's share, and the embedded default's
SPREADS = (0.0, 0.5, 1.0)  # standard deviation of a candidate's effect, in logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--simulated", type=int, default=15_000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    prepare(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        lab, candidates, wrong, right = embedded(Path(folder))
        candidates = sorted(candidates, key=lambda item: item.id)[: options.candidates]  # ids are hashes
        table = measured(lab, candidates, wrong, right, Path(folder))
    simulated(*table, options.simulated)


def embedded(folder: Path) -> tuple[Any, list[Synthetic], list[Problem], list[Problem]]:
    """The embedded default's lab, its candidates and its development problems."""
    from sei.compose import CONF, register
    from sei.config import build
    from sei.lab import Lab
    from sei.recipes.common import mistakes_of
    from sei.stages.attempt import attempt
    from sei.stages.select import development_set
    from sei.tracking.display import Display
    from sei.workspace import Workspace

    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = build(compose("config", [f"cache_dir={folder / 'cache'}"]))
    display = Display()
    lab = Lab(config, Workspace(folder / "run", config.cache_dir, on_stage=display.stage), display)
    recipe: Any = config.recipe
    attempts = lab.do(attempt, lab.problems, lab.target(), lab.formats, lab.sampling, style=lab.style)
    mistakes = mistakes_of(lab, lab.problems, attempts, round=1)
    candidates = recipe.synthetic(lab, recipe.types(lab, mistakes, Results(), 1), mistakes, [], 1)
    wanted = recipe.selection
    numbers = {"wrong": wanted.wrong_problems, "right": wanted.right_problems, "seed": config.seed}
    return lab, candidates, *development_set(lab.problems, attempts, mistakes, candidates, **numbers)


def measured(
    lab: Any, candidates: Sequence[Synthetic], wrong: Sequence[Problem], right: Sequence[Problem], folder: Path
) -> tuple[np.ndarray, np.ndarray, int]:
    """Prints the table of the embedded world. Returns rights and tokens, [candidates, problems], and how many are wrong ones."""
    from sei.answers import grade
    from sei.records import Verdict
    from sei.stages.select import select

    def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
        started, processor = time.perf_counter(), time.process_time()
        done = work()
        return done, time.perf_counter() - started, time.process_time() - processor

    problems, sampling = [*wrong, *right], lab.sampling.until(lab.formats.stop)
    prompts = [[lab.formats.one_shot(c.question, c.solution, p.question) for p in problems] for c in candidates]
    queries = [Query(prompt, p.question) for row in prompts for prompt, p in zip(row, problems, strict=True)]
    target = lab.target()
    answers, seconds, processor = timed(lambda: dict(target.stream(queries, sampling)))
    completions = {query.prompt: answers[place][0] for place, query in enumerate(queries)}
    tokens = np.array([[completions[prompt].tokens for prompt in row] for row in prompts])

    def is_right(prompt: str, problem: Problem) -> bool:
        one = completions[prompt]
        return grade(one.text, problem.answer, lab.style, truncated=one.truncated) is Verdict.CORRECT

    rights = np.array([[is_right(prompt, p) for prompt, p in zip(row, problems, strict=True)] for row in prompts])
    print(f"\nembedded world: {len(candidates)} candidates x {len(problems)} problems, one engine, in turn")
    print(f"everything  {tokens.sum():,} tokens, {seconds:.0f} s, {processor:.0f} s of processor time")
    scores = (rights * weights_of(rights, len(wrong))).sum(1).round(6)
    best = sorted(range(len(candidates)), key=lambda item: (-scores[item], candidates[item].id))
    for keep in KEPT:
        scratch = folder / f"race-{keep}"
        scratch.mkdir()
        choose = partial(select, keep=keep, style=lab.style, scratch=scratch)
        output, s, p = timed(partial(choose, candidates, wrong, right, target, lab.formats, lab.sampling))
        count = len(output.records)
        same = {one.id for one in output.records} == {candidates[item].id for item in best[:count]}
        share = output.numbers["output_tokens"] / tokens.sum()
        print(
            f"keep {keep}    {share:.1%} of the tokens (least {least(rights, tokens, len(wrong), count):.1%}), "
            f"{s / seconds:.0%} of the time, {p / processor:.0%} of the processor time; "
            f"{'the same' if same else 'NOT THE SAME'} {count}"
        )
    return rights, tokens, len(wrong)


def least(rights: np.ndarray, tokens: np.ndarray, wrong: int, count: int) -> float:
    """The share of tokens that the winners' cheapest right answers and the losers' cheapest wrong ones need."""
    weights = weights_of(rights, wrong)
    scores = (rights * weights).sum(1)
    order = np.argsort(-scores, kind="stable")
    cut, needed = scores[order[count - 1]], 0.0
    for place, item in enumerate(order):
        telling, distance = (rights[item], cut) if place < count else (~rights[item], 1 - cut)
        found = np.flatnonzero(telling)
        found = found[np.argsort(tokens[item, found] / weights[found])]
        there = np.append(False, weights[found].cumsum() >= distance - 1e-9) if distance > 1e-9 else np.array([True])
        needed += tokens[item, found[: int(np.argmax(there))]].sum()
    return float(needed / tokens.sum())


def weights_of(rights: np.ndarray, wrong: int) -> np.ndarray:
    """What an answer to each problem counts."""
    others = rights.shape[1] - wrong
    return np.array([0.5 / wrong] * wrong + [0.5 / others] * others)


def simulated(rights: np.ndarray, tokens: np.ndarray, wrong: int, count: int) -> None:
    """Prints the table of the simulation."""
    lengths = np.tile(tokens.mean(0), (count, 1))
    stronger = np.array([0.3] * wrong + [0.8] * (rights.shape[1] - wrong))
    print(f"\nsimulation: {count:,} candidates x {rights.shape[1]} problems, keep 0.2")
    for name, rates in (("measured rates", rights.mean(0).clip(0.005, 0.995)), ("rates 0.3 and 0.8", stronger)):
        for spread in SPREADS:
            draw = np.random.default_rng(0)
            logits = np.log(rates / (1 - rates)) + draw.normal(0, spread, (count, 1))
            drawn = draw.random(lengths.shape) < 1 / (1 + np.exp(-logits))
            share, same, rounds = raced(drawn, lengths, wrong, round(0.2 * count))
            print(
                f"{name}, spread {spread}   {share:.1%} of the tokens (least "
                f"{least(drawn, lengths, wrong, round(0.2 * count)):.1%}), {rounds} rounds, "
                f"{'the same selection' if same else 'NOT THE SAME'}"
            )


def raced(rights: np.ndarray, tokens: np.ndarray, wrong: int, count: int) -> tuple[float, bool, int]:
    """The race's share of tokens, whether it selects as asking everything does, and how often it asked."""
    ids = [f"{number:08d}" for number in range(len(rights))]  # the candidates are in no order, so neither are these
    race = Race(ids, [wrong, rights.shape[1] - wrong], count)
    spent, rounds = 0.0, 0
    while asked := race.next():
        rounds += 1
        for item, problem in asked:
            race.tell(item, problem, right=bool(rights[item, problem]), tokens=round(tokens[item, problem]))
            spent += tokens[item, problem]
    scores = (rights * weights_of(rights, wrong)).sum(1).round(6)
    return (
        spent / float(tokens.sum()),
        set(race.ranked()[:count]) == set(np.argsort(-scores, kind="stable")[:count].tolist()),
        rounds,
    )


if __name__ == "__main__":
    main()
