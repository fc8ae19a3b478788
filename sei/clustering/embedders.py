"""Embedders: `hashing` needs nothing but scikit-learn, `sentence_transformer` reads any sentence-transformers model.

Place in the flow: bound in `conf/embedder/`, used by `sei.stages.cluster` on error keyphrases.

Example::

    Hashing().embed(["incorrect addition of apples", "addition error"]).shape      # (2, 1024)
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from sei.clustering.base import Vectors
from sei.errors import UserError, missing_extra
from sei.values import Count
from sei.words import split_words

# Words that nearly every error keyphrase may hold and that do not tell one error from another. A fixed list and not
# inverse document frequencies, because a centroid of round 1 must lie in one space with the phrases of round 2.
# (`s` is what remains of a possessive.)
GENERIC_WORDS = frozenset(
    split_words("""
    a an the of in on at to for from by with and or as when while after before during is are was were be been its it
    that this these those their his her s error errors erroneous incorrect incorrectly wrong wrongly mistake mistakes
    mistaken mistakenly miscalculation miscalculated faulty flawed false calculation calculations calculate calculated
    calculating computation computing compute computed problem step steps operation operations result value values
    amount amounts total number numbers made making initial
    """)
)
_GENERIC_WEIGHT = 0.15  # ours: enough to keep phrases of generic words alone together, too little to group others
_BEGINNINGS = (3, 4, 5)  # letters: adding ~ addition, divide ~ division, multiply ~ multiplication


def _features(word: str) -> list[str]:
    return [word, *(f"^{word[:length]}" for length in _BEGINNINGS if len(word) >= length)]


@dataclass(frozen=True)
class Hashing:
    """Hashed words and word beginnings, generic words weighing little. Offline, exact, without state."""

    dimension: Count = 1024
    name = "hashing"

    def fingerprint(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "dimension": self.dimension,
            "beginnings": list(_BEGINNINGS),
            "generic_weight": _GENERIC_WEIGHT,
            "generic_words": sorted(GENERIC_WORDS),
        }

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32 [len(texts), dimension]."""
        from sklearn.feature_extraction.text import HashingVectorizer

        words_of = [split_words(text.casefold()) for text in texts]
        vocabulary = {word: index for index, word in enumerate(sorted({w for words in words_of for w in words}))}
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if vocabulary:
            hashed = HashingVectorizer(analyzer=_features, n_features=self.dimension).transform(vocabulary).toarray()
            for row, words in enumerate(words_of):
                for word in words:
                    vectors[row] += (_GENERIC_WEIGHT if word in GENERIC_WORDS else 1.0) * hashed[vocabulary[word]]
        empty = ~vectors.any(axis=1)
        vectors[empty, 0] = 1.0  # texts without a word still need a direction; they all share this one
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@dataclass(frozen=True)
class SentenceTransformer:
    """Any sentence-transformers model, by local folder or hub name; weights are read as safetensors only."""

    path: str = ""  # a folder, or a model id of the hub; must be given
    batch_size: Count = 64
    name = "sentence_transformer"

    def complaints(self) -> list[str]:
        if not self.path:
            return ["embedder=sentence_transformer needs embedder.path: a folder, or a model id of the hub"]
        if self.path.startswith(("/", ".")) and not Path(self.path).is_dir():
            return [f"embedder.path={self.path}: no such folder. Give a folder, or a model id of the hub"]
        return []

    def fingerprint(self) -> dict[str, Any]:
        """A local folder is identified by its content, so that a copy of it elsewhere shares cached results."""
        return {"name": self.name, "model": self._folder_digest if Path(self.path).is_dir() else self.path}

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit rows, float32 [len(texts), dimension of the model]. Raises UserError where the model cannot be read."""
        vectors = self._model.encode(
            list(texts), batch_size=self.batch_size, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, dtype=np.float32).reshape(len(texts), -1)

    @cached_property
    def _folder_digest(self) -> str:
        digest = hashlib.sha256()
        for file in sorted(Path(self.path).rglob("*")):
            if file.suffix in {".safetensors", ".json", ".txt"}:
                digest.update(file.relative_to(self.path).as_posix().encode())
                digest.update(file.read_bytes())
        return digest.hexdigest()[:16]

    @cached_property
    def _model(self) -> Any:
        try:
            import sentence_transformers
        except ImportError as error:
            raise missing_extra(
                "sentence-transformers", "sentence-transformers", "embedder=sentence_transformer"
            ) from error
        try:
            # On the CPU: phrases are few and short, and the GPU belongs to the target.
            return sentence_transformers.SentenceTransformer(
                self.path, device="cpu", model_kwargs={"use_safetensors": True}
            )
        except (OSError, ValueError) as error:
            raise UserError(
                f"embedder.path={self.path}: cannot be read as a sentence-transformers model with safetensors weights "
                f"({str(error).splitlines()[0]}). Give a local folder that holds modules.json, or a hub model's name."
            ) from error
