"""The configuration: what `conf/` composes, built into typed objects once, at the door.

Place in the flow: `train.py` hands the composed configuration to `build` before anything is loaded, spent or trained.
`build` names every fault at once: unknown keys with the nearest one that exists, values out of range, settings that do not
fit each other. Everything after it works with the objects: only this module and `sei.compose` know OmegaConf.

Each option of a group is one class, named by `_target_` in one YAML below `conf/<group>`; the class's fields are its keys.

Example::

    config = build(compose("config", ["recipe=sei", "recipe.rounds=2"]))
    config.recipe.rounds                                      # 2
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sei.clustering.base import AsksTeacher, Clusterer, Embedder
from sei.data.base import Data
from sei.data.sources import SOURCES, nowhere, training_complaints
from sei.errors import UserError
from sei.schema import TARGET, explain_unknown, load_class
from sei.schema import build as build_object
from sei.target.engine import EngineChoice, Hosts, Replays
from sei.target.formats import PromptStyle
from sei.target.shape import Shape
from sei.target.shrunken import Family
from sei.teacher.base import TeacherChoice
from sei.training.settings import Trainer
from sei.values import Count, NonNegativeFloat, PositiveFloat

if TYPE_CHECKING:
    from sei.recipes.recipe import Recipe


@dataclass(frozen=True)
class Model:
    """The target: the model that is trained."""

    name: str
    path: str  # folder or hub id
    parameters_billion: PositiveFloat
    revision: str | None = None
    style: PromptStyle | None = None  # the prompts (sei/prompts/target) that it knows already; null: the recipe's
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    quantization: Literal["none", "nf4"] = "none"
    gated: bool = False  # the hub asks for a licence to be accepted
    shape: Shape | None = None  # its widths, for a model that is not on this machine yet; null: guessed from its size
    family: Family | None = (
        None  # its architecture, kind of tokenizer and template, for a rehearsal; null: its folder's
    )
    system: str | None = None  # the system message, inside a chat template; null: what the template writes by itself
    max_new_tokens: Count = 512


@dataclass(frozen=True)
class Evaluation:
    """What is measured before and after."""

    sets: dict[str, list[str]] = field(default_factory=dict)  # domain -> problem sets; empty: the tests of `data`
    paths: dict[str, str] = field(default_factory=dict)  # problem set -> local folder instead of the hub
    samples: Count = 1  # answers a problem, for pass@k and maj@k
    temperature: NonNegativeFloat = 0.0
    max_new_tokens: Count | None = None  # null: model.max_new_tokens
    passes: Literal[1, 2] = 1  # 2: the target checks its solutions and corrects them (recipe=supercorrect)
    second: Literal["check", "reflect"] = "check"  # reflect: Reflexion; told that it was wrong, the target solves again
    select: Literal["validation", "last", "paper"] = (
        "validation"  # which kept checkpoint is reported (training.keep_every)
    )
    limit: Count | None = None  # at most this many items of each set
    diagnose: bool = True  # diagnose wrong test items too, for the table of error types

    def complaints(self) -> list[str]:
        faults = []
        if self.samples > 1 and self.temperature == 0:
            faults.append(
                f"eval.samples={self.samples} at eval.temperature=0 gives the same answer each time: set a temperature"
            )
        return faults

    def missing_sets(self, data: Data) -> Iterator[tuple[str, str]]:
        """(set, what to do) of the sets that no hub has, and for which no folder is named."""
        for name in dict.fromkeys(name for names in self.sets.values() for name in names):
            if name not in data.test_sets and name not in self.paths and (said := nowhere(name, f"eval.paths.{name}")):
                yield name, f"test set {name}: {said}"

    def set_complaints(self, data: Data) -> Iterator[str]:
        """What is wrong with the problem sets, beside those that the training data brings."""
        named = [name for names in self.sets.values() for name in names]
        known = dict.fromkeys([*SOURCES, *data.test_sets])
        for name in dict.fromkeys([*named, *self.paths]):
            if (
                name == data.name and name not in known
            ):  # what the papers' evaluation sets name where you chose other data
                if data.test_sets:
                    yield (
                        f"eval.sets names {name}, but the test sets of data={name} are called {', '.join(data.test_sets)}: "
                        "add eval=default, which takes them as they are, or choose other data"
                    )
                else:
                    yield (
                        f"eval.sets names {name}, which has no test problems (data.test=0): name the sets you want, such as "
                        "eval.sets.in_domain=[gsm8k], or hold problems out (data.test=200)"
                    )
            elif name not in known:
                nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
                yield f"eval: no problem set '{name}'. Known: {', '.join(known)}. Nearest: {nearest}"
        if not named and not data.test_sets:
            yield (
                f"data={data.name} has no test problems (data.test=0), and eval.sets names none: give some, such as "
                "eval.sets.in_domain=[gsm8k], or hold problems out (data.test=200)"
            )
        if data.name in self.paths:
            yield f"eval.paths.{data.name}: this set is read with the training problems; give data.path=FOLDER instead"
        for name, path in self.paths.items():
            if name not in named:
                yield f"eval.paths.{name}: the set is not in eval.sets"
            if not Path(path).is_dir():
                yield f"eval.paths.{name}={path}: no such folder"
        for name in dict.fromkeys(named):
            if named.count(name) > 1:
                yield f"eval.sets names {name} twice"


@dataclass(frozen=True)
class Logger:
    """Where curves and tables go."""

    kind: Literal["offline", "wandb", "none"] = "offline"
    # What W&B calls the run. Null: its own variable (WANDB_PROJECT and so on), else what the job is.
    entity: str | None = None
    project: str | None = None
    group: str | None = None  # else the sweep's name
    name: str | None = None
    notes: str | None = None
    tags: list[str] = field(default_factory=list)  # beside recipe, model, data, ablation, experiment and WANDB_TAGS
    upload: Literal["none", "data", "all"] = "data"  # none: figures alone; data: texts and data sets; all: adapters too
    # Null: where the run is online.
    commit: bool | None = None
    console: bool | None = None
    device_metrics: bool | None = None

    def complaints(self) -> Iterator[str]:
        for tag in self.tags:
            if not 1 <= len(tag) <= MOST_TAG:
                yield f"logger.tags: '{tag}' has {len(tag)} characters; W&B takes tags of 1 to {MOST_TAG}"


@dataclass(frozen=True)
class Origin:
    """What the configuration of a job was made from, and the sweep that it belongs to."""

    experiment: str = "none"
    ablation: str = "none"
    swept: frozenset[str] | None = None  # the keys that differ between the sweep's jobs; None: it is in no sweep
    group: str | None = None  # what the sweep is called


@dataclass(frozen=True)
class Rehearsal:
    """How small a rehearsal is, see `sei.rehearsal`."""

    problems: Count
    held_out: Count  # of the validation problems, and of each test set
    steps: Count  # of each training phase
    at_most: dict[str, Count] = field(default_factory=dict)  # full key -> its value where it would be larger
    instead: dict[str, float] = field(default_factory=dict)  # full key -> its value


@dataclass(frozen=True)
class Config:
    """The whole configuration of one job."""

    model: Model
    teacher: TeacherChoice
    engine: EngineChoice
    embedder: Embedder
    clustering: Clusterer | AsksTeacher
    recipe: Recipe
    trainer: Trainer
    data: Data
    eval: Evaluation
    logger: Logger
    seed: int
    dry_run: bool
    cache_dir: Path
    expected: list[dict[str, Any]]  # a paper's figures: {model, recipe, set, accuracy (%), source}
    rehearsal: Rehearsal | None = None  # scale=rehearsal
    left_out: tuple[str, ...] = ()  # keys of a sweep over several recipes that this one has no use for
    chosen: tuple[str, ...] = ()  # `data: gsm8k (default for recipe sei)`, for each group: what was chosen, and by whom

    @property
    def prompt_style(self) -> PromptStyle:
        """Which prompts the target is asked with: those it knows already, else the recipe's."""
        return self.model.style or self.recipe.style


WHERE_AND_HOW = (
    "hparams_search",
    "logger",
    "cache_dir",
    "dry_run",
    "hydra",
    "expected",
    "engine.cluster",
    "engine.cores",
)
"""Keys that do not make a job another experiment: they say where and how it runs, or with which figures it is compared."""


def where_and_how(key: str) -> bool:
    """Whether a key says where and how a run is computed, and not what."""
    return any(key == name or key.startswith(f"{name}.") for name in WHERE_AND_HOW)


MOST_TAG = 64  # characters of a tag that W&B takes

FIXED: dict[str, type[Any]] = {"model": Model, "trainer": Trainer, "eval": Evaluation, "logger": Logger}
"""Groups whose options all set the keys of one class."""
CHOSEN = ("teacher", "engine", "embedder", "clustering", "recipe", "data")
"""Groups in which each option names its own class by `_target_`."""
PLAIN: dict[str, type[Any]] = {"seed": int, "dry_run": bool, "cache_dir": str, "expected": list}
"""Keys outside any group."""
REHEARSAL = "rehearsal"
"""The key of `Config.rehearsal`, which scale=rehearsal sets."""


def build(composed: DictConfig, *, left_out: tuple[str, ...] = (), chosen: tuple[str, ...] = ()) -> Config:
    """The configuration as objects. `left_out` are full keys to be dropped, see `Config.left_out`; a group
    among them stays as it is, since the recipe does not look at it. `chosen`: see `Config.chosen`.

    Raises UserError that lists every fault.
    """
    values = _plain(composed)
    faults: list[str] = []
    known = [*FIXED, *CHOSEN, *PLAIN, REHEARSAL]
    faults += [explain_unknown(name, known) for name in values if name not in known]
    for key in left_out:
        if key.startswith("recipe."):
            drop(values, key)
    parts: dict[str, Any] = {}
    for name in (*FIXED, *CHOSEN):
        if not isinstance(group := values.get(name), dict):
            faults.append(f"{name}: the group is missing; choose an option of conf/{name}")
            continue
        try:
            schema = FIXED[name] if name in FIXED else load_class(str(group.pop(TARGET, "")), name)
        except UserError as error:
            faults.append(str(error))
            continue
        parts[name] = build_object(schema, group, name, faults)
    for name, kind in PLAIN.items():
        if not isinstance(values.get(name), kind) or (kind is int and isinstance(values.get(name), bool)):
            faults.append(f"{name}={values.get(name)}: must be of type {kind.__name__}")
    small = values.get(REHEARSAL)
    rehearsal = None if small is None else build_object(Rehearsal, small, REHEARSAL, faults)
    if faults:
        raise UserError("\n".join(faults))
    plain = {name: values[name] for name in PLAIN} | {"cache_dir": Path(values["cache_dir"])}
    config = Config(**parts, **plain, rehearsal=rehearsal, left_out=left_out, chosen=chosen)
    if faults := list(complaints(config)):
        raise UserError("\n".join(faults))
    return config


def complaints(config: Config) -> Iterator[str]:
    """What is wrong beyond single values: what each part says of itself, and what does not fit between them."""
    for name in (*FIXED, *CHOSEN):
        part = getattr(config, name)
        if name != "recipe" and hasattr(part, "complaints"):
            yield from part.complaints()
    yield from config.recipe.complaints(config)
    if config.eval.passes == 2 and not config.recipe.checks:
        yield "eval.passes=2 needs a target that was taught to check its solutions: recipe=supercorrect"
    if config.trainer.enabled and isinstance(config.engine, Replays):
        yield "engine=recorded cannot answer after training: add trainer=none, or use engine=hf"
    training = config.recipe.training
    if config.trainer.enabled and training.method == "lora" and isinstance(config.engine, Hosts):
        for fault in config.engine.adapter_complaints(training.rank, training.target_modules):
            yield f"recipe.training: {fault}"
    if config.trainer.enabled and config.model.quantization != "none":
        for key, phase in config.recipe.phases().items():
            if phase.method == "full":
                yield (
                    f"model.quantization={config.model.quantization}: quantized weights cannot be trained, and {key}.method=full "
                    f"trains them all. Set model.quantization=none, or {key}.method=lora"
                )
    if config.trainer.enabled and config.trainer.sharded:
        yield from _sharding_complaints(config)
    yield from config.eval.set_complaints(config.data)
    if not isinstance(config.engine, Replays):
        yield from training_complaints(config.data)


def _sharding_complaints(config: Config) -> Iterator[str]:
    """What `trainer=fsdp2` cannot spread over devices."""
    if config.model.quantization != "none":
        yield (
            f"model.quantization={config.model.quantization}: trainer=fsdp2 spreads weights of 16 or 32 bits, not quantized "
            "ones. Set model.quantization=none, or trainer=ddp, with which every device holds all of the quantized weights"
        )
    for key, phase in config.recipe.phases().items():
        if phase.optimizer.startswith("paged"):
            yield (
                f"{key}.optimizer={phase.optimizer}: trainer=fsdp2 spreads the optimizer over the devices, and this one cannot "
                f"be spread. Set {key}.optimizer=adamw"
            )


def drop(values: dict[str, Any], key: str) -> None:
    """Take a full key such as `recipe.selection.keep` out of nested values, and the parts that are then empty."""
    first, _, rest = key.partition(".")
    if not rest:
        values.pop(first, None)
    elif isinstance(values.get(first), dict):
        drop(values[first], rest)
        if not values[first]:
            del values[first]


def plain_values(config: Config) -> dict[str, Any]:
    """The configuration as JSON values, as `build` takes it, for records of the run."""
    values = {one.name: _json(getattr(config, one.name)) for one in dataclasses.fields(config)}
    del values["left_out"], values["chosen"]
    for name in CHOSEN:
        kind = type(getattr(config, name))
        values[name] = {TARGET: f"{kind.__module__}.{kind.__qualname__}", **values[name]}
    return values


def _json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _json(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): _json(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_json(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float)) else str(value)


def _plain(composed: DictConfig) -> dict[str, Any]:
    try:
        values = OmegaConf.to_container(composed, resolve=True, throw_on_missing=True)
    except OmegaConfBaseException as error:
        raise UserError(f"{error.full_key or 'configuration'}: {str(error).splitlines()[0]}") from error
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items() if name != "hydra"}
