"""The cards: what a person reads first in a repository of weights or of data, written from the run.

Place in the flow: a finished run's configuration and figures -> **README.md** beside the exported files, from the templates
`model_card.md` and `data_card.md`. Figures are the run's own, with their intervals; paths of this machine are left out.
"""

from __future__ import annotations

import importlib
import inspect
import re
import shlex
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from sei.data.overlap import SimilarityFilter, exact_matches, shared_ngrams
from sei.data.sources import SOURCES
from sei.export.finished import FinishedRun
from sei.export.sets import WrittenSet
from sei.export.weights import Merged
from sei.run_files import understood
from sei.target.load import Chat, is_whole_model

_METHODS_OF = "sei.recipes."  # a run folder may come from anywhere; no other module is imported because it says so


def model_card(
    run: FinishedRun, sets: Sequence[WrittenSet], *, chat: Chat, merged: Merged | None, data_name: str | None
) -> str:
    """The README of the weights. `data_name`: the repository of the rows they were trained on, where that is shared."""
    head: dict[str, Any] = {"library_name": "transformers" if merged or not _is_adapter(run) else "peft"}
    if run.base_id:
        adapter = _is_adapter(run) and not merged
        head |= {"base_model": run.base_id, "base_model_relation": "adapter" if adapter else "finetune"}
    datasets = [*run.hub_sources, *([data_name] if data_name else [])]
    head |= {"datasets": datasets} if datasets else {}
    head |= {"pipeline_tag": "text-generation", "tags": _tags(run), "model-index": [_index(run)]}
    return _render(
        "model_card.md",
        run,
        head,
        sets=sets,
        chat=chat is not False,
        merged=merged,
        base=run.base_id,
        in_checkout=run.in_checkout,
        adapter=_is_adapter(run),
    )


def data_card(run: FinishedRun, sets: Sequence[WrittenSet]) -> str:
    """The README of the training rows, with what of them resembles a test problem."""
    configs = [{"config_name": one.name, "data_files": f"{one.name}/trl.jsonl"} for one in sets]
    head = {"task_categories": ["text-generation"], "language": ["en"], "tags": _tags(run)[:2], "configs": configs}
    limits = run.config["data"]["overlap"]
    return _render("data_card.md", run, head, sets=sets, overlap=overlap(run, **limits), **limits)


def overlap(run: FinishedRun, *, rouge: float | None, ngram: int | None) -> dict[str, dict[str, int]]:
    """By test set: its problems, and how many of the questions behind the training rows are like one of them.

    By the limits that the run kept its own training problems apart with; None leaves that comparison out.
    """
    questions = run.questions_behind([row for phase in run.phases for row in phase.rows])
    return {
        name: {
            "problems": len(tests),
            "questions": len(questions),
            "exact": len(exact_matches(questions, tests)),
            "ngram": len(shared_ngrams(questions, tests, ngram)) if ngram else 0,
            "rouge": sum(one is not None for one in SimilarityFilter(rouge, tests).check_many(questions))
            if rouge
            else 0,
        }
        for name, tests in run.tests.items()
    }


def _render(template: str, run: FinishedRun, head: Mapping[str, Any], **values: Any) -> str:
    with understood(run.folder / "results.json"), understood(run.folder / "config.yaml"):
        return (
            _templates()
            .get_template(template)
            .render(
                head=yaml.safe_dump(dict(head), sort_keys=False, allow_unicode=True).strip(),
                results=run.results,
                model=run.config["model"],
                recipe=run.config["recipe"],
                phases=_phases(run.config["recipe"]),
                rows=_figures(run.results["eval"]),
                types=_types(run.results),
                teacher=run.results["teacher"],
                method=_method(str(run.config["recipe"]["_target_"])),
                licences=_licences(run),
                command=_command(run),
                system=_fenced(run.chat) if isinstance(run.chat, str) else "",
                prompt=_fenced(run.phases[0].rows[0].prompt),
                **values,
            )
        )


@cache
def _templates() -> Environment:
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown and no HTML: every text that a model or teacher wrote goes through `plain`
    )
    found.filters["plain"] = _plain
    return found


def _plain(text: object) -> str:
    """Outside text in a cell of a Markdown table: what would be markup is shown as it stands."""
    return re.sub(r"([\\`*_{}\[\]<>#|!$&])", r"\\\1", " ".join(str(text).split()))


def _fenced(text: str) -> str:
    """A text as a block of code, between fences that do not occur in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", text)), default=0))
    return f"{fence}text\n{text.rstrip()}\n{fence}"


# -------------------------------------------------------------------------------------------------- what the cards say


def _method(target: str) -> str:
    """The first paragraph of the recipe's module: what the method is, and where it comes from; "" for a recipe of one's own."""
    if not target.startswith(_METHODS_OF):
        return ""
    try:
        module = importlib.import_module(target.rpartition(".")[0])
    except ImportError:
        return ""
    return " ".join((inspect.getdoc(module) or "").partition("\n\n")[0].split())


def _figures(sets: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One row a test set: accuracy before and after in percent with 95 % interval, the change, and what it consists of."""

    def percent(side: Mapping[str, Any], name: str, sign: str = "") -> str:
        value, low, high = (100 * side[key] for key in (name, "low", "high"))
        return f"{value:{sign}.1f} % [{low:{sign}.1f}, {high:{sign}.1f}]"

    return [
        {
            "set": name,
            "n": entry["before"]["n"],
            "before": percent(entry["before"], "accuracy"),
            "after": percent(entry["after"], "accuracy"),
            "change": percent(entry["change"], "mean", "+").replace(" %", ""),
            **{key: entry["change"][key] for key in ("fixed", "broken")},
            "p": f"{entry['change']['p']:.2g}",
        }
        for name, entry in sets.items()
        if entry["after"]
    ]


def _types(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The largest error types that were mined in the first round."""
    mined = sorted(results["error_types"], key=lambda row: -row["mined"][0])
    return [{"name": row["name"], "mined": row["mined"][0]} for row in mined[:10] if row["mined"][0]]


def _phases(recipe: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The settings of each training phase that say what was done; the recipe's keys that hold a learning rate."""
    phases = {
        name: values for name, values in recipe.items() if isinstance(values, Mapping) and "learning_rate" in values
    }
    return {
        name: {
            key: value
            for key, value in values.items()
            if value is not None and key not in ("target_modules", "keep_every")
        }
        for name, values in phases.items()
    }


def _is_adapter(run: FinishedRun) -> bool:
    return not is_whole_model(run.adapter)


def _tags(run: FinishedRun) -> list[str]:
    """What the hub finds it by."""
    return ["learning-from-errors", str(run.results["recipe"])] + (["lora"] if _is_adapter(run) else [])


def _index(run: FinishedRun) -> dict[str, Any]:
    """The accuracies after training, in the hub's form."""
    return {
        "name": f"{run.results['model']}-{run.results['recipe']}",
        "results": [
            {
                "task": {"type": "text-generation"},
                "dataset": {"name": name, "type": _hub_id(name)},
                "metrics": [
                    {"type": "accuracy", "value": round(100 * entry["after"]["accuracy"], 2), "name": "pass@1, %"}
                ],
            }
            for name, entry in run.results["eval"].items()
            if entry["after"]
        ],
    }


def _hub_id(name: str) -> str:
    hub = SOURCES[name].hub if name in SOURCES else None
    return hub.id if hub else name


def _licences(run: FinishedRun) -> dict[str, str]:
    """Whose terms hold for what was made, by what was used."""
    base = f"the licence of {run.base_id}" if run.base_id else "Apache-2.0, as this framework"
    data = {name: SOURCES[name].licence or "see its source" for name in run.sources if name in SOURCES}
    served = {f"teacher ({run.results['teacher']})": "its provider's terms"} if "model" in run.config["teacher"] else {}
    return {"base model": base} | data | served


def _command(run: FinishedRun) -> str:
    """The command line that made the run, without words that hold a path of this machine."""
    words = [str(word) for word in run.results["overrides"]]
    return shlex.join(
        ["python", "train.py", *(word if not _has_path(word) else f"{word.partition('=')[0]}=..." for word in words)]
    )


def _has_path(word: str) -> bool:
    value = word.partition("=")[2]
    return (
        value.startswith(("/", "./", "../", "~", "\\")) or "/home/" in value or ":\\" in value or Path(value).exists()
    )
