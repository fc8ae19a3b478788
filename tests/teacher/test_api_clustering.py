"""LLM clustering through the API path: whole runs against the fault server, and its stability under batch order."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.clustering.embedders import Hashing
from sei.clustering.llm import Llm
from sei.errors import UserError
from sei.llm.settings import ApiSettings
from sei.records import ErrorType
from sei.teacher.api.teacher import ApiTeacher
from sei.teacher.base import Place
from sei.workspace import read_records
from tests.teacher.fault_server import Running
from tests.teacher.test_api_run import kept, wrong_attempts
from tests.test_config import composed
from tests.test_run import recorded, small

PHRASES = Path(__file__).parents[2] / "../shared/data/keyphrases/gpt4o_gsm8k.txt"


@pytest.mark.parametrize("kind", ["llm", "hybrid"])
def test_a_run_with_faults_forms_the_types_of_a_run_without(tmp_path: Path, kind: str) -> None:
    overrides = (*recorded(tmp_path, *wrong_attempts()), "teacher=local", "teacher.model=m", f"clustering={kind}")
    with Running() as calm:
        small(tmp_path, *overrides, f"teacher.base_url={calm.url}", folder="calm", cache="a")
    with Running(rate=0.3, repairs_fail=False) as faulty:
        small(tmp_path, *overrides, f"teacher.base_url={faulty.url}", folder="faulty", cache="b")
    types = list(read_records(tmp_path / "calm" / "error_types.jsonl", ErrorType))
    word = "Slips:" if kind == "llm" else "Weakness"
    assert types
    assert all(kind_.name.startswith(word) for kind_ in types), "the teacher's names, in divided types too"
    assert kept(tmp_path / "calm") == kept(tmp_path / "faulty")


def test_a_teacher_that_writes_is_needed() -> None:
    with pytest.raises(UserError, match="clustering=llm asks a language model: add teacher=gpt-4o or teacher=local"):
        composed("clustering=llm")
    composed("clustering=hybrid", "teacher=gpt-4o")


@pytest.mark.skipif(not PHRASES.exists(), reason="the shared data is not there")
@pytest.mark.parametrize("rate", [0.0, 0.5])
def test_stable_under_batch_order(tmp_path: Path, rate: float) -> None:
    """Adjusted Rand index between the partitions of three orders, with and without spoiled replies."""
    from sklearn.metrics import adjusted_rand_score

    lines = PHRASES.read_text(encoding="utf-8").splitlines()
    phrases = sorted({line.strip().casefold(): line.strip() for line in lines if line.strip()}.values())
    vectors = Hashing().embed(phrases)
    partitions = []
    faults = ["missing", "duplicates", "wrong_schema", "truncated_json"]
    with Running(rate=rate, faults=faults) as server:
        settings = ApiSettings(model="m", base_urls=(server.url,))
        folder = tmp_path / "run"
        teacher = ApiTeacher(settings, Place("gsm8k", tmp_path / "store.sqlite", folder))
        for seed in range(3):
            result = Llm().asking(teacher).cluster(phrases, [1] * len(phrases), vectors, seed)
            assert result.names is not None
            assert 4 <= len(result.names) <= 16
            partitions.append(result.labels)
        teacher.close()
        asked = server.get("stats")["asks"]
    scores = [adjusted_rand_score(partitions[i], partitions[j]) for i, j in ((0, 1), (0, 2), (1, 2))]
    print(f"{len(phrases)} phrases, faults {rate:.0%}, {asked} asks: adjusted Rand", *(f"{s:.3f}" for s in scores))
    assert asked == 15 if rate == 0 else asked > 20, "an order is 4 batches and a merge"
    assert min(scores) > 0.85
