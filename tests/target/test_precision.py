"""What `auto` means on each kind of device, and that every stage is keyed and run with what it means."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch

from sei.lab import Lab
from sei.recipes.common import finetune
from sei.records import Example
from sei.stages.finetune import finetune as finetune_stage
from sei.target import precision
from sei.target.precision import Choice, DeviceFacts, choose_dtype, choose_precision, cpu_flags, device_facts
from sei.tracking.display import Display
from sei.workspace import Workspace
from tests.test_config import composed

EXAMPLE = Example("e", "p", "r", "cot", ())
AVX2 = frozenset({"avx", "avx2", "fma", "f16c"})
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512_vnni"}
BF16 = AVX512 | {"avx512_bf16"}

SLOW, FAST = DeviceFacts(cpu_flags=AVX2), DeviceFacts(cpu_flags=BF16)


@pytest.mark.parametrize(
    ("facts", "chosen", "dtype", "why"),
    [
        (SLOW, "32-true", "float32", "this processor has no fast bfloat16"),
        (DeviceFacts(cpu_flags=AVX512), "32-true", "float32", "this processor has no fast bfloat16"),
        (DeviceFacts(), "32-true", "float32", "this processor has no fast bfloat16"),
        (FAST, "bf16-mixed", "bfloat16", "this processor has fast bfloat16"),
        (
            DeviceFacts(cpu_flags=AVX2 | {"amx_bf16", "amx_tile"}),
            "bf16-mixed",
            "bfloat16",
            "this processor has fast bfloat16",
        ),
        (DeviceFacts(gpu=True, gpu_bf16=True), "bf16-mixed", "bfloat16", "this GPU computes in bfloat16"),
        (DeviceFacts(gpu=True, cpu_flags=BF16), "16-mixed", "float16", "this GPU has no fast bfloat16"),
    ],
    ids=["AVX2", "AVX512", "unknown", "AVX512-BF16", "AMX", "GPU with bf16", "GPU without"],
)
def test_the_device_decides(facts: DeviceFacts, chosen: str, dtype: str, why: str) -> None:
    assert choose_precision(facts) == Choice(chosen, why)
    assert choose_dtype(facts) == Choice(dtype, why)
    assert str(choose_precision(facts)) == f"{chosen} (auto: {why})"


def test_flags_are_read_where_the_system_tells_them(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text("processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\nbugs\t\t:\n\nprocessor\t: 1\nflags\t\t: fpu\n")
    assert cpu_flags(file) == {"fpu", "avx2", "avx512_bf16"}
    file.write_text("processor\t: 0\nFeatures\t: fp asimd bf16\n")
    assert cpu_flags(file) == cpu_flags(tmp_path / "nothing") == frozenset()


@pytest.mark.parametrize("emulated", [True, False])
@pytest.mark.parametrize(("device", "gpu"), [("auto", True), ("gpu", True), ("cuda:1", True), ("cpu", False)])
def test_a_gpu_is_asked_unless_the_work_is_the_processors(
    monkeypatch: pytest.MonkeyPatch, device: str, gpu: bool, emulated: bool
) -> None:
    monkeypatch.setattr(precision, "may_have_gpu", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    # as torch answers: emulation counts as support unless it is excluded
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation or not emulated
    )
    facts = device_facts(device)
    assert (facts.gpu, facts.gpu_bf16) == (gpu, gpu and not emulated)


def test_deciding_for_a_processor_needs_no_torch() -> None:
    code = "import sys; from sei.target.precision import *; precision_for('auto', 'cpu'); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def made(tmp_path: Path, *overrides: str) -> tuple[Lab, dict[str, Any]]:
    """A lab, with what its training stage is keyed by, and as `loop` what the training gets."""
    config = composed("recipe=cot", *overrides)
    lab = Lab(config, Workspace(tmp_path / "run", tmp_path / "cache"), Display())
    seen: dict[str, Any] = {}

    def artifact(stage: Any, rows: Any, *, name: str, round: int, **arguments: Any) -> Any:
        assert stage is finetune_stage
        seen.update(stage.call([EXAMPLE], **arguments).parameters)

        def trained(kind: str, folder: Path, model: str, rows: Any, settings: Any, loop: Any, *, say: Any) -> Any:
            return {"loop": loop, "rejected": [], "resumed_from_step": 0}

        with mock.patch("sei.training.job.train", trained):
            seen["loop"] = stage([EXAMPLE], **arguments, scratch=tmp_path, say=print).numbers["loop"]
        return SimpleNamespace(files=tmp_path, place="adapter", numbers={"kept_steps": [], "steps": 1})

    with mock.patch.object(lab, "artifact", artifact):
        assert finetune(lab, [EXAMPLE], config.recipe.training).path == tmp_path
    return lab, seen


@pytest.mark.parametrize(
    ("facts", "overrides", "wanted", "dtype"),
    [
        (SLOW, (), "32-true", "float32"),
        (SLOW, ("model.dtype=auto",), "32-true", "float32"),
        (SLOW, ("model.dtype=bfloat16",), "32-true", "bfloat16"),
        (SLOW, ("trainer.precision=bf16-mixed",), "bf16-mixed", "float32"),
        (FAST, (), "bf16-mixed", "float32"),  # conf/model/tiny.yaml names its dtype
        (FAST, ("model.dtype=auto",), "bf16-mixed", "bfloat16"),
        (FAST, ("trainer.precision=32-true", "model.dtype=auto"), "32-true", "bfloat16"),
    ],
)
def test_trainer_engine_and_cache_see_a_value_and_never_auto(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    facts: DeviceFacts,
    overrides: tuple[str, ...],
    wanted: str,
    dtype: str,
) -> None:
    monkeypatch.setattr(precision, "device_facts", lambda device: facts)
    lab, seen = made(tmp_path, *overrides)
    keyed = (seen["trainer"]["precision"], seen["weights"]["dtype"])
    assert keyed == (wanted, dtype) == (seen["loop"].precision, seen["loop"].dtype)
    target = lab.target()
    assert target._engine.fingerprint()["dtype"] == target.weights.dtype == dtype
    assert {task: choice.value for task, choice in lab.precisions.items()} == {
        "training": wanted,
        "frozen_weights": dtype,
        "generation": dtype,
    }


def test_training_and_generation_are_decided_where_each_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(precision, "device_facts", lambda device: FAST if device == "gpu" else SLOW)
    overrides = ("recipe=cot", "model.dtype=auto", "trainer.accelerator=gpu", "engine.device=cpu")
    lab = Lab(composed(*overrides), Workspace(tmp_path / "run", tmp_path / "cache"), Display())
    assert [choice.value for choice in lab.precisions.values()] == ["bf16-mixed", "bfloat16", "float32"]


def test_a_run_without_a_model_has_no_precision(tmp_path: Path) -> None:
    attempts = tmp_path / "attempts.jsonl"
    attempts.write_text("")
    config = composed("trainer=none", "engine=recorded", f"engine.path={attempts}")
    assert Lab(config, Workspace(tmp_path, tmp_path / "cache"), Display()).precisions == {}
