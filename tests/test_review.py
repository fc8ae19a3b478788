"""The sheet on which corrections are judged, and what the marks come to."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from sei import review
from sei.errors import UserError
from sei.records import Correction, Mistake
from sei.workspace import write_records

EVIL = '</script><script>pwned=1</script><img src=x onerror="pwned=2"> " onclick=alert(1) {{items}} &lt;b&gt;'


def make_run(folder: Path, count: int = 60, text: str = "fine") -> list[str]:
    folder.mkdir(exist_ok=True)
    mistakes, corrections = [], []
    for n in range(count):
        mistake = Mistake(f"m{n}{text}", "p", "a", text, "5", f"{text}\n#### 5", f"first {n}\n{text}\n#### 6", text)
        mistakes.append(mistake)
        corrections.append(Correction(f"c{n}{text}", mistake.id, 2, text, ("right",), f"first {n}\nright\n#### 5", "5"))
    write_records(folder / "mistakes.jsonl", mistakes)
    write_records(folder / "corrections.jsonl", corrections)
    return [correction.id for correction in corrections]


class Page(HTMLParser):
    """The elements, attributes and texts that a browser would see."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def data(self) -> dict[str, Any]:
        return json.loads(next(text for text in self.texts if text.startswith('{"run"')))


def page_of(run: Path, **options: int) -> Page:
    return Page(review.sheet(run, **options).read_text(encoding="utf-8"))


def test_the_sheet_shows_a_seeded_sample(tmp_path: Path) -> None:
    ids = make_run(tmp_path)
    page = page_of(tmp_path)
    assert len(set(page.data["ids"])) == 50
    assert set(page.data["ids"]) <= set(ids)
    assert page_of(tmp_path).data == page.data
    assert page_of(tmp_path, seed=1).data["ids"] != page.data["ids"]
    assert len(page_of(tmp_path, sample=100).data["ids"]) == 60
    assert [a["value"] for tag, a in page.tags if tag == "input"] == ["excellent", "good", "poor"] * 50
    wrong = [index for index, (_, attributes) in enumerate(page.tags) if attributes.get("class") == "wrong"]
    assert len(wrong) == 50
    assert "first wrong step" in page.texts
    assert "0 of 50 marked" in page.texts


def test_text_of_models_stays_text(tmp_path: Path) -> None:
    make_run(tmp_path, 3, EVIL)
    page = page_of(tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("script") == 2
    assert not {"img", "a", "link", "iframe"} & set(tags)
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert sum(EVIL in text for text in page.texts) >= 3 * 5, "shown as it is: model, question, solutions, explanation"
    assert page.data["ids"][0].endswith(EVIL)


def test_the_page_asks_the_network_for_nothing(tmp_path: Path) -> None:
    make_run(tmp_path, 2)
    page = page_of(tmp_path)
    policy = next(a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")
    assert re.search(r"script-src 'sha256-[A-Za-z0-9+/]{43}='", policy)
    assert not any(name in ("src", "href", "action") for _, attributes in page.tags for name in attributes)
    assert "http" not in (tmp_path / "review.html").read_text().replace("http-equiv", "")


def test_steps_are_counted_as_the_run_counted_them(tmp_path: Path) -> None:
    make_run(tmp_path, 1, "Let $x=1.$ Then it is 2. So.")
    folder = tmp_path / "stages" / "04-corrections"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"parameters": {"style": "math"}}))
    page = page_of(tmp_path)
    assert page.texts.count("Then it is 2.") == 1, "a step of its own"


def marks_file(folder: Path, ids: list[str], marks: dict[str, str]) -> Path:
    path = folder / "marks.json"
    path.write_text(json.dumps({"run": "x", "ids": ids, "marks": marks}))
    return path


def test_marks_come_back_as_counts_with_intervals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = page_of(tmp_path).data["ids"] if make_run(tmp_path) else []
    marks = dict.fromkeys(ids[:8], "excellent") | dict.fromkeys(ids[8:10], "poor")
    path = marks_file(tmp_path, ids, marks)
    assert review.main([str(tmp_path), "--marks", str(path)]) == 0
    figures = json.loads((tmp_path / "review.json").read_text())
    assert (figures["sampled"], figures["marked"]) == (50, 10)
    excellent = figures["marks"]["excellent"]
    assert (excellent["count"], excellent["mean"], round(excellent["low"], 3), round(excellent["high"], 3)) == (
        8,
        0.8,
        0.49,
        0.943,
    )
    assert figures["marks"]["good"]["count"] == 0
    assert [figures["paper"][mark]["count"] for mark in ("excellent", "good", "poor")] == [35, 11, 4]
    assert figures["by_correction"] == marks
    assert "10 of 50 sampled corrections marked" in capsys.readouterr().out


def test_marks_that_fit_nothing_are_refused(tmp_path: Path) -> None:
    ids = make_run(tmp_path, 3)
    with pytest.raises(UserError, match="1 of its 2 corrections are not in"):
        review.summary(tmp_path, marks_file(tmp_path, [ids[0], "c-other"], {ids[0]: "good"}))
    with pytest.raises(UserError, match="none of its 3 corrections is marked"):
        review.summary(tmp_path, marks_file(tmp_path, ids, {}))
    with pytest.raises(UserError, match=r"mark \['good'\] of c0fine is not one of"):
        review.summary(tmp_path, marks_file(tmp_path, ids, {ids[0]: ["good"]}))
    with pytest.raises(UserError, match="mark 'fair' of c0fine is not one of excellent, good, poor"):
        review.summary(tmp_path, marks_file(tmp_path, ids, {ids[0]: "fair"}))
    with pytest.raises(UserError, match="marks c1fine, which is not among"):
        review.summary(tmp_path, marks_file(tmp_path, ids[:1], {ids[1]: "good"}))
    for text, complaint in (
        ("{}", "not a marks file"),
        ("no", "not JSON"),
        ('{"ids": [1], "marks": {}}', "not a marks file"),
    ):
        (tmp_path / "marks.json").write_text(text)
        with pytest.raises(UserError, match=complaint):
            review.summary(tmp_path, tmp_path / "marks.json")
    with pytest.raises(UserError, match="cannot be read"):
        review.summary(tmp_path, tmp_path / "absent.json")


def test_runs_without_corrections_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert review.main([str(tmp_path)]) == 1
    assert "no corrections.jsonl here" in capsys.readouterr().err
    make_run(tmp_path, 0)
    with pytest.raises(UserError, match="this run made no corrections"):
        review.sheet(tmp_path)
    make_run(tmp_path, 2)
    write_records(tmp_path / "mistakes.jsonl", [])
    with pytest.raises(UserError, match="2 corrections belong to no mistake"):
        review.sheet(tmp_path)
