"""The race of one-shot selection: what asking everyone everything would select, with fewer questions."""

from __future__ import annotations

import hashlib
import itertools
import random
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from sei.records import Problem, Synthetic, content_id
from sei.stage import Output
from sei.stages import ask as module
from sei.stages.race import Race
from sei.stages.select import select
from sei.target import engine
from sei.target.engine import Completion, Query, Sampling
from sei.target.formats import Formats

FORMATS = Formats("plain")


def problems(kind: str, count: int) -> list[Problem]:
    return [
        Problem.make(question=f"{kind} {number}?", answer="1", solution="#### 1", source="t") for number in range(count)
    ]


def candidates(count: int, seed: int) -> list[Synthetic]:
    names = [hashlib.sha256(f"{seed}/{number}".encode()).hexdigest()[:12] for number in range(count)]
    return [Synthetic(f"synthetic-{name}", f"example {name}", "2\n#### 2", "2", "type", ()) for name in names]


class World:
    """An engine whose answers are a fixed draw by seed: each candidate has a skill, each problem a difficulty."""

    name = "world"

    def __init__(self, seed: int, *, spread: float = 0.2, silent: float = 0.0) -> None:
        self.seed, self.spread, self.silent = seed, spread, silent
        self.asked: list[str] = []
        self.die_after: int | None = None

    def fingerprint(self) -> dict[str, Any]:
        return {}

    def complete(self, queries: Sequence[Query], sampling: Sampling) -> list[list[Completion]]:
        found = []
        for query in queries:
            if self.die_after is not None and len(self.asked) >= self.die_after:
                raise KeyboardInterrupt
            self.asked.append(query.prompt)
            found.append(self.answer(query))
        return found

    def answer(self, query: Query) -> list[Completion]:
        def draw(what: str) -> float:
            return zlib.crc32(f"{self.seed}/{what}".encode()) / 2**32

        name = query.prompt.split("example ")[1].split()[0]
        difficulty = draw(query.question) * 0.3 + (0.5 if "wrong" in query.question else 0.1)
        if draw(f"silent {name} {query.question}") < self.silent:
            return []
        right = draw(f"{name} {query.question}") + self.spread * (draw(name) - 0.5) > difficulty
        return [Completion(f"#### {int(right)}", 20 + int(draw(query.question) * 20), False, "m")]

    def close(self) -> None: ...


def run(
    world: World, items: Sequence[Synthetic], scratch: Path, *, keep: float, wrong: int = 10, right: int = 10
) -> Output[Synthetic]:
    scratch.mkdir(exist_ok=True)
    return select(
        items,
        problems("wrong", wrong),
        problems("right", right),
        world,
        FORMATS,
        Sampling(),
        keep=keep,
        style="gsm8k",
        scratch=scratch,
    )


def exhaustive(
    world: World, items: Sequence[Synthetic], *, keep: float, wrong: int, right: int
) -> list[tuple[str, float]]:
    """What select did before there was a race: every candidate before every problem, the best by score and id."""
    scores = {}
    for item in items:
        halves = []
        for half in (problems("wrong", wrong), problems("right", right)):
            queries = [Query(FORMATS.one_shot(item.question, item.solution, p.question), p.question) for p in half]
            given = [one.text == "#### 1" for query in queries for one in world.answer(query)]
            halves += [sum(given) / len(given)] if given else []
        scores[item.id] = round(sum(halves) / len(halves), 6) if halves else 0.0
    ranked = sorted(scores.items(), key=lambda pair: (-pair[1], pair[0]))
    return ranked[: max(1, round(keep * len(ranked)))]


@pytest.mark.parametrize("seed", range(20))
def test_the_race_selects_what_asking_everything_selects(seed: int, tmp_path: Path) -> None:
    """Sizes, shares and skills vary by seed; scores are twentieths and the like, so there are many ties at the border."""
    draw = random.Random(seed)
    items = candidates(draw.choice([1, 7, 60, 150]), seed)
    shape = {"wrong": draw.choice([10, 10, 3]), "right": draw.choice([10, 10, 0, 7])}
    keep = draw.choice([0.01, 0.2, 0.5, 0.8, 1.0])
    world = World(seed, spread=draw.choice([0.0, 0.3, 2.0]), silent=draw.choice([0.0, 0.0, 0.3]))
    output = run(world, items, tmp_path / "scratch", keep=keep, **shape)
    wanted = dict(exhaustive(world, items, keep=keep, **shape))
    assert {item.id for item in output.records} == set(wanted)
    assert all(item.score is not None and item.score <= wanted[item.id] for item in output.records)
    assert len(world.asked) == len(set(world.asked)), "something was asked twice"
    assert {one.source_id for one in output.rejected} == {item.id for item in items} - {
        item.id for item in output.records
    }


def test_ties_at_the_border_go_by_id_however_many_there_are(tmp_path: Path) -> None:
    items = candidates(200, 1)
    world = World(0)
    world.answer = lambda query: [Completion(f"#### {int('right' in query.question)}", 5, False, "m")]  # type: ignore[method-assign]
    output = run(world, items, tmp_path / "scratch", keep=0.2)
    assert [item.id for item in output.records] == sorted(item.id for item in items)[:40]
    assert len(world.asked) < 0.8 * 200 * 20


def test_who_cannot_reach_the_cut_is_asked_no_more_and_accounted_for(tmp_path: Path) -> None:
    items = candidates(300, 2)
    world = World(2, spread=1.0)
    output = run(world, items, tmp_path / "scratch", keep=0.1)
    assert output.numbers["answers"] == len(world.asked) < 0.6 * 300 * 20
    assert output.numbers["answers"] + output.numbers["answers_spared"] == 300 * 20
    out = [one for one in output.rejected if one.reason == "cannot_reach_cut"]
    assert len(out) > 200
    cut = output.numbers["lowest_kept_score"]
    for one in out:
        bound, asked = float(one.detail.split()[3]), int(one.detail.split()[5])
        assert bound <= cut + 0.0005
        assert asked < 20
        assert one.detail.endswith(f"of 20 answers; the cut is {cut:.3f}")


def test_a_killed_race_goes_on_with_what_it_has_and_ends_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "AT_ONCE", 100)
    monkeypatch.setattr(module, "SAVE_EVERY", 0.0)
    items = candidates(120, 3)
    whole = run(World(3), items, tmp_path / "whole", keep=0.2)
    world = World(3)
    deaths = itertools.count(150, 333)
    for _ in range(50):
        world.die_after = next(deaths)
        try:
            resumed = run(world, items, tmp_path / "killed", keep=0.2)
            break
        except KeyboardInterrupt:
            continue
    assert resumed == whole
    again = sum(world.asked.count(prompt) > 1 for prompt in set(world.asked))
    assert 0 < again < 100 * (world.die_after // 333 + 1)


def test_a_candidates_questions_stand_together_so_that_they_share_their_beginning(tmp_path: Path) -> None:
    items = candidates(300, 4)
    world = World(4)
    run(world, items, tmp_path / "scratch", keep=0.2)
    names = [prompt.split("example ")[1].split()[0] for prompt in world.asked]
    changes = 1 + sum(one != other for one, other in itertools.pairwise(names))
    assert changes < len(names) / 3


def test_a_bound_counts_open_answers_as_right_and_missing_ones_not_at_all() -> None:
    race = Race(["a"], [2, 2], keep=1)
    assert (race.lowest[0], race.highest[0]) == (0.0, 1.0)
    race.tell(0, 0, right=False)
    assert race.highest[0] == 0.75  # (1/2 + 2/2) / 2
    race.tell(0, 2, right=None)
    assert race.highest[0] == 0.75  # (1/2 + 1/1) / 2
    race.tell(0, 3, right=None)
    assert race.highest[0] == 0.5  # 1/2 alone: nothing is known of the second group
    assert race.lowest[0] == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_who_is_in_or_out_by_comparing_every_pair(seed: int) -> None:
    draw, count, keep = random.Random(seed), 60, 12
    race = Race([content_id("synthetic", seed, number) for number in range(count)], [2, 3], keep)
    bounds = [sorted(draw.choice([0.0, 0.25, 1 / 3, 0.5, 2 / 3, 1.0]) for _ in range(2)) for _ in range(count)]
    race.lowest, race.highest = [low for low, _ in bounds], [high for _, high in bounds]

    def before(one: int, other: int) -> tuple[bool, bool]:
        """Whether `one` may come before `other`, and whether it does whatever happens."""
        places = [[(-round(score, 6), race.ids[item]) for score in bounds[item]] for item in (one, other)]
        return places[0][1] < places[1][0], places[0][0] < places[1][1]

    pairs = {item: [before(other, item) for other in range(count) if other != item] for item in range(count)}
    expected = [
        item
        for item in range(count)
        if sum(may for may, _ in pairs[item]) >= keep > sum(does for _, does in pairs[item])
    ]
    assert race._undecided() == expected
    assert race.ranked() == sorted(range(count), key=lambda item: (-bounds[item][0], race.ids[item]))
