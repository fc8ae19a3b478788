"""Whole runs of LeMa's parts on the embedded target: sources, paths, ablations, checkpoints, evaluation sets, rounds."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from sei.data import arithmetic
from sei.errors import UserError
from sei.lab import Lab, Target
from sei.recipes.cot import ChainOfThought
from sei.recipes.learning_from_mistakes import LearningFromMistakes
from sei.target.generation import HFEngine
from sei.target.load import adapter_fingerprint
from sei.target.tiny import WEIGHTS
from sei.tracking.display import Display
from sei.workspace import Workspace
from tests.test_config import composed
from tests.test_run import gsm8k_row, manifest, rows, small, small_of, write_jsonl

FEW = (
    "data.train=120",
    "data.test=20",
    "data.validation=16",
    "recipe.training.tokens=3000",
    "eval.diagnose=false",
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One cache and one folder of runs for this module: the base target's attempts and evaluations are computed once."""
    return tmp_path_factory.mktemp("lema")


def assert_accounts(results: dict[str, Any]) -> None:
    for stage, account in results["ledger"].items():
        assert account["received"] == account["passed"] + sum(account["rejected"].values()), stage


def other_model(path: Path) -> Path:
    """Recorded attempts of another model at the first 60 training problems of FEW; those at odd places are wrong.

    One more is at a question that none of the problems has.
    """
    problems = arithmetic.load(train=120, validation=16, test=20, seed=0).train[:60]
    made = []
    for number, problem in enumerate(problems):
        steps = problem.solution.rsplit("\n", 1)[0]
        answer = int(problem.answer) + 7 if number % 2 else problem.answer
        if number % 2:  # the last step's result, in its annotation and behind it
            steps = re.sub(r"=(\d+)>>\1(?!.*>>)", f"={answer}>>{answer}", steps, flags=re.DOTALL)
        made.append({"question": problem.question, "solution": f"{steps}\n#### {answer}", "model": "other-7b"})
    made.append({"question": "Who are you?", "solution": "#### 1", "model": "other-7b"})
    return write_jsonl(path, *made)


def test_mistakes_of_several_sources_keep_their_source_and_none_has_more_than_its_share(
    base: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = other_model(base / "other.jsonl")
    sources = f"[{{kind: target}},{{kind: target,samples: 2,temperature: 0.8}},{{kind: recorded,path: {path}}}]"
    results = small(
        base,
        *FEW,
        "recipe=correction",
        f"recipe.mistake_sources={sources}",
        "recipe.max_source_share=0.6",
        folder="sources",
    )
    folder = base / "sources"
    assert "attempts.other: 1 of 61 recorded questions belong to none of its problems" in capsys.readouterr().out
    assert_accounts(results)
    attempts = {name: rows(folder, f"attempts.{name}") for name in ("target.1", "target.2", "other")}
    assert {name: len(some) for name, some in attempts.items()} == {"target.1": 120, "target.2": 240, "other": 60}
    assert {row["model"] for row in attempts["other"]} == {"other-7b"}
    assert {row["sample"] for row in attempts["target.2"]} == {0, 1}
    assert results["ledger"]["attempts.other"]["rejected"] == {"no_attempt": 60}
    assert results["ledger"]["mistakes"]["received"] == 420

    mined, kept = rows(folder, "mistakes"), rows(folder, "mistakes.capped")
    wrong = Counter(row["model"] for row in mined)
    assert wrong["other-7b"] == 30
    assert results["ledger"]["mistakes.capped"]["received"] == len(mined)
    assert results["ledger"]["mistakes.capped"]["rejected"]["over_share"] > 0
    shares = Counter(row["model"] for row in kept)
    assert set(shares) == {"tiny", "other-7b"}
    assert shares["tiny"] <= 0.6 * len(kept) < shares["tiny"] + 1, "as many as the share allows"

    by_id = {row["id"]: row for row in kept}
    every = {row["id"]: row for some in attempts.values() for row in some}
    for row in kept:
        assert every[row["attempt_id"]]["model"] == row["model"]
        assert every[row["attempt_id"]]["output"] == row["output"]
    models = Counter(
        by_id[row["parents"][1]]["model"] for row in rows(folder, "adapter") if row["kind"] == "correction"
    )
    assert set(models) == {"tiny", "other-7b"}

    table = list(csv.DictReader((folder / "correction_rates/corrections.round1/correction_rates.csv").open()))
    sums = {row["source"]: row for row in table if row["level"] == "all"}
    corrections = results["ledger"]["corrections"]["records"]
    assert (int(sums["all"]["mistakes"]), int(sums["all"]["corrections"])) == (len(kept), corrections)
    assert {name: int(sums[name]["mistakes"]) for name in shares} == dict(shares)
    assert {name: int(sums[name]["corrections"]) for name in shares} == dict(models)
    for name in shares:
        parts = [int(row["mistakes"]) for row in table if row["source"] == name and row["level"] != "all"]
        assert len(parts) > 1
        assert sum(parts) == shares[name]
    figure = folder / "correction_rates/corrections.round1/correction_rates.png"
    assert figure.read_bytes().startswith(b"\x89PNG")


def test_sampled_right_paths_join_the_gold_solutions(base: Path) -> None:
    sources = "recipe.path_sources=[{kind: target,samples: 3,temperature: 0.8}]"
    results = small(base, *FEW, "recipe=cot", sources, "recipe.paths=6", folder="paths")
    folder = base / "paths"
    assert_accounts(results)
    paths = rows(folder, "paths")
    assert len(paths) == 6
    assert {row["verdict"] for row in paths} == {"correct"}
    assert results["ledger"]["paths"]["received"] == 360
    assert results["ledger"]["paths"]["rejected"]["over_target"] > 0
    trained = rows(folder, "adapter")
    assert Counter(row["kind"] for row in trained) == {"cot": 120, "path": 6}
    assert {row["parents"][0] for row in trained if row["kind"] == "path"} == {row["id"] for row in paths}


def corrections_of(folder: Path) -> list[str]:
    return [row["response"] for row in rows(folder, "adapter") if row["kind"] == "correction"]


ABLATIONS = (
    "none",
    "without_explanation",
    "without_step",
    "corrected_paths",
    "no_corrections",
    "sampled_mistakes",
    "evolution_general",
    "evolution_correction_centric",
    "qlora",
    "full",
)


@pytest.mark.parametrize("ablation", ABLATIONS)
def test_every_ablation_of_lema_runs_and_does_what_it_says(base: Path, ablation: str) -> None:
    results = small(base, *FEW, "recipe=correction", f"ablation={ablation}", folder=ablation)
    folder = base / ablation
    assert_accounts(results)
    assert results["eval"]["in_domain"]["after"]["n"] == 20
    kinds = Counter(row["kind"] for row in rows(folder, "adapter"))
    corrected = results["ledger"]["corrections"]["records"]
    evolved = results["ledger"].get("evolved", {"records": 0})["records"]
    of_evolved = results["ledger"].get("evolved.corrections", {"records": 0})["records"]
    assert corrected > 10
    expected = {"cot": 120 + evolved, "correction": corrected + of_evolved}
    if ablation == "corrected_paths":
        expected = {"cot": 120 + corrected}
    if ablation == "no_corrections":
        expected = {"cot": 120}
    assert kinds == expected

    responses = corrections_of(folder)
    heads = [bool(re.match(r"Step \d+\.\n", text)) for text in responses]
    assert all(heads) if ablation != "without_step" else not any(heads)
    explained = ["Explanation:" in text for text in responses]
    assert all(explained) if ablation != "without_explanation" else not any(explained)
    if ablation == "without_step":
        assert all("Incorrect Step" not in row["prompt"] for row in rows(folder, "adapter"))
    attempts = rows(folder, "attempts")
    assert len(attempts) == (480 if ablation == "sampled_mistakes" else 120)
    whole = (folder / "adapter" / "model.safetensors").is_file()
    assert whole is (ablation == "full")
    assert whole is not (folder / "adapter" / "adapter_model.safetensors").is_file()


@pytest.mark.parametrize("strategy", ["general", "correction_centric"])
def test_evolved_problems_lead_back_to_their_seeds_and_are_probed_and_corrected(base: Path, strategy: str) -> None:
    results = small(base, *FEW, "recipe=correction", f"ablation=evolution_{strategy}", folder=f"evolution_{strategy}")
    folder = base / f"evolution_{strategy}"
    problems = {row["id"] for row in rows(folder, "problems")}
    evolved = {row["id"]: row for row in rows(folder, "evolved")}
    assert len(evolved) > 5
    seeds = {parent for row in evolved.values() for parent in row["parents"]}
    assert seeds <= problems
    treated = {row["id"]: row["problem_id"] for row in rows(folder, "mistakes")}
    corrected = {treated[row["mistake_id"]] for row in rows(folder, "corrections")}
    assert (seeds <= corrected) is (strategy == "correction_centric")
    assert results["ledger"]["evolved.attempts"]["received"] == len(evolved)
    mistakes = {row["id"]: row["problem_id"] for row in rows(folder, "evolved.mistakes")}
    assert mistakes
    for row in rows(folder, "evolved.corrections"):
        assert mistakes[row["mistake_id"]] in evolved


def test_qlora_quantizes_probe_and_training(base: Path) -> None:
    small(base, *FEW, "recipe=correction", "ablation=none", folder="none")
    small(base, *FEW, "recipe=correction", "ablation=qlora", folder="qlora")
    outputs = [[row["output"] for row in rows(base / name, "attempts")] for name in ("none", "qlora")]
    assert outputs[0] != outputs[1]
    assert manifest(base / "qlora", "adapter")["parameters"]["weights"]["quantization"] == "nf4"


def test_the_second_round_probes_the_tuned_target_and_keeps_what_it_has(base: Path) -> None:
    results = small(
        base, *FEW, "recipe=correction", "recipe.rounds=2", "ablation=evolution_correction_centric", folder="rounds"
    )
    folder = base / "rounds"
    assert_accounts(results)
    models = [{row["model"] for row in rows(folder, f"{name}")} for name in ("attempts", "attempts.round2")]
    assert models[0] == {"tiny"}
    assert all(name.startswith("tiny+") for name in models[1])
    assert {row["model"] for row in rows(folder, "evolved.attempts.round2")} == models[1]
    evolved = [{row["id"] for row in rows(folder, f"{name}")} for name in ("evolved", "evolved.round2")]
    assert not evolved[0] & evolved[1]
    first, second = rows(folder, "adapter"), rows(folder, "adapter.round2")
    assert {row["id"] for row in first} < {row["id"] for row in second}
    assert evolved[1] <= {parent for row in second for parent in row["parents"]}
    assert results["tokens_trained"] <= 3000
    assert results["adapter"] == "adapter.round2"
    rates = {path.name for path in (folder / "correction_rates").iterdir()}
    assert rates == {f"{of}corrections.round{n}" for of in ("", "evolved.") for n in (1, 2)}


def test_a_recipe_that_looks_at_no_mistake_has_no_rounds() -> None:
    with pytest.raises(UserError, match=r"unknown key 'recipe\.rounds'"):
        composed("recipe=cot", "recipe.rounds=2")


def test_several_samples_give_pass_at_and_majority_at(base: Path) -> None:
    results = small(base, *FEW, "recipe=cot", "eval.samples=3", "eval.temperature=0.8", folder="samples")
    assert len(rows(base / "samples", "evaluate.after.in_domain")) == 60
    for entry in results["eval"].values():
        for when in ("before", "after"):
            side = entry[when]
            assert side["samples"] == 3
            assert set(side["pass_at"]) == set(side["majority_at"]) >= {"1"}
            assert side["pass_at"]["1"]["mean"] == pytest.approx(side["accuracy"])
            largest = max(side["pass_at"], key=int)
            assert side["pass_at"][largest]["mean"] >= side["accuracy"]
    votes = [row["votes"] for row in rows(base / "samples", "outcomes") if row["eval_set"] == "in_domain"]
    right = sum(vote.count(0) for vote in votes) / 60
    assert results["eval"]["in_domain"]["after"]["accuracy"] == pytest.approx(right)


def test_a_recorded_correction_is_one_row_in_every_round(base: Path) -> None:
    path = other_model(base / "rounds.jsonl")
    sources = f"recipe.mistake_sources=[{{kind: recorded,path: {path}}}]"
    small(base, *FEW, "recipe=correction", "recipe.rounds=2", sources, folder="recorded_rounds")
    counts = [
        Counter(row["id"] for row in rows(base / "recorded_rounds", f"{name}") if row["kind"] == "correction")
        for name in ("adapter", "adapter.round2")
    ]
    assert len(counts[0]) > 20
    assert counts[0] == counts[1]
    assert set(counts[1].values()) == {1}


def test_bare_answers_are_no_chains_of_thought(tmp_path: Path) -> None:
    stems = [f"Where are {n} cars kept?" for n in range(12)]
    choices = {"label": ["A", "B"], "text": ["a garage", "a cup"]}
    asked = [{"id": f"q{n}", "question": stem, "choices": choices, "answerKey": "A"} for n, stem in enumerate(stems)]
    (tmp_path / "csqa").mkdir()
    write_jsonl(tmp_path / "csqa/train.jsonl", *asked[:9])
    write_jsonl(tmp_path / "csqa/test.jsonl", *asked[9:])
    config = composed(
        "recipe=correction",
        "recipe.path_sources=[{kind: target, samples: 2, temperature: 0.7}]",
        "data=csqa",
        f"data.path={tmp_path / 'csqa'}",
        "data.validation=2",
        "data.overlap.rouge=null",
        "data.overlap.ngram=null",
        "trainer=none",
    )
    lab = Lab(config, Workspace(tmp_path / "run", tmp_path / "cache"), Display())
    assert isinstance(config.recipe, ChainOfThought)
    recipe = dataclasses.replace(config.recipe, path_sources=[])
    assert len(lab.problems) == 7
    assert recipe.chain_rows(lab, lab.problems) == []
    evolved = dataclasses.replace(lab.problems[0], id="evolved", source="evolved", solution="1+1=2\n#### 2")
    assert [row.parents for row in recipe.chain_rows(lab, [*lab.problems, evolved])] == [("evolved",)]


@pytest.mark.parametrize("select", ["validation", "paper", "last"])
def test_the_chosen_checkpoint_is_the_one_that_is_evaluated(base: Path, select: str) -> None:
    # a rate at which later checkpoints are clearly worse: the first is chosen
    often = ("recipe.training.keep_every=2", "recipe.training.batch_tokens=512", "recipe.training.learning_rate=0.01")
    results = small(base, *FEW, *often, "recipe=cot", f"eval.select={select}", folder=select)
    folder = base / select
    steps = sorted(path.name for path in (folder / "adapter/steps").iterdir())
    assert len(steps) > 2
    if select == "last":
        assert results["adapter"] == "adapter"
        assert results["checkpoints"] is None
        return
    found = results["checkpoints"]
    scored = [f"{row['step']:06d}" for row in found["scores"]]
    assert scored[: len(steps)] == steps
    assert int(scored[-1]) == manifest(folder, "adapter")["numbers"]["steps"], (
        "the adapter itself is the last checkpoint"
    )
    best = max(row["validation"]["accuracy"] for row in found["scores"])
    chosen = next(row for row in found["scores"] if row["validation"]["accuracy"] == best)
    assert found["chosen"] == chosen["step"] != int(steps[-1])
    assert best > found["scores"][-1]["validation"]["accuracy"]
    assert results["adapter"] == f"adapter/steps/{chosen['step']:06d}"
    assert (folder / results["adapter"] / "adapter_model.safetensors").is_file()
    assert results["validation"] == chosen["validation"]
    asked = manifest(folder, "evaluate.after.in_domain")["parameters"]["engine"]
    assert asked["weights"]["adapter"]["adapter"] == adapter_fingerprint(folder / results["adapter"])
    if select == "validation":
        assert found["best_on_test"] is None
        return
    assert set(found["best_on_test"]) == {"in_domain", "out_of_domain"}
    for name, row in found["best_on_test"].items():
        of_set = [score["tests"][name]["accuracy"] for score in found["scores"]]
        assert row["best"] == max(of_set)
        assert row["best_three"] == pytest.approx(sum(sorted(of_set)[-3:]) / 3)
        assert results["eval"][name]["after"]["accuracy"] == chosen["tests"][name]["accuracy"]


@pytest.mark.parametrize("style", ["plain", "alpaca"])
def test_another_model_is_asked_as_the_target_is(tmp_path: Path, style: str) -> None:
    source = f"{{kind: hf,path: {WEIGHTS}}}"
    config = composed(*small_of("correction"), f"model.style={style}", f"recipe.mistake_sources=[{source}]")
    assert isinstance(config.recipe, LearningFromMistakes)
    with Lab(config, Workspace(tmp_path / "run", tmp_path / "cache"), Display()) as lab:
        other, target = config.recipe.mistake_sources[0].engine(lab, None), lab.target()
        assert isinstance(other, Target)
        for one in (other, target):
            assert isinstance(one._engine, HFEngine)
            assert one._engine.chat is (style != "plain"), "a chat template is left out for both or for none"
            assert one._engine.batch_size == 256


def local_sets(folder: Path) -> dict[str, Path]:
    """Tiny local copies of two published sets: 5 and 3 problems."""
    (folder / "gsm8k").mkdir(parents=True)
    (folder / "svamp").mkdir()
    write_jsonl(folder / "gsm8k/test.jsonl", *[gsm8k_row(number) for number in range(40, 45)])
    asked = [
        {
            "Body": f"Ann has {n} nuts.",
            "Question": "She eats 2. How many are left?",
            "Equation": f"( {n} - 2 )",
            "Answer": float(n - 2),
            "Type": "Subtraction",
        }
        for n in (9, 12, 20)
    ]
    write_jsonl(folder / "svamp/test.jsonl", *asked)
    return {"gsm8k": folder / "gsm8k", "svamp": folder / "svamp"}


def test_evaluation_sets_are_averaged_by_domain(base: Path, tmp_path: Path) -> None:
    paths = local_sets(tmp_path)
    sets = ["eval.sets={near: [gsm8k], far: [svamp]}", *(f"eval.paths.{name}={path}" for name, path in paths.items())]
    results = small(base, *FEW, "recipe=cot", *sets, folder="sets")
    assert list(results["eval"]) == ["gsm8k", "svamp"]
    assert [results["eval"][name]["after"]["n"] for name in results["eval"]] == [5, 3]
    averages = results["averages"]
    assert {name: average["sets"] for name, average in averages.items()} == {
        "near": ["gsm8k"],
        "far": ["svamp"],
        "all": ["gsm8k", "svamp"],
    }
    right = [results["eval"][name]["after"]["correct"] for name in ("gsm8k", "svamp")]
    assert averages["all"]["after"]["micro"]["accuracy"] == pytest.approx(sum(right) / 8)
    assert averages["all"]["after"]["macro"]["accuracy"] == pytest.approx((right[0] / 5 + right[1] / 3) / 2)
    assert averages["far"]["after"]["micro"]["accuracy"] == pytest.approx(right[1] / 3)


def test_faults_of_evaluation_sets_are_all_named_before_anything_is_computed(tmp_path: Path) -> None:
    sets = ("eval.sets={near: [gsm8k, svampp], far: [gsm8k]}", "eval.paths={asdiv: /nowhere}")
    with pytest.raises(UserError) as error:
        small(tmp_path, *FEW, "recipe=cot", *sets)
    text = str(error.value)
    for part in ("'svampp'", "Nearest: svamp", "gsm8k twice", "eval.paths.asdiv: the set is not", "/nowhere"):
        assert part in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("dry", ["true", "false"])
def test_data_without_training_problems_is_refused_with_the_remedy(tmp_path: Path, dry: str) -> None:
    path = local_sets(tmp_path)["svamp"]
    overrides = (*small_of("cot"), *FEW, "data=svamp", f"data.path={path}", "data.validation=0", f"dry_run={dry}")
    with pytest.raises(UserError, match=r"svamp has no training problems.*eval\.sets"):
        composed(*overrides, f"cache_dir={tmp_path / 'cache'}")
