"""A finished run, as far as one would share it.

Place in the flow: `sei.export` reads the run folder once here; `sets`, `weights` and `cards` work on what is found.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sei.data.sources import SOURCES
from sei.errors import UserError
from sei.records import Example, Pair, Record
from sei.run_files import read_checked, read_object, understood
from sei.stages.finetune import finetune, prefer
from sei.target.load import Chat, chat_of, load_tokenizer
from sei.tracking.graph import sources
from sei.tracking.page.folder import Json, RunFolder, StageFolder, read_lines

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_EMBEDDED = Path(__file__).parents[1] / "target/tiny"  # each of its folders is a model


@dataclass(frozen=True)
class Phase:
    """One training of the run: what its result is called, and the rows it was given."""

    name: str
    rows: Sequence[Example | Pair]

    @property
    def preferences(self) -> bool:
        return isinstance(self.rows[0], Pair)


@dataclass(frozen=True)
class FinishedRun:
    """The configuration, figures and records of one run that is done."""

    folder: Path
    base: str | None = None  # the base model's hub id, where the user names it

    def __post_init__(self) -> None:
        status = read_object(self.folder / "status.json").get("status") if self._is_run else None
        if status is None:
            raise UserError(
                f"{self.folder}: no run here (no status.json). Give the folder that a run names in its last lines."
            )
        if status != "done":
            raise UserError(
                f"{self.folder}: this run is not finished (status: {status}). Give its command again; it goes on."
            )
        if self.results.get("rehearsal"):
            raise UserError(
                f"{self.folder}: this was a rehearsal (scale=rehearsal), so there is nothing in it to share."
            )

    @property
    def _is_run(self) -> bool:
        return (self.folder / "status.json").is_file()

    @cached_property
    def config(self) -> dict[str, Any]:
        return read_object(self.folder / "config.yaml")

    @cached_property
    def results(self) -> dict[str, Any]:
        return read_object(self.folder / "results.json")

    @cached_property
    def files(self) -> RunFolder:
        return RunFolder(self.folder)

    # The model

    @property
    def embedded(self) -> bool:
        """Whether the base is one of the small models that this package brings."""
        with understood(self.folder / "config.yaml"):
            path = Path(self.config["model"]["path"])
        return path.parts[-3:-1] == _EMBEDDED.parts[-2:] and (_EMBEDDED / path.name).is_dir()

    @cached_property
    def base_path(self) -> str:
        """Where the base model is loaded from on this machine: a folder, or its hub id."""
        with understood(self.folder / "config.yaml"):
            path = str(self.config["model"]["path"])
            return str(_EMBEDDED / Path(path).name) if self.embedded else path

    @property
    def in_checkout(self) -> str:
        """Where an embedded base lies in a checkout of this framework, "" for another base."""
        return f"sei/target/tiny/{Path(self.base_path).name}" if self.embedded else ""

    @cached_property
    def base_id(self) -> str | None:
        """The base model's hub id; None for the embedded one, which is on no hub. Raises UserError where nobody knows it."""
        if self.base:
            return self.base
        if self.embedded:
            return None
        path = self.base_path
        if Path(path).exists() or path.startswith((".", "/", "~")) or path.count("/") > 1 or "\\" in path:
            raise UserError(
                f"model.path={path}: the run's base model is a folder of this machine, which nobody else has. Name its hub id: "
                "--base OWNER/NAME."
            )
        return path

    @property
    def adapter(self) -> Path:
        """The trained weights that the figures after training were measured with. Raises UserError where there are none."""
        place = self.results.get("adapter")
        if not isinstance(place, str):
            raise UserError(f"{self.folder}: this run trained nothing, so there is no adapter to share.")
        return self.folder / place

    @property
    def chat(self) -> Chat:
        """How prompts go into the chat template, as the run had it."""
        with understood(self.folder / "config.yaml"):
            model = self.config["model"]
            style = model["style"] or self.config["recipe"]["style"]
            return chat_of(style, model["system"])

    @cached_property
    def tokenizer(self) -> PreTrainedTokenizerBase:
        """The base's, without its chat template where the run's prompts stayed bare. A system message is no part of it."""
        return load_tokenizer(self.base_path, revision=self.config["model"]["revision"], chat=self.chat is not False)

    # The data

    @cached_property
    def phases(self) -> list[Phase]:
        """Every training of the run that had rows, in order."""
        found = (
            Phase(stage.published.replace(".", "_"), read_checked(stage.path / "records.jsonl", _row_type(stage)))
            for stage in self.files.made_by(finetune, prefer)
        )
        return [phase for phase in found if phase.rows]

    @cached_property
    def tests(self) -> dict[str, list[str]]:
        """The questions of each test set that was evaluated on."""
        asked = {str(row["id"]): str(row["question"]) for row in read_lines(self.folder / "test_problems.jsonl")}
        questions: dict[str, list[str]] = {}
        for row in self.files.outcomes("before"):
            if (question := asked.get(str(row["problem_id"]))) is not None:
                questions.setdefault(str(row["eval_set"]), []).append(question)
        return questions

    def questions_behind(self, rows: Sequence[Record]) -> list[str]:
        """The distinct questions of the problems, real and synthesized, that these rows were made from, in order."""
        found: dict[str, None] = {}
        for row in rows:
            for ancestor in self._ancestors(row.to_json()):
                if question := ancestor.get("question"):
                    found.setdefault(str(question))
        return list(found)

    def _ancestors(self, row: Json) -> Iterator[Json]:
        """The nearest records with a question on every way up from `row`."""
        for source in sources(row):
            if record := self._records.get(source):
                if "question" in record:
                    yield record
                else:
                    yield from self._ancestors(record)

    @cached_property
    def _records(self) -> dict[str, Json]:
        return {record["id"]: record for stage in self.files.stages for record in stage.records()}

    # Where it comes from

    @property
    def sources(self) -> list[str]:
        """Names of the problem sets that training rows were made from, the run's own first."""
        with understood(self.folder / "config.yaml"):
            return [str(self.config["data"]["name"])]

    @property
    def hub_sources(self) -> list[str]:
        """The hub ids of those that the hub has."""
        found = (SOURCES[name].hub for name in self.sources if name in SOURCES)
        return [hub.id for hub in found if hub is not None]


def _row_type(stage: StageFolder) -> type[Example] | type[Pair]:
    return Pair if stage.manifest["stage"] == prefer.folder else Example
