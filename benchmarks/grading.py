"""Grading speed: ours (quick comparison, then worker processes) beside plain math-verify in one process.

Run from the repository root, with the folder that holds `math500/test.jsonl` and `attempts/`:

    python benchmarks/grading.py --data ../shared/data

Prints rates and ratios, asserts nothing. The 5,000 MATH pairs are the 500 gold solutions of MATH-500, each against its
own gold answer and the next nine: one right and nine wrong, no two alike. The 400 sampled solutions have labels.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

from sei import answers
from sei.grading.pool import default_workers
from sei.records import Verdict

Pair = tuple[str, str]


def plain_math_verify(pairs: Sequence[Pair]) -> list[Verdict]:
    """What a user would write: parse both sides and verify, with the library's own timeouts."""
    from math_verify import parse, verify

    same = (verify(parse(f"${gold}$"), parse(output)) for output, gold in pairs)
    return [Verdict.CORRECT if each else Verdict.WRONG for each in same]


def timed(name: str, grade: Callable[[], list[Verdict]], labels: Sequence[bool] | None = None) -> float:
    started = time.perf_counter()
    verdicts = grade()
    seconds = time.perf_counter() - started
    agreed = ""
    if labels is not None:
        right = sum((verdict == "correct") == label for verdict, label in zip(verdicts, labels, strict=True))
        agreed = f", agrees with {right} of {len(labels)} labels"
    counts = dict(Counter(str(verdict) for verdict in verdicts))
    print(f"  {name:<34} {seconds:8.2f} s  {len(verdicts) / seconds:9.0f} /s  {counts}{agreed}")
    return seconds


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the test data")
    data = parser.parse_args().data

    rows = read(data / "math500/test.jsonl")
    pairs = [
        (rows[index]["solution"], rows[(index + shift) % len(rows)]["answer"])
        for index in range(len(rows))
        for shift in range(10)
    ]
    labels = [shift == 0 for _ in rows for shift in range(10)]
    workers = default_workers()
    print(f"{len(pairs)} MATH pairs (labels: own gold answer or another's; a few others' answers are equal by chance)")
    ours = timed(f"sei.answers, {workers} workers, cold", lambda: answers.grade_many(pairs, "math"), labels)
    theirs = timed("math-verify, 1 process", lambda: plain_math_verify(pairs), labels)
    print(f"  ratio {theirs / ours:.1f}")

    rows = read(data / "attempts/math_qwen_8x50.jsonl")
    pairs = [(row["solution"], row["gold_answer"]) for row in rows]
    truth = [bool(row["is_correct"]) for row in rows]
    print(f"{len(pairs)} sampled solutions of a real model")
    ours = timed(f"sei.answers, {workers} workers, warm", lambda: answers.grade_many(pairs, "math"), truth)
    theirs = timed("math-verify, 1 process", lambda: plain_math_verify(pairs), truth)
    print(f"  ratio {theirs / ours:.1f}")

    rows = read(data / "attempts/gsm8k_test_6b.jsonl")
    pairs = [(row["solution"], row["gold_solution"].splitlines()[-1]) for row in rows]
    truth = [bool(row["is_correct"]) for row in rows]
    print(f"{len(pairs)} GSM8K solutions of real models, style gsm8k")
    timed("sei.answers", lambda: answers.grade_many(pairs, "gsm8k"), truth)


if __name__ == "__main__":
    main()
