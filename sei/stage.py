"""A stage: a function from records to records that declares itself, so that its result can be kept and found again.

Place in the flow: every verb in `sei.stages` is decorated with `@stage`; recipes run them through `lab.do`, which looks the
call up in the workspace first. What identifies a call is read off the call itself:

- records are inputs, known by their content;
- an object with `fingerprint()` (a teacher, an engine, prompts) counts by what that returns, and by the code of its class;
- everything else is a parameter and counts by its value;
- `scratch`, `on_progress`, `say` and `loggers` are given by the workspace and the display and never count;
- the code of the stage counts, with every definition it reaches (`sei.source`).

Example::

    @stage(Diagnosis, "diagnoses")
    def diagnose(mistakes: Sequence[Mistake], *, teacher: Teacher) -> Output[Diagnosis]: ...

    diagnose(mistakes, teacher=teacher)                       # still a plain function
    diagnose.call(mistakes, teacher=teacher).key              # what its result is filed under
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, runtime_checkable

from sei.records import Record, Rejected
from sei.source import Code, Root, installed_code

R = TypeVar("R", bound=Record)

INJECTED = ("scratch", "on_progress", "say", "loggers")
"""Arguments of a stage that decide nothing about its result: a folder for work in progress, and who is told of it."""


@runtime_checkable
class Fingerprinted(Protocol):
    """An object that decides a stage's result: JSON values (and other such objects) that say how."""

    def fingerprint(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Output(Generic[R]):
    """What a stage function returns: its records, and an account of every record it was given.

    `received` inputs = `passed` inputs + `rejected`. One-to-one stages leave `passed` out (it is then the number of
    records); stages that gather or multiply say how many inputs went on. `files` is a folder to keep beside the records.
    """

    records: Sequence[R]
    received: int
    rejected: Sequence[Rejected] = ()
    passed: int | None = None
    numbers: Mapping[str, Any] = field(default_factory=dict)
    files: Path | None = None

    def __post_init__(self) -> None:
        if self.received != self.accepted + len(self.rejected):
            raise AssertionError(
                f"a stage lost records: received {self.received}, passed {self.accepted}, rejected {len(self.rejected)}"
            )

    @property
    def accepted(self) -> int:
        return len(self.records) if self.passed is None else self.passed


@dataclass(frozen=True)
class Stage(Generic[R]):
    """A decorated function: callable as before, and able to say what a call depends on."""

    function: Callable[..., Output[R]]
    record_type: type[R]
    name: str  # what its result is called in the run folder
    on_top: bool = False  # its records are among the few that a person looks for first

    def __post_init__(self) -> None:
        for name in ("__name__", "__qualname__", "__doc__", "__module__"):
            object.__setattr__(self, name, getattr(self.function, name))
        object.__setattr__(self, "__wrapped__", self.function)  # for inspect.signature and help()

    def __call__(self, *args: Any, **arguments: Any) -> Output[R]:
        return self.function(*args, **arguments)

    @property
    def folder(self) -> str:
        """Its folder in the cache, whatever a recipe calls the result."""
        return self.function.__name__

    @functools.cached_property
    def parameters(self) -> frozenset[str]:
        """The names of its arguments."""
        return frozenset(inspect.signature(self.function).parameters)

    @property
    def root(self) -> Root:
        return self.function.__module__, self.function.__name__

    def call(self, *args: Any, **arguments: Any) -> Call[R]:
        """This stage with its arguments. Raises TypeError for arguments that it does not take or that lack identity."""
        bound = inspect.signature(self.function).bind_partial(*args, **arguments)
        bound.apply_defaults()
        values = {name: value for name, value in bound.arguments.items() if name not in INJECTED}
        missing = [
            name
            for name, parameter in inspect.signature(self.function).parameters.items()
            if parameter.default is parameter.empty and name not in INJECTED and name not in values
        ]
        if missing:
            raise TypeError(f"{self.folder}: arguments {', '.join(missing)} are missing")
        return Call(self, values)


@dataclass(frozen=True)
class Call(Generic[R]):
    """A stage and its arguments, without the injected ones."""

    stage: Stage[R]
    arguments: Mapping[str, Any]
    code: Code = field(default_factory=installed_code, compare=False)

    @functools.cached_property
    def key(self) -> str:
        """24 hex digits: equal calls of equal code have equal keys."""
        return digest([self.stage.folder, self.code.digest([self.stage.root, *self._roots]), self._described])

    @functools.cached_property
    def inputs(self) -> dict[str, int]:
        """How many records each argument holds, for the manifest."""
        return {name: len(value) for name, value in self.arguments.items() if _records(value)}

    @functools.cached_property
    def parameters(self) -> dict[str, Any]:
        """What the other arguments are, for the manifest."""
        return {name: value for name, value in self._described.items() if not _records(self.arguments[name])}

    def run(self, **injected: Any) -> Output[R]:
        """Compute. Of `injected` the stage gets what it asks for."""
        wanted = {name: value for name, value in injected.items() if name in self.stage.parameters}
        return self.stage.function(**self.arguments, **wanted)

    @functools.cached_property
    def _described(self) -> dict[str, Any]:
        return {name: describe(value, f"{self.stage.folder}({name})") for name, value in self.arguments.items()}

    @functools.cached_property
    def _roots(self) -> list[Root]:
        return sorted({root for value in self.arguments.values() for root in roots_of(value)})


def stage(record_type: type[R], name: str, *, on_top: bool = False) -> Callable[[Callable[..., Output[R]]], Stage[R]]:
    """Declare a function to be a stage that makes `record_type`s, called `name` in the run folder."""
    return lambda function: Stage(function, record_type, name, on_top)


def describe(value: Any, where: str = "argument") -> Any:
    """A JSON value that is equal exactly for arguments that decide the same result.

    Raises TypeError for what has no identity, such as a function or a path, whose content may change.
    """
    if _records(value):
        return {"records": digest([record.to_json() for record in value])}
    if isinstance(value, Fingerprinted):
        return {"class": type(value).__qualname__, **describe(dict(value.fingerprint()), where)}
    if isinstance(value, Enum):
        return value.value
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Record):
        return value.to_json()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: describe(getattr(value, one.name), where) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(name): describe(item, where) for name, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(describe(item, where) for item in value)
    if isinstance(value, (list, tuple)):
        return [describe(item, where) for item in value]
    raise TypeError(
        f"{where}: a {type(value).__name__} has no identity that could stand in a cache key; "
        "hand over a value, records, or an object with fingerprint()"
    )


def roots_of(value: Any) -> Iterable[Root]:
    """The classes whose code decides what an argument does: those of all fingerprinted objects in it."""
    if isinstance(value, Fingerprinted):
        yield type(value).__module__, type(value).__qualname__.split(".")[0]
        yield from roots_of(value.fingerprint())
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from roots_of(item)
    elif isinstance(value, (list, tuple)) and not _records(value):
        for item in value:
            yield from roots_of(item)
    elif dataclasses.is_dataclass(value) and not isinstance(value, (type, Record)):
        for one in dataclasses.fields(value):
            yield from roots_of(getattr(value, one.name))


def digest(value: Any) -> str:
    """24 hex digits of a JSON value."""
    text = json.dumps(value, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]


def _records(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and bool(value) and isinstance(value[0], Record)
