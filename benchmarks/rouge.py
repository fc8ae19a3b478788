"""Near-duplicate filtering by ROUGE-L: `sei.data.overlap` beside a loop over the package rouge_score, and beside comparing all.

Usage: `python benchmarks/rouge.py ../shared/data/gsm8k [--questions 5000] [--sample 2000] [--sizes 1000 10000 100000]`.
Prints ratios, asserts nothing.

The task is the synthesis filter's: each question is compared with every question kept before it, and kept if every
ROUGE-L F is below 0.7. Ours does all of it. rouge_score would need more than an hour, so it is timed on a random sample
of the same pairs and extrapolated. The decisions are compared where they could differ: on every rejection, on the pairs
just below the threshold, and on the random sample.

Then the index (`sei.data.index`) beside a loop that compares every pair with rapidfuzz, at growing numbers of references. So
many questions are made of GSM8K's: sentences of several of them, other numbers. Both are asked the same new questions, one in
four of them a reference with one word in five changed; the loop fewer of them where there are very many references.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import re
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rapidfuzz import process
from rapidfuzz.distance import LCSseq
from rouge_score.rouge_scorer import RougeScorer

from sei.data.overlap import SimilarityFilter
from sei.words import split_words

THRESHOLD = 0.7
ASKED = 2000  # questions that the index is asked
PAIRS = 30_000_000  # that the loop compares, at most


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder that holds train.jsonl of GSM8K")
    parser.add_argument("--questions", type=int, default=5000)
    parser.add_argument("--sample", type=int, default=2000, help="pairs given to rouge_score")
    parser.add_argument("--sizes", type=int, nargs="*", default=[1000, 10_000, 100_000], help="references of the index")
    arguments = parser.parse_args()
    lines = (arguments.folder / "train.jsonl").read_text().splitlines()[: arguments.questions]
    questions = [json.loads(line)["question"] for line in lines]

    near = SimilarityFilter(THRESHOLD)
    start = time.perf_counter()
    overlaps = near.filter_batch(questions)
    ours = time.perf_counter() - start
    kept_before = 0
    pairs = 0
    for overlap in overlaps:
        pairs += kept_before
        kept_before += overlap is None
    kept = [question for question, overlap in zip(questions, overlaps, strict=True) if overlap is None]
    rejected = [(question, overlap) for question, overlap in zip(questions, overlaps, strict=True) if overlap]

    scorer = RougeScorer(["rougeL"])

    def theirs(first: str, second: str) -> float:
        return scorer.score(first, second)["rougeL"].fmeasure

    drawn: list[tuple[str, str]] = []  # a question and one that was kept before it
    generator = random.Random(0)
    while len(drawn) < arguments.sample:
        later = generator.randrange(1, len(kept))
        drawn.append((kept[generator.randrange(later)], kept[later]))
    start = time.perf_counter()
    scores = [theirs(first, second) for first, second in drawn]
    per_pair = (time.perf_counter() - start) / len(drawn)

    close = zip(kept, SimilarityFilter(THRESHOLD - 0.2).filter_batch(kept), strict=True)
    below = [(question, overlap) for question, overlap in close if overlap]
    disagree = sum(score >= THRESHOLD for score in scores)
    disagree += sum(theirs(overlap.reference, question) != overlap.score for question, overlap in rejected + below)
    extrapolated = per_pair * pairs

    print(f"questions                     {len(questions)} ({len(kept)} kept, {len(rejected)} rejected at {THRESHOLD})")
    print(f"pairs to decide               {pairs:,}")
    print(f"sei.data.overlap              {ours:.2f} s, all pairs ({ours / pairs * 1e6:.3f} us per pair)")
    print(
        f"rouge_score                   {extrapolated:,.0f} s, extrapolated: {len(drawn)} pairs, {per_pair * 1e6:.0f} us each"
    )
    print(f"ratio                         {extrapolated / ours:,.0f} x")
    checked = f"{len(rejected)} rejections, {len(below)} pairs just below the threshold, {len(drawn)} random pairs"
    print(f"disagreements                 {disagree} ({checked})")
    beside_loop(questions, arguments.sizes)


def beside_loop(questions: Sequence[str], sizes: Sequence[int]) -> None:
    """The index and the loop at growing numbers of references."""
    print(
        "\nreferences  seconds to index  us a question: index      loop  ratio  pairs a second: index       loop  differ"
    )
    before: tuple[int, float, float] | None = None
    for size in sizes:
        made = make_questions(questions, size, random.Random(0))
        start = time.perf_counter()
        near = SimilarityFilter(THRESHOLD, made)
        built = time.perf_counter() - start
        asked = new_questions(questions, made, ASKED, random.Random(1))
        start = time.perf_counter()
        found = near.check_many(asked)
        index = (time.perf_counter() - start) / len(asked)
        few = asked[: max(8, min(len(asked), PAIRS // size))]
        scores, loop = compare_all(few, made)
        expected = [score if score >= THRESHOLD else None for score in scores]
        differ = sum((one and one.score) != score for one, score in zip(found, expected, strict=False))
        print(
            f"{size:10,}  {built:16.1f}  {index * 1e6:20,.0f}  {loop * 1e6:8,.0f}  {loop / index:5,.0f}"
            f"  {size / index:20,.0f}  {size / loop:9,.0f}  {differ} of {len(few)}"
        )
        if before is not None:
            grown = math.log(size / before[0])
            told = [f"{math.log(now / then) / grown:.2f}" for now, then in ((index, before[1]), (loop, before[2]))]
            print(f"            exponent of a question's time since the size before: index {told[0]}, loop {told[1]}")
        before = (size, index, loop)


def compare_all(asked: Sequence[str], references: Sequence[str]) -> tuple[list[float], float]:
    """The highest score of each, by comparing every pair; seconds each."""
    vocabulary: dict[str, int] = {}

    def sequence(text: str) -> str:
        words = split_words(text.lower())
        return "".join(chr(vocabulary.setdefault(word, len(vocabulary))) for word in words)

    known = [sequence(text) for text in references]
    lengths = np.maximum([len(words) for words in known], 1)
    highest: list[float] = []
    start = time.perf_counter()
    for place in range(0, len(asked), 64):
        block = [sequence(text) for text in asked[place : place + 64]]
        common = process.cdist(block, known, scorer=LCSseq.similarity, dtype=np.int32).astype(np.float64)
        precision, recall = common / np.maximum([[len(words)] for words in block], 1), common / lengths
        total = precision + recall
        scores = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
        highest += scores.max(axis=1).tolist()
    return highest, (time.perf_counter() - start) / len(asked)


def make_questions(questions: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """So many questions: as many sentences as one of these has, each from any of them, with other numbers."""
    parts = [re.split(r"(?<=[.?!]) ", question) for question in questions]

    def made() -> str:
        wanted = len(draw.choice(parts))
        sentences = [draw.choice(one) for one in (draw.choice(parts) for _ in range(wanted))]
        return re.sub(r"\d+", lambda _: str(draw.randint(2, 500)), " ".join(sentences))

    return [made() for _ in range(count)]


def new_questions(questions: Sequence[str], made: Sequence[str], count: int, draw: random.Random) -> list[str]:
    """New ones, and every fourth a reference in which one word in five is another."""
    fresh = make_questions(questions, count, draw)
    words = [word for question in questions[:100] for word in question.split()]
    for place in range(0, count, 4):
        near = [draw.choice(words) if draw.random() < 0.2 else word for word in draw.choice(made).split()]
        fresh[place] = " ".join(near)
    return fresh


if __name__ == "__main__":
    main()
