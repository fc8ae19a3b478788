"""Run folders for tests of the page, written in a moment: the files of a run, with records made up here."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from sei.records import (
    Diagnosis,
    ErrorType,
    Example,
    Mistake,
    Outcome,
    Problem,
    Record,
    Rejected,
    Synthetic,
    Verdict,
)
from sei.stage import Stage
from sei.stages.cluster import cluster
from sei.stages.diagnose import diagnose
from sei.stages.finetune import finetune
from sei.stages.mine import mine
from sei.stages.select import select
from sei.stages.synthesize import synthesize
from sei.workspace import write_json

# What a model may write to trouble whoever shows it: a script, an end of the data, a lone surrogate, a right-to-left override.
HOSTILE = "</script><script>document.title='owned'</script><img src=x onerror=alert(1)> <!-- \ud800 \u202egnorw {{7*7}}"


def put_stage(
    run: Path,
    name: str,
    stage: Stage[Any] | str,
    records: Sequence[Record],
    rejected: Sequence[Rejected] = (),
    numbers: dict[str, Any] | None = None,
) -> None:
    """A finished stage, after those that are there."""
    number = len(list((run / "stages").glob("*"))) + 1
    folder = run / "stages" / f"{number:02d}-{name}"
    folder.mkdir(parents=True)
    write_lines(folder / "records.jsonl", records)
    write_lines(folder / "rejected.jsonl", rejected)
    manifest = {
        "stage": stage if isinstance(stage, str) else stage.folder,
        "received": len(records) + len(rejected),
        "passed": len(records),
        "records": len(records),
        "rejected": dict(Counter(item.reason for item in rejected)),
        "numbers": numbers or {},
        "seconds": 1.5,
        "parameters": {"style": "gsm8k"},
    }
    write_json(folder / "manifest.json", manifest)


def write_lines(path: Path, records: Sequence[Record]) -> None:
    """As `write_records`; a half of a surrogate pair comes as it does from a model's JSON, escaped."""
    path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records), encoding="utf-8")


def make_run(run: Path, *, mistakes: int = 4, items: int = 8, rows: int = 4, bad: str = HOSTILE) -> Path:
    """A finished run of two rounds, with `bad` among its texts.

    Every second mistake is of type `a`, the others of type `b`, which the last round fixed. Test items by fours: fixed,
    broken, still wrong, still right.
    """
    made = [_mistake(n, bad) for n in range(mistakes)]
    kinds = [
        _kind("a", "lost a carry", range(0, mistakes, 2)),
        _kind("b", "sign lost", range(1, mistakes, 2), name=bad),
    ]
    later = dataclasses.replace(kinds[0], size=1, mistake_ids=("mistake-0",), status="persistent", round=2)
    new = [_synthetic(n, f"mistake-{n % mistakes}") for n in range(rows)]
    put_stage(run, "mistakes", mine, made, [Rejected("r", "attempt-x", "correct")] * 3)
    put_stage(run, "diagnoses", diagnose, [_diagnosis(n, bad) for n in range(mistakes)])
    put_stage(run, "error_types", cluster, kinds, numbers={"places": [[[0.1, 0.2]], [[-0.3, 0.4]]]})
    put_stage(run, "synthetic", synthesize, new)
    refused = [Rejected(f"rejected-{n}", f"mistake-{n}", "low_score", "no use", bad) for n in range(7)]
    put_stage(run, "selected", select, new[: rows // 2], refused)
    put_stage(run, "adapter", finetune, list(map(_row, new)), numbers={"loss_curve": [2.0, 1.5, float("nan"), 1.0]})
    put_stage(run, "mistakes.round2", mine, made[:1])
    put_stage(run, "error_types.round2", cluster, [later], numbers={"places": [[[0.0, 0.0]]]})
    for place, (name, said) in enumerate((("outcomes_before", "before"), ("outcomes", "after"))):
        rights = [[(False, True), (True, False), (False, False), (True, True)][n % 4][place] for n in range(items)]
        texts = [bad if n == 2 else f"output {n} {said}" for n in range(items)]
        write_lines(run / f"{name}.jsonl", [outcome(n, rights[n], said, texts[n]) for n in range(items)])
    question = "Test question {}, which is long enough to be cut in a list of records?"
    tested = [Problem(f"problem-t{n}", question.format(n), str(n), f"#### {n}", "test") for n in range(items)]
    write_lines(run / "test_problems.jsonl", tested)
    half = {"n": items, "correct": items // 2, "accuracy": 0.5, "low": 0.2, "high": 0.8}
    change = {"n": items, "mean": 0.0, "low": -0.4, "high": 0.4, "fixed": items // 4, "broken": items // 4, "p": 1.0}
    results = {
        "recipe": "sei",
        "overrides": ["recipe=sei", "recipe.rounds=2", "data.path='a b'"],
        "commit": "abc123",
        "tokens_trained": 12345,
        "eval": {"in_domain": {"before": half, "after": half, "change": change}},
        "validation": half,
        "second_pass": {
            "in_domain": {"n": items, "first": half, "second": half, "right_to_wrong": 1, "wrong_to_right": 2, "p": 1.0}
        },
        "cached": ["mistakes"],
        "error_types": [{"id": "type-a", "status": "persistent"}, {"id": "type-b", "status": "fixed"}],
        "versions": {"torch": "2.13.0"},
        "precision": {"training": {"value": "32-true", "why": "measured"}},
    }
    write_json(run / "results.json", results)
    config = {"seed": 3, **{name: {"name": name} for name in ("recipe", "model", "data", "teacher")}}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    write_json(run / "status.json", {"status": "done"})
    return run


def outcome(number: int, right: bool, when: str, output: str) -> Outcome:
    verdict = Verdict.CORRECT if right else Verdict.WRONG
    kind = "" if right else "type-a"
    identity = f"outcome-{when}-{number}"
    return Outcome(identity, "in_domain", f"problem-t{number}", "sums", verdict, output, kind, gold=str(number))


def _mistake(n: int, bad: str) -> Mistake:
    output = f"I see {n}.\n{n}+{n}={n}\n#### {n}" if n else f"{bad}\n#### 1"
    gold = f"{n}+{n}={2 * n}\n#### {2 * n}"
    return Mistake(
        f"mistake-{n}", f"problem-{n}", f"attempt-{n}", f"What is {n}+{n}?", str(2 * n), gold, output, "tiny", "sums", 2
    )


def _diagnosis(n: int, bad: str) -> Diagnosis:
    phrase = ("lost a carry", "sign lost")[n % 2]
    return Diagnosis(f"diagnosis-{n}", f"mistake-{n}", 2 if n else 1, "arithmetic", (phrase,), bad)


def _kind(letter: str, phrase: str, members: range, name: str = "") -> ErrorType:
    ids = tuple(f"mistake-{n}" for n in members)
    what = name or phrase
    return ErrorType(
        f"type-{letter}", what, "", len(ids), (phrase,), (phrase,), ids, 0.9, centroid=(1.0, 0.0), fits=1.0
    )


def _synthetic(n: int, parent: str) -> Synthetic:
    kind = f"type-{'ab'[n % 2]}"
    return Synthetic(f"synthetic-{n}", f"New {n}?", f"{n}\n#### {n}", str(n), kind, (parent,), score=0.5)


def _row(made: Synthetic) -> Example:
    number = made.id.partition("-")[2]
    return Example(f"example-{number}", f"Q{number}", f"A{number}", "synthetic", (made.id, *made.parents))


def embedded(page: Path) -> dict[str, Any]:
    """The data in a page, as a browser finds it."""
    (text,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', page.read_text(), re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found
