"""Grading: speed beside plain math-verify, what the two graders disagree on, and growth on long hostile texts.

Run from the repository root, with the folder that holds `math500/test.jsonl` and `attempts/`:

    python benchmarks/grading.py --data ../shared/data

Prints rates and ratios, asserts nothing. The 5,000 MATH pairs are the 500 gold solutions of MATH-500, each against its
own gold answer and the next nine: one right and nine wrong, no two alike. The 400 sampled solutions have labels.
The growth table needs no data: seconds for one text of 10 kB, 100 kB and 1 MB in any style, as an output or as a gold answer.
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


HOSTILE: dict[str, str] = {  # name -> what is repeated; "^" stands for what comes first, once
    "digits after ####": "#### ^1",
    "digits and blanks after ####": "#### ^1 ",
    "####": "#### ",
    "round brackets": "(",
    "round brackets in a box": "\\boxed{^(",
    "round brackets after a marker": "The answer is ^(",
    "boxes never closed": "\\boxed{",
    "boxes in a row": "\\boxed{5}, ",
    "boxes in prose": "\\boxed as ",
    "answers": "The answer is (A) ",
    "answers taken back": "The answer is (A). ^Wait, no, it is C. ",
    "answer tags": "<answer>",
    "closed answer tags": "<answer>5</answer>",
    "displays never closed": "\\[",
    "dollars": "$",
    "environments never closed": "\\begin{align}",
    "thousands": "1,000",
    "thousands by blanks": "1 000 ",
    "powers": "1*10^10 ",
    "roots never closed": "3\\sqrt{",
    "equations": "x=",
    "headings": "Answer\n",
    "line breaks": "\n",
    "blanks": " ",
    "backslashes": "\\",
    "annotations never closed": "<<1=",
}


def growth() -> None:
    sizes = (10_000, 100_000, 1_000_000)
    print(f"  {'one text of':<34}" + "".join(f"{size // 1000:>9} kB" for size in sizes) + "   worst of three styles")
    for name, pattern in HOSTILE.items():
        first, _, unit = pattern.rpartition("^")
        cells = []
        for size in sizes:
            text = first + unit * (size // len(unit))
            seconds = 0.0
            for style in ("gsm8k", "math", "choice"):
                started = time.process_time()
                answers.grade(text, "(A) 5" if style == "choice" else "5", style)
                answers.grade("A 5", text, style)
                seconds = max(seconds, time.process_time() - started)
            cells.append(f"{seconds:>10.3f} s")
        print(f"  {name:<34}" + "".join(cells))


def disagreement(pairs: Sequence[Pair], style: answers.Style, truth: Sequence[bool]) -> None:
    """What ours and plain math-verify say differently, and which of the two the label confirms."""
    started = time.perf_counter()
    theirs = [verdict == "correct" for verdict in answers.math_verify_many(pairs)]
    seconds = time.perf_counter() - started
    ours = [verdict == "correct" for verdict in answers.grade_many(pairs, style)]
    differ = [index for index, both in enumerate(zip(ours, theirs, strict=True)) if both[0] != both[1]]
    right = sum(ours[index] == truth[index] for index in differ)
    print(f"  math-verify in workers {seconds:.2f} s; the graders disagree on {len(differ)} of {len(pairs)}, "
          f"ours is right on {right} of these, math-verify on {len(differ) - right}")  # fmt: skip
    for index in differ[:10]:
        print(f"    gold {pairs[index][1]!r}, ours {answers.extract(pairs[index][0], style)!r}, "
              f"output ... {pairs[index][0][-60:]!r}")  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the test data")
    data = parser.parse_args().data

    print("growth, CPU seconds")
    growth()

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
    disagreement(pairs, "math", truth)

    rows = read(data / "attempts/gsm8k_test_6b.jsonl")
    pairs = [(row["solution"], row["gold_solution"].splitlines()[-1].removeprefix("A: ")) for row in rows]
    truth = [bool(row["is_correct"]) for row in rows]
    print(f"{len(pairs)} GSM8K solutions of real models, style gsm8k")
    timed("sei.answers", lambda: answers.grade_many(pairs, "gsm8k"), truth)
    disagreement(pairs, "gsm8k", truth)


if __name__ == "__main__":
    main()
