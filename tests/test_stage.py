"""What a stage's result is filed under: every argument counts, and the code that shapes it, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import sei.stages
from sei.clustering.clusterers import KMeans
from sei.clustering.embedders import Hashing
from sei.records import (
    Attempt,
    Correction,
    Diagnosis,
    ErrorType,
    Example,
    Mistake,
    Pair,
    Problem,
    Rejected,
    Synthetic,
    Trace,
    Verdict,
)
from sei.source import Code, read_source
from sei.stage import INJECTED, Call, Stage, describe
from sei.target.engine import Sampling
from sei.target.formats import Formats
from sei.target.hf import HF
from sei.target.thoughts import Thoughts
from sei.target.weights import Weights
from sei.teacher.api import Api
from sei.teacher.base import Place
from sei.teacher.symbolic import SymbolicTeacher
from sei.training.settings import PreferenceHyperparameters, Trainer


def stages() -> dict[str, Stage[Any]]:
    """Every stage there is, by the name of its function."""
    found: dict[str, Stage[Any]] = {}
    for module in pkgutil.iter_modules(sei.stages.__path__, "sei.stages."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {one.folder: one for one in members if isinstance(one, Stage)}
    return found


STAGES = stages()
PROBLEM = Problem.make(question="1 and 1?", answer="2", solution="#### 2", source="t")
ATTEMPT = Attempt("a", PROBLEM.id, "m", "#### 3", Verdict.WRONG)
MISTAKE = Mistake("m", PROBLEM.id, "a", "1 and 1?", "2", "#### 2", "#### 3", "m")
TYPE = ErrorType("t", "n", "", 1, ("k",), ("k",), ("m",), 1.0, (1.0,))
TRACE = Trace("r", "m", "teacher", 1, "c", "2")
API = Api(name="gpt", model="gpt").open(Place("gsm8k", Path("store"), Path("run")))
OTHER_API = Api(name="gpt", model="other").open(Place("gsm8k", Path("store"), Path("run")))


class Asked:
    """An engine as the lab gives it: settings and weights, nothing loaded."""

    name = "tiny"

    def __init__(self, weights: Weights) -> None:
        self.weights = weights

    def fingerprint(self) -> dict[str, Any]:
        return {"choice": HF(), "weights": self.weights}


TINY = Weights(str(Path(sei.stages.__file__).parents[1] / "target/tiny/weights"), "tiny")
HYPER = PreferenceHyperparameters(learning_rate=1e-3)

VALUES: dict[str, tuple[Any, Any]] = {
    # argument -> two values that must give two keys
    "problems": ([PROBLEM], [replace(PROBLEM, solution="1+1=2\n#### 2")]),
    "attempts": ([ATTEMPT], [replace(ATTEMPT, output="#### 4")]),
    "mistakes": ([MISTAKE], [replace(MISTAKE, output="#### 4")]),
    "diagnoses": ([Diagnosis("d", "m", 1, "", ("k",), "")], []),
    "types": ([TYPE], [replace(TYPE, name="o")]),
    "previous": ([TYPE], []),
    "earlier": ([Synthetic("s", "q", "a", "1", "t", ())], []),
    "candidates": ([Synthetic("s", "q", "a", "1", "t", ())], []),
    "corrections": ([Correction("c", "m", 1, "", (), "", "")], []),
    "traces": ([TRACE], [replace(TRACE, cause="d")]),
    "truths": ([TRACE], [replace(TRACE, cause="d")]),
    "teacher_traces": ([TRACE], [replace(TRACE, cause="d")]),
    "student_traces": ([TRACE], [replace(TRACE, cause="d")]),
    "examples": ([Example("e", "p", "r", "cot", ())], [Example("e", "p", "s", "cot", ())]),
    "pairs": ([Pair("p", "p", "c", "r", "thought", ())], [Pair("p", "p", "c", "s", "thought", ())]),
    "train": ([PROBLEM], [replace(PROBLEM, question="2?")]),
    "held_out": ({"test": [PROBLEM]}, {"test": [replace(PROBLEM, question="2?")]}),
    "training": ([PROBLEM], []),
    "forbidden": ([PROBLEM], []),
    "seed_problems": ([PROBLEM], []),
    "wrong": ([PROBLEM], []),
    "right": ([PROBLEM], []),
    "teacher": (SymbolicTeacher(), API),
    "author": (API, OTHER_API),
    "inspector": (API, None),
    "solver": (API, OTHER_API),
    "evolver": (SymbolicTeacher(), API),
    "engine": (Asked(TINY), Asked(replace(TINY, dtype="float32"))),
    "weights": (TINY, replace(TINY, quantization="nf4")),
    "formats": (Formats("plain"), Formats("lema")),
    "thoughts": (Thoughts("plain"), Thoughts("plain", "cot")),
    "sampling": (Sampling(), Sampling(max_new_tokens=9)),
    "embedder": (Hashing(), Hashing(dimension=64)),
    "clusterer": (KMeans(), KMeans(max_share=0.9)),
    "hyperparameters": (HYPER, replace(HYPER, beta=0.2)),
    "trainer": (Trainer(precision="32-true"), Trainer(precision="bf16-mixed")),
    "style": ("gsm8k", "math"),
    "template_style": ("xml", "cot"),
    "kind": ("thought", "step"),
    "way": ("check", "reflect"),
    "rouge": (0.7, None),
    "ngram": (13, None),
    "unread": ((), [Rejected.make("file:3", "bad_row")]),
    "target": (3, None),
    **dict.fromkeys(("seed", "round", "rounds", "samples", "budget", "per_call"), (1, 2)),
    **dict.fromkeys(("mistakes_shown", "synthesized_shown"), (1, 2)),
    **dict.fromkeys(("rouge_threshold", "max_calls_factor", "keep", "max_share"), (0.5, 0.6)),
}


def call(stage: Stage[Any], **changed: Any) -> Call[Any]:
    arguments = {name: VALUES[name][0] for name in stage.parameters if name not in INJECTED}
    return stage.call(**(arguments | changed))


CASES = [(name, parameter) for name in STAGES for parameter in sorted(STAGES[name].parameters - set(INJECTED))]


@pytest.mark.parametrize(("name", "parameter"), CASES)
def test_every_argument_counts(name: str, parameter: str) -> None:
    stage = STAGES[name]
    assert call(stage).key == call(stage).key
    assert call(stage, **{parameter: VALUES[parameter][1]}).key != call(stage).key


def key_with(stage: Stage[Any], module: str, old: str, new: str, **changed: Any) -> tuple[str, str]:
    """The key of a call before and after `old` becomes `new` in the source of a module."""
    text = read_source(module)
    assert text is not None
    assert old in text, f"{module} no longer says {old!r}"
    edited = Code(lambda name: text.replace(old, new) if name == module else read_source(name))
    made = call(stage, **changed)
    return made.key, Call(stage, made.arguments, edited).key


@pytest.mark.parametrize("name", sorted(STAGES))
def test_the_stage_s_own_code_counts_and_what_says_nothing_does_not(name: str) -> None:
    stage = STAGES[name]
    module = stage.function.__module__
    source = inspect.getsource(stage.function)
    last = source.rstrip().splitlines()[-1]
    before, after = key_with(stage, module, last, f"{last}  # a remark")
    assert before == after
    documented = inspect.getdoc(stage.function)
    assert documented
    first = documented.splitlines()[0]
    before, after = key_with(stage, module, first, f"Said better: {first}")
    assert before == after
    signature = source[source.index(f"def {stage.folder}(") :].split(":\n", 1)[0]
    before, after = key_with(stage, module, f"{signature}:\n", f"{signature}:\n    print()\n")
    assert before != after


SHAPING = [
    # (stage, module, what stands there, what it becomes, arguments): code that shapes what a model is asked or told
    ("attempt", "sei.target.formats", 'self._fill("solve", question=question)', 'self._fill("solve", question="")', {}),
    ("attempt", "sei.steps", "def split_steps(", "def split_steps_too(", {}),
    ("attempt", "sei.target.load", "prompt.strip()", "prompt", {}),
    ("attempt", "sei.target.decoding", "logits.argmax(-1)", "logits.argmin(-1)", {}),
    ("select", "sei.target.formats", "example_solution=shown", "example_solution=''", {}),
    ("student_traces", "sei.target.thoughts", "steps=number_steps(steps)", "steps=''", {}),
    ("second_pass", "sei.target.thoughts", "steps=number_steps(steps)", "steps=''", {}),
    ("diagnose", "sei.steps", "def number_steps(", "def number_steps_too(", {"teacher": API}),
    ("diagnose", "sei.teacher.api.roles", "def diagnose(", "def diagnose_too(", {"teacher": API}),
    ("synthesize", "sei.teacher.api.roles", "def synthesize(", "def synthesize_too(", {"teacher": API}),
    ("correct", "sei.teacher.api.teacher", "def correct(", "def correct_too(", {"teacher": API}),
    ("cluster", "sei.clustering.clusterers", "niter=50", "niter=51", {}),
    ("cluster", "sei.clustering.embedders", "_BEGINNINGS = (3, 4, 5)", "_BEGINNINGS = (3, 4)", {}),
    ("finetune", "sei.training.packing", "def self_check(", "def self_check_too(", {}),
    ("prefer", "sei.training.losses", "def dpo_loss(", "def dpo_loss_too(", {}),
]


@pytest.mark.parametrize(("name", "module", "old", "new", "changed"), SHAPING)
def test_code_that_shapes_a_prompt_or_a_result_counts(
    name: str, module: str, old: str, new: str, changed: dict[str, Any]
) -> None:
    before, after = key_with(STAGES[name], module, old, new, **changed)
    assert before != after


@pytest.mark.parametrize("name", sorted(STAGES))
def test_modules_that_a_stage_does_not_use_do_not_count(name: str) -> None:
    """A report, a configuration, another recipe: and of the workspace nothing but the writing of records."""
    reached = {module for module, _ in Code().reached([STAGES[name].root, *call(STAGES[name])._roots])}
    for room in ("sei.tracking", "sei.recipes", "sei.config", "sei.compose", "sei.lab", "sei.run", "sei.plan"):
        assert not any(module.startswith(room) for module in reached), (room, sorted(reached))
    before, after = key_with(STAGES[name], "sei.workspace", "def stage_folder(", "def stage_folder_too(")
    assert before == after


def test_prompts_count_by_their_text(monkeypatch: pytest.MonkeyPatch) -> None:
    before = call(STAGES["attempt"]).key
    from sei import prompts

    changed = replace(prompts.load("target/plain/solve"), text="{{question}}!")
    monkeypatch.setattr(prompts, "load", lambda name: changed)
    assert call(STAGES["attempt"]).key != before


def test_what_has_no_identity_is_refused() -> None:
    with pytest.raises(TypeError, match=r"mine\(attempts\): a function has no identity"):
        _ = STAGES["mine"].call([PROBLEM], lambda: None, Formats("plain")).key
    with pytest.raises(TypeError, match="a PosixPath has no identity"):
        describe(Path("folder"))
    with pytest.raises(TypeError, match="mine: arguments attempts, formats are missing"):
        STAGES["mine"].call([PROBLEM])
