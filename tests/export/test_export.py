"""Exporting a run: weights that load elsewhere, rows that other tools read as we train them, and nothing of this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file

from sei.export.__main__ import main
from sei.export.finished import FinishedRun
from sei.export.weights import merge
from sei.records import Example, Outcome, Pair, Problem, Record, Synthetic, Verdict
from sei.target.load import encode_prompt, load_adapter, load_model, load_tokenizer
from sei.training.packing import encode_all
from sei.training.pairs import encode_pairs

TINY = Path(__file__).parents[2] / "sei/target/tiny/weights"
TEMPLATE = (
    "{% for m in messages %}{{ m['role'] + ':\n' + m['content'] }}"
    "{% if m['role'] == 'assistant' %}{{ eos_token }}{% else %}{{ '\n' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'assistant:\n' }}{% endif %}"
)

PROBLEM = Problem.make(question="Ben has 3 eggs and buys 4. How many?", answer="7", solution="#### 7", source="own")
TESTED = Problem.make(
    question="Kim has 2 pens and loses 1. How many?", answer="1", solution="#### 1", source="own", split="test"
)
MADE = Synthetic("synthetic-1", "Kim has 2 pens and loses 1. How many?", "#### 1", "1", "type-1", ())  # a test question
EXAMPLES = [
    Example("example-1", "Question: 3 eggs and 4?\nSolution:\n", "<<3+4=7>>7\n#### 7", "cot", (PROBLEM.id,)),
    Example("example-2", "Question: 2 pens, 1 less?\nSolution:\n", "<<2-1=1>>1\n#### 1", "synthetic", (MADE.id,)),
]
PAIRS = [
    Pair(
        "pair-1", "Question: 3 eggs and 4?\nCheck:\n", "Right.\n", "Wrong.\n", "step", (PROBLEM.id,), prefix="Step 1.\n"
    ),
]


def lines(path: Path, records: list[Record] | list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record.to_json()) + "\n" for record in records))


def add_stage(run: Path, name: str, function: str, records: list[Any]) -> None:
    lines(run / "stages" / name / "records.jsonl", records)
    (run / "stages" / name / "manifest.json").write_text(json.dumps({"stage": function, "numbers": {}}))


def adapter_of(base: Path, folder: Path, modules: list[str]) -> None:
    """A LoRA adapter whose effect is seen, as training leaves it."""
    from peft import LoraConfig, get_peft_model

    torch.manual_seed(0)
    settings = LoraConfig(r=2, target_modules=modules, task_type="CAUSAL_LM")
    get_peft_model(load_model(base, dtype="float32"), settings).save_pretrained(
        str(folder), save_embedding_layers=False
    )
    weights = load_file(folder / "adapter_model.safetensors")
    save_file(
        {name: torch.randn_like(value) * 0.2 for name, value in weights.items()}, folder / "adapter_model.safetensors"
    )


def a_run(folder: Path, base: Path = TINY, *, style: str = "plain", system: str | None = None) -> Path:
    """The files of a finished run, small."""
    run = folder / "run"
    adapter_of(base, run / "adapter", ["q_proj", "v_proj"])
    add_stage(run, "01-problems", "separate", [PROBLEM])
    add_stage(run, "02-synthetic", "synthesize", [MADE])
    add_stage(run, "03-student", "finetune", EXAMPLES)
    add_stage(run, "04-adapter", "prefer", PAIRS)
    lines(run / "test_problems.jsonl", [TESTED])
    outcome = Outcome("outcome-1", "in_domain", TESTED.id, "", Verdict.WRONG, "2")
    lines(run / "outcomes_before.jsonl", [outcome])
    (run / "status.json").write_text('{"status": "done"}')
    model = {"name": "m", "path": str(base), "revision": None, "style": style, "system": system, "quantization": "none"}
    settings = {"learning_rate": 0.1, "epochs": 1, "target_modules": ["q_proj"]}
    recipe = {"_target_": "sei.recipes.cot.ChainOfThought", "style": "alpaca", "training": settings}
    data = {"name": "gsm8k", "overlap": {"rouge": 0.7, "ngram": 13}}
    teacher = {"name": "t", "model": "t-large"}
    config = {"model": model, "recipe": recipe, "data": data, "teacher": teacher}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    share = {"n": 1, "accuracy": 0.0, "low": 0.0, "high": 0.7}
    change = {"mean": 0.0, "low": -0.5, "high": 0.5, "fixed": 0, "broken": 0, "p": 1.0}
    figures: dict[str, Any] = {
        "recipe": "cot",
        "seed": 0,
        "model": "m",
        "data": "gsm8k",
        "teacher": "t",
        "adapter": "adapter",
    }
    figures |= {"eval": {"in_domain": {"before": share, "after": share, "change": change}}, "tokens_trained": 99}
    figures |= {"error_types": [{"name": "adds <b>two</b> | numbers", "mined": [3]}], "device": "cpu", "commit": "abc"}
    figures |= {"overrides": [f"data.path={folder}", "seed=0"], "versions": {"sei": "0.1.0"}}
    (run / "results.json").write_text(json.dumps(figures))
    return run


def chat_base(folder: Path) -> Path:
    base = folder / "base"
    shutil.copytree(TINY, base)
    (base / "chat_template.jinja").write_text(TEMPLATE)
    return base


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def front_matter(path: Path) -> dict[str, Any]:
    found = yaml.safe_load(path.read_text().split("---\n")[1])
    assert isinstance(found, dict)
    return found


def test_an_exported_adapter_loads_and_answers_as_the_run_s_does(tmp_path: Path) -> None:
    run, to = a_run(tmp_path), tmp_path / "shared"
    assert main([str(run), "--to", str(to)]) == 0
    ids = torch.tensor([[5, 6, 7]])
    logits = [
        load_adapter(load_model(TINY, dtype="float32"), place)(input_ids=ids).logits for place in (run / "adapter", to)
    ]
    assert torch.equal(*logits)
    assert not torch.allclose(logits[0], load_model(TINY, dtype="float32")(input_ids=ids).logits, atol=1e-2)


def test_nothing_of_this_machine_goes_along(tmp_path: Path) -> None:
    base = chat_base(tmp_path)
    run, to = a_run(tmp_path, base, style="alpaca"), tmp_path / "shared"
    for more in ([], ["--merged"]):
        assert main([str(run), "--to", str(to), "--base", "owner/model", *more]) == 0
        written = [path for path in to.rglob("*") if path.is_file()]
        assert len(written) >= 9
        for path in written:
            assert str(tmp_path).encode() not in path.read_bytes(), path
            assert str(Path.home()).encode() + b"/" not in path.read_bytes(), path
        assert "`python train.py data.path=... seed=0`" in (to / "README.md").read_text()
        shutil.rmtree(to)


def test_a_base_model_in_a_folder_must_be_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = a_run(tmp_path, chat_base(tmp_path))
    assert main([str(run), "--to", str(tmp_path / "shared")]) == 1
    assert "Name its hub id: --base OWNER/NAME" in capsys.readouterr().err
    assert main([str(run), "--to", str(tmp_path / "shared"), "--base", "owner/model"]) == 0
    assert json.loads((tmp_path / "shared/adapter_config.json").read_text())["base_model_name_or_path"] == "owner/model"
    head = front_matter(tmp_path / "shared/README.md")
    assert (head["base_model"], head["base_model_relation"], head["library_name"]) == ("owner/model", "adapter", "peft")
    assert head["datasets"] == ["openai/gsm8k"]


def test_the_card_names_the_embedded_model_that_the_run_began_with(tmp_path: Path) -> None:
    """The package brings two; wherever the run's machine had them, a checkout of the framework has them in one place."""
    run = a_run(tmp_path / "run", TINY.parent / "misconceived")
    main([str(run), "--to", str(tmp_path / "out")])
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert 'base = "sei/target/tiny/misconceived"' in card
    config = (run / "config.yaml").read_text(encoding="utf-8").replace(str(TINY.parent), "/elsewhere/sei/target/tiny")
    (run / "config.yaml").write_text(config, encoding="utf-8")
    assert FinishedRun(run).base_path == str(TINY.parent / "misconceived")
    (run / "config.yaml").write_text(config.replace("misconceived", "other"), encoding="utf-8")
    assert not FinishedRun(run).embedded


def test_the_cards_say_what_was_measured_and_show_outside_text_as_text(tmp_path: Path) -> None:
    assert main([str(a_run(tmp_path)), "--to", str(tmp_path / "shared")]) == 0
    card = (tmp_path / "shared/README.md").read_text()
    assert "| in_domain | 1 | 0.0 % [0.0, 70.0] | 0.0 % [0.0, 70.0] | +0.0 [-50.0, +50.0] | 0 | 0 | 1 |" in card
    assert r"| adds \<b\>two\</b\> \| numbers | 3 |" in card
    assert "- gsm8k: MIT" in card
    assert "- teacher (t): its provider's terms" in card
    data = (tmp_path / "shared/data/README.md").read_text()
    # Two questions are behind the rows; one of them is a test question.
    assert "| in_domain | 1 | 2 | 1 | 1 | 1 |" in data
    assert "1 pairs of `adapter` compare single steps" in data


@pytest.mark.parametrize("chat", [False, True, "Be brief."])
def test_trl_reads_the_rows_as_we_train_them(tmp_path: Path, chat: bool | str) -> None:
    """Token by token: prompt, answer and end of turn."""
    import trl
    from datasets import load_dataset

    base = chat_base(tmp_path)
    system = chat if isinstance(chat, str) else None
    run = a_run(tmp_path, base, style="alpaca" if chat else "plain", system=system)
    assert main([str(run), "--to", str(tmp_path / "shared"), "--base", "owner/model"]) == 0
    tokenizer, theirs_too = (
        load_tokenizer(base, chat=chat),
        load_tokenizer(base, chat=bool(chat)),
    )  # rows say the system

    def rows(name: str) -> Any:
        file = str(tmp_path / f"shared/data/{name}/trl.jsonl")
        return load_dataset("json", data_files=file, split="train", cache_dir=str(tmp_path / "datasets"))

    options: dict[str, Any] = {"output_dir": str(tmp_path / "out"), "report_to": "none", "use_cpu": True, "bf16": False}
    sft = trl.SFTTrainer(
        str(base), trl.SFTConfig(**options), train_dataset=rows("student"), processing_class=theirs_too
    )
    ours, rejected = encode_all(EXAMPLES, tokenizer, 512)
    assert not rejected
    for theirs, one in zip(sft.train_dataset, ours, strict=True):
        assert tuple(theirs["input_ids"]) == one.input_ids
        assert tuple(theirs["labels"]) == one.labels

    dpo = trl.DPOTrainer(
        str(base), args=trl.DPOConfig(**options), train_dataset=rows("adapter"), processing_class=theirs_too
    )
    (theirs,) = dpo.train_dataset
    (pair,), rejected = encode_pairs(PAIRS, tokenizer, 512)
    assert not rejected
    for side in ("chosen", "rejected"):
        assert [*theirs["prompt_ids"], *theirs[f"{side}_ids"]][: len(pair.prompt)] == list(pair.prompt), side


def test_alpaca_and_sharegpt_rows_say_the_same(tmp_path: Path) -> None:
    run = a_run(tmp_path, chat_base(tmp_path), style="alpaca", system="Be brief.")
    assert main([str(run), "--to", str(tmp_path / "shared"), "--base", "owner/model"]) == 0
    data = tmp_path / "shared/data"
    alpaca, share = read(data / "student/alpaca.jsonl")[0], read(data / "student/sharegpt.jsonl")[0]
    assert alpaca["instruction"] == "Question: 3 eggs and 4?\nSolution:" == share["conversations"][0]["value"]
    assert alpaca["output"] == EXAMPLES[0].response == share["conversations"][1]["value"]
    assert alpaca["system"] == "Be brief." == share["system"]
    assert alpaca["parents"] == [PROBLEM.id] == share["parents"]
    alpaca, share = read(data / "adapter/alpaca.jsonl")[0], read(data / "adapter/sharegpt.jsonl")[0]
    assert (alpaca["chosen"], alpaca["rejected"]) == ("Step 1.\nRight.\n", "Step 1.\nWrong.\n")
    assert share["chosen"] == {"from": "gpt", "value": "Step 1.\nRight.\n"}
    described = json.loads((data / "dataset_info.json").read_text())
    assert described["adapter_sharegpt"]["ranking"]
    assert all((data / entry["file_name"]).is_file() for entry in described.values())


LOAD_ALL = """
import json, sys
try:
    import torchaudio
except ImportError:  # not needed for text, and has no build for a processor alone
    import importlib.machinery, types
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
from llamafactory.hparams import get_train_args
from llamafactory.model import load_tokenizer
folder, base = sys.argv[1:]
found = {}
for name, entry in json.load(open(f"{folder}/dataset_info.json")).items():
    stage = "dpo" if entry.get("ranking") else "sft"
    settings = {"model_name_or_path": base, "stage": stage, "do_train": True, "finetuning_type": "lora", "dataset": name}
    settings |= {"dataset_dir": folder, "template": "empty", "output_dir": f"{folder}/out", "cutoff_len": 512, "use_cpu": True}
    model, data, training, _, _ = get_train_args(settings)
    loaded = load_tokenizer(model)
    template = get_template_and_fix_tokenizer(loaded["tokenizer"], data)
    rows = get_dataset(template, model, data, training, stage="rm" if stage == "dpo" else "sft", **loaded)["train_dataset"]
    key = "chosen_labels" if stage == "dpo" else "labels"
    found[name] = [loaded["tokenizer"].decode([i for i in row[key] if i >= 0]).strip() for row in rows]
print("FOUND " + json.dumps(found))
"""


@pytest.mark.slow
def test_llama_factory_reads_the_rows(tmp_path: Path) -> None:
    """In an environment of its own, since it wants older libraries: SEI_LLAMA_FACTORY_PYTHON=ENV/bin/python."""
    python = os.environ.get("SEI_LLAMA_FACTORY_PYTHON")
    if not python:
        pytest.skip("SEI_LLAMA_FACTORY_PYTHON names no interpreter with llamafactory")
    assert main([str(a_run(tmp_path)), "--to", str(tmp_path / "shared")]) == 0
    command = [python, "-c", LOAD_ALL, str(tmp_path / "shared/data"), str(TINY)]
    environment = {**os.environ, "DISABLE_VERSION_CHECK": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, cwd=tmp_path)
    found = json.loads(done.stdout.split("FOUND ")[1])
    assert set(found) == {"student_alpaca", "student_sharegpt", "adapter_alpaca", "adapter_sharegpt"}
    for form in ("alpaca", "sharegpt"):
        assert found[f"student_{form}"] == [one.response for one in EXAMPLES]
        assert found[f"adapter_{form}"] == [(PAIRS[0].prefix + PAIRS[0].chosen).strip()]


def test_merged_weights_answer_as_base_and_adapter_do(tmp_path: Path) -> None:
    assert main([str(a_run(tmp_path)), "--to", str(tmp_path / "shared"), "--merged"]) == 0
    ids = torch.tensor([encode_prompt(load_tokenizer(tmp_path / "shared"), "3 eggs and 4?")])
    merged = load_model(tmp_path / "shared", dtype="float32")(input_ids=ids).logits
    beside = load_adapter(load_model(TINY, dtype="float32"), tmp_path / "run/adapter")(input_ids=ids).logits
    assert torch.allclose(merged, beside, atol=1e-3)


def test_a_head_that_shares_its_weights_is_untied_before_the_adapter_is_merged_into_it(tmp_path: Path) -> None:
    """Merged into shared weights, what was learned for the head would change the embedding too."""
    base, run = chat_base(tmp_path), a_run(tmp_path)
    shutil.rmtree(run / "adapter")
    adapter_of(base, run / "adapter", ["lm_head"])
    done = merge(FinishedRun(run), tmp_path / "merged")
    assert done.untied
    assert done.largest_difference < 1e-3
    reloaded = load_model(tmp_path / "merged", dtype="float32")
    original = load_model(TINY, dtype="float32")
    assert torch.equal(reloaded.get_input_embeddings().weight, original.get_input_embeddings().weight)
    assert not torch.equal(reloaded.get_output_embeddings().weight, original.get_output_embeddings().weight)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("status.json", None, "no run here"),
        ("status.json", '{"status": "failed"}', "this run is not finished (status: failed)"),
        ("results.json", "{", "cannot be read"),
        ("config.yaml", "model: 3", "holds values of another kind"),
        ("stages/03-student/records.jsonl", "{}\n", "cannot be read as Example"),
        ("adapter/adapter_model.safetensors", None, "no adapter_model.safetensors here"),
    ],
)
def test_a_damaged_run_is_refused_and_nothing_is_left_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], file: str, text: str | None, message: str
) -> None:
    run = a_run(tmp_path)
    (run / file).unlink()
    if text is not None:
        (run / file).write_text(text)
    assert main([str(run), "--to", str(tmp_path / "shared")]) == 1
    assert message in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared/mine.txt").write_text("mine")
    assert main([str(a_run(tmp_path)), "--to", str(tmp_path / "shared")]) == 1
    assert "is there already. Name a new folder." in capsys.readouterr().err
    assert (tmp_path / "shared/mine.txt").read_text() == "mine"


def test_to_the_hub_go_weights_and_rows_as_private_repositories(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[tuple[str, str, bool]] = []
    uploaded: dict[str, list[str]] = {}

    class Hub:
        def create_repo(self, name: str, *, repo_type: str, private: bool, exist_ok: bool) -> str:
            made.append((name, repo_type, private))
            return f"address/{name}"

        def upload_folder(self, *, repo_id: str, repo_type: str, folder_path: str, **more: Any) -> None:
            left_out = [pattern.split("/")[0] for pattern in more.get("ignore_patterns", [])]
            names = [path.name for path in Path(folder_path).iterdir() if path.name not in left_out]
            uploaded[repo_id] = sorted(names)

    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert main([str(a_run(tmp_path)), "--to", "hub:me/mine"]) == 0
    assert made == [("me/mine", "model", True), ("me/mine-data", "dataset", True)]
    assert uploaded["me/mine"] == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    assert uploaded["me/mine-data"] == ["README.md", "adapter", "dataset_info.json", "student"]
    assert main([str(tmp_path / "run"), "--to", "hub:mine"]) == 1


def test_the_module_is_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "sei.export", "--help"], capture_output=True, text=True, check=True)
    assert "--merged" in done.stdout
