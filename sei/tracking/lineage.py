"""Data sets and adapters as W&B artifacts, with what they were made from.

Place in the flow: the tracker offers every finished stage; those that a person would share become artifacts. Artifacts of
equal content are one version, whichever job logs them, so what one job of a sweep or one round made is the input of the others
that W&B's graph shows. W&B records inputs of online runs alone; each artifact says in its metadata too what it was made from.
Example::

    lineage = Lineage(run, journal, folder, upload="all", prefix="tiny-arithmetic")
    lineage.stage(artifact)                  # tiny-arithmetic-training-set, tiny-arithmetic-adapter
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from sei.tracking.curves import curves_of
from sei.tracking.journal import Journal
from sei.workspace import Artifact

Upload = Literal["none", "data", "all"]

_PATIENCE = 60  # seconds to wait for an upload that should be finished by now
_COPIED = 16 << 20  # bytes up to which a file is copied, so that a later rerun of the folder cannot change it


class Lineage:
    """The artifacts of one W&B run."""

    def __init__(self, run: Any, journal: Journal, folder: Path, *, upload: Upload, prefix: str) -> None:
        """`prefix` goes before the names: data sets of two models or data sources are different ones."""
        self._run, self._journal, self._folder = run, journal, folder
        self._upload, self._prefix = upload, prefix
        self._made: list[str] = []  # in the order of the flow
        self._outputs: list[Any] = []

    def stage(self, artifact: Artifact[Any]) -> None:
        """Log what a person would share of a finished stage."""
        trains = bool(curves_of(artifact.numbers))
        if self._upload == "none" or not (trains or _worth_sharing(artifact)):
            return
        name = "training-set" if trains else artifact.stage.partition(".round")[0]
        key = artifact.manifest["key"]
        about = {"stage": artifact.stage, "rows": len(artifact.records)}
        folder = self._folder / artifact.folder
        self._log(name, "dataset", folder, [folder / "records.jsonl"], key, about)
        if trains and self._upload == "all":
            place = self._folder / artifact.place
            files = sorted(path for path in place.glob("*") if path.is_file())  # without checkpoints kept on the way
            self._log("adapter", "model", place, files, key, about)

    def evaluation(self, names: Sequence[str], key: str) -> None:
        """Log the outcomes, files of the run folder; and say that what was made on the way there was used."""
        if self._upload == "none":
            return
        self._log("evaluation", "evaluation", self._folder, [self._folder / name for name in names], key, {})
        if not self._run.offline:
            for output in self._outputs[:-1]:  # at the end, since an artifact can be used only once it is uploaded
                output.wait(timeout=_PATIENCE)
                self._run.use_artifact(output)

    def _log(self, name: str, kind: str, root: Path, files: Sequence[Path], key: str, about: Mapping[str, Any]) -> None:
        """One artifact of `files` below `root`, under the alias `key`; once, whatever process comes to it."""
        import wandb

        name = f"{self._prefix}-{name}"
        made_from = list(self._made)
        self._made.append(f"{name}:{key}")
        if self._made[-1] in self._journal.rows:
            return
        logged = wandb.Artifact(name, kind, metadata={**about, "made_from": made_from, "run": self._run.id})
        for path in files:
            policy: Literal["mutable", "immutable"] = "mutable" if path.stat().st_size <= _COPIED else "immutable"
            logged.add_file(str(path), name=path.relative_to(root).as_posix(), skip_cache=True, policy=policy)
        self._outputs.append(self._run.log_artifact(logged, aliases=["latest", key]))
        self._journal.note(self._made[-1])


def _worth_sharing(artifact: Artifact[Any]) -> bool:
    """The problems, and the stages that lie on top of the run folder."""
    return artifact.stage == "problems" or artifact.place == artifact.stage
