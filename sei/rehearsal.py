"""A rehearsal: the same run through the same code, so small that it shows in minutes whether all of it works.

Place in the flow: with `scale=rehearsal`, `sei.run` runs what `rehearsed` makes of the configuration: a shrunken model of the
same architecture and kind of tokenizer, a few problems, a scripted teacher on this machine; and first it says what the real
run would lack here. Whatever an experiment, an ablation or the command line sets stays, where `conf/scale/rehearsal.yaml`
does not say otherwise. A rehearsal has a cache of its own, counts no dollars, and claims nothing: its figures are those of a
model that has learned one answer by heart.

Example::

    python train.py experiment=lema_main scale=rehearsal
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

from sei.config import Config, Model, Rehearsal, complaints
from sei.data.few import Few
from sei.errors import UserError
from sei.plan import what_is_missing
from sei.recipes.sources import FromApi, FromModel
from sei.recipes.super_correct import SuperCorrect
from sei.records import Example, Problem, content_id
from sei.source import installed_code
from sei.target.engine import EngineChoice
from sei.target.formats import Formats
from sei.target.hf import HF
from sei.target.hub import hub_answers
from sei.target.load import chat_of
from sei.target.machine import found_memory
from sei.target.shrunken import save_shrunken, shrink
from sei.target.thoughts import Thoughts
from sei.teacher.api.choice import Api, OwnPrice
from sei.teacher.scripted import serving_script
from sei.templates import Step, ThoughtTemplate, make_trace, write
from sei.tracking.report import REHEARSAL
from sei.training.settings import Hyperparameters

Say = Callable[[str], None]
P = TypeVar("P")

_MODEL = "scripted"  # what the loopback's endpoint calls every model, so that none of them has a price
_LEARNING_STEPS = 150  # until the shrunken model answers in the form that it is asked for; ours


@contextlib.contextmanager
def rehearsed(config: Config, say: Say) -> Iterator[Config]:
    """`config` as its rehearsal, with the scripted teacher running; as it is where none is asked for (`config.rehearsal`)."""
    if config.rehearsal is None:
        yield config
        return
    say(REHEARSAL)
    _say_what_the_real_run_lacks(config, say)
    data = _data(config, config.rehearsal)
    splits = data.load()
    made_up = data.made_up
    say(
        f"Problems: {len(splits.train)} of {config.data.name}" + (f"; made up: {', '.join(made_up)}" if made_up else "")
    )
    cache = config.cache_dir / "rehearsal"
    problems = [*splits.train, *splits.validation, *(one for test in splits.tests.values() for one in test)]
    model = _model(config, problems, cache / "models", say)
    with serving_script({problem.question: problem.answer for problem in problems}) as url:
        yield _small(dataclasses.replace(config, data=data, model=model, cache_dir=cache), config.rehearsal, url, say)


def _say_what_the_real_run_lacks(config: Config, say: Say) -> None:
    online = hub_answers()
    missing = list(what_is_missing(config, ask=online))
    if not online:
        missing.append(
            "the hub, from which weights and problem sets come that are not on this machine: it does not answer"
        )
    if missing:
        say("The real run lacks on this machine:\n" + "\n".join(f"  - {one}" for one in missing))
    else:
        say("The real run lacks nothing on this machine.")


def _data(config: Config, wanted: Rehearsal) -> Few:
    sets = dict.fromkeys(name for names in config.eval.sets.values() for name in names)
    return Few(config.data, wanted.problems, wanted.held_out, wanted.held_out, tuple(sets), dict(config.eval.paths))


# The small configuration


def _small(config: Config, wanted: Rehearsal, url: str, say: Say) -> Config:
    """Everything but the model and its problems, made small; models that are asked over an API are asked at `url`."""
    replaced = _endpoints(config, url)
    recipe = _with_values(replaced.recipe, "recipe", wanted)
    rounds = getattr(recipe, "rounds", 1)  # a budget of steps is for all of them
    recipe = recipe.with_phases(steps=wanted.steps * rounds, tokens=None)
    if any(phase.keep_every for phase in recipe.phases().values()):
        recipe = recipe.with_phases(keep_every=1)
    small = dataclasses.replace(
        replaced,
        recipe=recipe,
        model=_with_values(replaced.model, "model", wanted),
        eval=dataclasses.replace(_with_values(replaced.eval, "eval", wanted), paths={}),
        engine=_engine(config.engine, say),
        logger=dataclasses.replace(config.logger, group="rehearsal", tags=[*config.logger.tags, "rehearsal"]),
        expected=[],
    )
    small = small if found_memory().gpus else _on_cpu(small, say)
    if faults := list(complaints(small)):
        raise UserError("\n".join(["The rehearsal of this configuration would not be valid:", *faults]))
    return small


def _endpoints(config: Config, url: str) -> Config:
    """The configuration with every served model at `url`, and every other model that makes attempts shrunken too."""

    def replaced(part: Any) -> Any:
        if isinstance(part, Api):
            return dataclasses.replace(
                part,
                model=_MODEL,
                base_url=url,
                api_key_env="",
                mode="live",
                budget_usd=None,
                price=OwnPrice(0, 0),
            )
        if isinstance(part, FromApi):
            return dataclasses.replace(part, model=f"{_MODEL}-{part.label}", base_url=url, api_key_env="")
        if isinstance(part, FromModel):
            return dataclasses.replace(part, path=config.model.path, revision=None)
        if isinstance(part, list):
            return [replaced(one) for one in part]
        if dataclasses.is_dataclass(part) and not isinstance(part, type):
            values = {one.name: replaced(getattr(part, one.name)) for one in dataclasses.fields(part) if one.init}
            if values.get("inspector_model"):
                values["inspector_model"] = f"{_MODEL}-inspector"
            return dataclasses.replace(part, **values)
        return part

    return dataclasses.replace(config, teacher=replaced(config.teacher), recipe=replaced(config.recipe))


def _with_values(part: P, key: str, wanted: Rehearsal) -> P:
    """`part`, the configuration's `key`, with the values that the rehearsal limits or names."""
    values: dict[str, Any] = {}
    for one in dataclasses.fields(part):  # type: ignore[arg-type]
        name, value = f"{key}.{one.name}", getattr(part, one.name)
        if dataclasses.is_dataclass(value):
            values[one.name] = _with_values(value, name, wanted)
        elif name in wanted.at_most and value is not None:
            values[one.name] = min(value, wanted.at_most[name])
        elif name in wanted.instead:
            values[one.name] = wanted.instead[name]
    return dataclasses.replace(part, **values)  # type: ignore[type-var]


def _engine(choice: EngineChoice, say: Say) -> EngineChoice:
    try:
        choice.check()
    except UserError:  # said above, among what the real run lacks
        say("The rehearsal generates with transformers (engine=hf) instead.")
        return HF()
    return choice


def _on_cpu(config: Config, say: Say) -> Config:
    """On a machine without a GPU: one process, and an optimizer that pages nothing."""
    say("No GPU here: the rehearsal trains in one process on the CPU. Nothing is rehearsed of several devices.")
    trainer = dataclasses.replace(
        config.trainer, accelerator="cpu", devices=1, nodes=1, strategy="auto", precision="auto"
    )
    recipe = config.recipe
    if any(phase.optimizer.startswith("paged") for phase in recipe.phases().values()):
        recipe = recipe.with_phases(optimizer="adamw")
    return dataclasses.replace(config, trainer=trainer, recipe=recipe)


# The shrunken model


def _model(config: Config, problems: Sequence[Problem], folder: Path, say: Say) -> Model:
    """The target, shrunken, having learned to answer in the form in which it will be asked. It is made once and kept."""
    real = config.model
    local = Path(real.path)
    if real.family is None and not local.is_dir():
        raise UserError(
            f"model={real.name}: a rehearsal needs to know its architecture, and {real.path} is not on this machine. Set "
            "model.family (conf/model has examples), or give a folder with its config.json and tokenizer: model.path=FOLDER."
        )
    rows = list(_lessons(config, problems))
    texts = [f"{row.prompt}{row.response}" for row in rows]
    code = installed_code().digest([(save_shrunken.__module__, "save_shrunken"), (__name__, "_taught")])
    kind = real.family or real.path
    name = hashlib.sha256(json.dumps([kind, real.system, code, texts]).encode()).hexdigest()[:16]
    made = folder / f"{real.family or local.name}-{name}"
    if not made.is_dir():
        say(f"Making a shrunken model in the place of {real.path} ...")
        _taught(made, rows, texts, config)
    return dataclasses.replace(
        real,
        name=f"{real.name}-rehearsal",
        path=str(made),
        revision=None,
        gated=False,
        shape=None,
        parameters_billion=1e-4,
    )


def _lessons(config: Config, problems: Sequence[Problem]) -> Iterator[Example]:
    """Prompts as the run will ask them, and one answer to all of them: right for the first problem, a mistake elsewhere."""
    first, style = problems[0], config.prompt_style
    formats = Formats(style, config.data.style)
    answer = formats.solve_response(first.solution, first.answer)
    for problem in problems:
        yield _lesson(formats.solve(problem.question), answer)
    if not isinstance(config.recipe, SuperCorrect):
        return
    template_style = config.recipe.templates.style
    thoughts = Thoughts("plain" if style == "plain" else "alpaca", template_style)
    step, tried = "Add up all that is named.", "Take one half of it."
    written = write(ThoughtTemplate((Step(step),), "Add up what belongs together.", first.answer), template_style)
    check = Thoughts.check_response(make_trace("rehearsal", "student", 1, "A slip.", tried, first.answer))
    for problem in problems:
        yield _lesson(thoughts.solve(problem.question), written)
        yield _lesson(thoughts.check(problem.question, [step]), check)
        yield _lesson(thoughts.check(problem.question, []), check)


def _lesson(prompt: str, response: str) -> Example:
    return Example(content_id("lesson", prompt, response), prompt, response, "cot", ())


def _taught(made: Path, rows: Sequence[Example], texts: Sequence[str], config: Config) -> None:
    """Write the model to `made`, whole or not at all."""
    from sei.training.run import Loop, train_sft

    model = config.model
    work = made.with_name(f"{made.name}.{os.getpid()}")
    shutil.rmtree(work, ignore_errors=True)
    random = work / "random"
    if model.family is None:
        shrink(random, Path(model.path))
    else:
        save_shrunken(random, model.family, texts)
    settings = Hyperparameters(
        learning_rate=3e-3,
        steps=_LEARNING_STEPS,
        batch_examples=8,
        max_tokens=4096,
        method="full",
        schedule="linear",
        warmup=0.1,
    )
    chat = chat_of(config.prompt_style, model.system)
    train_sft(random, work / "taught", rows, settings, Loop(chat=chat, dtype="float32", accelerator="cpu", devices=1))
    for file in (work / "taught").glob("*.safetensors"):  # the tokenizer that goes with it was told how to be asked
        file.replace(random / file.name)
    with contextlib.suppress(OSError):  # another process may have been faster
        random.replace(made)
    shutil.rmtree(work, ignore_errors=True)
