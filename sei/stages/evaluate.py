"""Evaluate: attempts at a test set become outcomes, and outcomes become figures.

Place in the flow: adapter -> attempts at test problems -> **outcomes** -> report. An outcome is one test item answered by
one model, once or several times; all paired comparisons are made on outcomes. Figures are plain dicts, as they stand in
`results.json`: shares in [0, 1], `low` and `high` the ends of a 95 % interval. The same outputs are graded by plain
math-verify too, so that a reader can tell how much of a figure is the grader's.

Example::

    rows = outcomes("math", problems, attempts, type_of={}, style="math")
    accuracy(rows)      # {"n": 500, "correct": 121, "accuracy": 0.242, "low": 0.206..., "high": 0.281...}
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sei import metrics
from sei.answers import Style, equivalent_many, extract, math_verify_many
from sei.records import Attempt, Disagreement, Outcome, Problem, Verdict, content_id
from sei.statistics import Interval, difference_interval, mcnemar, shares_interval, wilson_interval

Select = Literal["validation", "last", "paper"]
Figures = dict[str, Any]


@dataclass(frozen=True)
class CheckpointScore:
    """One kept checkpoint: its optimizer step, and `accuracy` of the validation split and of each test set.

    `validation` is None where the split is empty; `tests` holds only the sets that were asked for.
    """

    step: int
    validation: Figures | None
    tests: dict[str, Figures]


def outcomes(
    eval_set: str,
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    type_of: Mapping[str, str],
    style: Style = "gsm8k",
) -> list[Outcome]:
    """One outcome a problem: verdict and output of its first sample, and the votes of all samples.

    Plain math-verify grades the first samples too, where it can read the style's answers.
    `type_of` maps an attempt's id to the error type of its mistake. A problem without any attempt has no outcome; the
    attempt stage has rejected it as `no_attempt`, and the report counts it.
    """
    samples: dict[str, dict[int, Attempt]] = {}
    for item in attempts:  # a problem that occurs twice in the set has each sample twice, and counts it once
        samples.setdefault(item.problem_id, {}).setdefault(item.sample, item)
    answered = [problem for problem in problems if problem.id in samples]
    groups = [[item for _, item in sorted(samples[problem.id].items())] for problem in answered]
    pairs = [(group[0].output, problem.answer) for problem, group in zip(answered, groups, strict=True)]
    seconds = math_verify_many(pairs) if style != "choice" else [""] * len(pairs)
    return [
        Outcome(
            content_id("outcome", eval_set, group[0].id),
            eval_set,
            problem.id,
            problem.family,
            group[0].verdict,
            group[0].output,
            error_type=type_of.get(group[0].id, ""),
            level=problem.level,
            votes=votes,
            gold=problem.answer,
            math_verify=str(second),
        )
        for problem, group, votes, second in zip(answered, groups, _votes(groups, style), seconds, strict=True)
    ]


def disagrees(row: Outcome) -> bool:
    """Whether only one of the two graders takes an outcome for right."""
    return row.math_verify != "" and (row.math_verify == Verdict.CORRECT) != (row.verdict is Verdict.CORRECT)


def disagreements(outcomes: Mapping[str, Mapping[str, Sequence[Outcome]]]) -> list[Disagreement]:
    """The items that the two graders disagree on. `outcomes`: when -> evaluation set -> rows."""
    return [
        Disagreement(
            content_id("disagreement", when, row.id),
            when,
            name,
            row.problem_id,
            row.gold,
            row.output,
            row.verdict,
            row.math_verify,
        )
        for when, sets in outcomes.items()
        for name, rows in sets.items()
        for row in rows
        if disagrees(row)
    ]


def score(row: Outcome) -> float:
    """The share of an outcome's samples that are right; 0 or 1 where there is one sample."""
    return row.votes.count(0) / len(row.votes) if row.votes else float(row.verdict is Verdict.CORRECT)


def accuracy(rows: Sequence[Outcome]) -> Figures:
    """n, correct, accuracy and its 95 % interval. Raises ValueError where there are no rows.

    One sample a problem: Wilson's interval. Several: `accuracy` is their mean, which is pass@1, with the interval of
    `shares_interval`; `correct` still counts first samples, like verdicts and error types.
    """
    correct = sum(row.verdict is Verdict.CORRECT for row in rows)
    return {"n": len(rows), "correct": correct} | _interval(_mean([rows]), "accuracy")


def math_verify_accuracy(rows: Sequence[Outcome]) -> Figures | None:
    """The accuracy of first samples as plain math-verify grades them, and on how many items it `disagrees`.

    None where it was not asked.
    """
    asked = [row for row in rows if row.math_verify]
    if not asked:
        return None
    correct = sum(row.math_verify == Verdict.CORRECT for row in asked)
    return {
        "n": len(asked),
        "correct": correct,
        **_interval(wilson_interval(correct, len(asked)), "accuracy"),
        "disagrees": sum(map(disagrees, asked)),
    }


def summarize(
    before: Sequence[Outcome], after: Sequence[Outcome] | None, type_names: Mapping[str, str]
) -> dict[str, Any]:
    """The figures of one test set before and after training: whole, by family (or subject), level and error type.

    `after` and `change` are None where nothing was trained. Families and levels are there only where known;
    `family_average` is the mean over two or more families, each of the same weight. Error types count mistakes. With several
    samples a problem `before` and `after` also hold `samples`, `pass_at` and `majority_at` by k.
    """
    sides = {"before": before, "after": after}
    families = _parts(sides, lambda row: row.family)
    average = {when: _by_family(rows) for when, rows in sides.items()} if len(families) > 1 else None

    def count(rows: Sequence[Outcome] | None, kind: str) -> int | None:
        return None if rows is None else sum(row.error_type == kind for row in rows)

    error_types = {
        kind: {"name": name, "before": count(before, kind), "after": count(after, kind)}
        for kind, name in type_names.items()
    }
    return {
        **{when: None if rows is None else accuracy(rows) | _sampled(rows) for when, rows in sides.items()},
        "change": None if after is None else change(before, after),
        "math_verify": {when: math_verify_accuracy(rows) for when, rows in sides.items() if rows is not None},
        "verdicts": {when: _verdicts(rows) for when, rows in sides.items() if rows is not None},
        "families": families,
        "family_average": average,
        "levels": _parts(sides, lambda row: str(row.level) if row.level else ""),
        "error_types": error_types,
    }


def averages(
    before: Mapping[str, Sequence[Outcome]],
    after: Mapping[str, Sequence[Outcome]],
    domains: Mapping[str, Sequence[str]],
) -> dict[str, Figures]:
    """Averages over the sets of each domain, and over `all` sets, before and after training.

    `micro` pools the items of all sets, so large sets weigh more; `macro` is the mean of the sets' accuracies. A
    domain's sets without outcomes are left out, and so is a domain without any.
    """
    found: dict[str, Figures] = {}
    for domain, names in {**domains, "all": list(before)}.items():
        sets = [name for name in names if before.get(name)]
        if not sets:
            continue
        trained = all(after.get(name) for name in sets)
        found[domain] = {
            "sets": sets,
            "before": _average([before[name] for name in sets]),
            "after": _average([after[name] for name in sets]) if trained else None,
        }
    return found


def passes(first: Sequence[Outcome], second: Sequence[Outcome]) -> Figures:
    """What a second pass (verify and correct) does to the first samples of the same problems.

    Accuracy of both passes on the problems that have both, what turned from right to wrong and from wrong to right, and
    McNemar's p. `missing` counts problems that only one pass has. Raises ValueError where no problem has both.
    """
    earlier = {row.problem_id: row.verdict is Verdict.CORRECT for row in first}
    later = {row.problem_id: row.verdict is Verdict.CORRECT for row in second}
    both = [item for item in earlier if item in later]
    test = mcnemar([earlier[item] for item in both], [later[item] for item in both])
    return {
        "n": len(both),
        "first": _interval(wilson_interval(sum(earlier[item] for item in both), len(both)), "accuracy"),
        "second": _interval(wilson_interval(sum(later[item] for item in both), len(both)), "accuracy"),
        "right_to_wrong": test.only_first,
        "wrong_to_right": test.only_second,
        "p": test.p,
        "missing": len(earlier.keys() ^ later.keys()),
    }


def change(before: Sequence[Outcome], after: Sequence[Outcome]) -> Figures | None:
    """What training changed on the items that were answered before and after: None where there are none.

    Mean difference of accuracy with its interval, items that were fixed (wrong, then right) and broken, by first samples,
    and McNemar's p.
    """
    earlier = {row.problem_id: row for row in before}
    later = {row.problem_id: row for row in after}
    both = [item for item in earlier if item in later]
    if not both:
        return None
    turned = passes(before, after)
    difference = difference_interval([score(earlier[item]) for item in both], [score(later[item]) for item in both])
    counts = {"fixed": turned["wrong_to_right"], "broken": turned["right_to_wrong"], "p": turned["p"]}
    return {"n": len(both), **_interval(difference, "mean"), **counts}


def choose(scores: Sequence[CheckpointScore], select: Select) -> int:
    """The index of the checkpoint that goes on: best on validation (the earliest of equals), or the last one.

    `paper` chooses like `validation`: the paper's own choice is made anew for each test set (`best_on_test`) and is a
    figure beside the honest one, never the adapter. Without a validation split the last checkpoint is taken.
    """
    if not scores:
        raise ValueError("no checkpoint to choose from")
    found = [item.validation["accuracy"] if item.validation else None for item in scores]
    known = [value for value in found if value is not None]
    if select == "last" or not known:
        return len(scores) - 1
    return found.index(max(known))


def best_on_test(scores: Sequence[CheckpointScore]) -> dict[str, Figures]:
    """LeMa's figures of each test set (arXiv 2310.20689): the best checkpoint's accuracy and the best three's mean.

    Both are chosen on the test set itself and therefore too high. `steps` are the best three, best first; of equal
    checkpoints the earlier counts as better.
    """
    found = {}
    for name in dict.fromkeys(name for item in scores for name in item.tests):
        ranked = sorted(
            (item for item in scores if name in item.tests), key=lambda item: (-item.tests[name]["accuracy"], item.step)
        )[:3]
        values = [item.tests[name]["accuracy"] for item in ranked]
        found[name] = {
            "best": values[0],
            "best_three": sum(values) / len(values),
            "steps": [item.step for item in ranked],
        }
    return found


def _votes(groups: Sequence[Sequence[Attempt]], style: Style) -> list[tuple[int, ...]]:
    """For each group of samples their answers as numbers, see `Outcome.votes`.

    An answer belongs to the first of the group's answers that it is equivalent to. Round by round, the first answer
    without a number gets the next one, and every other such answer is compared with it; one round of all groups is one
    batch. Grading has told wrong answers apart from the gold one, so none is compared with it again. An answer whose
    grading timed out equals the same text alone: to compare it would time out again.
    """
    answers = [[_answer(attempt, style) for attempt in group] for group in groups]
    slow = [
        {text for text, item in zip(row, group, strict=True) if item.verdict is Verdict.TIMEOUT}
        for row, group in zip(answers, groups, strict=True)
    ]
    numbers: list[dict[str, int]] = [{} for _ in groups]
    waiting = [list(dict.fromkeys(text for text in row if isinstance(text, str))) for row in answers]
    number = 0
    while any(waiting):
        number += 1
        places, pairs = [], []
        for index, texts in enumerate(waiting):
            if texts:
                leader = texts.pop(0)
                numbers[index][leader] = number
                for text in texts if leader not in slow[index] else ():
                    if text not in slow[index]:
                        places.append((index, text))
                        pairs.append((text, leader))
        for (index, text), same in zip(places, _same(pairs, style), strict=True):
            if same:
                numbers[index][text] = number
                waiting[index].remove(text)
    return [
        tuple(own[text] if isinstance(text, str) else text for text in row)
        for row, own in zip(answers, numbers, strict=True)
    ]


def _answer(attempt: Attempt, style: Style) -> str | int:
    """0 for the gold answer, -1 for none, else the answer's text."""
    if attempt.verdict is Verdict.CORRECT:
        return 0
    if attempt.verdict in (Verdict.NO_ANSWER, Verdict.TRUNCATED):
        return -1
    text = extract(attempt.output, style)
    return -1 if text is None else text


def _same(pairs: Sequence[tuple[str, str]], style: Style) -> list[bool]:
    """Equivalence in either direction: grading reads its two sides differently ("2 million" is no gold answer)."""
    same = equivalent_many(pairs, style)
    turned = [index for index, value in enumerate(same) if not value]
    for index, value in zip(turned, equivalent_many([pairs[i][::-1] for i in turned], style), strict=True):
        same[index] = value
    return same


def _mean(groups: Sequence[Sequence[Outcome]]) -> Interval:
    """Mean of the groups' accuracies with its interval."""
    return shares_interval([[score(row) for row in group] for group in groups])


def _interval(interval: Interval, name: str) -> Figures:
    return {name: interval.mean, "low": interval.low, "high": interval.high}


def _sampled(rows: Sequence[Outcome]) -> Figures:
    """pass@k and maj@k, means over problems with their intervals; nothing where a problem has one sample.

    k goes up to the smallest number of samples that any problem has. `runs`: the j-th samples of all problems are one run;
    mean and variance (of a sample, n - 1) of the runs' accuracies, as SuperCorrect reports them over 256 runs.
    """
    samples = min(len(row.votes) for row in rows)
    if samples < 2:
        return {}
    runs = [sum(row.votes[run] == 0 for row in rows) / len(rows) for run in range(samples)]
    spread = {"n": samples, "mean": statistics.fmean(runs), "variance": statistics.variance(runs)}
    found: Figures = {"samples": samples, "runs": spread, "pass_at": {}, "majority_at": {}}
    for k in metrics.ks(samples):
        passed = [metrics.pass_at_k(len(row.votes), row.votes.count(0), k) for row in rows]
        majority = [metrics.majority_at_k(row.votes, k) for row in rows]
        found["pass_at"][str(k)] = _interval(shares_interval([passed]), "mean")
        found["majority_at"][str(k)] = _interval(shares_interval([majority]), "mean") | {
            "exact": all(metrics.is_exact(row.votes, k) for row in rows)
        }
    return found


def _parts(sides: Mapping[str, Sequence[Outcome] | None], key: Callable[[Outcome], str]) -> dict[str, Figures]:
    """Accuracy by the value of `key` ("" is unknown and left out), before and after."""
    found: dict[str, Figures] = {}
    for part in sorted({key(row) for row in sides["before"] or () if key(row)}):
        rows = {when: [row for row in side or () if key(row) == part] for when, side in sides.items()}
        found[part] = {"n": len(rows["before"])} | {when: accuracy(own) if own else None for when, own in rows.items()}
    return found


def _by_family(rows: Sequence[Outcome] | None) -> Figures | None:
    """The macro average over families."""
    if rows is None:
        return None
    families = sorted({row.family for row in rows if row.family})
    return _interval(_mean([[row for row in rows if row.family == family] for family in families]), "accuracy")


def _average(sets: Sequence[Sequence[Outcome]]) -> Figures:
    pooled = [row for rows in sets for row in rows]
    return {
        "n": len(pooled),
        "micro": _interval(_mean([pooled]), "accuracy"),
        "macro": _interval(_mean(sets), "accuracy"),
    }


def _verdicts(rows: Sequence[Outcome]) -> dict[str, int]:
    return {str(verdict): n for verdict in Verdict if (n := sum(row.verdict is verdict for row in rows))}
