"""Dataclasses as schemas: the keys they have, their defaults, and objects built of plain values with every fault named.

Place in the flow: `sei.config` builds the composed configuration with this, once, before anything is loaded; `sei.compose`
fills in defaults, so that Hydra knows every key. A class's fields are the keys; pydantic checks types and ranges.

Example::

    build(KMeans, {"min_types": 0, "max_tipes": 9}, "clustering", faults)
    # clustering.min_types=0: must be at least 1
    # unknown key 'clustering.max_tipes'. Nearest: clustering.max_types
"""

from __future__ import annotations

import dataclasses
import difflib
import importlib
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pydantic

from sei.errors import UserError

TARGET = "_target_"


def load_class(path: str, where: str) -> type[Any]:
    """The class `package.module.Class`. Raises UserError naming the key `where` that asks for it."""
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise UserError(
            f"{where}.{TARGET}={path}: cannot be imported ({error}). Give package.module.Class; a module of your own must "
            "lie in the current folder or on PYTHONPATH."
        ) from error
    if not dataclasses.is_dataclass(found) or not isinstance(found, type):
        raise UserError(f"{where}.{TARGET}={path}: must be a dataclass; its fields are the keys of the YAML.")
    return found


def build(schema: type[Any], values: Mapping[str, Any], where: str, faults: list[str]) -> Any:
    """An object of `schema`, or None where something is wrong; every fault goes to `faults`, by its full key."""
    unknown = list(unknown_keys(schema, values, where))
    faults += [explain_unknown(key, keys_of(schema, where)) for key in unknown]
    if unknown:
        return None
    try:
        return pydantic.TypeAdapter(schema).validate_python(values)
    except pydantic.ValidationError as error:
        faults += [_fault(where, details) for details in error.errors()]
        return None


def explain_unknown(key: str, known: Iterable[str]) -> str:
    """`unknown key 'a.c'. Nearest: a.b`. A key beside it that it abbreviates (`lr`) is nearer than any other."""
    everything = list(known)
    parent, _, name = key.rpartition(".")
    beside = [one for one in everything if one.rpartition(".")[0] == parent]
    abbreviated = [one for one in beside if _in_order(name, one.rpartition(".")[2])]
    nearest = difflib.get_close_matches(key, abbreviated or everything, n=1, cutoff=0.0)
    return f"unknown key '{key}'." + (f" Nearest: {nearest[0]}" if nearest else "")


def _in_order(letters: str, name: str) -> bool:
    """Whether `name` has these letters in this order, beginning with the first."""
    rest = iter(name)
    return letters[:1] == name[:1] and all(letter in rest for letter in letters)


def unknown_keys(schema: type[Any], values: Mapping[str, Any], where: str) -> Iterator[str]:
    """The full names of keys that the schema does not have, at any depth."""
    hints = _hints(schema)
    for name, value in values.items():
        key = f"{where}.{name}"
        if name not in hints:
            yield key
            continue
        if isinstance(value, Mapping) and (inner := _schema_in(hints[name], value)):
            yield from unknown_keys(inner, value, key)
        elif isinstance(value, (list, tuple)):
            for number, item in enumerate(value):
                if isinstance(item, Mapping) and (inner := _schema_in(hints[name], item)):
                    yield from unknown_keys(inner, item, f"{key}[{number}]")


def keys_of(schema: type[Any], where: str) -> list[str]:
    """The full names of all keys of a schema, at any depth."""
    keys = []
    for name, hint in _hints(schema).items():
        keys.append(f"{where}.{name}")
        for inner in _schemas_in(hint):
            keys += keys_of(inner, f"{where}.{name}")
    return keys


def defaults(schema: type[Any]) -> dict[str, Any]:
    """The default of every field that has one, as plain values; nested schemas likewise."""
    values: dict[str, Any] = {}
    for one in dataclasses.fields(schema):
        if one.default is not dataclasses.MISSING:
            values[one.name] = _plain(one.default)
        elif one.default_factory is not dataclasses.MISSING:
            values[one.name] = _plain(one.default_factory())
        elif len(inner := _schemas_in(_hints(schema)[one.name])) == 1:
            values[one.name] = defaults(inner[0])
    return values


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: _plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Mapping):
        return {name: _plain(item) for name, item in value.items()}
    return value


def _hints(schema: type[Any]) -> dict[str, Any]:
    hints = typing.get_type_hints(schema, include_extras=True)
    return {one.name: hints[one.name] for one in dataclasses.fields(schema) if one.init}


def _schemas_in(hint: Any) -> list[type[Any]]:
    """The dataclasses that a type mentions: `list[Source | None]` mentions Source."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return [hint]
    if typing.get_origin(hint) is typing.Annotated:
        return _schemas_in(typing.get_args(hint)[0])
    if typing.get_origin(hint) is not None or isinstance(hint, types.UnionType):
        return [schema for part in typing.get_args(hint) for schema in _schemas_in(part)]
    return []


def _schema_in(hint: Any, value: Mapping[str, Any]) -> type[Any] | None:
    """The schema that a mapping is meant to be: of several, the one whose `kind` it names."""
    schemas = _schemas_in(hint)
    if len(schemas) > 1:
        kind = value.get("kind")
        schemas = [one for one in schemas if kind in typing.get_args(_hints(one).get("kind"))]
    return schemas[0] if len(schemas) == 1 else None


def _fault(where: str, details: Mapping[str, Any]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in details["loc"]]
    key, value, context = where + "".join(parts), details["input"], details.get("ctx", {})
    if details["type"] == "missing":
        return f"{key}: is missing; give it a value"
    shown = f"{key}={value}"
    match details["type"]:
        case "greater_than_equal":
            return f"{shown}: must be at least {context['ge']}"
        case "greater_than":
            return f"{shown}: must be above {context['gt']}"
        case "literal_error":
            choices = [choice.strip(" '") for choice in context["expected"].replace(" or ", ",").split(",")]
            nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.0)[0]
            return f"{shown}: choose one of {', '.join(choices)}. Nearest: {nearest}"
        case "union_tag_invalid":
            choices = [choice.strip(" '") for choice in context["expected_tags"].split(",")]
            nearest = difflib.get_close_matches(str(context["tag"]), choices, n=1, cutoff=0.0)[0]
            return f"{key}.kind={context['tag']}: choose one of {', '.join(choices)}. Nearest: {nearest}"
    return f"{shown}: {details['msg'][:1].lower()}{details['msg'][1:]}"
