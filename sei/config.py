"""The configuration's schema: every group as a dataclass, registered with Hydra, so that a typo fails.

Place in the flow: `conf/*.yaml` fill these classes; `train.py` calls `explain_unknown_keys` on the command line before
Hydra composes, and `validate` on the composed configuration before anything is loaded, spent or trained. `validate`
reports every problem at once. Only `train.py` and `sei/recipes` read a configuration.

Example::

    python train.py recipe.synthesis.buget=3
    # unknown key 'recipe.synthesis.buget'. Nearest: recipe.synthesis.budget
"""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import re
import sys
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from sei.clustering.base import NEEDS_TEACHER
from sei.errors import UserError

CONF = Path(__file__).parents[1] / "conf"


class StyleName(Enum):
    plain = "plain"
    alpaca = "alpaca"
    lema = "lema"


class Quantization(Enum):
    none = "none"
    nf4 = "nf4"


@dataclass
class ModelConfig:
    """The target: the model that is trained."""

    name: str = MISSING
    path: str = MISSING  # folder or hub id
    revision: str | None = None
    style: StyleName | None = None  # the prompts (sei/prompts/target) that it knows already; null: the recipe's
    parameters_billion: float = MISSING
    dtype: str = "auto"  # of weights that are not trained; auto: what the device is fast with
    quantization: Quantization = Quantization.none
    gated: bool = False  # the hub asks for a licence to be accepted
    max_new_tokens: int = 512


@dataclass
class PriceConfig:
    """US dollars per million tokens."""

    input: float | None = None
    output: float | None = None
    cached: float | None = None
    batch: float = 1.0


@dataclass
class TeacherConfig:
    """Who diagnoses, corrects and synthesizes. All keys below `name` are for an OpenAI-compatible endpoint."""

    kind: str = MISSING  # symbolic | api
    name: str = MISSING
    model: str | None = None
    base_url: Any = None  # one URL or a list, which is balanced; null: OpenAI's
    api_key_env: str = "OPENAI_API_KEY"  # the environment variable that holds the key
    mode: str = "live"  # live | batch (the provider's batch endpoint: half the price, within a day)
    structured: str = "json_schema"  # json_schema | prompt
    limits: dict[str, Any] = field(default_factory=dict)  # per role: max_tokens, temperature, mean_tokens_out
    max_concurrency: int = 64  # calls in flight per endpoint
    timeout_s: float = 180.0
    budget_usd: float | None = None  # stop before the call that would exceed it
    price: PriceConfig = field(default_factory=PriceConfig)  # input and output: instead of conf/teacher/prices


@dataclass
class EngineConfig:
    """How the target is asked."""

    kind: str = MISSING  # hf | recorded
    batch_size: int = 64
    device: str = "auto"
    path: str | None = None  # recorded: the JSONL file of attempts


@dataclass
class EmbedderConfig:
    """How keyphrases become vectors."""

    kind: str = MISSING  # hashing | sentence_transformer
    path: str | None = None  # sentence_transformer: folder or hub id


@dataclass
class ClusteringConfig:
    """How keyphrases become error types."""

    kind: str = MISSING  # kmeans | agglomerative | single | llm | hybrid | none
    min_types: int = 4
    max_types: int = 16
    max_share: float = 0.4


@dataclass
class TrainingConfig:
    """The hyperparameters of one training phase."""

    method: str = "lora"  # lora | full
    learning_rate: float = MISSING
    epochs: float = 1.0
    steps: int | None = None  # train for exactly this many optimizer steps instead of `epochs`
    tokens: int | None = None  # train on exactly this many tokens instead of `epochs` or `steps`
    keep_every: int | None = None  # keep the adapter every so many optimizer steps, for eval.select
    batch_tokens: int | None = None  # tokens an optimizer step; None: `batch_examples`
    batch_examples: int = 1
    accumulation: int | None = (
        None  # micro-batches a step and device: less memory, the same result; null: by micro_tokens
    )
    micro_tokens: int | None = None  # tokens of one micro-batch at most; null: 8 times max_tokens
    rank: int = 8
    alpha: float = 32.0
    dropout: float = 0.0
    target_modules: list[str] = field(default_factory=lambda: ["q_proj", "k_proj", "v_proj", "o_proj"])
    optimizer: str = "adamw"  # adamw | paged_adamw_32bit
    schedule: str = "linear"  # linear | cosine | constant
    warmup: float = 0.0  # share of the steps
    weight_decay: float = 0.0
    beta2: float = 0.999
    max_grad_norm: float = 1.0
    max_tokens: int = 512  # of one packed row
    gradient_checkpointing: bool = False


@dataclass
class SynthesisConfig:
    """SEI step 4."""

    budget: int = MISSING  # problems asked for in all
    per_call: int = 20
    mistakes_shown: int = 5
    synthesized_shown: int = 3
    rouge_threshold: float = 0.7
    max_calls_factor: float = 3.0  # give up on a type after this many times the calls its budget needs
    verify_samples: int = 0  # solve each problem so many times; keep it where the majority reaches its answer


@dataclass
class SelectionConfig:
    """SEI step 5."""

    enabled: bool = True
    wrong_problems: int = 10
    right_problems: int = 10
    keep: float = 0.2


@dataclass
class SourceConfig:
    """Who makes attempts: the target itself, another model, a file of recorded attempts, a served model."""

    kind: str = "target"  # target | hf | recorded | api
    path: str | None = None  # hf: folder or hub id; recorded: JSONL file
    model: str | None = None  # api: what the endpoint calls the model
    base_url: Any = None  # api: one URL or a list; null: OpenAI's
    api_key_env: str = "OPENAI_API_KEY"  # api: the environment variable that holds the key
    samples: int = 1
    temperature: float = 0.0


@dataclass
class CorrectionConfig:
    """LeMa's correction rows and their ablations."""

    rows: str = "pairs"  # pairs | paths (corrected solutions as chains of thought: LeMa's CoT-45K) | none
    explanation: bool = True
    step: bool = True  # name the wrong step and go on from it, or correct the whole solution


@dataclass
class EvolutionConfig:
    """LeMa's new problems."""

    strategy: str = "none"  # none | general | correction_centric
    seeds: int = 10000  # seed problems drawn, with replacement
    samples: int = 3  # the teacher's solutions of each new problem; the majority's answer is its answer
    rouge_threshold: float = 0.7


@dataclass
class TemplateConfig:
    """SuperCorrect's first phase."""

    style: str = "xml"  # cot | hierarchical | hierarchical_generalized | not_xml | xml
    share: float = 0.5  # of the training problems; the target's mistakes at the others make the pairs
    check_share: float = 0.0  # of the first phase's rows: checks of solutions, for a target that follows no instruction
    max_new_tokens: int | None = None  # of a template or a check; null: model.max_new_tokens
    inspector_rounds: int = 3  # how often a faulty template or trace goes back to the teacher; 0: no inspector
    inspector_model: str | None = None  # another model of the teacher's endpoint; null: the teacher itself


@dataclass
class PreferenceConfig(TrainingConfig):
    """SuperCorrect's second phase: direct preference optimization, and the baselines in its place."""

    kind: str = "thought"  # thought | step | instance | sft (on the chosen thoughts alone) | none
    max_pairs: int | None = None  # drawn by seed
    beta: float = 0.1
    loss: str = "sigmoid"  # sigmoid | ipo
    label_smoothing: float = 0.0
    sft_weight: float = 0.0  # of a negative log-likelihood of the chosen side, added to the loss


@dataclass
class RecipeConfig:
    """Which method, and its phases. A recipe ignores the parts it has no use for."""

    name: str = MISSING
    rounds: int = 1
    style: StyleName = StyleName.alpaca  # the paper's prompts, for a target that knows none (model.style)
    mistake_sources: list[SourceConfig] = field(default_factory=lambda: [SourceConfig()])
    max_source_share: float = 1.0  # of the mistakes, from one source
    path_sources: list[SourceConfig] = field(default_factory=list)  # more chains of thought beside the gold solutions
    paths: int | None = None  # how many of those paths at most
    correction: CorrectionConfig = field(default_factory=CorrectionConfig)
    evolution: EvolutionConfig = field(default_factory=EvolutionConfig)
    max_examples: int | None = None  # training rows at most, drawn by seed: ablations at equal examples
    replay: float = 0.0  # share of the training rows that are gold solutions of training problems, against forgetting
    training: TrainingConfig = field(default_factory=TrainingConfig)
    synthesis: SynthesisConfig = field(default_factory=SynthesisConfig)
    selection: SelectionConfig = field(default_factory=SelectionConfig)
    templates: TemplateConfig = field(default_factory=TemplateConfig)
    preference: PreferenceConfig = field(default_factory=lambda: PreferenceConfig(learning_rate=1e-6))


@dataclass
class TrainerConfig:
    """Hardware and loop."""

    kind: str = MISSING  # lightning | none
    accelerator: str = "auto"
    devices: str = "auto"
    strategy: str = "auto"
    precision: str = "auto"  # auto: what the device is fast with (sei/target/precision.py)
    checkpoint_every: int = 100  # optimizer steps


@dataclass
class OverlapConfig:
    """Which training problems are too like a held-out one. Equal texts always are."""

    rouge: float | None = None  # ROUGE-L F of the questions from which on
    ngram: int | None = None  # words in a row in common


@dataclass
class DataConfig:
    """Where problems come from."""

    kind: str = MISSING  # arithmetic | gsm8k | math | svamp | ...
    path: str | None = None  # a local folder instead of the hub
    train: int | None = None  # number of problems, None: all
    validation: int = MISSING
    test: int | None = None
    seed: int = 0
    overlap: OverlapConfig = field(default_factory=OverlapConfig)


@dataclass
class EvalConfig:
    """What is measured before and after."""

    sets: dict[str, list[str]] = field(default_factory=dict)  # domain -> problem sets; empty: the tests of `data`
    paths: dict[str, str] = field(default_factory=dict)  # problem set -> local folder instead of the hub
    samples: int = 1  # answers a problem, for pass@k and maj@k
    temperature: float = 0.0
    max_new_tokens: int | None = None  # null: model.max_new_tokens
    passes: int = 1  # 2: the target checks its solutions and corrects them (recipe=supercorrect)
    second: str = "check"  # check | reflect (Reflexion: told that it was wrong, it solves again)
    select: str = "validation"  # validation | last | paper: which kept checkpoint is reported (training.keep_every)
    limit: int | None = None  # at most this many items of each set
    diagnose: bool = True  # diagnose wrong test items too, for the table of error types


@dataclass
class LoggerConfig:
    """Where curves and tables go."""

    kind: str = MISSING  # offline | wandb | none
    project: str = "sei"
    tags: list[str] = field(default_factory=list)


@dataclass
class Config:
    """The whole configuration."""

    model: ModelConfig = MISSING
    teacher: TeacherConfig = MISSING
    engine: EngineConfig = MISSING
    embedder: EmbedderConfig = MISSING
    clustering: ClusteringConfig = MISSING
    recipe: RecipeConfig = MISSING
    trainer: TrainerConfig = MISSING
    data: DataConfig = MISSING
    eval: EvalConfig = MISSING
    logger: LoggerConfig = MISSING
    expected: list[Any] = field(default_factory=list)  # a paper's figures: {model, recipe, set, accuracy (%), source}
    seed: int = 0
    dry_run: bool = False
    cache_dir: str = MISSING


GROUPS = {
    "model": ModelConfig,
    "teacher": TeacherConfig,
    "engine": EngineConfig,
    "embedder": EmbedderConfig,
    "clustering": ClusteringConfig,
    "recipe": RecipeConfig,
    "trainer": TrainerConfig,
    "data": DataConfig,
    "eval": EvalConfig,
    "logger": LoggerConfig,
}
"""Hydra group -> schema. Each `conf/<group>/*.yaml` starts from `/schema/<group>`."""


def register() -> None:
    """Give Hydra the schema, so that composing checks every key and type, and the resolvers that `conf` uses."""
    ConfigStore.instance().store(name="schema", node=Config)
    package = Path(__file__).parent
    OmegaConf.register_new_resolver("package_folder", lambda folder: str(package / folder), replace=True)
    OmegaConf.register_new_resolver(
        "by_size", lambda size, limit, large, small: large if float(size) >= float(limit) else small, replace=True
    )
    OmegaConf.register_new_resolver("short_hash", lambda *words: _short_hash(",".join(map(str, words))), replace=True)
    # One name for all jobs of a sweep: the same command line gives the same folder, so a rerun goes on in it.
    OmegaConf.register_new_resolver(
        "sweep_hash", lambda: _short_hash(" ".join(sys.argv[1:])), use_cache=True, replace=True
    )


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def explain_unknown_keys(arguments: list[str]) -> None:
    """Check the keys of command-line overrides against the schema, before Hydra composes.

    Raises UserError naming, for every unknown key, the nearest one that exists. Options of groups (`recipe=sie`) are
    left to Hydra, which lists them.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    words = [word for word in arguments if "=" in word and not word.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(words)
    except HydraException:
        return  # Hydra's own message points at the character
    known = _keys(OmegaConf.structured(Config)) | {"experiment", "ablation"}
    of_source = [one.name for one in dataclasses.fields(SourceConfig)]
    problems = []
    for override in overrides:
        key = override.key_or_group.split("@")[0].replace("/", ".")
        value = str(override.value())
        if key == "teacher.base_url" and "@" in value.split("//", 1)[-1].split("/")[0]:
            raise UserError(
                "teacher.base_url holds a user name or password, which would be written to files. Leave it out."
            )
        if key == "teacher.api_key_env" and not re.fullmatch(r"\w*", value):
            raise UserError("teacher.api_key_env: give the NAME of an environment variable, never the key itself.")
        if key in ("recipe.mistake_sources", "recipe.path_sources"):
            for name in _keys_of_items(override.value()):
                if name not in of_source:
                    nearest = difflib.get_close_matches(name, of_source, n=1, cutoff=0.0)[0]
                    problems.append(f"{key}: a source has no key '{name}'. Nearest: {nearest}")
        if key in known or key.split(".")[0] == "hydra" or key.startswith(_FREE):
            continue
        nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        problems.append(f"unknown key '{key}'. Nearest: {nearest}")
    if problems:
        raise UserError("\n".join(problems))


_FREE = ("eval.sets.", "eval.paths.", "teacher.limits.")  # dictionaries: what they hold is named by the user


def _keys_of_items(value: Any) -> list[str]:
    """The keys of the dictionaries in an override's list, or in the lists of a sweep."""
    if isinstance(value, dict):
        return [str(key) for key in value]
    items = value if isinstance(value, list) else getattr(value, "list", None) or ()
    return [key for item in items for key in _keys_of_items(item)]


def _keys(node: DictConfig, prefix: str = "") -> set[str]:
    keys: set[str] = set()
    for name in node:
        path = f"{prefix}{name!s}"
        keys.add(path)
        schema = GROUPS.get(path)
        child = OmegaConf.structured(schema) if schema else OmegaConf.is_missing(node, name) or node._get_node(name)
        if isinstance(child, DictConfig):
            keys |= _keys(child, f"{path}.")
    return keys


CHOICES = {
    "engine.kind": ("hf", "recorded"),
    "teacher.kind": ("symbolic", "api"),
    "teacher.mode": ("live", "batch"),
    "teacher.structured": ("json_schema", "prompt"),
    "embedder.kind": ("hashing", "sentence_transformer"),
    "clustering.kind": ("kmeans", "agglomerative", "single", "llm", "hybrid", "none"),
    "trainer.kind": ("lightning", "none"),
    "logger.kind": ("offline", "wandb", "none"),
    "eval.select": ("validation", "last", "paper"),
    "eval.second": ("check", "reflect"),
    "recipe.templates.style": ("cot", "hierarchical", "hierarchical_generalized", "not_xml", "xml"),
    "recipe.preference.kind": ("thought", "step", "instance", "sft", "none"),
    "recipe.preference.loss": ("sigmoid", "ipo"),
    "recipe.preference.method": ("lora", "full"),
    "recipe.preference.optimizer": ("adamw", "paged_adamw_32bit"),
    "recipe.preference.schedule": ("linear", "cosine", "constant"),
    "recipe.correction.rows": ("pairs", "paths", "none"),
    "recipe.evolution.strategy": ("none", "general", "correction_centric"),
    "recipe.name": ("cot", "correction", "sei", "self_instruct", "supercorrect"),
    "recipe.training.method": ("lora", "full"),
    "recipe.training.optimizer": ("adamw", "paged_adamw_32bit"),
    "recipe.training.schedule": ("linear", "cosine", "constant"),
    "trainer.precision": ("auto", "32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"),
    "model.dtype": ("auto", "float32", "bfloat16", "float16"),
}
"""Keys whose values are names: checked here because Hydra cannot."""

_AT_LEAST = {
    "recipe.rounds": 1,
    "recipe.paths": 0,
    "recipe.max_examples": 1,
    "recipe.evolution.seeds": 1,
    "recipe.evolution.samples": 1,
    "recipe.templates.inspector_rounds": 0,
    "recipe.templates.max_new_tokens": 1,
    "recipe.preference.max_pairs": 1,
    "recipe.synthesis.budget": 1,
    "recipe.synthesis.per_call": 1,
    "recipe.synthesis.mistakes_shown": 1,
    "recipe.synthesis.synthesized_shown": 0,
    "recipe.synthesis.verify_samples": 0,
    "recipe.selection.wrong_problems": 1,
    "recipe.selection.right_problems": 1,
    "clustering.min_types": 1,
    "engine.batch_size": 1,
    "trainer.checkpoint_every": 1,
    "model.max_new_tokens": 1,
    "data.train": 1,
    "data.test": 1,
    "data.overlap.ngram": 3,
    "eval.limit": 1,
    "eval.samples": 1,
    "eval.temperature": 0,
    "eval.max_new_tokens": 1,
}
_PHASES = ("recipe.training", "recipe.preference")
_PHASE_AT_LEAST = {
    "steps": 1,
    "keep_every": 1,
    "rank": 1,
    "max_tokens": 16,
    "batch_examples": 1,
    "batch_tokens": 1,
    "accumulation": 1,
    "micro_tokens": 1,
}
_SHARES = (
    "recipe.templates.share",
    "recipe.templates.check_share",
    "recipe.preference.label_smoothing",
    "recipe.replay",
    "recipe.max_source_share",
    "recipe.evolution.rouge_threshold",
    "recipe.synthesis.rouge_threshold",
    "recipe.selection.keep",
    "clustering.max_share",
    "recipe.training.warmup",
    "recipe.preference.warmup",
)


def validate(config: DictConfig) -> None:
    """Check what types cannot say, all of it, before anything is loaded or spent.

    Raises UserError that lists every problem: value, expectation, remedy.
    """
    problems = []
    for key, allowed in CHOICES.items():
        value = str(OmegaConf.select(config, key))
        if value not in allowed:
            nearest = difflib.get_close_matches(value, allowed, n=1, cutoff=0.0)[0]
            problems.append(f"{key}={value}: choose one of {', '.join(allowed)}. Nearest: {nearest}")
    least_of = _AT_LEAST | {f"{phase}.{key}": least for phase in _PHASES for key, least in _PHASE_AT_LEAST.items()}
    for key, least in least_of.items():
        if (value := OmegaConf.select(config, key)) is not None and value < least:
            problems.append(f"{key}={value}: must be {least} or more")
    for key in _SHARES:
        if not 0 <= (value := OmegaConf.select(config, key)) <= 1:
            problems.append(f"{key}={value}: is a share, so between 0 and 1")
    problems += [complaint for name in ("mistake_sources", "path_sources") for complaint in _sources(config, name)]
    if not config.recipe.mistake_sources:
        problems.append("recipe.mistake_sources=[]: name at least one source, such as {kind: target}")
    if config.eval.samples > 1 and config.eval.temperature == 0:
        problems.append(
            f"eval.samples={config.eval.samples} at eval.temperature=0 gives the same answer each time: set a temperature"
        )
    problems += _checkpoints(config)
    problems += _worked(config)
    problems += _evaluation_sets(config)
    problems += [complaint for phase in _PHASES for complaint in _phase(config, phase)]
    for key in (
        "recipe.max_source_share",
        "recipe.evolution.rouge_threshold",
        "recipe.synthesis.rouge_threshold",
        "clustering.max_share",
        "recipe.selection.keep",
    ):
        if OmegaConf.select(config, key) == 0:
            problems.append(f"{key}=0: must be above 0")
    if config.recipe.replay == 1:
        problems.append(
            "recipe.replay=1 leaves no room for synthesized problems; training on gold solutions is recipe=cot"
        )
    if config.recipe.name in ("cot", "supercorrect") and config.trainer.kind == "none":
        problems.append(
            f"recipe={config.recipe.name} goes on from what it trains, so trainer=none leaves nothing to do; choose another"
        )
    if config.recipe.name == "supercorrect" and not 0 < config.recipe.templates.share < 1:
        problems.append(
            f"recipe.templates.share={config.recipe.templates.share}: must be between 0 and 1, so that both phases "
            "have problems"
        )
    if config.recipe.name == "supercorrect":
        problems += _phases(config)
    if config.recipe.templates.check_share == 1:
        problems.append("recipe.templates.check_share=1 leaves no room for templates")
    if config.recipe.preference.beta <= 0:
        problems.append(f"recipe.preference.beta={config.recipe.preference.beta}: must be above 0")
    if config.eval.passes not in (1, 2):
        problems.append(f"eval.passes={config.eval.passes}: choose 1, or 2 to check and correct")
    if config.eval.passes == 2 and config.recipe.name != "supercorrect":
        problems.append("eval.passes=2 needs a target that was taught to check its solutions: recipe=supercorrect")
    devices = str(config.trainer.devices)
    if devices not in ("auto", "-1") and not (devices.isdecimal() and int(devices) > 0):
        problems.append(f"trainer.devices={devices}: give a number of devices, or auto")
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", config.teacher.api_key_env or "none"):
        problems.append("teacher.api_key_env: give the NAME of an environment variable, never the key itself")
    if config.clustering.min_types > config.clustering.max_types:
        problems.append(
            f"clustering.min_types={config.clustering.min_types} is above clustering.max_types={config.clustering.max_types}"
        )
    if config.recipe.evolution.strategy != "none" and config.recipe.name != "correction":
        problems.append(
            f"recipe.evolution.strategy={config.recipe.evolution.strategy}: evolution starts from corrections, so it "
            "needs recipe=correction"
        )
    if config.recipe.name == "sei" and config.clustering.kind == "none":
        problems.append("clustering=none forms no error types; that ablation of SEI is recipe=self_instruct")
    if config.clustering.kind in ("llm", "hybrid") and config.teacher.kind != "api":
        problems.append(NEEDS_TEACHER.format(kind=config.clustering.kind))
    if config.engine.kind == "recorded":
        if not config.engine.path:
            problems.append("engine=recorded replays a file: set engine.path=FILE (JSONL with question and solution)")
        elif not Path(config.engine.path).is_file():
            problems.append(f"engine.path={config.engine.path}: no such file")
        if config.trainer.kind != "none":
            problems.append("engine=recorded cannot answer after training: add trainer=none, or use engine=hf")
    if (config.teacher.price.input is None) != (config.teacher.price.output is None):
        problems.append("teacher.price: give both input and output, in US dollars per million tokens")
    if config.teacher.kind == "api" and not config.teacher.model:
        problems.append("teacher.model: name the model that the endpoint serves")
    if config.teacher.kind == "symbolic" and config.recipe.synthesis.verify_samples > 0:
        problems.append(
            f"recipe.synthesis.verify_samples={config.recipe.synthesis.verify_samples}: the symbolic teacher does not "
            "solve; what it synthesizes is verified by executing it. Set 0, or choose an API teacher"
        )
    if config.teacher.kind == "api":
        from sei.teacher.api.roles import limits_with

        try:
            limits_with(config.teacher.limits)
        except UserError as error:
            problems.append(str(error))
    if config.embedder.kind == "sentence_transformer" and not config.embedder.path:
        problems.append("embedder=sentence_transformer needs embedder.path: a folder, or a model id of the hub")
    if config.data.path and not Path(config.data.path).exists():
        problems.append(f"data.path={config.data.path}: no such folder")
    if problems:
        raise UserError("\n".join(problems))


def _phase(config: DictConfig, phase: str) -> list[str]:
    """What is wrong with the hyperparameters of one training phase, beyond single values."""
    training = OmegaConf.select(config, phase)
    problems = []
    if training.learning_rate <= 0:
        problems.append(f"{phase}.learning_rate={training.learning_rate}: must be above 0")
    if training.tokens is not None and training.steps is not None:
        problems.append(f"{phase}.tokens={training.tokens} and {phase}.steps={training.steps}: give one of them")
    if training.tokens is not None and training.tokens < 1:
        problems.append(f"{phase}.tokens={training.tokens}: give 1 or more, or null to train for `epochs`")
    rounds = config.recipe.rounds
    problems += [
        f"{phase}.{budget}={training[budget]} is for all rounds: recipe.rounds={rounds} would get none each"
        for budget in ("tokens", "steps")
        if training[budget] is not None and 1 <= training[budget] < rounds
    ]
    return problems


def _phases(config: DictConfig) -> list[str]:
    """What does not fit between SuperCorrect's two phases: the second goes on with what the first has trained."""
    first, second, problems = config.recipe.training, config.recipe.preference, []
    keys = ["method"] + (["rank", "alpha", "dropout", "target_modules"] if first.method == "lora" else [])
    if second.kind != "none":
        problems += [
            f"recipe.preference.{key}={second[key]}: the second phase goes on with what the first has trained, so give it "
            f"recipe.training.{key}={first[key]}"
            for key in keys
            if second[key] != first[key]
        ]
    if config.recipe.templates.inspector_model and config.teacher.kind != "api":
        problems.append(
            f"recipe.templates.inspector_model={config.recipe.templates.inspector_model}: is a model of an API teacher's "
            "endpoint; the symbolic teacher inspects by executing. Leave it out, or choose an API teacher"
        )
    return problems


def _sources(config: DictConfig, name: str) -> list[str]:
    """What is wrong with the list of sources under `recipe.<name>`."""
    problems = []
    for number, source in enumerate(config.recipe[name]):
        place = f"recipe.{name}[{number}]"
        if source.kind not in SOURCE_KINDS:
            nearest = difflib.get_close_matches(source.kind, SOURCE_KINDS, n=1, cutoff=0.0)[0]
            problems.append(f"{place}.kind={source.kind}: choose one of {', '.join(SOURCE_KINDS)}. Nearest: {nearest}")
        if source.samples < 1 or source.temperature < 0:
            problems.append(f"{place}: samples must be 1 or more, temperature 0 or more")
        if source.samples > 1 and source.temperature == 0 and source.kind != "recorded":
            problems.append(f"{place}.samples={source.samples} at temperature 0 are all the same: set a temperature")
        if source.kind in ("hf", "recorded") and not source.path:
            problems.append(f"{place}: kind={source.kind} needs a path")
        if source.kind == "recorded" and source.path and not Path(source.path).is_file():
            problems.append(f"{place}.path={source.path}: no such file")
        if source.kind == "hf" and Path(source.path or "").is_absolute() and not Path(source.path).is_dir():
            problems.append(f"{place}.path={source.path}: no such folder")
        if source.kind == "api" and not source.model:
            problems.append(f"{place}.model: name the model that the endpoint serves")
    return problems


SOURCE_KINDS = ("target", "hf", "recorded", "api")


def _checkpoints(config: DictConfig) -> list[str]:
    """`eval.select=paper` where there is nothing to select from."""
    phases = _PHASES if config.recipe.name == "supercorrect" else ("recipe.training",)
    keeps = [f"{phase}.keep_every" for phase in phases]
    if config.eval.select != "paper" or any(OmegaConf.select(config, key) is not None for key in keeps):
        return []
    return [f"eval.select=paper reports the best of several checkpoints, but none is kept: set {' or '.join(keeps)}"]


def _worked(config: DictConfig) -> list[str]:
    """Why there would be no chains of thought to train on: a data set of bare answers, and no source of right paths."""
    from sei.data.sources import SOURCES

    data, recipe = config.data.kind, config.recipe
    if recipe.name not in ("cot", "correction") or recipe.path_sources or data not in SOURCES or SOURCES[data].worked:
        return []
    return [
        f"data={data} has answers but no worked solutions: name who writes them, such as "
        "recipe.path_sources=[{kind: target, samples: 4, temperature: 0.7}]"
    ]


def _evaluation_sets(config: DictConfig) -> list[str]:
    """What is wrong with `eval.sets` and `eval.paths`."""
    from sei.data.sources import SOURCES

    named = [name for names in config.eval.sets.values() for name in names]
    problems = []
    for name in dict.fromkeys([*named, *config.eval.paths]):
        if name not in SOURCES:
            nearest = difflib.get_close_matches(name, SOURCES, n=1, cutoff=0.0)[0]
            problems.append(f"eval: no problem set '{name}'. Known: {', '.join(SOURCES)}. Nearest: {nearest}")
    problems += [f"eval.paths.{name}: the set is not in eval.sets" for name in config.eval.paths if name not in named]
    if config.data.kind in config.eval.paths:
        problems.append(
            f"eval.paths.{config.data.kind}: this set is read with the training problems; give data.path=FOLDER instead"
        )
    problems += [f"eval.sets names {name} twice" for name in dict.fromkeys(named) if named.count(name) > 1]
    problems += [
        f"eval.paths.{name}={path}: no such folder"
        for name, path in config.eval.paths.items()
        if not Path(path).is_dir()
    ]
    return problems
