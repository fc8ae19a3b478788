"""Loaders: the fields of each release, and a clear message for every fault of a file."""

from __future__ import annotations

import dataclasses
import gzip
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter

from sei import answers
from sei.data import sources
from sei.data.arithmetic import Arithmetic
from sei.errors import UserError
from sei.records import Problem, Verdict

CONF = Path(__file__).parents[2] / "conf/data"
DATA = Path(__file__).parents[2] / "../shared/data"

# Rows with the fields, types and formatting of the published files; the texts are ours, shortened.
GSM8K_ROW = {"question": "2 apples and 3 more?", "answer": "2+3=<<2+3=5>>5\n#### 5"}
MATH_ROW = {"problem": "Half of 1?", "solution": "So $\\boxed{\\frac12}$.", "level": "Level 3", "type": "Algebra"}
MATH500_ROW = {"problem": "Half of 1?", "solution": "So $\\boxed{\\frac12}$.", "answer": "\\frac12", "subject": "Algebra",
               "level": 3, "unique_id": "test/algebra/1.json"}  # fmt: skip
SVAMP_ROW = {"ID": "chal-1", "Body": "There are 290 bananas in 2 groups", "Question": "How big is each?",
             "Equation": "( 290.0 / 2.0 )", "Answer": 145.0, "Type": "Common-Division"}  # fmt: skip
SVAMP_HUB_ROW = SVAMP_ROW | {"Answer": "145", "question_concat": "There are 290 bananas in 2 groups How big is each?"}
ASDIV_ROW = {"body": "Seven red and two green apples.", "question": "How many?", "answer": "9 (apples)",
             "formula": "7+2=9", "solution_type": "Addition"}  # fmt: skip
CSQA_HUB_ROW = {"id": "1afa", "question": "Where is a car kept?", "question_concept": "car", "answerKey": "B",
                "choices": {"label": ["A", "B"], "text": ["sea", "garage"]}}  # fmt: skip
CSQA_ORIGINAL_ROW = {"answerKey": "B", "id": "1afa", "question": {"question_concept": "car", "stem": "Where is a car kept?",
    "choices": [{"label": "A", "text": "sea"}, {"label": "B", "text": "garage"}]}}  # fmt: skip
SAT_HUB_ROW = {"query": "Q: 1+1? Answer Choices: (A)1 (B)2", "choices": ["(A)1", "(B)2"], "gold": [1]}
SAT_ORIGINAL_ROW = {"passage": "", "question": "1+1?", "options": ["(A)1", "(B)2"], "label": "B",
                    "other": {"solution": "Choice B is correct."}}  # fmt: skip
COLLEGE_ROW = {"data_source": "college_math.Beginning_and_Intermediate_Algebra", "question_number": "exercise.8.3.20",
               "question": "Simplify: $-3 \\sqrt{2}-\\sqrt{2}$", "answer": "$-4 \\sqrt{2}$", "license": "CC BY 3.0",
               "data_topic": "college_math.algebra"}  # fmt: skip
GAOKAO_ROW = {"data_topic": "gaokao_bench_math_en", "data_source": "gaokao_bench_math_en", "question": "Find z",
              "answer": "\\( -1 - \\sqrt{3}i \\)", "license": "", "question_number": "gaokao.1"}  # fmt: skip


def write(folder: Path, split: str, *rows: Any) -> Path:
    file = folder / f"{split}.jsonl"
    file.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return file


def option(name: str) -> Any:
    """The data set that `conf/data/<name>.yaml` binds, built as at the door."""
    values = yaml.safe_load((CONF / f"{name}.yaml").read_text())
    module, _, kind = values.pop("_target_").rpartition(".")
    return TypeAdapter(getattr(importlib.import_module(module), kind)).validate_python(values)


def read_tests(name: str, folder: Path) -> list[Problem]:
    return sources.load_tests([name], {name: str(folder)})[name]


@pytest.mark.parametrize(
    ("name", "row", "question", "answer", "output"),
    [
        ("gsm8k", GSM8K_ROW, "2 apples and 3 more?", "5", "#### 5"),
        ("math", MATH_ROW, "Half of 1?", "\\frac12", "\\boxed{0.5}"),
        ("math500", MATH500_ROW, "Half of 1?", "\\frac12", "\\boxed{0.5}"),
        ("svamp", SVAMP_ROW, "There are 290 bananas in 2 groups, How big is each?", "145", "#### 145"),
        ("svamp", SVAMP_HUB_ROW, "There are 290 bananas in 2 groups, How big is each?", "145", "#### 145"),
        ("asdiv", ASDIV_ROW, "Seven red and two green apples. How many?", "9", "9 apples"),
        ("csqa", CSQA_HUB_ROW, "Where is a car kept?\nAnswer Choices: (A) sea (B) garage", "(B) garage", "So (B)."),
        (
            "csqa",
            CSQA_ORIGINAL_ROW,
            "Where is a car kept?\nAnswer Choices: (A) sea (B) garage",
            "(B) garage",
            "So (B).",
        ),
        ("sat_math", SAT_HUB_ROW, "Q: 1+1? Answer Choices: (A)1 (B)2", "B", "The answer is (B)."),
        ("sat_math", SAT_ORIGINAL_ROW, "1+1?\nAnswer Choices: (A)1 (B)2", "(B)2", "The answer is (B)."),
        ("college_math", COLLEGE_ROW, COLLEGE_ROW["question"], "$-4 \\sqrt{2}$", "\\boxed{-4\\sqrt2}"),
        ("gaokao", GAOKAO_ROW, "Find z", "\\( -1 - \\sqrt{3}i \\)", "\\boxed{-\\sqrt3 i-1}"),
    ],
)
def test_fields_of_each_release(
    tmp_path: Path, name: str, row: dict[str, Any], question: str, answer: str, output: str
) -> None:
    write(tmp_path, "test", row)
    (problem,) = read_tests(name, tmp_path)
    assert (problem.question, problem.answer, problem.split, problem.source) == (question, answer, "test", name)
    style = sources.Published(name).style
    assert answers.grade(output, problem.answer, style) == Verdict.CORRECT
    if name not in ("math", "math500"):  # our own gold solutions end so that they grade correct, too
        assert answers.grade(problem.solution, problem.answer, style) == Verdict.CORRECT


def test_subject_level_and_solution_are_kept(tmp_path: Path) -> None:
    given: list[tuple[str, dict[str, Any]]] = [("math", MATH_ROW), ("math500", MATH500_ROW)]
    for name, row in given:
        write(tmp_path, "test", row)
        (problem,) = read_tests(name, tmp_path)
        assert (problem.family, problem.level, problem.solution) == ("Algebra", 3, row["solution"])
        assert sources.difficulty(problem) == 3
    write(tmp_path, "test", COLLEGE_ROW)
    (problem,) = sources.load("college_math", path=str(tmp_path)).tests["college_math"]
    assert problem.family == "algebra"


def test_difficulty_without_a_level_is_the_number_of_gold_steps(tmp_path: Path) -> None:
    write(tmp_path, "test", GSM8K_ROW, {"question": "q", "answer": "1+1=2\n\n2+2=4\n4+4=8\n#### 8"})
    problems = read_tests("gsm8k", tmp_path)
    assert [sources.difficulty(problem) for problem in problems] == [1, 3]
    graded = Problem.make(question="q", answer="2", solution="1+1=2\n#### 2", source="arithmetic", level=4)
    assert sources.difficulty(graded) == 4
    write(tmp_path, "test", MATH_ROW | {"level": "Level ?"})
    (problem,) = read_tests("math", tmp_path)
    assert sources.difficulty(problem) == 0


def test_rows_of_no_use_are_skipped_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "test", ASDIV_ROW, ASDIV_ROW | {"answer": "3:30"}, ASDIV_ROW | {"answer": "Tom; Ann"})
    with caplog.at_level("INFO"):
        assert len(sources.load("asdiv", path=str(tmp_path)).tests["asdiv"]) == 1
    assert "2 rows of no use here skipped" in caplog.text


def test_validation_is_drawn_from_train_by_seed(tmp_path: Path) -> None:
    rows = [{"question": f"{number} and 1?", "answer": f"#### {number + 1}"} for number in range(40)]
    write(tmp_path, "train", *rows)
    write(tmp_path, "test", GSM8K_ROW)
    splits = sources.load("gsm8k", path=str(tmp_path), validation=10, seed=3)
    again = sources.load("gsm8k", path=str(tmp_path), validation=10, seed=3)
    other = sources.load("gsm8k", path=str(tmp_path), validation=10, seed=4)
    assert (len(splits.train), len(splits.validation)) == (30, 10)
    assert {problem.split for problem in splits.validation} == {"validation"}
    assert {problem.id for problem in splits.train}.isdisjoint(problem.id for problem in splits.validation)
    assert splits == again
    assert splits.validation != other.validation


def test_a_published_set_is_cut_to_the_sizes_wanted(tmp_path: Path) -> None:
    rows = [{"question": f"{number} and 1?", "answer": f"#### {number + 1}"} for number in range(40)]
    write(tmp_path, "train", *rows)
    write(tmp_path, "test", *rows[:9])
    whole = sources.load("gsm8k", path=str(tmp_path), validation=10, seed=3)
    cut = sources.Published("gsm8k", path=str(tmp_path), train=7, validation=10, test=5, seed=3).load()
    assert (cut.train, cut.validation) == (whole.train[:7], whole.validation)
    assert cut.tests == {"gsm8k": whole.tests["gsm8k"][:5]}
    assert len(cut.train) == 7


@pytest.mark.parametrize("name", list(sources.SOURCES))
def test_every_published_set_has_its_option(name: str) -> None:
    data = option(name)
    assert isinstance(data, sources.Published)
    assert data.name == name
    assert (data.style, data.has_train, data.worked) == (
        sources.SOURCES[name].style,
        sources.SOURCES[name].has_train,
        sources.SOURCES[name].worked,
    )


def test_files_that_are_not_there_are_complaints(tmp_path: Path) -> None:
    assert sources.Published("gsm8k").complaints() == []
    (complaint,) = sources.Published("gsm8k", path=str(tmp_path / "nowhere")).complaints()
    assert complaint.startswith(f"data.path={tmp_path}/nowhere: does not exist. Give a folder that holds train.jsonl")
    write(tmp_path, "train", GSM8K_ROW)
    (complaint,) = sources.Published("gsm8k", path=str(tmp_path)).complaints()
    assert "no file test.jsonl in it, which data=gsm8k needs" in complaint
    write(tmp_path, "test", "not read yet")
    assert sources.Published("gsm8k", path=str(tmp_path)).complaints() == []
    (complaint,) = sources.Published("gaokao").complaints()
    assert complaint.startswith("data=gaokao: no copy on the hub is known to us. Set data.path to a folder that holds")
    (complaint,) = sources.Published("gsm9k").complaints()
    assert complaint.startswith("data=gsm9k: no such problem set. Known: gsm8k, math")


def test_a_test_set_alone_cannot_be_trained_on() -> None:
    (complaint,) = sources.training_complaints(option("svamp"))
    assert complaint == (
        "data=svamp: svamp has no training problems. Choose data for training (arithmetic, gsm8k, math, csqa, or a file "
        "of your own with jsonl) and name it in eval.sets: eval.sets.out_of_domain=[svamp]"
    )
    assert sources.training_complaints(option("csqa")) == sources.training_complaints(option("arithmetic")) == []


def test_the_arithmetic_world_is_a_data_set() -> None:
    data = option("arithmetic")
    assert data == Arithmetic()
    splits = dataclasses.replace(data, train=3, validation=0, test=2).load()
    assert (len(splits.train), len(splits.validation)) == (3, 0)
    assert {name: len(problems) for name, problems in splits.tests.items()} == {"in_domain": 2, "out_of_domain": 2}


def test_a_solution_that_only_names_the_answer_is_not_worked(tmp_path: Path) -> None:
    for name, row, worked in (
        ("gsm8k", GSM8K_ROW, True),
        ("math", MATH_ROW, True),
        ("csqa", CSQA_HUB_ROW, False),
        ("gsm8k", {"question": "q", "answer": "#### 5"}, False),
    ):
        write(tmp_path, "test", row)
        (problem,) = read_tests(name, tmp_path)
        assert sources.is_worked(problem) is worked


def test_checksum_follows_content() -> None:
    one = Problem.make(question="q", answer="1", solution="s", source="a")
    two = Problem.make(question="q", answer="2", solution="s", source="a")
    assert sources.content_checksum([one, two]) == sources.content_checksum([one, two])
    assert len({sources.content_checksum(each) for each in ([one], [two], [one, two], [two, one])}) == 4


@pytest.mark.parametrize(
    ("name", "row", "message"),
    [
        ("gsm8k", '{"question": "q"', r"test\.jsonl:2: malformed JSON at column 17"),
        ("gsm8k", "[1]", r"test\.jsonl:2: expected a JSON object, found list"),
        ("gsm8k", {"question": "q"}, r"test\.jsonl:2: field 'answer' is missing \(the row has: question\)"),
        ("gsm8k", {"question": " ", "answer": "#### 1"}, r":2: field 'question' is empty"),
        (
            "gsm8k",
            {"question": ["q"], "answer": "#### 1"},
            r":2: field 'question': expected text or a number, found list",
        ),
        ("gsm8k", {"question": "q", "answer": "5"}, r":2: field 'answer' has no last line '#### n'"),
        ("gsm8k", {"question": "q", "answer": "#### many"}, r":2: the gold answer 'many' is not a number"),
        ("gsm8k", GSM8K_ROW, r":2: the same problem \(id problem-\w+\) as at .*test\.jsonl:1"),
        ("math", {"problem": "p", "solution": "no box"}, r":2: field 'solution' has no \\boxed"),
        (
            "math",
            {"problem": "p", "solution": "s", "answer": "\\frac{1"},
            r":2: the gold answer .* is not LaTeX with paired",
        ),
        ("csqa", CSQA_HUB_ROW | {"answerKey": "E"}, r":2: field 'answerKey': 'E' is none of the options"),
        ("csqa", CSQA_HUB_ROW | {"choices": "A"}, r":2: field 'choices': expected labels and texts"),
        ("sat_math", SAT_HUB_ROW | {"gold": []}, r":2: field 'gold': expected a list with one index, found \[\]"),
        ("sat_math", {"question": "q", "label": "A"}, r":2: field 'options': expected a list"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, name: str, row: Any, message: str) -> None:
    good = {"gsm8k": GSM8K_ROW, "math": MATH_ROW, "csqa": CSQA_HUB_ROW, "sat_math": SAT_HUB_ROW}[name]
    write(tmp_path, "test", good, row)
    with pytest.raises(UserError, match=message):
        read_tests(name, tmp_path)


def test_five_faults_at_once(tmp_path: Path) -> None:
    write(tmp_path, "test", *["{"] * 7)
    with pytest.raises(UserError, match=r"7 bad rows.*\n.*:1: .*\n.*\n.*\n.*\n.*:5: .*\n  \.\.\. and 2 more"):
        read_tests("gsm8k", tmp_path)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(
        UserError, match=r"data\.path=.*nowhere: does not exist\. Give a folder that holds train\.jsonl"
    ):
        sources.load("gsm8k", path=str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"no file train\.jsonl in it, which data=gsm8k needs"):
        sources.load("gsm8k", path=str(tmp_path))
    file = write(tmp_path, "train")
    with pytest.raises(UserError, match=r"train\.jsonl holds no problems"):
        sources.load("gsm8k", path=str(tmp_path))
    with pytest.raises(
        UserError, match=r"is a file, not a folder\. .* read by data=jsonl data\.path=.*train\.jsonl\.$"
    ):
        sources.load("gsm8k", path=str(file))
    write(tmp_path, "train", GSM8K_ROW)
    write(tmp_path, "test", GSM8K_ROW)
    with pytest.raises(UserError, match=r"data\.validation=1: gsm8k has 1 training problems"):
        sources.load("gsm8k", path=str(tmp_path), validation=1)
    with pytest.raises(UserError, match=r"data=gsm9k: no such problem set\. Known: gsm8k, math"):
        sources.load("gsm9k", path=str(tmp_path))


class FakeHub:
    """Stands in for the package `datasets`: records what is asked for and answers with rows."""

    def __init__(self, rows: list[dict[str, Any]] | Exception) -> None:
        self.rows, self.asked = rows, []  # type: ignore[var-annotated]

    def load_dataset(self, *args: Any, **options: Any) -> list[dict[str, Any]]:
        self.asked.append((*args, options["split"], options["revision"]))
        if isinstance(self.rows, Exception):
            raise self.rows
        return self.rows


def test_hub_is_asked_for_the_pinned_revision(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub([SVAMP_ROW])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    splits = sources.load("svamp")
    revision = "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef"
    assert hub.asked == [("ChilleD/SVAMP", None, "train", revision), ("ChilleD/SVAMP", None, "test", revision)]
    assert len(splits.tests["svamp"]) == 1  # the same row from both parts is kept once


def test_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", FakeHub(ConnectionError("no route")))
    message = r"openai/gsm8k could not be read from the hub \(ConnectionError: no route\)\. Set data\.path to a folder"
    with pytest.raises(UserError, match=message):
        sources.load("gsm8k")
    message = (
        r"data=gaokao: no copy on the hub is known to us\. Set data\.path to a folder that holds full_test\.json or "
        r"test\.jsonl: data/full_test\.json of MWPBench .* one JSON object a line with the fields data_topic, question"
    )
    with pytest.raises(UserError, match=message):
        sources.load("gaokao")


def test_a_release_may_keep_its_own_file_names(tmp_path: Path) -> None:
    rows = json.dumps(GAOKAO_ROW) + "\n" + json.dumps(COLLEGE_ROW) + "\n"
    (tmp_path / "full_test.json").write_text(rows)
    (tmp_path / "sat-math.jsonl").write_text(json.dumps(SAT_ORIGINAL_ROW) + "\n")
    (tmp_path / "dev_rand_split.jsonl").write_text(json.dumps(CSQA_ORIGINAL_ROW) + "\n")
    names = ["gaokao", "college_math", "sat_math", "csqa"]
    tests = sources.load_tests(names, dict.fromkeys(names, str(tmp_path)))
    assert {name: [problem.question[:6] for problem in problems] for name, problems in tests.items()} == {
        "gaokao": ["Find z"],
        "college_math": ["Simpli"],
        "sat_math": ["1+1?\nA"],
        "csqa": ["Where "],
    }
    with pytest.raises(
        UserError, match=r"no file train\.jsonl or train_rand_split\.jsonl in it, which data=csqa needs: "
    ):
        sources.load("csqa", path=str(tmp_path))


def test_evaluation_sets_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "test", GSM8K_ROW)
    hub = FakeHub([ASDIV_ROW])
    monkeypatch.setitem(sys.modules, "datasets", hub)
    tests = sources.load_tests(["asdiv", "gsm8k", "asdiv"], {"gsm8k": str(tmp_path)})
    assert list(tests) == ["asdiv", "gsm8k"]
    assert [len(problems) for problems in tests.values()] == [1, 1]
    assert {problem.split for problems in tests.values() for problem in problems} == {"test"}
    assert hub.asked == [("EleutherAI/asdiv", "asdiv", "validation", "8f95807222d87b4c688c3c22a6ba2801e1fa03e2")]


def test_math_in_its_original_folders(tmp_path: Path) -> None:
    for split, subject, number in (
        ("train", "algebra", 2),
        ("train", "algebra", 10),
        ("train", "geometry", 1),
        ("test", "algebra", 1),
    ):
        folder = tmp_path / split / subject
        folder.mkdir(parents=True, exist_ok=True)
        row = MATH_ROW | {"problem": f"{subject} {number}"}
        (folder / f"{number}.json").write_text(json.dumps(row, indent=4))
        (folder / f"._{number}.json").write_bytes(b"\0\5\x16\7")  # what a Mac leaves in archives
    splits = sources.load("math", path=str(tmp_path))
    assert [problem.question for problem in splits.train] == ["algebra 2", "algebra 10", "geometry 1"]
    assert [problem.question for problem in splits.tests["math"]] == ["algebra 1"]
    (tmp_path / "train/algebra/2.json").write_text(json.dumps(MATH_ROW | {"solution": "no box"}, indent=4))
    with pytest.raises(UserError, match=r"train/algebra/2\.json:1: field 'solution' has no \\boxed"):
        sources.load("math", path=str(tmp_path))


def test_a_copy_of_the_hub_s_repository(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    def put(path: str, *found: dict[str, Any]) -> None:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(pyarrow.Table.from_pylist(list(found)), tmp_path / path)

    for subject in ("geometry", "algebra"):
        put(f"math/{subject}/train-00000-of-00001.parquet", MATH_ROW | {"problem": subject}, MATH_ROW)
        put(f"math/{subject}/test-00000-of-00001.parquet", MATH_ROW | {"problem": f"test of {subject}"})
    math = sources.load("math", path=str(tmp_path / "math"))
    assert [problem.question for problem in math.train] == ["algebra", "Half of 1?", "geometry"]  # the set's own order
    for name in ("main", "socratic"):  # one set in two versions: ours is main
        for split in ("train", "test"):
            put(f"gsm8k/{name}/{split}-00000-of-00001.parquet", GSM8K_ROW | {"question": f"{name} {split}"})
    gsm8k = sources.load("gsm8k", path=str(tmp_path / "gsm8k"))
    assert [problem.question for problem in [*gsm8k.train, *gsm8k.tests["gsm8k"]]] == ["main train", "main test"]
    put("csqa/data/train-00000-of-00001.parquet", CSQA_HUB_ROW)
    put("csqa/data/validation-00000-of-00001.parquet", CSQA_HUB_ROW | {"question": "held out?"})
    (problem,) = sources.load("csqa", path=str(tmp_path / "csqa")).tests["csqa"]
    assert problem.question.startswith("held out?")


@pytest.mark.parametrize("name", ["test.jsonl", "test.jsonl.gz", "test.json", "test.json.gz"])
def test_files_in_every_form(tmp_path: Path, name: str) -> None:
    content = json.dumps([GSM8K_ROW], indent=1).encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    (problem,) = read_tests("gsm8k", tmp_path)
    assert problem.answer == "5"


def test_numbers_that_are_none_are_no_family_or_level(tmp_path: Path) -> None:
    write(tmp_path, "test", MATH_ROW | {"type": float("nan"), "level": float("nan")})
    (problem,) = read_tests("math", tmp_path)
    assert (problem.family, problem.level) == ("", 0)


def test_all_faults_of_evaluation_sets_at_once(tmp_path: Path) -> None:
    write(tmp_path, "test", GSM8K_ROW, {"question": "q"})
    paths = {"gsm8k": str(tmp_path), "svamp": str(tmp_path / "nowhere"), "math": "/x"}
    with pytest.raises(UserError) as caught:
        sources.load_tests(["gsm8k", "svamp", "gaokao", "gsm9k"], paths)
    message = str(caught.value)
    assert message.startswith("eval.sets:\neval.paths.math: the set is not in eval.sets\ndata=gsm8k: 1 bad rows.")
    assert "nowhere: does not exist. Give a folder that holds test.jsonl (data=svamp)." in message
    assert "Set eval.paths.gaokao to a folder that holds full_test.json" in message
    assert "data=gsm9k: no such problem set. Known: gsm8k" in message
    assert f"eval.paths.svamp={tmp_path}" in message


def test_real_files() -> None:
    if not DATA.exists():
        pytest.skip("shared data not here")
    gsm8k = sources.load("gsm8k", path=str(DATA / "gsm8k"), validation=374)
    assert (len(gsm8k.train), len(gsm8k.validation), len(gsm8k.tests["gsm8k"])) == (7099, 374, 1319)
    assert not any("," in problem.answer for problem in gsm8k.train)
    assert len(sources.load("math500", path=str(DATA / "math500")).tests["math500"]) == 500
    svamp = sources.load("svamp", path=str(DATA / "svamp")).tests["svamp"]
    assert (len(svamp), svamp[0].answer) == (1000, "145")
