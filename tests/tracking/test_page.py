"""The report page: what it says of a run, and that no text on it is anything but text."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sei.compose import default_choices, options_alone
from sei.errors import UserError
from sei.records import content_id
from sei.tracking.page import texts
from sei.tracking.page.render import write_page
from sei.tracking.page.run import run_data, try_to_write, write_run_page
from sei.tracking.page.sweep import write_sweep_page
from sei.workspace import write_json
from tests.test_config import raw
from tests.tracking.browser import Browser, chromium
from tests.tracking.run_folder import HOSTILE, embedded, make_run, put_stage

needs_chromium = pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("pages") / "run")


@pytest.fixture(scope="module")
def data(run: Path) -> dict[str, Any]:
    return run_data(run)


@pytest.fixture(scope="module")
def page(run: Path) -> Path:
    return write_run_page(run)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as one:
        one.size(1280, 860)
        yield one


# What the page says


def test_headline_counts_what_turned_on_the_same_items(data: dict[str, Any]) -> None:
    (row,) = data["headline"]["sets"]
    assert (row["name"], row["fixed"], row["broken"]) == ("in_domain", 2, 2)
    assert row["p"] == 1  # two against two
    assert data["headline"]["tokens"] == 12345
    assert data["headline"]["seconds"] == 1.5 * 8
    assert data["headline"]["dollars"] is None
    assert data["scale"] == {"low": 0.2, "high": 0.8}


def test_dollars_are_unknown_where_the_store_is_gone(tmp_path: Path) -> None:
    write_json(tmp_path / "teacher.json", {"store": str(tmp_path / "gone.sqlite"), "run": "r"})
    assert run_data(tmp_path)["headline"]["dollars"] == {"used": None}
    assert "unknown" in write_run_page(tmp_path).read_text()


def test_types_by_round_with_their_phrases_and_places(data: dict[str, Any]) -> None:
    first, second = data["types"]
    assert (first["number"], first["name"], first["fits"], first["status"]) == (1, "lost a carry", 1.0, "persistent")
    assert [(one["round"], one["size"]) for one in first["rounds"]] == [(1, 2), (2, 1)]
    assert first["rounds"][0]["phrases"] == [["lost a carry", 2, 0.1, 0.2]]
    assert (second["status"], len(second["rounds"])) == ("fixed", 1)


def test_a_mistake_has_its_wrong_step_its_types_and_what_was_said(data: dict[str, Any]) -> None:
    mistake = next(one for one in data["records"]["mistakes"] if one["id"] == "mistake-2")
    assert mistake["steps"] == ["I see 2.", "2+2=2"]
    assert mistake["wrong"] == 1
    assert (mistake["answer"], mistake["gold"]) == ("2", "4")
    assert mistake["types"] == [1]
    assert mistake["diagnosis"]["keyphrases"] == ["lost a carry"]


def test_problems_and_rows_lead_back_to_what_they_were_made_from(data: dict[str, Any]) -> None:
    problems = data["records"]["problems"]
    assert [one["chosen"] for one in problems] == [True, True, False, False]
    assert problems[1]["type"] == 2
    assert problems[1]["parents"] == ["mistake-1"]
    assert data["records"]["rows"][0]["parents"] == ["synthetic-0", "mistake-0"]
    assert data["records"]["rows"][0]["stages"] == ["adapter"]


def test_items_with_question_both_outputs_and_what_became_of_them(data: dict[str, Any]) -> None:
    items = data["records"]["items"]
    assert [item["change"] for item in items[:4]] == ["fixed", "broken", "still wrong", "still right"]
    assert items[0]["question"].startswith("Test question 0")
    assert (items[0]["before"]["output"], items[0]["after"]["output"]) == (
        "output 0 before",
        "output 0 after",
    )
    assert (items[0]["before"]["type"], items[0]["after"]["type"]) == (1, None)


def test_a_diagnosis_of_a_test_item_is_found_by_its_attempt(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (attempt,) = [
        {"problem_id": "problem-t0", "model": "tiny", "output": "1+1=3\n#### 3", "verdict": "wrong", "sample": 0}
    ]
    put_stage(run, "evaluate.before.in_domain", "attempt", [])
    (place,) = (run / "stages").glob("*-evaluate.before.in_domain")
    (place / "records.jsonl").write_text(json.dumps(attempt) + "\n")
    (said,) = (run / "stages").glob("*-diagnoses")
    identity = content_id("mistake", "problem-t0", "tiny", "1+1=3\n#### 3")
    about = {"id": "d", "mistake_id": identity, "step": 1, "kind": "", "keyphrases": ["x"], "explanation": "not 3"}
    with (said / "records.jsonl").open("a") as file:
        file.write(json.dumps(about) + "\n")
    assert run_data(run)["records"]["items"][0]["before"]["diagnosis"] == "not 3"


def test_flow_has_samples_of_what_was_rejected(data: dict[str, Any]) -> None:
    flow = {stage["name"]: stage for stage in data["flow"]}
    assert flow["selected"]["rejected"] == {"low_score": 7}
    assert len(flow["selected"]["samples"]) == 5
    assert flow["selected"]["samples"][0]["raw"] == HOSTILE
    assert flow["mistakes"]["samples"] == []  # correct attempts have no text to show
    assert (flow["mistakes"]["cached"], flow["diagnoses"]["cached"]) == (True, False)


def test_a_long_loss_is_thinned_to_means(tmp_path: Path) -> None:
    put_stage(tmp_path, "adapter.round2", "finetune", [], numbers={"loss_curve": [1.0, 3.0] * 1500})
    write_json(tmp_path / "status.json", {"status": "running"})
    (curve,) = run_data(tmp_path)["curves"]
    assert (curve["name"], curve["round"], curve["every"]) == ("adapter.round2", 2, 2)
    assert curve["loss"] == [2.0] * 1500


def test_what_differs_from_the_defaults(run: Path, tmp_path: Path) -> None:
    assert shlex.split(run_data(run)["configuration"]["command"])[-1] == "data.path='a b'"
    words = ["recipe=cot", "recipe.training.tokens=77", "seed=4"]
    own = tmp_path / ".hydra"
    own.mkdir()
    composed = options_alone({"recipe": "cot"})
    composed["recipe"]["training"]["tokens"] = 77
    composed["seed"] = 4
    write_json(own / "config.yaml", composed)
    choices = {
        **default_choices(),
        "recipe": "cot",
        "hydra/launcher": "basic",
    }
    write_json(own / "hydra.yaml", {"hydra": {"overrides": {"task": words}, "runtime": {"choices": choices}}})
    found = run_data(tmp_path)["configuration"]
    assert found["keys"] == [
        {"key": "recipe.training.tokens", "value": "77", "default": "300000"},
        {"key": "seed", "value": "4", "default": "0"},
    ]
    assert [one for one in found["options"] if not one["same"]] == [
        {"group": "recipe", "value": "cot", "default": "sei", "same": False}
    ]
    assert "hydra/launcher" not in [one["group"] for one in found["options"]]


def test_options_alone_are_what_their_command_line_gives() -> None:
    assert options_alone({"recipe": "cot"})["recipe"]["training"]["tokens"] == raw("recipe=cot").recipe.training.tokens
    with pytest.raises(UserError, match="recipe=nothing"):
        options_alone({"recipe": "nothing"})


def test_a_failed_run_shows_why_and_none_of_an_earlier_runs_results(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    write_json(run / "status.json", {"status": "failed", "error": "UserError: <b>no room</b>"})
    (run / "traceback.txt").write_text("line 1")
    found = run_data(run)
    assert (found["headline"]["sets"], found["records"]["items"]) == ([], [])
    assert found["traceback"] == "line 1"
    assert "UserError: &lt;b&gt;no room&lt;/b&gt;" in write_run_page(run).read_text()
    assert len(found["flow"]) == 8


def test_an_empty_folder_has_a_page_too(tmp_path: Path) -> None:
    assert embedded(write_run_page(tmp_path))["status"] == {"status": "unknown"}


def test_a_page_that_cannot_be_written_fails_nothing(tmp_path: Path) -> None:
    (tmp_path / "status.json").write_text("{")
    said: list[str] = []
    assert try_to_write(lambda: write_run_page(tmp_path), said.append) is None
    (line,) = said
    assert line.startswith("report.html was not written (JSONDecodeError: ")
    assert not (tmp_path / "report.html").exists()


def test_of_too_many_records_the_page_says_how_many_there_are(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(texts, "MOST", 3)
    found = run_data(run)
    assert len(found["records"]["items"]) == 3
    assert found["counts"]["items"] == 8


# The file


def test_the_page_is_one_file_that_may_fetch_nothing(page: Path) -> None:
    text = page.read_text()
    (policy,) = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    shown = text.split('<script id="data"')[0]
    assert re.findall(r'<(?:script|img|link|iframe)[^>]*(?:src|href)="([^"]*)"', shown) == ["data:,"]  # an empty icon


def test_hostile_text_stays_data(page: Path) -> None:
    text = page.read_text()
    assert text.count("</script>") == 3  # the data, the chart library, the page's own script
    assert "<!--" not in text
    shown = embedded(page)["records"]["items"][2]["before"]["output"]
    assert shown == HOSTILE.replace("\ud800", "?")
    assert embedded(page)["curves"][0]["loss"] == [2.0, 1.5, None, 1.0]


def test_a_page_is_there_whole_or_not_at_all(page: Path) -> None:
    assert [path.name for path in page.parent.iterdir() if "tmp" in path.name] == []


# In a browser


@needs_chromium
def test_every_view_shows_text_and_logs_nothing(browser: Browser, page: Path) -> None:
    browser.said.clear()
    browser.fetched.clear()
    for width, dark in ((1280, False), (360, True)):
        browser.size(width, 800, dark=dark)
        for view in ("overview", "types", "items", "mistakes", "problems", "rows", "flow", "configuration"):
            browser.open(page, f"#{view}")
            assert browser.evaluate(f"!document.getElementById('view-{view}').hidden")
            assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth"), (
                view
            )
    browser.size(1280, 860)
    browser.open(page, "#item/problem-t2")
    assert "</script><script>document.title='owned'</script><img src=x" in browser.text(".detail")
    assert browser.evaluate("document.title") == "run"
    assert browser.evaluate("document.querySelectorAll('img').length") == 0
    assert browser.said == []
    assert {address.split("#")[0] for address in browser.fetched} <= {page.resolve().as_uri(), "about:blank"}


@needs_chromium
def test_deep_links_lead_to_types_records_and_filtered_lists(browser: Browser, page: Path) -> None:
    browser.said.clear()
    browser.open(page, "#type/1")
    said = browser.text(".detail")
    assert "lost a carry" in said
    assert "the name fits 100 % of its mistakes" in said
    assert "TEST ITEMS THAT BECAME RIGHT (2)" in said.upper()
    browser.open(page, "#item/mistake-2")
    assert "first wrong step\n2+2=2" in browser.text(".detail .steps")
    assert "New 2?" in browser.text(".detail")  # the problem made from it
    browser.open(page, "#item/outcome-after-3")  # an outcome's own id
    assert "problem-t3" in browser.text(".detail .facts")
    browser.open(page, "#items?change=fixed")
    assert browser.text("#view-items [role=status]") == "2 of 8"
    browser.open(page, "#item/%zz")
    browser.open(page, "#item/nothing")
    assert browser.evaluate("!document.getElementById('view-overview').hidden")
    assert "Second pass" in browser.text("#view-overview")
    assert browser.said == []


@needs_chromium
def test_a_list_is_read_with_the_keyboard(browser: Browser, page: Path) -> None:
    browser.open(page, "#items")
    browser.press("/")
    browser.write("question 5")
    assert browser.text("#view-items [role=status]") == "1 of 8"
    browser.evaluate("document.activeElement.value = ''")
    browser.write("question")
    browser.press("ArrowDown")  # from the field to the list
    browser.press("End")
    browser.wait("location.hash === '#item/problem-t7'")
    browser.press("ArrowUp")
    browser.wait("location.hash === '#item/problem-t6'")
    browser.wait("document.querySelector('.detail .facts').innerText.includes('problem-t6')")
    active = (
        "document.getElementById(document.querySelector('#view-items .list').getAttribute('aria-activedescendant'))"
    )
    assert browser.evaluate(f"{active}.getAttribute('aria-selected')") == "true"


@needs_chromium
def test_twenty_thousand_records_open_and_filter_at_once(
    browser: Browser, data: dict[str, Any], tmp_path: Path
) -> None:
    long = "She buys <<3*4=12>>12. " * 20  # outputs of the usual length
    sides = [{when: {"id": f"{when}-{n}", "verdict": "correct", "output": f"output {n} {long}", "type": 1}
              for when in ("before", "after")} for n in range(20_000)]  # fmt: skip
    items = [{**data["records"]["items"][n % 8], "id": f"problem-{n}", **sides[n]} for n in range(20_000)]
    large = {"counts": data["counts"] | {"items": len(items)}, "records": data["records"] | {"items": items}}
    page = write_page(tmp_path / "report.html", {**data, **large})
    assert page.stat().st_size > 10_000_000
    browser.open(page, "#items")  # the browser has started, and the file is in memory
    assert browser.open(page, "#items") < 2
    assert browser.evaluate("document.querySelectorAll('#view-items .row').length") < 40
    took = browser.evaluate(
        "(() => { const box = document.querySelector('#view-items input'); const times = [];"
        "for (const text of ['output 77', 'output 777', 'output 7777']) { box.value = text; const start = performance.now();"
        "box.dispatchEvent(new Event('input')); times.push(performance.now() - start); } return times; })()"
    )
    assert browser.text("#view-items [role=status]") == "1 of 20,000"
    assert max(took[1:]) < 100, "milliseconds; what a reader does not notice"
    assert took[0] < 500, "the first search reads all texts"


# A sweep


def sweep_figures(folder: Path) -> dict[str, Any]:
    row = {
        "label": "cot, x=<b>1</b>",
        "accuracy": 0.5,
        "low": None,
        "high": None,
        "before": 0.4,
        "paper": None,
        "tokens_trained": 5.0,
        "seconds": 61.0,
        "dollars": 1.5,
        "seeds": [{"seed": 0, "accuracy": 0.5}, {"seed": 1, "accuracy": None}],
    }
    test = {"set": "in_domain", "seeds": 2, "recipe": "sei", "against": "cot", "p_holm": 0.4}
    test |= {"odds_ratio": 1.5, "odds_low": 0.5, "odds_high": 4.5}
    return {
        "jobs": [
            {"run": folder / "done", "label": "sei", "seed": 0, "error": None},
            {"run": folder / "bad", "label": "<i>cot</i>", "seed": 1, "error": "ValueError: <script>"},
        ],
        "sets": [{"name": "in_domain", "size": 8, "paper": False, "dollars": True, "rows": [row]}],
        "shares": [],
        "tests": [test | {"difference": 0.02, "low": -0.01, "high": 0.05, "p": 0.2}],
        "remarks": ["budgets differ"],
    }


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """The page of a sweep of one run that is done and one that failed before it had a page."""
    write_run_page(make_run(tmp_path / "done"))
    (tmp_path / "bad").mkdir()
    write_json(tmp_path / "bad" / "status.json", {"status": "failed"})
    return write_sweep_page(tmp_path, lambda: sweep_figures(tmp_path))


def test_a_sweeps_page_lists_its_jobs_with_links(sweep: Path) -> None:
    text = sweep.read_text().split('<script id="data"')[0]
    assert 'href="done/report.html"' in text
    assert "bad/report.html" not in text  # it has none
    assert "1 done, 1 failed" in text
    assert "ValueError: &lt;script&gt;" in text
    assert "sei − cot" in text
    assert "+2.0" in text
    assert "budgets differ" in text


@needs_chromium
def test_a_sweeps_page_fits_a_phone_and_logs_nothing(browser: Browser, sweep: Path) -> None:
    browser.said.clear()
    browser.size(360, 740)
    browser.open(sweep)
    assert browser.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert "<i>cot</i>" in browser.text()
    browser.size(1280, 860)
    assert browser.said == []
