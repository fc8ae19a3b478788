"""Time at other sizes and places: by hand, by measured runs, and as the command prints it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sei import scale
from sei.gpu_hours import RATES, generation_hours
from sei.recipes.costs import Asked
from sei.recipes.work import Generated, Trained
from sei.scale import Place, Sizes, duration, line, main, predicted, read_run, sizes_of_run
from sei.target.shape import Shape
from sei.tracking.summary import _all_stages
from sei.training.settings import Hyperparameters

ONE = Place(times=1, gpus=1, requests=60, tokens=60_000, in_flight=8)
SHAPE = Shape(layers=32, hidden=4096, intermediate=14336, heads=32, kv_heads=8, vocabulary=128_256)


def test_gpus_share_the_answers_until_the_rounds_of_selection_wait_for_one_another() -> None:
    work = Generated("selection, one-shot", 1_000_000, 400, 130)
    step = scale.generating(work, SHAPE, RATES[0])
    one, many = step.at(ONE), step.at(dataclasses.replace(ONE, gpus=1000))
    alone = 3600 * generation_hours(SHAPE, dataclasses.replace(work, completions=1), RATES[0])
    assert one.limit == "GPUs"
    assert one.gpu_seconds == pytest.approx(3600 * generation_hours(SHAPE, work, RATES[0]))
    assert one.seconds == pytest.approx(one.gpu_seconds + 99 * alone)  # 100 rounds, of which the shared answers are one
    assert many.seconds == pytest.approx(one.gpu_seconds / 1000 + 99 * alone, rel=1e-3)
    assert many.limit == "rounds, one after another"
    assert many.gpu_seconds == one.gpu_seconds


def test_what_test_sets_cost_does_not_grow_with_the_problems() -> None:
    ten = dataclasses.replace(ONE, times=10)
    tested = scale.generating(Generated("evaluation before", 5120, 100, 100), SHAPE, RATES[0])
    probed = scale.generating(Generated("attempts", 5120, 100, 100), SHAPE, RATES[0])
    assert tested.at(ten).seconds == tested.at(ONE).seconds
    assert probed.at(ten).seconds == pytest.approx(10 * probed.at(ONE).seconds)


def test_a_step_is_shared_by_as_many_gpus_as_it_has_rows() -> None:
    phase = Hyperparameters(learning_rate=1e-4, batch_examples=16)
    step = scale.training(Trained("recipe.training", 1_000_000, phase), SHAPE)
    one, all_, more = (step.at(dataclasses.replace(ONE, gpus=gpus)) for gpus in (1, 16, 64))
    assert all_.seconds == pytest.approx(one.seconds / 16)
    assert more == dataclasses.replace(all_, limit="rows in a step, 16")
    fixed = scale.training(Trained("t", 1_000_000, dataclasses.replace(phase, tokens=1_000_000)), SHAPE)
    assert fixed.at(dataclasses.replace(ONE, times=10)).seconds == fixed.at(ONE).seconds


def test_the_tightest_limit_of_the_teacher_counts() -> None:
    cost = SimpleNamespace(calls=600, tokens_in=540_000, tokens_out=60_000, usd=3.0)
    step = scale.asking(Asked("diagnoses", "made", [], 600, lambda store: cast(Any, cost)))
    # 600 calls: 10 minutes at 60 requests a minute; 600,000 tokens: 10 minutes at 60,000; 100 tokens an answer at 60 a second
    # and 0.7 s: 2.4 s, 8 at once: 177.5 s.
    assert step.at(dataclasses.replace(ONE, tokens=10**9)) == scale.Spent(600, "teacher's requests a minute", 0.0, 3.0)
    assert step.at(dataclasses.replace(ONE, requests=10**9)).limit == "teacher's tokens a minute"
    free = step.at(dataclasses.replace(ONE, requests=10**9, tokens=10**9, times=2))
    assert (free.limit, free.dollars) == ("teacher's calls in flight", 6.0)
    assert free.seconds == pytest.approx(2 * 600 * (0.7 + 100 / 60) / 8)


def test_a_line_by_hand() -> None:
    assert line([(10, 3.0), (20, 5.0)]) == pytest.approx((1.0, 0.2))
    assert line([(10, 3.0)]) == pytest.approx((0.0, 0.3))  # one size: all of it grows
    assert line([(10, 1.0), (20, 5.0)]) == pytest.approx(
        (0.0, 110 / 500)
    )  # nothing takes less than no time at the start
    assert line([(10, 4.0), (20, 2.0)]) == (3.0, 0.0)  # nor less for more work
    assert line([(0, 4.0)]) == (4.0, 0.0)


def run_folder(path: Path, problems: int, seconds: dict[str, tuple[str, int, float]], tokens: int) -> Path:
    """A finished run: stage -> verb, records, seconds."""
    for place, (name, (verb, count, spent)) in enumerate(seconds.items(), start=1):
        folder = path / "stages" / f"{place:02d}-{name}"
        folder.mkdir(parents=True)
        manifest = {"stage": verb, "received": problems if place == 1 else count, "records": count, "seconds": spent}
        (folder / "manifest.json").write_text(json.dumps(manifest))
    results = {"eval": {"tests": {"before": {"n": 50}}}, "tokens_trained": tokens}
    (path / "results.json").write_text(json.dumps(results))
    (path / "status.json").write_text('{"status": "done"}')
    return path


def runs(tmp_path: Path) -> tuple[Path, Path]:
    small = {
        "problems": ("separate", 90, 1.0),
        "attempts": ("attempt", 90, 11.0),
        "selected": ("select", 4, 4.0),
        "synthetic": ("synthesize", 20, 2.0),
        "adapter": ("finetune", 4, 30.0),
        "evaluate.before.tests": ("attempt", 50, 5.0),
    }
    larger = small | {
        "attempts": ("attempt", 180, 21.0),
        "synthetic": ("synthesize", 40, 4.0),
        "adapter": ("finetune", 8, 50.0),
    }
    return run_folder(tmp_path / "a", 100, small, 1000), run_folder(tmp_path / "b", 200, larger, 2000)


def test_a_run_s_time_by_the_rates_of_two_smaller_ones(tmp_path: Path) -> None:
    found = [read_run(path) for path in runs(tmp_path)]
    assert sizes_of_run(found[0]) == Sizes(problems=100, candidates=20, tests=50, tokens=1000)
    seconds = predicted(found, Sizes(problems=1000, candidates=100, tests=100, tokens=5000))
    assert seconds == pytest.approx(
        {
            "problems": 1.0,
            "attempts": 1.0 + 0.1 * 1000,
            "selected": 4.0,
            "synthetic": 0.1 * 100,
            "adapter": 10.0 + 0.02 * 5000,
            "evaluate.before.tests": 0.1 * 100,  # both runs had as many tests
        }
    )


def test_the_prediction_beside_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small, larger = runs(tmp_path)
    assert main(["--measured", str(small), "--beside", str(larger)]) == 0
    printed = capsys.readouterr().out
    assert "| attempts              |      22.0 |     21.0 |                 1.05 |" in printed
    assert "| in all                |" in printed


def test_the_stated_rates_of_a_configured_run(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("--gpu-dollars 2 --times 1,1000 --gpus 1,100 data.train=60 data.test=20".split()) == 0
    printed = capsys.readouterr().out
    assert "60,000 |" in printed  # training problems
    for row in ("attempts", "selection, one-shot", "training, recipe.training", "near copies", "in all", "most of it"):
        assert f"| {row}" in printed


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--gpus 1,2 --times 1,2,3", "--gpus: 2 values; give one, or 3"),
        ("--requests 0", "must be above 0"),
        ("--beside somewhere", "--beside needs --measured"),
        ("--measured nowhere", "is no finished run"),
        ("modle=tiny", "Nearest"),
    ],
)
def test_what_the_user_can_mend_is_said(words: str, complaint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words.split()) == 2
    assert complaint in capsys.readouterr().err


def test_stages_are_called_as_they_are() -> None:
    assert {*scale._BY_CANDIDATES, *scale._BY_TOKENS} <= set(_all_stages())


def test_durations() -> None:
    assert [duration(value) for value in (0.42, 42, 420, 4200, 42_000, 420_000)] == [
        "0.4 s",
        "42 s",
        "7.0 min",
        "70 min",
        "12 h",
        "5 days",
    ]
