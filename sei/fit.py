"""Will it fit: what a run needs of memory and disk beside what this machine has, and the nearest setting that fits.

Place in the flow: `sei.plan` asks before anything is loaded, downloaded or spent, refuses with the answer, and shows it in a
dry run. Memory is counted for each device, as `training.memory` counts it; nothing heavy is imported, and it takes
milliseconds.

Example::

    needs(config, found_memory()).most             # GiB of the phase that needs most
    fitting(config, found_memory())                # (("recipe.training.micro_tokens=512",), 13.1), or None
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, combinations
from pathlib import Path

from sei.config import Config
from sei.recipes.work import kept_steps
from sei.target.load import Dtype
from sei.target.machine import GIB, Memory, free_disk
from sei.target.precision import dtype_for, precision_for
from sei.target.shape import NF4_BYTES, Shape, cached_snapshot, shape_of
from sei.training.memory import Setting, trained_parameters, training_memory
from sei.training.settings import Hyperparameters

# What CUDA and the kernels take before the first tensor; what the libraries take of main memory (`benchmarks/memory.py`).
_CONTEXT = {True: 1.0, False: 0.5}
# What comes on top of what is counted: blocks that the allocator cannot join again, and what we have not explained. On a CPU,
# by `benchmarks/memory.py`, full fine-tuning took 1.06 times the count (with 16-bit products 0.99, with checkpointing 1.23) and
# LoRA 1.23; NF4 was not measured since its mapped file is counted (before: 2.2). No GPU was measured.
_FRAGMENTS = {True: 1.05, False: 1.25}
# Above this size (billions of parameters) a CPU is not worth trying, whatever its memory: hours for one small step.
_CPU_BILLIONS = 1.0
_CHECKPOINTS = 2  # as many as `training.run` keeps, each with weights and both moments of the optimizer

Parts = dict[str, float]  # GiB by part


@dataclass(frozen=True)
class Needs:
    """GiB of one device, for generation and for each training phase (its key)."""

    phases: dict[str, Parts]
    on_gpu: bool

    @property
    def most(self) -> float:
        return max(sum(parts.values()) for parts in self.phases.values())


def shape(config: Config) -> Shape:
    return shape_of(config.model.path, config.model.shape, config.model.parameters_billion)


def on_gpu(config: Config, memory: Memory) -> bool:
    """Whether the run is meant for a GPU: one is asked for or there, or no CPU would do."""
    wanted = config.trainer.accelerator
    return wanted == "gpu" or (wanted == "auto" and (bool(memory.gpus) or not _for_cpu(config)))


def _for_cpu(config: Config) -> bool:
    return config.model.parameters_billion <= _CPU_BILLIONS


def devices(config: Config, memory: Memory) -> int:
    """How many devices of a node train together."""
    wanted = str(config.trainer.devices)
    if "," in wanted:
        return len([part for part in wanted.split(",") if part.strip()])
    if wanted in ("auto", "-1"):
        return max(1, len(memory.gpus)) if on_gpu(config, memory) else 1
    return int(wanted)


def setting(config: Config, memory: Memory) -> Setting:
    """The device as training and generation will find it. On a GPU that is not here, one with bfloat16 is meant."""
    gpu = on_gpu(config, memory)
    dtype: Dtype | str = config.model.dtype
    precision: str = config.trainer.precision
    if not gpu:
        dtype, precision = dtype_for(dtype, "cpu").value, precision_for(precision, "cpu").value
    return Setting(
        dtype_bytes=4 if dtype == "float32" else 2,
        mixed="mixed" in precision or precision == "auto",
        quantization=config.model.quantization,
        gpu=gpu,
        devices=devices(config, memory) * config.trainer.nodes,
    )


def needs(config: Config, memory: Memory) -> Needs:
    """What each phase of the run needs of one device."""
    model, on = shape(config), setting(config, memory)
    weights: float = model.parameters * on.dtype_bytes
    if on.quantization == "nf4":
        weights = model.block_parameters * NF4_BYTES + model.other_parameters * on.dtype_bytes
    longest = 2 * config.model.max_new_tokens  # as long a prompt again
    phases: dict[str, dict[str, float]] = {
        "generation": {"weights": weights, "cache of one answer": longest * model.cache_width * on.dtype_bytes}
    }
    if config.trainer.enabled:
        for key, phase in config.recipe.phases().items():
            parts = training_memory(model, phase, on)
            phases[key] = _shared(parts, model, phase, on) if config.trainer.sharded and on.devices > 1 else parts
    factor = _FRAGMENTS[on.gpu] / GIB
    context = "CUDA and kernels" if on.gpu else "libraries"
    return Needs(
        {
            key: {part: value * factor for part, value in parts.items()} | {context: _CONTEXT[on.gpu]}
            for key, parts in phases.items()
        },
        on.gpu,
    )


def _shared(parts: Parts, model: Shape, phase: Hyperparameters, on: Setting) -> Parts:
    """The same with `trainer=fsdp2`: a device holds its share, and whole what computes just now (a layer, and the next one on its
    way; embedding and output matrix), with the gradient of what is trained of it. Not measured on a GPU."""
    layer = model.block_parameters / model.layers
    size = 2 if on.mixed or on.dtype_bytes == 2 else 4
    whole = (2 * layer + model.other_parameters) * size
    if phase.method == "full":
        whole += max(layer, model.other_parameters) * size
    shares = {part: parts[part] / on.devices for part in ("weights", "trained")}
    return {**parts, **shares, "whole layers": whole}


def found(config: Config, memory: Memory) -> float:
    """GiB that one device has; 0 where there is none that would do. Processes on a CPU share its memory."""
    if on_gpu(config, memory):
        return min(memory.gpus[: devices(config, memory)], default=0.0)
    return memory.main / devices(config, memory)


def largest(memory: Memory) -> float:
    """Billions of parameters that may fit this machine in some setting: 4 bits on a GPU, or a CPU's limit."""
    return max(memory.gpus, default=0.0) * GIB / 1e9 / NF4_BYTES if memory.gpus else _CPU_BILLIONS


def complaint(config: Config, memory: Memory) -> str:
    """What does not fit into memory, and the nearest setting that does; "" where all fits."""
    wanted, has = needs(config, memory), found(config, memory)
    if wanted.most <= has:
        return _main_memory_complaint(config, memory)
    key, parts = max(wanted.phases.items(), key=lambda item: sum(item[1].values()))
    shown = ", ".join(f"{part} {value:.1f}" for part, value in parts.items() if value >= 0.05)
    where = "of GPU memory" if wanted.on_gpu else "of main memory"
    method = "" if key == "generation" else f" (method={config.recipe.phases()[key].method})"
    said = (
        f"memory: {key}{method} needs about {sum(parts.values()):.0f} GiB {where} on each device, "
        f"quantization={config.model.quantization}: {shown}. {memory}."
    )
    if nearest := fitting(config, memory):
        words, most = nearest
        return f"{said} Nearest setting that fits: {' '.join(words)} (about {most:.0f} GiB)."
    smallest = min((needs(one, memory).most for _, one in _settings(config)), default=wanted.most)
    least = f"; with the least demanding settings about {smallest:.0f} GiB" if smallest < wanted.most else ""
    return f"{said} No setting of this model fits this machine{least}."


def _main_memory_complaint(config: Config, memory: Memory) -> str:
    """Of the first process of `trainer=fsdp2`, which reads all weights before it spreads them over the GPUs."""
    on = setting(config, memory)
    if not (config.trainer.enabled and config.trainer.sharded and on.gpu and on.devices > 1):
        return ""
    full = any(phase.method == "full" for phase in config.recipe.phases().values())
    wanted = shape(config).parameters * (4 if full else on.dtype_bytes) / GIB
    if wanted <= memory.main:
        return ""
    return f"memory: trainer=fsdp2 reads all weights into main memory first, about {wanted:.0f} GiB. {memory}."


def fitting(config: Config, memory: Memory) -> tuple[tuple[str, ...], float] | None:
    """The nearest settings of the same model that fit, as words of the command line (none where it fits as it is), and the
    GiB that they need."""
    has = found(config, memory)
    for words, changed in [((), config), *_settings(config)]:
        if (most := needs(changed, memory).most) <= has:
            return words, most
    return None


def _settings(config: Config) -> Iterator[tuple[tuple[str, ...], Config]]:
    """Changes that need less, nearest first: those that change no result, then 4 bits, then an adapter instead of all weights.

    Sharding over several devices changes none either, but is slower.
    """
    phases = config.recipe.phases()
    lora = all(phase.method == "lora" for phase in phases.values())
    harmless = (_micro, _checkpointing)
    more: list[tuple[Callable[[Config], tuple[Config, tuple[str, ...]]], ...]] = [(), (_sharded,)]
    more += [(_nf4,)] if lora else [(_lora,), (_lora, _nf4)]
    seen: set[tuple[str, ...]] = {()}
    for further in more:
        for some in chain.from_iterable(combinations(harmless, count) for count in range(len(harmless) + 1)):
            changed, words = config, tuple[str, ...]()
            for change in (*further, *some):
                changed, said = change(changed)
                words += said
            if words not in seen:
                seen.add(words)
                yield words, changed


def _change(config: Config, **values: object) -> tuple[Config, tuple[str, ...]]:
    """The values in every phase that does not have them."""
    words = [
        f"{key}.{name}={str(value).lower()}"
        for key, phase in config.recipe.phases().items()
        for name, value in values.items()
        if getattr(phase, name) != value
    ]
    return dataclasses.replace(config, recipe=config.recipe.with_phases(**values)), tuple(words)


def _micro(config: Config) -> tuple[Config, tuple[str, ...]]:
    longest = max(phase.max_tokens for phase in config.recipe.phases().values())
    return _change(config, micro_tokens=longest)


def _checkpointing(config: Config) -> tuple[Config, tuple[str, ...]]:
    return _change(config, gradient_checkpointing=True)


def _lora(config: Config) -> tuple[Config, tuple[str, ...]]:
    return _change(config, method="lora")


def _sharded(config: Config) -> tuple[Config, tuple[str, ...]]:
    paged = any(phase.optimizer.startswith("paged") for phase in config.recipe.phases().values())
    if config.trainer.sharded or paged or config.model.quantization != "none":
        return config, ()
    return (
        dataclasses.replace(config, trainer=dataclasses.replace(config.trainer, strategy="fsdp2")),
        ("trainer.strategy=fsdp2",),
    )


def _nf4(config: Config) -> tuple[Config, tuple[str, ...]]:
    if config.model.quantization == "nf4" or config.trainer.sharded:
        return config, ()
    model = dataclasses.replace(config.model, quantization="nf4")
    return dataclasses.replace(config, model=model), ("model.quantization=nf4",)


# Other models that make attempts


def source_needs(config: Config, memory: Memory) -> dict[str, Parts | None]:
    """GiB of each other model that is loaded to make attempts, by its key; None where nobody says how large it is."""
    found: dict[str, Parts | None] = {}
    for key, source in config.recipe.other_models():
        here = Path(source.path).is_dir() or cached_snapshot(source.path)
        model = dataclasses.replace(
            config.model,
            path=source.path,
            parameters_billion=source.parameters_billion or 1.0,
            shape=None,
            dtype=source.dtype,
            quantization=source.quantization,
        )
        alone = dataclasses.replace(config, model=model, trainer=dataclasses.replace(config.trainer, enabled=False))
        found[key] = needs(alone, memory).phases["generation"] if here or source.parameters_billion else None
    return found


def source_complaints(config: Config, memory: Memory) -> Iterator[str]:
    """Other models that make attempts and do not fit, or of which nobody says how large they are."""
    sources, has = dict(config.recipe.other_models()), found(config, memory)
    for key, parts in source_needs(config, memory).items():
        source = sources[key]
        if parts is None:
            yield (
                f"memory: {key}: {source.path} is not on this machine. Add parameters_billion to this source of attempts, so "
                "that its memory can be counted."
            )
        elif (most := sum(parts.values())) > has:
            smaller = (
                "" if source.quantization == "nf4" else "Add quantization: nf4 to this source of attempts, or take "
            )
            yield (
                f"memory: {key}: {source.path} needs about {most:.0f} GiB of one device to generate, quantization="
                f"{source.quantization}. {memory}. {smaller or 'Take '}a smaller model."
            )


# Disk


def disk(config: Config, *, downloaded: bool) -> Parts:
    """GiB that the run writes: the download, and for each phase its result, what it keeps, and its checkpoints."""
    model = shape(config)
    parts = {} if downloaded else {"download of the weights (16 bits)": model.parameters * 2 / GIB}
    if not config.trainer.enabled:
        return parts
    for key, phase in config.recipe.phases().items():
        trained = trained_parameters(model, phase) * 4 / GIB
        kept = kept_steps(phase)
        parts[f"{key}: result and {kept} kept on the way" if kept else f"{key}: result"] = trained * (1 + 2 * kept)
        parts[f"{key}: checkpoints"] = trained * 3 * _CHECKPOINTS
    return parts


def disk_complaint(config: Config) -> str:
    """What does not fit on the disk of the cache, "" where all fits."""
    parts = disk(config, downloaded=True)
    free, wanted = free_disk(config.cache_dir), sum(parts.values())
    if wanted <= free:
        return ""
    shown = ", ".join(f"{part} {value:.1f}" for part, value in parts.items())
    fewer = [
        f"{key}.keep_every={phase.steps}" for key, phase in config.recipe.phases().items() if kept_steps(phase) > 1
    ]
    remedy = f"Keep fewer adapters ({' '.join(fewer)}), or name" if fewer else "Name"
    return (
        f"disk: the run writes about {wanted:.0f} GiB ({shown}); {config.cache_dir} has {free:.0f} GiB free. {remedy} a "
        "larger disk with cache_dir=FOLDER."
    )


def device_complaints(config: Config, memory: Memory) -> Iterator[str]:
    """Devices that are asked for and not there, and a scheduler that has started this command several times."""
    trainer = config.trainer
    if not trainer.enabled:
        return
    wanted, there = str(trainer.devices), len(memory.gpus)
    if trainer.accelerator == "gpu" and not there:
        yield "trainer.accelerator=gpu: there is no GPU here. With trainer=cpu the processor trains."
    elif on_gpu(config, memory) and wanted.isdecimal() and int(wanted) > there > 0:
        yield f"trainer.devices={wanted}: {memory}. Set trainer.devices={there}, or auto for all."
    nodes = int(os.environ.get("SLURM_JOB_NUM_NODES", "0"))
    if trainer.nodes > 1 and nodes != trainer.nodes:
        here = f"this Slurm job has {nodes} nodes" if nodes else "this is no Slurm job"
        yield (
            f"trainer.nodes={trainer.nodes}: {here}. Submit the run with so many (hydra/launcher=slurm_two_nodes "
            f"hydra.launcher.nodes={trainer.nodes}: docs/cluster.md), or set trainer.nodes={max(1, nodes)}."
        )
    for name, starter in (("SLURM_STEP_NUM_TASKS", "srun"), ("LOCAL_WORLD_SIZE", "torchrun")):
        copies = os.environ.get(name, "1")
        if copies.isdecimal() and int(copies) > 1:
            yield (
                f"{name}={copies}: {starter} has started this command {copies} times, and each would run all of it. Start it "
                f"once (Slurm: one task with all GPUs, --ntasks=1 --gpus={copies}): with trainer.devices={copies} it starts "
                "its own processes to train."
            )


def optimizer_complaints(config: Config, memory: Memory) -> Iterator[str]:
    """Optimizers that page a GPU's memory, where none trains."""
    if on_gpu(config, memory) or not config.trainer.enabled:
        return
    for key, phase in config.recipe.phases().items():
        if phase.optimizer.startswith("paged"):
            yield (
                f"optimizer: {key}.optimizer={phase.optimizer} pages the memory of a GPU, and here a CPU trains: add "
                f"{key}.optimizer=adamw."
            )
