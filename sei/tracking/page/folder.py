"""A run folder as the page reads it: stages in their order, and the JSON files on top.

Place in the flow: every other module here works on a `RunFolder`. A run that failed or was killed has some of the files; what an
earlier run of the same folder left on top is not taken for its own.

Example::

    run = RunFolder(Path("multirun/sei-tiny-arithmetic-seed0-e3b0c442"))
    [stage.name for stage in run.stages]                # ["problems", "attempts", "mistakes", ...]
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from sei.stage import Stage

Json = dict[str, Any]

_ROUND = re.compile(r"^(?P<base>.+)\.round(?P<round>\d+)$")


@dataclass(frozen=True)
class StageFolder:
    """One finished stage of a run."""

    path: Path
    manifest: Json

    @property
    def name(self) -> str:
        """What the recipe calls its result, without the round."""
        match = _ROUND.match(self.published)
        return match["base"] if match else self.published

    @property
    def round(self) -> int:
        match = _ROUND.match(self.published)
        return int(match["round"]) if match else 1

    @property
    def published(self) -> str:
        return self.path.name.partition("-")[2]

    def records(self) -> Iterator[Json]:
        yield from read_lines(self.path / "records.jsonl")

    def rejected(self) -> Iterator[Json]:
        yield from read_lines(self.path / "rejected.jsonl")


class RunFolder:
    """The files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def status(self) -> Json:
        return read_json(self.path / "status.json") or {"status": "unknown"}

    @property
    def done(self) -> bool:
        return bool(self.status["status"] == "done")

    @cached_property
    def results(self) -> Json:
        """`results.json`, empty where this run has not come to it."""
        return (read_json(self.path / "results.json") or {}) if self.done else {}

    @cached_property
    def config(self) -> Json:
        """The configuration as it was built, else as Hydra composed it."""
        return read_yaml(self.path / "config.yaml") or self.composed

    @cached_property
    def composed(self) -> Json:
        """The configuration as Hydra composed it, empty for a run that Hydra did not start."""
        return read_yaml(self.path / ".hydra" / "config.yaml") or {}

    @cached_property
    def hydra(self) -> Json:
        """Hydra's own configuration."""
        return (read_yaml(self.path / ".hydra" / "hydra.yaml") or {}).get("hydra", {})

    @cached_property
    def overrides(self) -> list[str]:
        """The words of the command line that this job differs by."""
        if "overrides" in self.results:
            return [str(word) for word in self.results["overrides"]]
        return [str(word).lstrip("+") for word in self.hydra.get("overrides", {}).get("task", ())]

    def part(self, group: str) -> Mapping[str, Any]:
        """A group of the configuration; empty where it is not known."""
        found = self.config.get(group)
        return found if isinstance(found, Mapping) else {}

    @cached_property
    def stages(self) -> list[StageFolder]:
        """The finished stages, in the order of the run."""
        folders = sorted(path for path in (self.path / "stages").glob("[0-9]*-*") if path.is_dir())
        found = ((path, read_json(path / "manifest.json")) for path in folders)
        return [StageFolder(path, manifest) for path, manifest in found if manifest is not None]

    def made_by(self, *stages: Stage[Any]) -> list[StageFolder]:
        """The results of these stages, whatever the recipe calls them."""
        wanted = {stage.folder for stage in stages}
        return [stage for stage in self.stages if stage.manifest["stage"] in wanted]

    def outcomes(self, when: str) -> list[Json]:
        """The outcomes `before` or `after` training; none of an earlier run."""
        name = {"before": "outcomes_before.jsonl", "after": "outcomes.jsonl"}[when]
        return list(read_lines(self.path / name)) if self.done else []


def read_lines(path: Path) -> Iterator[Json]:
    """The lines of a JSONL file, none where there is no such file."""
    if path.is_file():
        with path.open(encoding="utf-8") as file:
            for line in file:
                yield json.loads(line)


def read_json(path: Path) -> Json | None:
    """A JSON object, None where there is no such file."""
    if not path.is_file():
        return None
    found: Json = json.loads(path.read_text(encoding="utf-8"))
    return found


def read_yaml(path: Path) -> Json | None:
    """A YAML mapping, None where there is none."""
    if not path.is_file():
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # many times as fast, where libyaml is there
    found = yaml.load(path.read_text(encoding="utf-8"), Loader=loader)
    return found if isinstance(found, dict) else None
