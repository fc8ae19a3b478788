"""The records a reader browses: test items, mistakes, new problems, training rows.

Place in the flow: `page.run` puts them into the page, one list for each kind. Every record has its id and the ids it came from,
so that the page leads from a test item to its error type, from there to the mistakes and new problems, and on to training rows.
Of a kind with more than MOST records the first ones are shown; the page says how many there are.

Example::

    mistakes(run, {"type-80abbce65e1a": 1})[0]["wrong"]        # 2: the third step is the first wrong one
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from sei.answers import Style
from sei.reading import read
from sei.records import Verdict, change, content_id
from sei.stages.correct import correct
from sei.stages.diagnose import diagnose
from sei.stages.finetune import finetune, prefer
from sei.stages.inspect import inspect
from sei.stages.mine import cap, mine
from sei.stages.select import select
from sei.stages.synthesize import synthesize
from sei.stages.trace import student_traces, trace
from sei.stages.verify import verify
from sei.steps import split_steps
from sei.tracking.page.folder import Json, RunFolder, read_lines

MOST = 20_000


def diagnoses(run: RunFolder) -> dict[str, Json]:
    """The diagnosis of each mistake, those of test items included."""
    return {row["mistake_id"]: row for stage in run.made_by(diagnose) for row in stage.records()}


def mistakes(run: RunFolder, types_of: Mapping[str, Sequence[int]]) -> list[Json]:
    """What the target got wrong on training problems: its steps with the first wrong one, and what was said of it.

    `types_of`: mistake id -> numbers of its error types.
    """
    said = diagnoses(run)
    corrected = {row["mistake_id"]: row for stage in run.made_by(correct) for row in stage.records()}
    traces: dict[str, dict[str, Json]] = {}
    for stage in run.made_by(trace, inspect, student_traces):  # an inspected one takes the place of what was inspected
        for row in stage.records():
            traces.setdefault(row["mistake_id"], {})[row["author"]] = row
    found: dict[str, Json] = {}
    for stage in run.made_by(mine, cap):
        style: Style = _dataset(stage.manifest) or style_of(run)
        for row in stage.records():
            if row["id"] in found:
                continue
            own = found[row["id"]] = _mistake(row, style) | {"round": stage.round, "stage": stage.published}
            own["types"] = types_of.get(row["id"], [])
            about, better = said.get(row["id"]), corrected.get(row["id"])
            if about:
                own["diagnosis"] = {key: about[key] for key in ("kind", "keyphrases", "explanation")}
            if better:
                own["correction"] = {key: better[key] for key in ("step", "explanation", "steps", "answer")}
            if row["id"] in traces:
                own["traces"] = [
                    _part(one, "author", "step", "cause", "correction") for one in traces[row["id"]].values()
                ]
            steps = [one["step"] for one in (better, about, *traces.get(row["id"], {}).values()) if one and one["step"]]
            own["wrong"] = steps[0] - 1 if steps else None
    return list(found.values())


def _mistake(row: Mapping[str, Any], style: Style) -> Json:
    steps, answer = split_steps(row["output"], style)
    return {
        "id": row["id"],
        "problem": row["problem_id"],
        "question": row["question"],
        "gold": row["gold_answer"],
        "solution": row["gold_solution"],
        "steps": steps,
        "answer": answer,
        "model": row["model"],
        "family": row["family"],
        "level": row["level"],
    }


def problems(run: RunFolder, numbers: Mapping[str, int]) -> list[Json]:
    """The problems made for error types, with the score of those that were tried. `numbers`: type id -> its number."""
    found: dict[str, Json] = {}
    chosen: set[str] = set()
    stages = run.made_by(synthesize, verify, select)
    last = {stage.round: stage for stage in stages}  # what a round's training rows are made of
    for stage in stages:
        for row in stage.records():
            own = found.setdefault(row["id"], {})
            own |= _part(row, "id", "question", "solution", "answer", "parents", "round", "score")
            own["type"] = numbers.get(row["error_type"])
            if stage is last[stage.round]:
                chosen.add(row["id"])
    for identity, own in found.items():
        own["chosen"] = identity in chosen
    return list(found.values())


def rows(run: RunFolder) -> list[Json]:
    """What was trained on: prompts and responses, or pairs of responses. A row of several trainings is there once."""
    found: dict[str, Json] = {}
    for stage in run.made_by(finetune, prefer):
        for row in stage.records():
            if row["id"] in found:
                found[row["id"]]["stages"].append(stage.published)
                continue
            own = _part(row, "id", "prompt", "kind", "parents", "prefix", "response", "chosen", "rejected")
            found[row["id"]] = own | {"stages": [stage.published]}
    return list(found.values())


def items(run: RunFolder, numbers: Mapping[str, int]) -> list[Json]:
    """Test items with both outputs, and how training changed them: fixed, broken, still wrong, still right."""
    known = {row["id"]: row for row in read_lines(run.path / "test_problems.jsonl")}
    after = {(row["eval_set"], row["problem_id"]): row for row in run.outcomes("after")}
    said = test_diagnoses(run)
    found = []
    for row in run.outcomes("before"):
        problem = known.get(row["problem_id"], {})
        later = after.get((row["eval_set"], row["problem_id"]))
        own = {
            "id": row["problem_id"],
            "set": row["eval_set"],
            "question": problem.get("question", ""),
            "gold": row["gold"],
            "solution": problem.get("solution", ""),
            "family": row["family"],
            "level": row["level"],
            "before": _answer(row, "before", numbers, said),
        }
        if later:
            own["after"] = _answer(later, "after", numbers, said)
        own["change"] = change(own["before"]["verdict"], own["after"]["verdict"] if "after" in own else None)
        found.append(own)
    return found


def _answer(
    row: Mapping[str, Any], when: str, numbers: Mapping[str, int], said: Mapping[tuple[str, str, str], Json]
) -> Json:
    own = _part(row, "id", "verdict", "output") | {"type": numbers.get(row["error_type"])}
    about = said.get((when, row["eval_set"], row["problem_id"]))
    if about and row["verdict"] == Verdict.WRONG:
        own |= {"diagnosis": about["explanation"], "keyphrases": about["keyphrases"]}
    return own


def test_diagnoses(run: RunFolder) -> dict[tuple[str, str, str], Json]:
    """The diagnosis of each wrong test item, by when, set and problem.

    Mistakes on tests are in no file: their ids follow from the attempts, where these are read as they were then.
    """
    said = diagnoses(run)
    style = style_of(run)
    found = {}
    for when in ("before", "after"):
        for stage in run.stages:
            if not said or not stage.published.startswith(f"evaluate.{when}."):
                continue
            name = stage.published.removeprefix(f"evaluate.{when}.")
            for row in stage.records():
                if row["verdict"] != Verdict.WRONG or row["sample"]:
                    continue
                text = read(row["output"], _dataset(stage.manifest) or style).text
                identity = content_id("mistake", row["problem_id"], row["model"], text)
                if identity in said:
                    found[when, name, row["problem_id"]] = said[identity]
    return found


def style_of(run: RunFolder) -> Style:
    """How answers of the training problems are graded, and so how their steps are counted."""
    for stage in run.stages:
        if style := stage.manifest["parameters"].get("style"):
            return style
    return "gsm8k"


def _dataset(manifest: Mapping[str, Any]) -> Style | None:
    """The way of grading that a stage's prompts are written for, None where it asks the target nothing."""
    formats = manifest["parameters"].get("formats")
    return formats.get("dataset") if isinstance(formats, Mapping) else None


def _part(row: Mapping[str, Any], *names: str) -> Json:
    """The fields of a record that it has and that hold something."""
    return {name: row[name] for name in names if row.get(name) not in (None, "")}


def at_most(records: Iterable[Json]) -> list[Json]:
    """The records that go into the page."""
    return list(islice(records, MOST))
