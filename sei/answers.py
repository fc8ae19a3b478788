"""Grading: does this output give the gold answer?

Purpose: the verdict on which everything else stands. A grader's false "wrong" becomes a mistake that the teacher then
explains with confidence, so the comparison is exact, and what cannot be judged is reported as such, not guessed.
Place in the flow: attempts, corrections, synthetic problems, one-shot selection and evaluation all grade here.

Styles: `gsm8k` (one number), `math` (LaTeX expressions, lists, intervals, matrices ...), `choice` (a letter).
Numbers and letters are compared in this process. What needs symbols runs in worker processes that are killed when a
pair takes too much time or memory, so nothing here uses signals and every function may be called from any thread.

Example::

    grade("She pays $29.00", "29")                                    # Verdict.CORRECT
    grade("First we add 3 and", "18", truncated=True)                 # Verdict.TRUNCATED
    grade("So $x=\\\\boxed{2\\\\sqrt3}$", "\\\\sqrt{12}", style="math")   # Verdict.CORRECT
"""

from __future__ import annotations

import atexit
import os
import re
import threading
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from sei.grading import latex, numeric
from sei.grading.compare import QUICK, compare
from sei.grading.find_formula import formula
from sei.grading.find_letter import letter
from sei.grading.find_number import number
from sei.grading.markers import Found, boxes
from sei.grading.pool import Pool, Question, default_workers
from sei.reading import read
from sei.records import Problem, Verdict

Style = Literal["gsm8k", "math", "choice"]

TIMEOUT_S = 5.0  # CPU seconds for one pair; math-verify's own default
MEMORY_MB = 1024  # address space of one worker; sympy and math-verify need about 250

_MAX_GOLD = 500  # characters of a number
_MAX_MATH = 2000  # characters; longer "answers" are whole solutions in a box
_GOLD_MARKER = re.compile(r"####|^A:|^Answer:", re.MULTILINE)
_SUFFIX = re.compile(rf"(.*[0-9]) ?({'|'.join(numeric.SUFFIXES)})")
_AND_PART = re.compile(r"(.*[0-9]) and an? (half|quarter)", re.IGNORECASE)
_PARTS = {"half": Fraction(1, 2), "quarter": Fraction(1, 4)}
# 12,5 or 1.234,50; where the comma groups thousands it is read so
_DECIMAL_COMMA = re.compile(r"-?(?:[0-9]+|[0-9]{1,3}(?:[. '’][0-9]{3})+),[0-9]+")
_GOLD_LETTER = re.compile(r"\(?([A-J])(?:\)|(?=[\s.:])|$)[\s.:]*(.*)", re.DOTALL)


def extract(output: str, style: Style = "gsm8k") -> str | None:
    """The answer that `output` gives, as text, or None where it gives none."""
    found = _FINDERS[style](read(output, style).text)
    return found.text if found else None


def grade(output: str, gold: str, style: Style = "gsm8k", *, truncated: bool = False) -> Verdict:
    """The verdict on one output. For many outputs of style `math`, `grade_many` uses all workers at once.

    `gold` is the bare answer (for gsm8k also a solution that ends with `#### answer` or `A: answer`; for choice a letter,
    or a letter and its text as in "(C) garage"). `truncated` says that the generation hit its token limit: without a complete
    answer after a marker the verdict is then TRUNCATED, since the last number of half a solution is not an answer.
    """
    return grade_many([(output, gold)], style, truncated=[truncated], workers=1)[0]


def grade_many(
    pairs: Sequence[tuple[str, str]],
    style: Style = "gsm8k",
    *,
    truncated: Sequence[bool] | None = None,
    workers: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> list[Verdict]:
    """The verdicts on (output, gold) pairs, in their order.

    `truncated` has one flag per pair (default: none was truncated). `timeout_s` is CPU time for one pair: beyond it, or beyond
    MEMORY_MB, its verdict is TIMEOUT and the other pairs go on. Equal pairs are judged once. At most `workers` processes compare
    symbols (default: one for each processor that this process may use).
    """
    flags = truncated if truncated is not None else [False] * len(pairs)
    if len(flags) != len(pairs):
        raise ValueError(f"{len(flags)} truncated flags for {len(pairs)} pairs")
    verdicts: list[Verdict | None] = []
    open_pairs: dict[tuple[str, str], list[int]] = {}
    for index, ((output, gold), cut) in enumerate(zip(pairs, flags, strict=True)):
        reading = read(output, style)
        verdict = _without_symbols(reading.text, gold, style, reading.unfinished(cut))
        verdicts.append(verdict if isinstance(verdict, Verdict) else None)
        if not isinstance(verdict, Verdict):
            open_pairs.setdefault(verdict, []).append(index)
    answers = _in_workers(list(open_pairs), "answers", workers or default_workers(), timeout_s)
    for pair, same in zip(open_pairs, answers, strict=True):
        for index in open_pairs[pair]:
            verdicts[index] = Verdict.TIMEOUT if same is None else _verdict(same)
    return [verdict for verdict in verdicts if verdict is not None]


def math_verify_many(pairs: Sequence[tuple[str, str]], *, workers: int | None = None) -> list[Verdict]:
    """What plain `math-verify` says of the same (output, gold) pairs: a second grader, to be compared with this one.

    CORRECT, WRONG, or TIMEOUT beyond TIMEOUT_S or MEMORY_MB. It reads numbers and LaTeX, not the letters of style `choice`.
    """
    distinct = list(dict.fromkeys((gold, output) for output, gold in pairs))
    same = _in_workers(distinct, "math_verify", workers or default_workers(), TIMEOUT_S)
    verdicts = {
        pair: Verdict.TIMEOUT if one is None else _verdict(one) for pair, one in zip(distinct, same, strict=True)
    }
    return [verdicts[gold, output] for output, gold in pairs]


def equivalent_many(
    pairs: Sequence[tuple[str, str]], style: Style = "gsm8k", *, workers: int | None = None
) -> list[bool]:
    """For pairs of answers as `extract` gives them, whether the two are the same answer; maj@k groups by this."""
    if style == "math":
        pairs = [(f"\\boxed{{{first}}}", second) for first, second in pairs]
    verdicts = grade_many(pairs, style, workers=workers)
    return [verdict is Verdict.CORRECT for verdict in verdicts]


def check_gold(problem: Problem, style: Style = "gsm8k") -> str | None:
    """What is wrong with the gold answer of `problem`, or None where outputs can be graded against it."""
    if _readable_gold(problem.answer, style):
        return None
    formula = (
        f"LaTeX with paired braces, of at most {_MAX_MATH:,} characters and {latex.MAX_NESTED} brackets in brackets"
    )
    expected = {"gsm8k": "a number", "math": formula, "choice": "a letter from A to J"}[style]
    return f"the gold answer {problem.answer!r} is not {expected}"


def boxed(solution: str) -> str | None:
    """The content of the last box of a solution: the gold answer of MATH's problems."""
    found = boxes(solution)
    return found[-1].content if found else None


_FINDERS: dict[Style, Callable[[str], Found | None]] = {"gsm8k": number, "math": formula, "choice": letter}


def _without_symbols(output: str, gold: str, style: Style, cut: bool) -> Verdict | tuple[str, str]:
    """The verdict, or for style math the (gold, answer) pair that needs symbols."""
    if not _readable_gold(gold, style):
        return Verdict.UNGRADABLE
    found = _FINDERS[style](output)
    if cut and (found is None or not found.marked or found.open_end):
        return Verdict.TRUNCATED
    if found is None:
        named = style == "choice" and len(output) < _MAX_GOLD and _same_choice(output, gold)
        return Verdict.CORRECT if named else Verdict.NO_ANSWER  # the words of the option, and nothing else
    if style == "gsm8k":
        return _verdict(_gold_number(gold) in _readings(found.text))
    if style == "choice":
        return _verdict(_same_choice(found.text, gold))
    if len(found.text) > _MAX_MATH or not latex.readable(found.text):
        return Verdict.WRONG
    if latex.crowded(gold) or latex.crowded(found.text):
        return gold, found.text
    same = compare(_parsed(gold), latex.parse(found.text), QUICK)
    return (gold, found.text) if same is None else _verdict(same)


def _verdict(same: bool) -> Verdict:
    return Verdict.CORRECT if same else Verdict.WRONG


def _readable_gold(gold: str, style: Style) -> bool:
    if style == "gsm8k":
        return _gold_number(gold) is not None
    if style == "choice":
        return _GOLD_LETTER.fullmatch(gold.strip()) is not None
    return 0 < len(gold) <= _MAX_MATH and latex.normalize(gold) != "" and latex.readable(gold)


@lru_cache(maxsize=4096)
def _gold_number(gold: str) -> Fraction | None:
    markers = [marker.end() for marker in _GOLD_MARKER.finditer(gold)]
    answer = gold[markers[-1] if markers else 0 :].strip()
    return numeric.value(numeric.plain(answer).strip().rstrip("%.")) if len(answer) <= _MAX_GOLD else None


def _readings(answer: str) -> tuple[Fraction | None, ...]:
    """The values that an answer may have: `2 million` is 2,000,000, or 2 if the question counts in millions."""
    amount, _, scale = answer.rpartition(" ")
    if scale in numeric.SCALES:
        base = _amount(amount)
        return () if base is None else (base, base * numeric.SCALES[scale])
    if suffix := _SUFFIX.fullmatch(answer):
        base = _amount(suffix[1])
        return () if base is None else (base * numeric.SUFFIXES[suffix[2]],)
    if part := _AND_PART.fullmatch(answer):
        base = numeric.value(part[1])
        return () if base is None else (base + (-1 if base < 0 else 1) * _PARTS[part[2].lower()],)
    return (_amount(answer),)


def _amount(answer: str) -> Fraction | None:
    if _DECIMAL_COMMA.fullmatch(answer) and numeric.value(answer) is None:
        whole, _, decimals = answer.rpartition(",")
        return numeric.value(f"{re.sub('[^-0-9]', '', whole)}.{decimals}")
    return numeric.value(answer)


def _same_choice(answer: str, gold: str) -> bool:
    match = _GOLD_LETTER.fullmatch(gold.strip())
    assert match is not None  # the caller has checked the gold answer
    if re.fullmatch(r"[A-J]", answer):
        return answer == match[1]
    simple = [re.sub(r"^(?:a|an|the)\s|[^a-z0-9 ]", "", text.lower()).strip() for text in (answer, match[2] or "")]
    return simple[0] == simple[1] != ""


@lru_cache(maxsize=4096)
def _parsed(gold: str) -> latex.Node:
    return latex.parse(gold)


_pools: dict[tuple[int, int, float], Pool] = {}  # by process id too: a fork must not share its parent's pipes
_pool_lock = threading.Lock()


def _in_workers(
    pairs: Sequence[tuple[str, str]], question: Question, workers: int, timeout_s: float
) -> list[bool | None]:
    if not pairs:
        return []
    with _pool_lock:
        key = (os.getpid(), workers, timeout_s)
        if key not in _pools:
            _pools[key] = Pool(workers, timeout_s, MEMORY_MB)
            atexit.register(_pools[key].close)
        return _pools[key].same(pairs, question)
