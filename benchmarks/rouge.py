"""Near-duplicate filtering by ROUGE-L: `sei.data.overlap` beside a loop over the package rouge_score.

Usage: `python benchmarks/rouge.py ../shared/data/gsm8k [--questions 5000] [--sample 2000]`.
Prints ratios, asserts nothing.

The task is the synthesis filter's: each question is compared with every question kept before it, and kept if every
ROUGE-L F is below 0.7. Ours does all of it. rouge_score would need more than an hour, so it is timed on a random sample
of the same pairs and extrapolated. The decisions are compared where they could differ: on every rejection, on the pairs
just below the threshold, and on the random sample.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from pathlib import Path

from rouge_score.rouge_scorer import RougeScorer

from sei.data.overlap import SimilarityFilter

THRESHOLD = 0.7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder that holds train.jsonl of GSM8K")
    parser.add_argument("--questions", type=int, default=5000)
    parser.add_argument("--sample", type=int, default=2000, help="pairs given to rouge_score")
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


if __name__ == "__main__":
    main()
