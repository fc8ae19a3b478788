"""What Hydra needs to know of this project: where options lie, which keys they have, and what a typo may have meant.

Place in the flow: `train.py` calls `register` and `prepare` before Hydra reads the command line, and `keys_to_leave_out`
after it has composed. Each option of a group names its class by `_target_`; Hydra learns the class's defaults from here, so
that `--cfg job` shows every key and each can be overridden as it stands. Whether a key exists is decided by `sei.config`,
which knows all classes: here every `a.b=c` of the command line is passed on as `++a.b=c`.

Example::

    register()
    sys.argv[1:] = prepare(sys.argv[1:])
"""

from __future__ import annotations

import atexit
import contextlib
import difflib
import hashlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.plugins.config_source import ConfigResult
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from sei.commands import swept_in
from sei.config import CHOSEN, FIXED, PLAIN, REHEARSAL, WHERE_AND_HOW, Config, Origin, build
from sei.errors import UserError
from sei.llm.settings import address_complaints
from sei.schema import TARGET, defaults, keys_of, load_class, unknown_keys
from sei.target.machine import found_memory

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"
OVERLAYS = ("experiment", "hparams_search", "ablation", "scale", "world")  # groups that change others
_BUDGET = re.compile(r"(recipe\.\w+)\.(tokens|steps)")
SWEEP = "sweep"  # the word of the command line that names a sweep; no key of a job
OPTIONAL = ("teacher", "clustering", "embedder")  # groups that not every recipe works with
FOLLOWING = ("world",)  # of these: those that follow from other choices
_SIMPLE = re.compile(r"[\w.-]+(,[\w.-]+)*")


class OptionSource(FileConfigSource):
    """The YAMLs of conf/, each with the defaults of the class that it names; `experiment` is the folder experiments/."""

    @staticmethod
    def scheme() -> str:
        return "sei"

    def load_config(self, config_path: str) -> ConfigResult:
        result = super().load_config(_moved(config_path))
        group = config_path.split("/")[0]
        if group in (*CHOSEN, *FIXED) and isinstance(result.config, DictConfig):
            target = result.config.get(TARGET)
            schema = load_class(target, group) if target else FIXED.get(group)
            if schema is not None:
                result.config = OmegaConf.merge(OmegaConf.create(defaults(schema)), *self._parts(group, result.config))
        return result

    def _parts(self, group: str, config: DictConfig) -> Iterator[DictConfig]:
        """An option with the parts it is made of before it: Hydra merges the option over them, with a class's defaults too,
        which must not put out what a part says."""
        for part in config.get("defaults") or ():
            if isinstance(part, str) and part != "_self_":
                inner = super().load_config(f"{group}/{part}").config
                assert isinstance(inner, DictConfig)
                yield from self._parts(group, inner)
        yield config

    def is_group(self, config_path: str) -> bool:
        return super().is_group(_moved(config_path))

    def is_config(self, config_path: str) -> bool:
        return super().is_config(_moved(config_path))

    def list(self, config_path: str, results_filter: ObjectType | None) -> list[str]:
        """What a person may choose: no parts that others are made of, and nothing that follows from other choices."""
        found = super().list(_moved(config_path), results_filter)
        if config_path == "":
            found = sorted({*found, "experiment"} - set(FOLLOWING))
        if config_path == "scale":  # what a recipe changes for a model follows from both
            found = [name for name in found if self.is_config(f"{config_path}/{name}")]
        return [name for name in found if not name.startswith("_")]


def _moved(config_path: str) -> str:
    """experiments/ lies beside conf/, where people look for it."""
    return re.sub(r"^experiment(?=/|$)", "../experiments", config_path)


class OptionSearchPath(SearchPathPlugin):
    """Reads the project's own folder through `OptionSource`."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        for element in search_path.get_path():
            if element.provider == "main" and Path(element.path.removeprefix("file://")) == CONF:
                element.path = f"{OptionSource.scheme()}://{CONF}"


def register() -> None:
    """Give Hydra the project's folders, its launchers and sweeper, and the resolvers that `conf` uses."""
    package = Path(__file__).parent
    if (plugins := str(package / "launch" / "plugins")) not in sys.path:  # before Hydra first looks for plugins
        sys.path.append(plugins)
    for plugin in (OptionSource, OptionSearchPath):
        Plugins.instance().register(plugin)
    if str(Path.cwd()) not in sys.path:  # classes of the user's own, which a YAML names by _target_
        sys.path.append(str(Path.cwd()))
    OmegaConf.register_new_resolver("package_folder", lambda folder: str(package / folder), replace=True)
    OmegaConf.register_new_resolver(
        "by_size", lambda size, limit, large, small: large if float(size) >= float(limit) else small, replace=True
    )
    OmegaConf.register_new_resolver(
        "when", lambda value, wanted, then, otherwise: then if value == wanted else otherwise, replace=True
    )
    OmegaConf.register_new_resolver("cache_folder", _cache_folder, use_cache=True, replace=True)
    OmegaConf.register_new_resolver("short_hash", lambda *words: _short_hash(",".join(map(str, words))), replace=True)
    OmegaConf.register_new_resolver("fastest_engine", _fastest_engine, replace=True)
    OmegaConf.register_new_resolver("scaled_as", _scaled_as, replace=True)
    OmegaConf.register_new_resolver("distinct", lambda *words: list(dict.fromkeys(words)), replace=True)
    OmegaConf.register_new_resolver("sweep_name", lambda: _sweep_name(sys.argv[1:]), use_cache=True, replace=True)


def _cache_folder() -> str:
    """Where finished stages are kept: SEI_CACHE, else the user's cache, else (a home that cannot be written) a folder here."""
    if named := os.environ.get("SEI_CACHE"):
        return named
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path(os.environ.get("HOME", "")) / ".cache")
    with contextlib.suppress(OSError):
        (home / "sei").mkdir(parents=True, exist_ok=True)
        if os.access(home / "sei", os.W_OK):
            return str(home / "sei")
    return str(Path.cwd() / ".cache" / "sei")


def _fastest_engine(*options: str) -> str:
    """The first option of conf/engine that is named after an installed package and has a GPU to work on, else the last."""
    able = [option for option in options[:-1] if (CONF / "engine" / f"{option}.yaml").is_file() and find_spec(option)]
    return able[0] if able and found_memory().gpus else options[-1]


def _scaled_as(model: str) -> str:
    """The option of conf/model whose scale a model has: its own, else that of the option that it is made of."""
    if any((folder / "scale" / model).is_dir() for folder in _folders(sys.argv[1:])):
        return model
    parts = (yaml.safe_load(_option("model", model).read_text(encoding="utf-8")) or {}).get("defaults") or ()
    return next((_scaled_as(part) for part in parts if isinstance(part, str) and part != "_self_"), model)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def prepare(arguments: Sequence[str]) -> list[str]:
    """The command line as Hydra is to see it.

    Raises UserError for a group, an option or a plain key that does not exist, naming the nearest one, and for a secret
    in a value. Keys inside groups are checked later, against the classes that were chosen.
    """
    if "--shell-completion" in arguments or "-sc" in arguments:
        return list(arguments)
    folders = _folders(arguments)
    faults = [fault for word in arguments if (fault := _secret(word) or _fault(word, folders) or _unreadable(word))]
    if faults:
        raise UserError("\n".join(faults))
    arguments = _with_folder(arguments)
    words = [_as_hydra(word) for word in arguments]
    return [*words, *_other_budgets(arguments), *_rehearsed_sweep(arguments), *_no_folder(arguments)]


def _with_folder(arguments: Sequence[str]) -> list[str]:
    """The command line with the folder of the sweep that it names: `sweep=NAME` is multirun/NAME, and W&B's group."""
    given = [word.partition("=")[2] for word in arguments if word.partition("=")[0] == SWEEP]
    if not given:
        return list(arguments)
    name = given[-1]
    if not re.fullmatch(r"\w[\w.+-]*", name):
        raise UserError(f"sweep={name}: give a name of letters, digits and . _ + - that can be a folder's")
    keys = {_parted(word)[0]: _parted(word)[2] for word in arguments}
    if "hydra.sweep.dir" in keys:
        raise UserError(
            f"sweep={name}: hydra.sweep.dir={keys['hydra.sweep.dir']} names another folder. Leave one of them out."
        )
    experiment = keys.get("experiment")
    mode = experiment and OmegaConf.select(OmegaConf.load(_option("experiment", experiment)), "hydra.mode")
    if not {"-m", "--multirun"} & set(arguments) and "MULTIRUN" not in (mode, keys.get("hydra.mode")):
        raise UserError(f"sweep={name} names a sweep, and this is a single run: add -m, or leave it out")
    if keys.get("scale") == "rehearsal":
        name = f"rehearsal-{name}"
    others = [word for word in arguments if word.partition("=")[0] != SWEEP]
    return [*others, f"hydra.sweep.dir=multirun/{name}"]


_REHEARSED = ("recipe", "ablation", "teacher", "model")  # whose values take other paths through the code, in this order
_MOST_REHEARSED = 5  # jobs: some three minutes


def _rehearsed_sweep(arguments: Sequence[str]) -> list[str]:
    """What a rehearsal of an experiment changes of its sweep: it lies apart from the results, and of what is alike it tries one.

    Of the models of one family the first; of every other key the first value, once so many jobs are together. What the command
    line names stays.
    """
    given = dict(word.split("=", 1) for word in arguments if "=" in word)
    experiment = given.get("experiment")
    if given.get("scale") != "rehearsal" or experiment is None:
        return []
    swept = OmegaConf.select(OmegaConf.load(_option("experiment", experiment)), "hydra.sweeper.params") or {}
    words = {"hydra.sweep.dir": f"multirun/rehearsal-{experiment}"}
    jobs = 1
    for key in sorted(swept, key=lambda one: _REHEARSED.index(one) if one in _REHEARSED else len(_REHEARSED)):
        values = [one.strip() for one in str(swept[key]).split(",")]
        if key == "model":
            values = list({_family(model): model for model in reversed(values)}.values())[::-1]
        kept = values[: max(1, _MOST_REHEARSED // jobs)] if key in _REHEARSED else values[:1]
        if key not in given:
            words[key] = ",".join(kept)
            jobs *= len(kept)
    return [f"{key}={value}" for key, value in words.items() if key not in given]


def _family(model: str) -> str:
    """What the model is built like, as its preset says; the model's own name where it says nothing."""
    return OmegaConf.select(OmegaConf.load(_option("model", model)), "family") or model


def _no_folder(arguments: Sequence[str]) -> list[str]:
    """Hydra makes a folder for every job before it runs: that of a dry run lies among temporary files and is taken away."""
    given = {key: value for key, _, value in map(_parted, arguments)}
    if yaml.safe_load(given.get("dry_run", "false")) is not True:
        return []
    folder = mkdtemp(prefix="sei-dry-run-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return [f"{key}={folder}" for key in ("hydra.run.dir", "hydra.sweep.dir") if key not in given]


def _other_budgets(arguments: Sequence[str]) -> list[str]:
    """A phase trains for so many tokens or so many steps: who gives the one takes back the other, which a YAML may set."""
    keys = dict.fromkeys(word.lstrip("+~").split("=", 1)[0] for word in arguments if not word.startswith("-"))
    wanted = [match.groups() for key in keys if (match := _BUDGET.fullmatch(key))]
    others = [f"{phase}.{'steps' if budget == 'tokens' else 'tokens'}" for phase, budget in wanted]
    return [f"++{key}=null" for key in others if key not in keys]


def _as_given(overrides: Iterable[str]) -> list[str]:
    """Overrides as a person writes them, without what `prepare` puts to them."""
    words = [word.lstrip("+") for word in overrides]
    for word in reversed(words):
        others = [one for one in words if one != word]
        if f"++{word}" in _other_budgets(others):
            words = others
    return words


def _is_key_in_group(word: str) -> bool:
    key = word.split("=", 1)[0]
    return "=" in word and "." in key and not key.startswith(("-", "+", "~", "hydra."))


def _fault(word: str, folders: Sequence[Path]) -> str | None:
    """What is wrong with one word of the command line, None where nothing is."""
    if "=" not in word or word.startswith("-"):
        return None
    key, value = word.split("=", 1)
    key = key.lstrip("+~").split("@")[0]
    name = key.split(".")[0].split("/")[0]
    if name == "hydra":
        return None
    groups = (*FIXED, *CHOSEN, *OVERLAYS)
    known = (*groups, *PLAIN, REHEARSAL, SWEEP)
    if name not in known:
        nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
        return f"unknown key '{key}'. Nearest: {nearest}"
    if "." in key or name not in groups or (value and not _SIMPLE.fullmatch(value)):
        return None
    options = _options(name, folders)
    for option in value.split(","):
        if option not in options:
            nearest = difflib.get_close_matches(option, options, n=1, cutoff=0.0)[0]
            return f"{name}={option}: there is no such option. Nearest: {nearest}. All: {', '.join(options)}"
    return None


def _secret(word: str) -> str | None:
    """A secret on the command line, which Hydra would write to the run folder; said without repeating it."""
    urls = re.findall(r"\w+://[^\s,\]}'\"]+", word)
    names = re.findall(r"api_key_env\s*[:=]\s*['\"]?([^\s,\]}'\"]+)", word)
    said = [one for name in [*names, ""] for one in address_complaints("teacher", urls, name)]
    return said[0] if said else None


def _unreadable(word: str) -> str | None:
    """Why Hydra's grammar cannot read a word, and the quoting with which it can."""
    key, equals, value = word.partition("=")
    if not equals or word.startswith("-"):
        return None
    try:
        OverridesParser.create().parse_override(word)
    except HydraException as error:
        said = str(error).splitlines()[0]
    else:
        return None
    path = str(Path(value).expanduser()) if value.startswith("~") else value
    quoted = f"{key}='" + path.replace("'", "\\'") + "'"
    try:
        read = OverridesParser.create().parse_override(quoted).value()
    except HydraException:
        return f"{key}: the value {value!r} cannot be read ({said})"
    if (
        str(read) != path or value[:1] in "[{"
    ):  # a list or a dictionary with a fault in it: quoting would make it a text
        return f"{key}: the value {value!r} cannot be read ({said})"
    return (
        f"{key}: the value {value!r} has characters that mean something to Hydra ({said}). Quote it for Hydra, and the whole "
        f'for the shell: "{quoted}"'
    )


def _folders(arguments: Sequence[str]) -> list[Path]:
    """The folders with options: our own, and the one that --config-dir names."""
    folders = [CONF]
    for index, word in enumerate(arguments):
        flag, _, value = word.partition("=")
        if flag in ("--config-dir", "-cd"):
            folders.append(Path(value or (arguments[index + 1] if index + 1 < len(arguments) else "")))
    return folders


def _options(group: str, folders: Iterable[Path]) -> list[str]:
    places = [folder / _moved(group) for folder in folders]
    return sorted({path.stem for place in places for path in place.glob("*.yaml") if not path.stem.startswith("_")})


# Who chose what


def origins(composed: DictConfig, overrides: Sequence[str], sources: Sequence[Any], swept: Sequence[str]) -> list[str]:
    """`data: gsm8k (default for recipe sei)` for each group that this job makes use of, in the order of `_SAID`.

    `overrides` are the job's, `sources` Hydra's search path (`runtime.config_sources`): Hydra itself says which file chose.
    `swept` are the groups that the experiment sweeps over, and not you.
    """
    found = (
        ConfigLoaderImpl(search_path(sources)).compute_defaults_list("config", list(overrides), RunMode.RUN).overrides
    )
    uses = load_class(composed.recipe[TARGET], "recipe").uses
    said = []
    for group in _SAID:
        option, by = found.known_choices.get(group), found.override_metadata.get(group)
        if (group in OPTIONAL and group not in uses) or (by is None and group not in _ALWAYS_SAID):
            continue
        who = "default"
        if by is not None and by.external_override:
            who = "swept by the experiment" if group in swept else "named by you"
        elif by is not None:
            place = str(by.containing_config_path).split("/")[0]
            owner = f"{place} {found.known_choices.get(place)}"
            who = owner if place in OVERLAYS else f"default for {owner}"
        said.append(f"{group}: {option} ({who})")
    return said


def search_path(sources: Sequence[Any]) -> ConfigSearchPath:
    """Hydra's search path of a job, from the sources that it wrote down."""
    path = ConfigSearchPathImpl()
    for source in sources:
        path.append(source.provider, f"{source.schema}://{source.path}")
    return path


_ALWAYS_SAID = ("model", "recipe", "data", "eval", "teacher", "engine")
_SAID = ("experiment", "ablation", "scale", *_ALWAYS_SAID, "clustering", "embedder", "trainer", "logger")


def nearby(
    overrides: Sequence[str], sources: Sequence[Any], words: Sequence[str], billions: float
) -> Iterator[tuple[str, Callable[[], Config]]]:
    """Command lines near this one, nearest first, each with what composes it: smaller settings (`words`), then another teacher,
    then the next smaller model of at most so many `billions`, at last that model with its own defaults."""
    loader = ConfigLoaderImpl(search_path(sources))

    def compose(line: Sequence[str]) -> Config:
        composed = loader.load_configuration("config", [*map(_as_hydra, line), *_other_budgets(line)], RunMode.RUN)
        with open_dict(composed):
            del composed["hydra"]
        return build(composed)

    given = [word for word in _as_given(overrides) if word.partition("=")[0] != "dry_run"]
    own = [word for word in given if word.startswith("model=")]
    kept = [word for word in given if word not in own]
    settings = [word for word in words if word.partition("=")[0] not in {one.partition("=")[0] for one in kept}]
    unnamed = [word for word in kept if not word.startswith("teacher=")]
    teachers = [f"teacher={name}" for name in _options("teacher", _folders(sys.argv[1:]))]
    for model in dict.fromkeys([*own, *(f"model={name}" for name in _models(billions))]):
        lines = [[*kept, *settings], *([*unnamed, *settings, teacher] for teacher in teachers), kept]
        lines.append([word for word in kept if word.startswith("recipe=")])
        for line in lines:
            yield " ".join(map(_quoted, [model, *line])), partial(compose, [model, *line])


def _models(billions: float) -> Iterator[str]:
    """Options of conf/model that say their size, the largest of at most `billions` first; no variant of another option does."""
    sizes: dict[str, float] = {}
    for folder in _folders(sys.argv[1:]):
        for path in (folder / "model").glob("*.yaml"):
            if size := yaml.safe_load(path.read_text(encoding="utf-8")).get("parameters_billion"):
                sizes[path.stem] = float(size)
    yield from sorted((name for name, size in sizes.items() if size <= billions), key=lambda name: -sizes[name])


def _as_hydra(word: str) -> str:
    return f"++{word}" if _is_key_in_group(word) else word


def _quoted(word: str) -> str:
    return word if re.fullmatch(r"[\w.,=/:+@%-]+", word) else f"'{word}'"


# Sweeps over several recipes


def keys_to_leave_out(composed: DictConfig, overrides: Sequence[str], recipes: Sequence[str]) -> tuple[str, ...]:
    """The keys that this job's recipe has no use for, while another recipe of the same sweep has.

    `overrides` are this job's, `recipes` the options of the sweep's other recipes. A key that none of them has is not
    among these: it is a typo, which `sei.config` refuses. Raises UserError for a group that the recipe does not work with
    and that was chosen all the same.
    """
    own = load_class(composed.recipe[TARGET], "recipe")
    others = [recipe_class(name) for name in recipes]
    theirs = {key for other in others for key in keys_of(other, "recipe")}
    values = OmegaConf.to_container(composed.recipe, resolve=False)
    assert isinstance(values, dict)
    set_here = {str(name): value for name, value in values.items() if name != TARGET}
    left = [key for key in unknown_keys(own, set_here, "recipe") if key in theirs]
    ablation = next((value for key, _, value in map(_parted, overrides) if key == "ablation"), "none")
    foreign = [key for key in _keys_set_by(_option("ablation", ablation)) if key.startswith("recipe.")]
    if foreign and not set(foreign) <= {*keys_of(own, "recipe"), *theirs}:
        raise UserError(
            f"ablation={ablation} changes {', '.join(foreign)}, which recipe={composed.recipe.name} does not have: it is an "
            "ablation of another recipe"
        )
    for override in overrides:
        group = re.split(r"[.=@/]", override.lstrip("+~"))[0]
        if group not in OPTIONAL or group in own.uses:
            continue
        if not any(group in other.uses for other in others):
            raise UserError(
                f"{override.lstrip('+')}: recipe={composed.recipe.name} makes no use of {group}; leave it out"
            )
        left.append(group)
    return tuple(dict.fromkeys(left))


def without(overrides: Sequence[str], left_out: Sequence[str]) -> list[str]:
    """The overrides that have an effect on this job."""
    return _as_given(override for override in overrides if not _belongs(override, left_out))


def origin(job: Any, arguments: Sequence[str], left_out: Sequence[str], *, multirun: bool) -> Origin:
    """What a job's command line and its sweep say of it. `job` is Hydra's own configuration, `arguments` the command line.

    A sweep is called as its folder is, and an experiment as in its file; with a hash of what else was given for all of its jobs.
    """
    choices = {name: str(job.runtime.choices.get(name) or "none") for name in ("experiment", "ablation")}
    if _belongs(f"ablation={choices['ablation']}", left_out):
        choices["ablation"] = "none"
    experiment = choices["experiment"]
    group = None if experiment == "none" else experiment + _hashed(_fixed(arguments))
    swept = None
    if multirun:
        given = [f"{key}={value}" for key, value in (job.sweeper.get("params") or {}).items()]
        swept = frozenset(_parted(word)[0] for word in [*given, *arguments] if _is_swept(word))
        swept |= swept_in(Path(job.sweep.dir))
        if Path(job.sweep.dir).name != experiment:
            group = Path(job.sweep.dir).name
    return Origin(**choices, swept=swept, group=group)


def _sweep_name(arguments: Sequence[str]) -> str:
    """What a sweep without a name is called: after the keys that it varies, with a hash of what all its jobs are given.

    Values that it varies and seeds are not in it, so that the same command with one more of them adds to the same sweep.
    """
    keys = {_parted(word)[0] for word in arguments if _is_swept(word)}
    name = re.sub(r"[^\w.+-]+", "-", "-".join(sorted(keys - {"seed"})) or "seeds")
    return f"sweep-{name[:_LONGEST_NAME]}{_hashed(_fixed(arguments))}"


_LONGEST_NAME = 80  # characters of the keys in a sweep's name


def _fixed(arguments: Sequence[str]) -> list[str]:
    """What a command line gives to all jobs of its sweep, but the seed, the experiment, and where and how they run."""
    words = [word.lstrip("+") for word in arguments if "=" in word and not word.startswith("-") and not _is_swept(word)]
    beside = (*WHERE_AND_HOW, "seed", "experiment")
    return [word for word in words if not _covered(_parted(word)[0].replace("/", "."), beside)]


def _hashed(words: Sequence[str]) -> str:
    return f"-{_short_hash(' '.join(sorted(words)))}" if words else ""


def _is_swept(word: str) -> bool:
    """Whether a word of the command line gives several values."""
    if "=" not in word or word.startswith("-"):
        return False
    with contextlib.suppress(HydraException):
        return OverridesParser.create().parse_override(word).is_sweep_override()
    return False


def _parted(override: str) -> tuple[str, str, str]:
    return override.lstrip("+~").partition("=")


def _belongs(override: str, left_out: Sequence[str]) -> bool:
    key, _, value = _parted(override)
    if key != "ablation":
        return _covered(key, left_out)
    leaves = list(_keys_set_by(_option("ablation", value)))
    return bool(leaves) and all(_covered(leaf, left_out) for leaf in leaves)


def _covered(key: str, left_out: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in left_out)


def _keys_set_by(path: Path) -> Iterator[str]:
    def walk(values: Any, prefix: str) -> Iterator[str]:
        for name, value in values.items():
            yield from walk(value, f"{prefix}{name}.") if isinstance(value, dict) else [f"{prefix}{name}"]

    yield from walk(yaml.safe_load(path.read_text(encoding="utf-8")) or {}, "")


def recipe_class(option: str) -> type[Any]:
    """The class behind `recipe=<option>`."""
    return load_class(yaml.safe_load(_option("recipe", option).read_text(encoding="utf-8"))[TARGET], "recipe")


def _option(group: str, name: str) -> Path:
    """The file of one option: of conf/, or of the folder that --config-dir names, which goes first. Raises UserError."""
    for folder in reversed(_folders(sys.argv[1:])):
        path = folder / _moved(group) / f"{name}.yaml"
        if path.is_file():
            return path
    raise UserError(f"{group}={name}: there is no such option")


def configured(words: Sequence[str]) -> Config:
    """The configuration of these words of `train.py`'s command line, for other commands. Raises UserError."""
    if not CONF.is_dir():
        raise UserError(
            f"{CONF}: no such folder. The configuration stays in the checkout: install it with `pip install -e .`"
        )
    register()
    return build(_composed(prepare(words)))


# The defaults, for those who say what a run changed


def default_choices() -> dict[str, str | None]:
    """The option that each group has unless another one is chosen; without groups that follow from others."""
    composed = _composed([], return_hydra_config=True)
    wanted = (*FIXED, *CHOSEN, "experiment", "ablation")
    return {str(name): option for name, option in composed.hydra.runtime.choices.items() if name in wanted}


def options_alone(choices: Mapping[str, str]) -> dict[str, Any]:
    """What is composed of these options, by group, and nothing else; interpolations stay as they are.

    Raises UserError where an option is not to be found any more.
    """
    words = [f"{group}={option}" for group, option in choices.items()]
    try:
        values = OmegaConf.to_container(_composed(words), resolve=False)
    except HydraException as error:
        raise UserError(f"{' '.join(words)}: {error}") from error
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def _composed(words: Sequence[str], *, return_hydra_config: bool = False) -> DictConfig:
    """What these words compose, in a program that Hydra has started or in any other."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    started = GlobalHydra.instance().is_initialized()
    with contextlib.nullcontext() if started else initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", list(words), return_hydra_config=return_hydra_config)
