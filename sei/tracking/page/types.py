"""The error types of a run: over rounds, before and after training, and as a map of their keyphrases.

Place in the flow: `page.run` puts them into the page. A type has a number, its place in the order in which types appeared,
largest first; `#type/3` on the page leads to the third. Example::

    kinds = types(run)
    kinds[0]["rounds"][0]["phrases"][0]      # ["subtraction of two-digit numbers miscalculated", 41, 0.31, -0.02]
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sei.stages.cluster import cluster, phrase_key
from sei.stages.diagnose import diagnose
from sei.tracking.page.folder import Json, RunFolder, StageFolder


def types(run: RunFolder) -> list[Json]:
    """Every error type of any round, as it was when last seen, with each round's mistakes, cohesion and keyphrases."""
    found: dict[str, Json] = {}
    stages = run.made_by(cluster)
    status = {row["id"]: row["status"] for row in run.results.get("error_types", ())}
    for stage in stages:
        counts = _phrase_counts(run, stage.round)
        places = stage.manifest["numbers"].get("places", [])
        for index, row in enumerate(stage.records()):
            own = found.setdefault(row["id"], {"number": len(found) + 1, "id": row["id"], "rounds": []})
            own |= {"name": row["name"], "description": row["description"], "fits": row.get("fits")}
            own["status"] = status.get(row["id"])
            phrases = _phrases(row, counts, places[index] if index < len(places) else None)
            own["rounds"].append(
                {"round": stage.round, "size": row["size"], "cohesion": row["cohesion"], "phrases": phrases}
            )
    return list(found.values())


def members(run: RunFolder, numbers: Mapping[str, int]) -> dict[str, list[int]]:
    """Mistake id -> the numbers of its error types."""
    found: dict[str, list[int]] = {}
    for stage in run.made_by(cluster):
        for row in stage.records():
            for identity in row["mistake_ids"]:
                own = found.setdefault(identity, [])
                if numbers[row["id"]] not in own:
                    own.append(numbers[row["id"]])
    return found


def _phrase_counts(run: RunFolder, round: int) -> Counter[str]:
    """How many mistakes of a round have each keyphrase."""
    stages: Sequence[StageFolder] = [stage for stage in run.made_by(diagnose) if stage.round == round]
    own = [stage for stage in stages if not stage.name.startswith(("diagnoses.before.", "diagnoses.after."))]
    return Counter(
        key for stage in own for row in stage.records() for key in {phrase_key(text) for text in row["keyphrases"]}
    )


def _phrases(
    row: Mapping[str, Any], counts: Mapping[str, int], places: Sequence[Sequence[float]] | None
) -> list[list[Any]]:
    """Text, mistakes, and the place on the map (None where the stage left none) of each keyphrase."""
    return [
        [text, counts.get(phrase_key(text), 0), *(places[index] if places else (None, None))]
        for index, text in enumerate(row["keyphrases"])
    ]
