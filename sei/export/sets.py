"""The rows of one training, in the forms that other training tools read.

Place in the flow: a run's training rows -> **files** of an exported data set. Three forms, each with the rows' ids, kinds and
parents in columns of their own, which those tools pass over:

    trl.jsonl        TRL: prompt and completion, or prompt, chosen and rejected; as messages where the target has a chat template
    alpaca.jsonl     instruction, input, output (or chosen and rejected)
    sharegpt.jsonl   conversations (and chosen and rejected)

`dataset_info.json` describes the latter two to LLaMA-Factory. Example::

    write_sets(folder, [phase], chat=False)["adapter"].rows
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sei.export.finished import Phase
from sei.records import Example, Pair
from sei.target.load import Chat
from sei.workspace import write_json

Json = dict[str, Any]


@dataclass(frozen=True)
class WrittenSet:
    """What was written of one training, in figures."""

    name: str
    preferences: bool
    rows: int
    kinds: dict[str, int]  # rows of each kind, most frequent first
    prefixed: int  # rows whose response begins with a part that this framework gives and does not train on
    open_ended: int  # pairs whose answers are a part of a response, which nothing ends


def write_sets(folder: Path, phases: Sequence[Phase], *, chat: Chat) -> list[WrittenSet]:
    """Write every phase's rows in every form to `folder/<phase>/`, and LLaMA-Factory's `dataset_info.json` to `folder`.

    `chat` as in `load_tokenizer`: False where prompts stay bare, a text where that is the system message.
    """
    described: Json = {}
    for phase in phases:
        place = folder / phase.name
        place.mkdir(parents=True, exist_ok=True)
        for form, convert in _FORMS.items():
            _write_lines(place / f"{form}.jsonl", (convert(row, chat) | _provenance(row) for row in phase.rows))
        described |= _described(phase, system=isinstance(chat, str))
    write_json(folder / "dataset_info.json", described)
    return [_figures(phase) for phase in phases]


def _figures(phase: Phase) -> WrittenSet:
    kinds = Counter(row.kind for row in phase.rows)
    return WrittenSet(
        phase.name,
        phase.preferences,
        len(phase.rows),
        dict(kinds.most_common()),
        prefixed=sum(bool(row.prefix) for row in phase.rows),
        open_ended=sum(isinstance(row, Pair) and row.kind == "step" for row in phase.rows),
    )


# ---------------------------------------------------------------------------------------------------------------- forms


def _trl(row: Example | Pair, chat: Chat) -> Json:
    """TRL's prompt-completion or preference row: standard (texts) where prompts stay bare, else conversational (messages)."""
    if chat is False:
        answers = _answers(row)
        return {"prompt": row.prompt + row.prefix} | answers
    prompt = [{"role": role, "content": text} for role, text in _turns(row, chat)]
    return {"prompt": prompt} | {
        name: [{"role": "assistant", "content": row.prefix + text}] for name, text in _answers(row).items()
    }


def _alpaca(row: Example | Pair, chat: Chat) -> Json:
    names = {"completion": "output"}
    answers = {names.get(name, name): row.prefix + text for name, text in _answers(row).items()}
    return {"instruction": _prompt(row, chat), "input": ""} | _system(chat) | answers


def _sharegpt(row: Example | Pair, chat: Chat) -> Json:
    turn = {"from": "human", "value": _prompt(row, chat)}
    said = {name: {"from": "gpt", "value": row.prefix + text} for name, text in _answers(row).items()}
    completion = said.pop("completion", None)
    return {"conversations": [turn, completion] if completion else [turn]} | _system(chat) | said


_FORMS: dict[str, Callable[[Example | Pair, Chat], Json]] = {"trl": _trl, "alpaca": _alpaca, "sharegpt": _sharegpt}


def _answers(row: Example | Pair) -> dict[str, str]:
    """What the model is to say (and not to say), by TRL's names, without the part that is given."""
    if isinstance(row, Pair):
        return {"chosen": row.chosen, "rejected": row.rejected}
    return {"completion": row.response}


def _prompt(row: Example | Pair, chat: Chat) -> str:
    """The prompt as it was put: a chat template's message has no space around it."""
    return row.prompt if chat is False else row.prompt.strip()


def _turns(row: Example | Pair, chat: Chat) -> Iterable[tuple[str, str]]:
    if isinstance(chat, str):
        yield "system", chat
    yield "user", _prompt(row, chat)


def _system(chat: Chat) -> Json:
    return {"system": chat} if isinstance(chat, str) else {}


def _provenance(row: Example | Pair) -> Json:
    return {"id": row.id, "kind": row.kind, "parents": list(row.parents)}


def _described(phase: Phase, *, system: bool) -> Json:
    """LLaMA-Factory's description of a phase's two files."""
    answers = {"chosen": "chosen", "rejected": "rejected"} if phase.preferences else {}
    ranking = {"ranking": True} if phase.preferences else {}
    spoken = {"system": "system"} if system else {}
    alpaca = {"prompt": "instruction", "query": "input"} | (answers or {"response": "output"}) | spoken
    sharegpt = {"messages": "conversations"} | answers | spoken
    return {
        f"{phase.name}_alpaca": {
            "file_name": f"{phase.name}/alpaca.jsonl",
            "formatting": "alpaca",
            **ranking,
            "columns": alpaca,
        },
        f"{phase.name}_sharegpt": {
            "file_name": f"{phase.name}/sharegpt.jsonl",
            "formatting": "sharegpt",
            **ranking,
            "columns": sharegpt,
        },
    }


def _write_lines(path: Path, rows: Iterable[Json]) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
