"""docs/extending.md, followed to the letter in a folder outside the package."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from sei.data import arithmetic
from sei.teacher.scripted import scripted

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"^`([\w/]+\.\w+)`\n\n```\w+\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
COMMANDS = re.findall(r"^```bash\n(python .*?)\n```", PAGE, re.MULTILINE)

SMALL = ["data.train=48", "data.validation=8", "data.test=10", "logger=none", "eval.limit=10"]
TRAINED = ["recipe.training.tokens=2000"]
OF_SEI = ["recipe.synthesis.budget=8", "recipe.synthesis.per_call=4", "recipe.selection.enabled=false"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All files of the page, where it says."""
    mine = tmp_path_factory.mktemp("mine")
    for name, text in FILES.items():
        (mine / name).parent.mkdir(parents=True, exist_ok=True)
        (mine / name).write_text(text)
    return mine


def follow(folder: Path, number: int, *small: str) -> dict[str, Any]:
    """Run the page's command `number`, at a small size; its results."""
    words = COMMANDS[number].split()[1:]
    command = [sys.executable, *(word.replace("CHECKOUT", str(ROOT)) for word in words), *small]
    command += [f"cache_dir={folder / 'cache'}", f"hydra.run.dir={folder / f'run{number}'}"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    results: dict[str, Any] = json.loads((folder / f"run{number}" / "results.json").read_text())
    return results


def test_a_data_set_of_one_s_own_needs_no_code(folder: Path) -> None:
    row = json.loads(FILES["problems.jsonl"])
    problems = arithmetic.load(train=60, validation=0, test=1, seed=3).train
    rows = [{**row, "problem": one.question, "answer": one.answer, "solution": one.solution} for one in problems]
    (folder / "problems.jsonl").write_text("".join(json.dumps(one) + "\n" for one in [row, *rows]))
    results = follow(folder, 0, "data.test=10", "data.validation=5", "logger=none", *TRAINED)
    assert results["eval"]["jsonl"]["before"]["n"] == 10
    assert results["ledger"]["problems"]["received"] == 61 - 15


def test_a_clusterer(folder: Path) -> None:
    results = follow(folder, 1, *SMALL, *TRAINED, *OF_SEI, "trainer=none")
    manifest = json.loads((folder / "run1" / "stages" / "05-error_types" / "manifest.json").read_text())
    assert manifest["parameters"]["clusterer"]["name"] == "hdbscan"
    assert manifest["parameters"]["clusterer"]["min_cluster_size"] == 4
    account = results["ledger"]["error_types"]
    assert account["received"] == account["passed"] + sum(account["rejected"].values())


def test_a_recipe(folder: Path) -> None:
    results = follow(folder, 2, *SMALL, *TRAINED)
    assert results["recipe"] == "rejection_sampling"
    assert set(results["ledger"]) >= {"problems", "attempts", "paths", "adapter"}
    attempts = (folder / "run2" / "stages" / "02-attempts" / "records.jsonl").read_text().splitlines()
    assert len(attempts) == 2 * results["ledger"]["problems"]["records"]
    kinds = {json.loads(line)["kind"] for line in (folder / "run2" / "adapter.jsonl").read_text().splitlines()}
    assert kinds == {"path"}


@pytest.fixture
def server() -> Iterator[str]:
    """A server with a protocol of its own, and the answers of a scripted model."""
    gold = {one.question: one.solution for one in arithmetic.load(train=48, validation=8, test=10, seed=0).train}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            content = json.dumps({"text": scripted(body, gold)}).encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None: ...

    running = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/"
    running.shutdown()


def test_a_teacher(folder: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "COMMANDS", [one.replace("URL", server) for one in COMMANDS])
    results = follow(folder, 3, *SMALL, *TRAINED)
    assert results["teacher"] == "http"
    assert results["ledger"]["diagnoses"]["records"] > 0
    assert results["ledger"]["corrections"]["received"] == results["ledger"]["mistakes"]["records"]


def test_an_engine_gives_what_ours_gives(folder: Path) -> None:
    ours = subprocess.run(
        [
            *(sys.executable, "train.py", "recipe=cot", *SMALL, *TRAINED),
            *(f"cache_dir={folder / 'ours'}", f"hydra.run.dir={folder / 'reference'}"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ours.returncode == 0, ours.stderr
    reference = json.loads((folder / "reference" / "results.json").read_text())
    results = follow(folder, 4, *SMALL, *TRAINED)
    assert results["eval"] == reference["eval"]


def test_the_table_counts_what_stands_on_the_page() -> None:
    rows = re.findall(r"^\| (.+?) \| (\d) \| (\d) \| (\d+) \|$", PAGE, re.MULTILINE)
    of = {
        "a clusterer": {"clusterer", "hdbscan"},
        "a recipe": {"rejection", "rejection_sampling"},
        "a teacher": {"teacher", "http"},
        "an engine": {"engine", "pipeline"},
    }
    for what, modules, yamls, lines in rows[1:]:
        names = [name for name in FILES if Path(name).stem in of[what]]
        written = [line for name in names for line in FILES[name].splitlines() if line.strip()]
        assert int(modules) == sum(name.endswith(".py") for name in names), what
        assert int(yamls) == sum(name.endswith(".yaml") for name in names), what
        assert int(lines) == len(written), what
