"""`python -m sei.experiments`: the index says what the files say, and the page in docs/ is made from them as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sei.errors import UserError
from sei.experiments import FOLDER, PAGE, main, page, read_all

HEAD = """# @package _global_
# Question: does it help,
#           and whom?
# Command:  python train.py experiment=own        (3 minutes on 2 cores)
#           python -m sei.compare multirun/own
# Outcome:  docs/lema.md | yes
"""


def test_the_page_is_made_from_the_files_as_they_are() -> None:
    made = page(read_all())
    assert PAGE.read_text(encoding="utf-8") == made, "stale: python -m sei.experiments --write"
    assert all(f"## {path.stem}\n" in made for path in FOLDER.glob("*.yaml"))


def test_a_file_becomes_a_row_with_its_figures(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(
        HEAD
        + "hydra: {sweeper: {params: {model: 'a,b', ablation: 'none,small'}}}\n"
        + "expected:\n"
        + "  - {model: a, recipe: cot, set: s, accuracy: 50.5, source: A table 1}\n"
        + "  - {model: b, recipe: cot, set: t, accuracy: 60, ablation: small, data: d, second_pass: true, source: A table 1}\n"
        + "  - {model: c, recipe: cot, set: s, accuracy: 70, source: A table 1}\n"
    )
    (tmp_path / "child.yaml").write_text(
        "# @package _global_\n# Question: and so?\n# Command:  python train.py experiment=child\n# Run here: not yet.\n"
        "# Needs:    a GPU\ndefaults: [own, _self_]\nhydra: {sweeper: {params: {model: b}}}\n"
    )
    child, own = read_all(tmp_path)
    assert own.said["Question"] == "does it help, and whom?"
    assert own.commands == ("python train.py experiment=own", "python -m sei.compare multirun/own")
    assert own.paper == "a cot, s: 50.5; b cot (small) (trained on d) (second pass), t: 60"
    assert (own.ours, own.ran) == ("docs/lema.md | yes", "run here: 3 minutes on 2 cores")
    assert (child.ours, child.ran) == ("not run", "not yet. a GPU")
    assert [one["model"] for one in child.expected] == ["b"], "inherited, of its own models"
    made = page([own])
    assert "| [own](#own) | does it help, and whom? |" in made
    assert "- Ours: [docs/lema.md](lema.md) \\| yes" in made
    assert "| a cot | 50.5 |  |" in made


def test_a_file_without_a_question_or_an_outcome_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("# Command:  python train.py\nseed: 1\n")
    with pytest.raises(UserError, match=r"bad.yaml: its head lacks `# Question:`, `# Outcome or Run here or Needs:`"):
        read_all(tmp_path)


def test_the_command_prints_every_experiment(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(list(FOLDER.glob("*.yaml")))
