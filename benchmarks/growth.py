"""What grows faster than its work: everything that runs over all records, at 1x, 10x and 100x as many.

Usage: `python benchmarks/growth.py [--only novelty store_put] [--base 300]`. Prints seconds of CPU, ratios and exponents, asserts
nothing.

The model is left out: its work grows as the tokens do. Each line does the bookkeeping of one stage (or of the store, or of the
page) on made-up records, so many of them, ten times and a hundred times as many. An exponent of 1 is time that grows as the work;
the exponent stands between each size and the one before it, and that of the last is the one that matters.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import io
import json
import math
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from sei.answers import Style
from sei.clustering.clusterers import KMeans
from sei.clustering.embedders import Hashing
from sei.compose import register
from sei.data.overlap import SimilarityFilter
from sei.ledger import read_ledger
from sei.llm.account import RUN_FILE
from sei.llm.store import Store, StoredAnswer, Use
from sei.records import Attempt, Diagnosis, ErrorType, Mistake, Problem, Verdict, content_id
from sei.stages.cluster import cluster
from sei.stages.mine import mine
from sei.stages.race import Race
from sei.stages.separate import separate
from sei.stages.synthesize import synthesize
from sei.target.formats import Formats
from sei.teacher.base import Draft, SynthesisRequest
from sei.tracking.page.run import write_run_page
from sei.training.packing import Encoded, accumulation_for, draw, plan_steps
from sei.workspace import Workspace

STYLE: Style = "gsm8k"
_WORDS = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdfgklmnprst"]  # 720, some of them frequent
_FREQUENT = "a the of how many does have and to is in for if each he she they are with per day".split()


def sentence(choose: random.Random, words: int) -> str:
    """Half of the words are among the most frequent ones, as in questions."""
    return " ".join(
        choose.choice(_FREQUENT)
        if choose.random() < 0.5
        else _WORDS[min(int(choose.paretovariate(0.7)), 719)]
        if choose.random() < 0.8
        else str(choose.randint(2, 500))
        for _ in range(words)
    )


def problems(count: int, seed: str) -> list[Problem]:
    choose = random.Random(seed)
    made = []
    for _ in range(count):
        a, b = choose.randint(2, 99), choose.randint(2, 99)
        solution = f"It is {a}+{b}=<<{a}+{b}={a + b}>>{a + b}.\n#### {a + b}"
        question = f"{sentence(choose, choose.randint(25, 65))}?"
        made.append(Problem.make(question=question, answer=str(a + b), solution=solution, source="made"))
    return made


def mistakes(count: int) -> list[Mistake]:
    return [
        Mistake(
            content_id("mistake", one.id),
            one.id,
            "",
            one.question,
            one.answer,
            one.solution,
            "It is <<1+1=3>>3.\n#### 3",
            "made",
        )
        for one in problems(count, "mistakes")
    ]


def overlap_with_tests(count: int, folder: Path) -> Callable[[], object]:
    train, tests = problems(count, "train"), problems(count // 5, "tests")
    return lambda: separate(train, {"test": tests}, rouge=0.7, ngram=13)


def novelty(count: int, folder: Path) -> Callable[[], object]:
    questions = [one.question for one in problems(count, "novelty")]
    return lambda: SimilarityFilter(0.7).filter_batch(questions)


class _Scripted:
    """A teacher that has its drafts ready."""

    def __init__(self, drafts: Sequence[Problem]) -> None:
        self._drafts = iter(drafts)

    def synthesize(self, requests: Sequence[SynthesisRequest]) -> list[list[Draft]]:
        return [
            [
                Draft(one.question, one.solution, one.answer, (request.mistakes[0].id,))
                for one in (next(self._drafts) for _ in range(request.count))
            ]
            for request in requests
        ]


def synthesis(count: int, folder: Path) -> Callable[[], object]:
    """As many mistakes as new problems, of eight types."""
    wrong, tests, drafts = mistakes(count), problems(count // 5, "tests"), problems(2 * count + 1000, "drafts")
    kinds = [
        ErrorType(
            f"type{k}",
            f"type {k}",
            "",
            len(wrong[k::8]),
            ("a",),
            ("a",),
            tuple(one.id for one in wrong[k::8]),
            1.0,
            (1.0,),
            1,
        )
        for k in range(8)
    ]
    return lambda: synthesize(
        kinds,
        wrong,
        tests,
        _Scripted(drafts),  # type: ignore[arg-type]
        budget=count,
        per_call=20,
        mistakes_shown=5,
        synthesized_shown=3,
        rouge_threshold=0.7,
        max_calls_factor=3.0,
        style=STYLE,
        round=1,
        seed=0,
    )


def _answer(number: int) -> StoredAnswer:
    key = content_id("key", number, "x")[4:] * 5
    request, text = sentence(random.Random(number), 300), sentence(random.Random(-number), 60)
    return StoredAnswer(
        *(key, "made", "", "diagnose", "0", 0, request, text, "ok", "stop"),
        *(400, 0, 80, 2000, 0.001, 1.0, "live", str(number), "run", "2026-01-01"),
    )


def _fill(store: Store, answers: Sequence[StoredAnswer]) -> None:
    async def ask() -> None:
        places = asyncio.Semaphore(256)  # calls in flight

        async def one(answer: StoredAnswer) -> None:
            async with places:
                await store.put(answer, Use("run", answer.key, "diagnose", "type"))

        await asyncio.gather(*map(one, answers))

    asyncio.run(ask())


def store_put(count: int, folder: Path) -> Callable[[], object]:
    """Every answer committed before it is used, 256 calls in flight."""
    answers, store = [_answer(number) for number in range(count)], Store(folder / "teacher.sqlite")
    return lambda: _fill(store, answers)


def store_get(count: int, folder: Path) -> Callable[[], object]:
    answers, store = [_answer(number) for number in range(count)], Store(folder / "teacher.sqlite")
    store.put_all(answers, [])
    return lambda: store.get([answer.key for answer in answers])


def ledger(count: int, folder: Path) -> Callable[[], object]:
    store = Store(folder / "teacher.sqlite")
    answers = [_answer(number) for number in range(count)]
    store.put_all(answers, [Use("run", answer.key, "diagnose", "type") for answer in answers])
    (folder / RUN_FILE).write_text(json.dumps({"run": "run", "store": str(store.path)}))
    return lambda: read_ledger(folder)


def batches(count: int, folder: Path) -> Callable[[], object]:
    """The notes on batches: lines of each (here a hundred) read and closed, as `sei.llm.batch` does."""
    store = Store(folder / "teacher.sqlite")
    size = 100

    def note() -> None:
        for tag in range(-(-count // size)):
            rows = [(content_id("k", tag, line), str(tag), "x" * 500) for line in range(size)]
            store.write(lambda c, rows=rows: c.executemany("INSERT INTO batch_lines VALUES (?, ?, 'open', ?)", rows))
        for tag in range(-(-count // size)):
            wanted = (str(tag),)
            store.write(
                lambda c, wanted=wanted: c.execute(
                    "SELECT key, request FROM batch_lines WHERE tag = ? AND outcome = 'open'", wanted
                ).fetchall()
            )
            store.write(
                lambda c, wanted=wanted: c.execute(
                    "UPDATE batch_lines SET outcome = 'failed' WHERE tag = ? AND outcome = 'open'", wanted
                )
            )

    return note


def types(count: int, folder: Path) -> Callable[[], object]:
    """Clustering: a diagnosis each, half of the phrases distinct."""
    choose = random.Random("types")
    what = [f"{a} of {b}" for a in "addition subtraction division sum share rate".split() for b in _WORDS[:120]]
    phrases = [f"{choose.choice(what)} {sentence(choose, 2)} miscalculated" for _ in range(max(1, count // 2))]
    made = [Diagnosis(f"d{n}", f"m{n}", 1, "wrong", (choose.choice(phrases),), "") for n in range(count)]
    return lambda: cluster(made, embedder=Hashing(), clusterer=KMeans())


def mining(count: int, folder: Path) -> Callable[[], object]:
    asked = problems(count, "mine")
    attempts = [
        Attempt(f"a{n}", one.id, "made", f"It is <<1+1=3>>3.\n#### {n}", Verdict.WRONG) for n, one in enumerate(asked)
    ]
    return lambda: mine(asked, attempts, Formats("plain"))


def selection(count: int, folder: Path) -> Callable[[], object]:
    """The race's bookkeeping; who is right is a matter of chance."""

    def run() -> None:
        ids = [content_id("synthetic", number) for number in range(count)]
        race = Race(ids, [10, 10], max(1, count // 5))
        while asked := race.next():
            for item, problem in asked:
                skill = 0.1 + 0.6 * (int(ids[item][-3:], 16) / 4096)
                luck = random.Random(f"{item}/{problem}").random()
                race.tell(item, problem, luck < skill * (1.4 if problem >= 10 else 0.6), 80)
            race.decided()
        race.ranked()

    return run


def records(count: int, folder: Path) -> Callable[[], object]:
    """A stage's records identified, written, published in the run folder, and read."""
    asked = problems(count, "records")

    def run() -> None:
        (folder / "run").mkdir()
        workspace = Workspace(folder / "run", folder / "cache")
        call = separate.call(asked, {"test": asked[:5]}, rouge=None, ngram=None)
        workspace.stage(call, "problems")

    return run


def packing(count: int, folder: Path) -> Callable[[], object]:
    choose = random.Random("packing")
    lengths = [choose.randint(80, 300) for _ in range(count)]
    encoded = [Encoded(f"e{n}", (1,) * length, (1,) * length) for n, length in enumerate(lengths)]

    def run() -> None:
        steps = plan_steps(draw(encoded, seed=0, epochs=3), batch_examples=64)
        accumulation_for([[len(one) for one in step] for step in steps], devices=2, micro_tokens=4096)

    return run


def page(count: int, folder: Path) -> Callable[[], object]:
    """`report.html` of a run with so many mistakes, diagnoses and new problems."""
    made, wrong = problems(count, "page"), mistakes(count)
    run = Workspace(folder / "run", folder / "cache")
    attempts = [Attempt(f"a{n}", one.id, "made", one.output, Verdict.WRONG) for n, one in enumerate(wrong)]
    asked = [Problem.make(question=one.question, answer=one.gold_answer, solution="", source="made") for one in wrong]
    with contextlib.redirect_stdout(io.StringIO()):
        run.stage(separate.call(made, {"test": made[:1]}, rouge=None, ngram=None), "problems")
        attempts = [
            Attempt(one.id, p.id, "made", one.output, Verdict.WRONG) for p, one in zip(asked, attempts, strict=True)
        ]
        run.stage(mine.call(asked, attempts, Formats("plain")), "mistakes")
    run.write("status.json", {"status": "done"})
    return lambda: write_run_page(folder / "run")


MEASURED: dict[str, tuple[Callable[[int, Path], Callable[[], object]], int]] = {
    # what -> (prepares it for so many records, times as many as the base)
    "overlap_with_tests": (overlap_with_tests, 3),
    "novelty": (novelty, 2),
    "synthesis": (synthesis, 1),
    "selection": (selection, 1),
    "types": (types, 1),
    "mining": (mining, 3),
    "packing": (packing, 3),
    "records": (records, 3),
    "store_put": (store_put, 2),
    "store_get": (store_get, 2),
    "ledger": (ledger, 2),
    "batches": (batches, 3),
    "page": (page, 2),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", choices=MEASURED, default=list(MEASURED))
    parser.add_argument("--base", type=int, default=300, help="records at 1x, for the costliest")
    parser.add_argument("--times", type=int, nargs="*", default=[1, 10, 100])
    options = parser.parse_args()
    register()
    print("what                  records: seconds, at each size            ratios        exponents")
    for name in options.only:
        prepare, factor = MEASURED[name]
        sizes = [options.base * factor * times for times in options.times]
        seconds = [measure(prepare, size) for size in sizes]
        told = "  ".join(f"{size:,}: {spent:.3g}" for size, spent in zip(sizes, seconds, strict=True))
        pairs = list(zip(sizes, sizes[1:], seconds, seconds[1:], strict=False))
        ratios = "  ".join(f"{later / before:.1f}" for _, _, before, later in pairs)
        powers = "  ".join(f"{math.log(y / x) / math.log(b / a):.2f}" for a, b, x, y in pairs)
        print(f"{name:20}  {told:45}  {ratios:12}  {powers}", flush=True)


def measure(prepare: Callable[[int, Path], Callable[[], object]], size: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        work = prepare(size, Path(folder))
        start = time.process_time()
        work()
        return time.process_time() - start


if __name__ == "__main__":
    main()
