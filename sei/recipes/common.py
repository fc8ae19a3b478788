"""What recipes have in common: training, evaluation before and after, the choice of a checkpoint, replay.

Place in the flow: recipes call these functions with the lab; each is a few stages in a fixed order.

Example::

    adapter = finetune(lab, examples, self.training, rounds=self.rounds)
    return evaluate(lab, Results(), adapter)
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from sei.errors import UserError
from sei.records import (
    Attempt,
    Diagnosis,
    ErrorType,
    Example,
    Mistake,
    Outcome,
    Pair,
    Problem,
)
from sei.results import Results
from sei.stage import Stage
from sei.stages import assemble
from sei.stages import evaluate as evaluation
from sei.stages.attempt import attempt
from sei.stages.cluster import assign
from sei.stages.diagnose import diagnose
from sei.stages.finetune import finetune as finetune_stage
from sei.stages.finetune import prefer as prefer_stage
from sei.stages.mine import cap, mine
from sei.target.engine import Asking, Sampling
from sei.target.weights import Adapter
from sei.training.settings import Hyperparameters, PreferenceHyperparameters

if TYPE_CHECKING:
    from sei.lab import Lab

H = TypeVar("H", bound=Hyperparameters)


# Training


def finetune(
    lab: Lab,
    examples: Sequence[Example],
    training: Hyperparameters,
    start: Adapter | None = None,
    *,
    rounds: int = 1,
    max_examples: int | None = None,
    name: str = "adapter",
    round: int = 1,
) -> Adapter:
    """Train the target on the examples' responses, on from `start`. Returns the new adapter.

    `max_examples` of the rows at most are used, sampled by seed. A budget of tokens or steps is for all `rounds`.
    """
    if max_examples is not None and max_examples < len(examples):
        lab.note(f"Training on {max_examples:,} of {len(examples):,} rows (recipe.max_examples), sampled by seed.")
        examples = assemble.thin(examples, max_examples, seed=lab.config.seed)
    return _train(lab, finetune_stage, examples, per_round(training, rounds), start, name, round)


def prefer(lab: Lab, pairs: Sequence[Pair], training: PreferenceHyperparameters, start: Adapter) -> Adapter:
    """Direct preference optimization on the pairs, on from `start`, which is also the reference."""
    return _train(lab, prefer_stage, pairs, training, start, "adapter", 1)


def per_round(training: H, rounds: int) -> H:
    """The share of one round in a budget that is the recipe's, whatever the number of rounds."""
    budget = {name: getattr(training, name) for name in ("tokens", "steps")}
    return dataclasses.replace(training, **{name: value // rounds for name, value in budget.items() if value})


def _train(
    lab: Lab,
    stage: Stage[Any],
    rows: Sequence[Example] | Sequence[Pair],
    training: Hyperparameters,
    start: Adapter | None,
    name: str,
    round: int,
) -> Adapter:
    """A training stage, whose files are an adapter."""
    lab.make_room()
    artifact = lab.artifact(
        stage,
        rows,
        weights=lab.weights(start, task="frozen_weights"),
        hyperparameters=training,
        trainer=lab.trainer,
        seed=lab.config.seed,
        name=name,
        round=round,
    )
    if artifact.files is None:
        raise AssertionError("training left no adapter")
    kept = [(step, artifact.files / "steps" / f"{step:06d}") for step in artifact.numbers["kept_steps"]]
    if kept and kept[-1][0] != artifact.numbers["steps"]:  # the end of training is a checkpoint too
        kept.append((artifact.numbers["steps"], artifact.files))
    return Adapter(artifact.files, artifact.place, tuple(kept))


def phase_complaints(training: Hyperparameters, key: str, rounds: int = 1) -> Iterator[str]:
    """What is wrong with the hyperparameters of one training phase, beyond single values."""
    if training.tokens is not None and training.steps is not None:
        yield f"{key}.tokens={training.tokens} and {key}.steps={training.steps}: give one of them"
    for budget in ("tokens", "steps"):
        value = getattr(training, budget)
        if value is not None and value < rounds:
            yield f"{key}.{budget}={value} is for all rounds: recipe.rounds={rounds} would get none each"
    if training.kl_weight and training.method != "lora":
        yield (
            f"{key}.kl_weight={training.kl_weight} pulls to the target without its adapter, and method={training.method} "
            f"has none: use {key}.method=lora, or {key}.kl_weight=0"
        )
    if training.kl_weight and isinstance(training, PreferenceHyperparameters):
        yield f"{key}.kl_weight is for supervised training; preference training is held to its start by {key}.beta"


# What to train on


def mistakes_of(
    lab: Lab,
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    formats: Asking | None = None,
    *,
    max_share: float = 1.0,
    name: str = "mistakes",
    round: int = 1,
) -> list[Mistake]:
    """The wrong attempts, made with `formats`; with several models, none has more than `max_share` of them."""
    mistakes = lab.do(mine, problems, attempts, formats or lab.formats, name=name, round=round)
    if len({mistake.model for mistake in mistakes}) < 2:
        return mistakes
    return lab.do(cap, mistakes, max_share, lab.config.seed, name=f"{name}.capped", round=round)


def diagnoses_of(lab: Lab, mistakes: Sequence[Mistake], *, round: int = 1) -> list[Diagnosis]:
    """The teacher's diagnoses. Raises UserError where it could use none: what comes after would be made of nothing."""
    artifact = lab.artifact(diagnose, mistakes, lab.teacher, round=round)
    if mistakes and not artifact.records:
        reasons = Counter(item.reason for item in artifact.rejected)
        counts = ", ".join(f"{count:,} {reason}" for reason, count in reasons.most_common())
        raise UserError(
            f"None of {len(mistakes):,} mistakes was diagnosed by teacher {lab.config.teacher.name} ({counts}); the reasons are "
            f"in {artifact.folder}/rejected.jsonl. There is nothing to learn from: check the teacher, or choose another one."
        )
    return artifact.records


def with_replay(lab: Lab, examples: Sequence[Example], share: float) -> list[Example]:
    """`examples` with gold solutions of training problems, `share` of all rows (0: none)."""
    replayed = assemble.replay(lab.problems, len(examples), share, lab.formats, seed=lab.config.seed)
    return [*examples, *replayed]


def any_mistakes(lab: Lab, mistakes: Sequence[Mistake]) -> bool:
    """Whether there is anything to learn from; says so where there is not."""
    if not mistakes:
        lab.note(
            "The target made no mistakes that it could learn from on the training problems, so nothing is trained."
        )
    return bool(mistakes)


# Evaluation


def evaluate(
    lab: Lab,
    results: Results,
    adapter: Adapter | None,
    formats: Asking | None = None,
    sampling: Sampling | None = None,
) -> Results:
    """Evaluate before and, where something was trained, after. With `trainer=none` nothing is evaluated.

    `formats` and `sampling`: how the trained target is asked, where it was taught another way to answer than it had before.
    """
    if lab.trains:
        results.domains = {domain: list(names) for domain, names in lab.config.eval.sets.items()}
        results.before = outcomes(lab, "before", types=results.error_types)
        if adapter is not None:
            results.chosen = adapter = choose(lab, adapter, results, formats, sampling)
            results.after = outcomes(lab, "after", adapter, results.error_types, formats, sampling)
            results.validation = validation(lab, "after", adapter, formats, sampling)
    return results


def outcomes(
    lab: Lab,
    when: str,
    adapter: Adapter | None = None,
    types: Sequence[ErrorType] = (),
    formats: Asking | None = None,
    sampling: Sampling | None = None,
) -> dict[str, list[Outcome]]:
    """Outcomes on every test set; the mistakes among them are diagnosed and put under the nearest error type."""
    results = {}
    for name, attempts in attempts_at_tests(lab, when, adapter, formats, sampling).items():
        problems = lab.test(name)
        type_of = _error_types_of(lab, when, name, problems, attempts, types, formats)
        results[name] = evaluation.outcomes(name, problems, attempts, type_of, lab.style_of(name))
    return results


def attempts_at_tests(
    lab: Lab, when: str, adapter: Adapter | None, formats: Asking | None = None, sampling: Sampling | None = None
) -> dict[str, list[Attempt]]:
    """The target's attempts at every test set."""
    options = lab.config.eval
    sampling = Sampling(
        max_new_tokens=options.max_new_tokens or (sampling or lab.sampling).max_new_tokens,
        temperature=options.temperature,
        samples=options.samples,
        seed=lab.config.seed if options.temperature else 0,
    )
    return {
        name: lab.do(
            attempt,
            lab.test(name),
            lab.target(adapter),
            formats or dataclasses.replace(lab.formats, dataset=lab.style_of(name)),
            sampling,
            style=lab.style_of(name),
            name=f"evaluate.{when}.{name}",
        )
        for name in lab.splits.tests
    }


def validation(
    lab: Lab, when: str, adapter: Adapter, formats: Asking | None = None, sampling: Sampling | None = None
) -> list[Outcome]:
    """Outcomes on the validation split."""
    problems = lab.splits.validation
    attempts = lab.do(
        attempt,
        problems,
        lab.target(adapter),
        formats or lab.formats,
        sampling or lab.sampling,
        style=lab.style,
        name=f"evaluate.{when}.validation",
    )
    return evaluation.outcomes("validation", problems, attempts, {}, lab.style)


def choose(
    lab: Lab, adapter: Adapter, results: Results, formats: Asking | None = None, sampling: Sampling | None = None
) -> Adapter:
    """Of the adapters kept while training, the one that `eval.select` asks for; every one of them is scored.

    The last of them is the adapter itself. `paper` scores all of them on the test sets, as LeMa does.
    """
    select = lab.config.eval.select
    if select == "last" or not adapter.kept:
        return adapter
    kept = [
        (step, adapter if path == adapter.path else Adapter(path, f"{adapter.place}/{path.relative_to(adapter.path)}"))
        for step, path in adapter.kept
    ]
    for step, one in kept:
        rows = validation(lab, f"step{step}", one, formats, sampling)
        tests = outcomes(lab, f"step{step}", one, formats=formats, sampling=sampling) if select == "paper" else {}
        results.checkpoints.append(
            evaluation.CheckpointScore(
                step,
                evaluation.accuracy(rows) if rows else None,
                {name: evaluation.accuracy(scored) for name, scored in tests.items()},
            )
        )
    return kept[evaluation.choose(results.checkpoints, select)][1]


def checkpoint_complaints(select: str, phases: Mapping[str, Hyperparameters]) -> Iterator[str]:
    """`eval.select=paper` where there is nothing to select from. `phases`: configuration key -> hyperparameters."""
    if select == "paper" and all(training.keep_every is None for training in phases.values()):
        keys = " or ".join(f"{key}.keep_every" for key in phases)
        yield f"eval.select=paper reports the best of several checkpoints, but none is kept: set {keys}"


def _error_types_of(
    lab: Lab,
    when: str,
    name: str,
    problems: Sequence[Problem],
    attempts: Sequence[Attempt],
    types: Sequence[ErrorType],
    formats: Asking | None,
) -> dict[str, str]:
    """Attempt id -> error type, of the wrong first samples."""
    if not types or not lab.config.eval.diagnose:
        return {}
    first = [one for one in attempts if one.sample == 0]
    asked = formats or dataclasses.replace(lab.formats, dataset=lab.style_of(name))
    mistakes: list[Mistake] = list(mine(problems, first, asked).records)
    diagnoses: list[Diagnosis] = lab.do(diagnose, mistakes, lab.teacher, name=f"diagnoses.{when}.{name}")
    assigned = assign(diagnoses, types, lab.config.embedder)
    return {mistake.attempt_id: assigned[mistake.id] for mistake in mistakes if mistake.id in assigned}
