"""Problem sets from the hub or from a local folder, all turned into `Problem` with checked gold answers.

Purpose: one loader per published format, with the fields those files really have, so that nothing after it knows
where a problem came from. Every fault of a file is reported with path and line, up to five at once.
Place in the flow: recipes call `load`, and `load_tests` for further evaluation sets; the separate stage then compares
training problems with all of them.

Local files are `train.jsonl` and `test.jsonl` in the folder given (one JSON object a line, the fields of the hub's
version or of the original release; some sets may keep the release's own file names). From the hub, the revision is
pinned where one could be confirmed; `content_checksum` records what was really read in either case.

Example::

    splits = load("gsm8k", path="data/gsm8k", validation=500, seed=0)
    splits.tests["gsm8k"][0].answer                    # "18"
"""

from __future__ import annotations

import hashlib
import json
import logging
import random
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast, get_args

from sei import answers
from sei.data.splits import Splits
from sei.errors import UserError, missing_extra
from sei.records import Problem
from sei.steps import split_steps

logger = logging.getLogger(__name__)

Name = Literal["gsm8k", "math", "svamp", "math500", "asdiv", "csqa", "college_math", "gaokao", "sat_math"]
SHOWN = 5  # faults reported at once

Row = dict[str, Any]


class _Fault(Exception):
    """What is wrong with one row; the reader adds where."""


class _Skip(Exception):
    """A row that does not belong to the set (another topic, no numeric answer); counted and logged, no fault."""


@dataclass(frozen=True)
class Hub:
    """Where a set lies on the hub. `splits` names the hub's splits that make up our train and test."""

    id: str
    revision: str | None  # a commit; None where no commit could be confirmed: the content checksum alone identifies it
    splits: dict[str, tuple[str, ...]]
    configs: tuple[str | None, ...] = (None,)


@dataclass(frozen=True)
class Source:
    """One published problem set: how it is graded, how a row is read, where the hub has it (None: nowhere we know)."""

    style: answers.Style
    read: Callable[[Row], dict[str, Any]]
    hub: Hub | None
    download: str  # what to put into a local folder instead, for people without the hub
    has_train: bool = False
    worked: bool = True  # whether solutions show how the answer is found
    files: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train.jsonl",), "test": ("test.jsonl",)}
    )


def load(
    name: Name,
    *,
    path: str | None = None,
    validation: int = 0,
    seed: int = 0,
    test_only: bool = False,
) -> Splits:
    """Train, validation and test problems of one set; `tests` has one entry, under the set's own name.

    `path` is a local folder; without it the hub is asked. `validation` of the training problems, drawn with
    `seed`, are held out. Sets without training problems (and any set with `test_only`) give empty train and validation.
    Raises UserError for everything that is wrong with the files, five faults at a time.
    """
    source = _source(name)
    wanted = ["test"] if test_only or not source.has_train else ["train", "test"]
    problems = {split: _load_split(name, split, path, "data.path") for split in wanted}
    train = problems.get("train", [])
    if train and not 0 <= validation < len(train):
        raise UserError(f"data.validation={validation}: {name} has {len(train)} training problems; hold out fewer.")
    train, held = hold_out(train, validation if train else 0, seed)
    return Splits(train=train, validation=held, tests={name: problems["test"]})


def load_tests(sets: Sequence[str], paths: Mapping[str, str]) -> dict[str, list[Problem]]:
    """The test problems of each named set, in order; `paths` gives local folders to the sets that are not from the hub.

    Raises UserError naming what is wrong with any of the sets, all at once.
    """
    tests: dict[str, list[Problem]] = {}
    faults = [f"eval.paths.{name}: the set is not in eval.sets" for name in paths if name not in sets]
    for name in dict.fromkeys(sets):
        try:
            _source(name)
            tests[name] = _load_split(cast(Name, name), "test", paths.get(name), f"eval.paths.{name}")
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError(f"eval.sets: {len(faults)} faults.\n" + "\n".join(faults))
    return tests


def style_of(name: Name) -> answers.Style:
    """The grading style of a set: gsm8k (numbers), math (expressions) or choice (letters)."""
    return _source(name).style


def hold_out(problems: list[Problem], count: int, seed: int) -> tuple[list[Problem], list[Problem]]:
    """(train, validation): `count` problems, drawn by seed, go to validation; both keep the order of the file."""
    held = set(random.Random(seed).sample(range(len(problems)), count))
    train = [problem for index, problem in enumerate(problems) if index not in held]
    validation = [_with_split(problems[index], "validation") for index in sorted(held)]
    return train, validation


def is_worked(problem: Problem) -> bool:
    """Whether the problem's solution shows how the answer is found, rather than naming it."""
    return problem.source not in SOURCES or SOURCES[problem.source].worked


def difficulty(problem: Problem) -> int:
    """The problem's level; in word problems without levels the number of steps of the gold solution. 0 where unknown."""
    source = SOURCES.get(problem.source)
    if source is not None and source.style != "gsm8k":  # a step count beside MATH's levels 1 to 5 would mean nothing
        return problem.level
    return problem.level or len(split_steps(problem.solution)[0])


def content_checksum(problems: Iterable[Problem]) -> str:
    """SHA-256 (hex) of ids, solutions and splits in order: equal exactly when the data read is equal."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.id, problem.solution, problem.split], ensure_ascii=False).encode())
    return digest.hexdigest()


def from_rows(
    name: Name, split: str, rows: Iterable[tuple[str, Row | _Fault]], *, strict: bool = True
) -> list[Problem]:
    """The problems of located rows ("path:line", row). `strict`: equal problems are a fault, else the first one stays."""
    source = _source(name)
    problems: list[Problem] = []
    seen: dict[str, str] = {}
    faults: list[str] = []
    skipped = repeated = 0
    for where, row in rows:
        try:
            if isinstance(row, _Fault):
                raise row
            problem = Problem.make(source=name, split=split, **source.read(row))
            if reason := answers.check_gold(problem, source.style):
                raise _Fault(reason)
            if problem.id in seen:
                repeated += 1
                if strict:
                    raise _Fault(f"the same problem (id {problem.id}) as at {seen[problem.id]}")
                continue
        except _Skip:
            skipped += 1
        except _Fault as fault:
            faults.append(f"{where}: {fault}")
        else:
            seen[problem.id] = where
            problems.append(problem)
    if faults:
        more = f"\n  ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        listing = "\n  ".join(faults[:SHOWN])
        raise UserError(f"data={name}: {len(faults)} bad rows. Mend or remove them:\n  {listing}{more}")
    if skipped or (repeated and not strict):
        logger.info("data=%s %s: %d rows of no use here skipped, %d repeated", name, split, skipped, repeated)
    return problems


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise UserError(f"data={name}: no such problem set. Known: {', '.join(get_args(Name))}.")
    return SOURCES[name]


def _load_split(name: Name, split: str, path: str | None, key: str) -> list[Problem]:
    """One split of a set; `key` is where the configuration has its local folder."""
    source = _source(name)
    if path is None:
        return _load_from_hub(name, source, split, key)
    file = _local_file(name, source, split, Path(path), key)
    problems = from_rows(name, split, _json_lines(file))
    if not problems:
        raise UserError(f"data={name}: {file} holds no problems. Expected one JSON object a line.")
    return problems


def _local_file(name: str, source: Source, split: str, folder: Path, key: str) -> Path:
    candidates = source.files[split]
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        raise UserError(f"{key}={folder}: {what}. Give a folder that holds {candidates[0]} (data={name}).")
    for candidate in candidates:
        if (folder / candidate).is_file():
            return folder / candidate
    names = " or ".join(candidates)
    raise UserError(f"{key}={folder}: no file {names} in it, which data={name} needs: {source.download}.")


def _json_lines(file: Path) -> Iterator[tuple[str, Row | _Fault]]:
    """("path:line", object or fault) for every line that is not blank."""
    try:
        lines = file.read_bytes().split(b"\n")
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror}).") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        row: Row | _Fault
        try:
            row = json.loads(line)
            if not isinstance(row, dict):
                row = _Fault(f"expected a JSON object, found {type(row).__name__}")
        except json.JSONDecodeError as error:
            row = _Fault(f"malformed JSON at column {error.colno} ({error.msg})")
        except (UnicodeDecodeError, RecursionError) as error:
            row = _Fault(f"malformed JSON ({type(error).__name__})")
        yield f"{file}:{number}", row


def _load_from_hub(name: Name, source: Source, split: str, key: str) -> list[Problem]:
    hub = source.hub
    names = " or ".join(source.files[split])
    remedy = f"Set {key} to a folder that holds {names}: {source.download}."
    if hub is None:
        raise UserError(f"data={name}: no copy on the hub is known to us. {remedy}")
    try:
        import datasets
    except ImportError as error:
        raise missing_extra("datasets", "hub", f"data={name} from the hub (or set {key})") from error
    rows: list[tuple[str, Row | _Fault]] = []
    try:
        for config in hub.configs:
            for part in hub.splits[split]:
                table = datasets.load_dataset(hub.id, config, split=part, revision=hub.revision)
                place = f"{hub.id}/{config}" if config else hub.id
                rows += [(f"{place}:{part}:{number}", dict(row)) for number, row in enumerate(table, start=1)]
    except Exception as error:  # the hub's clients raise dozens of types, most of them for "no network"
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise UserError(
            f"data={name}: {hub.id} could not be read from the hub ({type(error).__name__}: {first}). {remedy}"
        ) from error
    problems = from_rows(name, split, rows, strict=False)
    if not problems:
        raise UserError(f"data={name}: {hub.id} gave no problems for {split}. {remedy}")
    return problems


# --- rows: the fields each release really has ---------------------------------------------------------------------


def _text(row: Row, *names: str) -> str:
    """The first of the named fields that the row has, as text. Raises _Fault where none is there or it is empty."""
    for name in names:
        if name in row:
            value = row[name]
            if isinstance(value, bool) or not isinstance(value, str | int | float):
                raise _Fault(f"field '{name}': expected text or a number, found {type(value).__name__}")
            text = str(value).strip()
            if not text:
                raise _Fault(f"field '{name}' is empty")
            return text
    raise _Fault(f"field '{names[0]}' is missing (the row has: {', '.join(sorted(row)) or 'nothing'})")


def _gsm8k(row: Row) -> dict[str, Any]:
    solution = _text(row, "answer")
    _, marker, answer = solution.rpartition("####")
    if not marker:
        raise _Fault("field 'answer' has no last line '#### n'")
    return {
        "question": _text(row, "question"),
        "answer": answer.strip().replace(",", ""),
        "solution": solution.replace("\r\n", "\n"),
    }


def _math(row: Row) -> dict[str, Any]:
    solution = _text(row, "solution")
    answer = _text(row, "answer") if "answer" in row else answers.boxed(solution)
    if not answer:
        raise _Fault("field 'solution' has no \\boxed{answer} and there is no field 'answer'")
    level = re.search(r"[1-5]", str(row.get("level", "")))
    return {
        "question": _text(row, "problem", "question"),
        "answer": answer,
        "solution": solution,
        "family": str(row.get("subject") or row.get("type") or ""),
        "level": int(level[0]) if level else 0,
    }


def _svamp(row: Row) -> dict[str, Any]:
    body, question = _text(row, "Body"), _text(row, "Question")
    body += "" if body[-1] in ".?!," else ","  # a third of the bodies are clauses of the question
    answer = re.sub(r"\.0$", "", _text(row, "Answer"))
    equation = _text(row, "Equation")
    return {
        "question": f"{body} {question}",
        "answer": answer,
        "solution": f"{equation} = {answer}\n#### {answer}",
        "family": str(row.get("Type", "")),
    }


def _asdiv(row: Row) -> dict[str, Any]:
    answer = re.sub(r"\s*\([^()]*\)\s*$", "", _text(row, "answer"))  # "9 (apples)"
    if answers.extract(answer, "gsm8k") is None or re.search(r"[A-Za-z;:]", answer):
        raise _Skip  # LeMa evaluates on the numeric answers alone: 2,084 of 2,305
    formula = str(row.get("formula", ""))
    return {
        "question": f"{_text(row, 'body')} {_text(row, 'question')}",
        "answer": answer,
        "solution": f"{formula}\n#### {answer}".lstrip(),
        "family": str(row.get("solution_type", "")),
    }


def _csqa(row: Row) -> dict[str, Any]:
    nested = isinstance(row.get("question"), dict)  # the original release nests stem and choices
    inner: Row = row["question"] if nested else row
    choices = inner.get("choices")
    if isinstance(choices, dict):
        pairs = list(zip(choices.get("label", []), choices.get("text", []), strict=False))
    elif isinstance(choices, list) and all(isinstance(choice, dict) for choice in choices):
        pairs = [(choice.get("label"), choice.get("text")) for choice in choices]
    else:
        raise _Fault("field 'choices': expected labels and texts")
    options = [f"({label}) {text}" for label, text in pairs]
    return _choice(_text(inner, "stem", "question"), options, row, "answerKey")


def _sat_math(row: Row) -> dict[str, Any]:
    if "query" in row:  # the hub's copy: the question with its options in one text, gold as a list of one index
        gold = row.get("gold")
        if not (isinstance(gold, list) and len(gold) == 1 and isinstance(gold[0], int) and 0 <= gold[0] < 5):
            raise _Fault(f"field 'gold': expected a list with one index, found {gold!r}")
        letter = "ABCDE"[gold[0]]
        return {"question": _text(row, "query"), "answer": letter, "solution": f"The answer is ({letter})."}
    options = row.get("options")
    if not isinstance(options, list) or not options:
        raise _Fault("field 'options': expected a list such as ['(A)2', '(B)4']")
    return _choice(_text(row, "question"), [str(option) for option in options], row, "label")


def _choice(stem: str, options: list[str], row: Row, key: str) -> dict[str, Any]:
    """A question with its options; the answer is "(C) garage", so that an output may name the option's text."""
    letter = _text(row, key)
    chosen = [option for option in options if option.startswith(f"({letter})")]
    if len(chosen) != 1:
        raise _Fault(f"field '{key}': {letter!r} is none of the options {', '.join(options)}")
    return {
        "question": f"{stem}\nAnswer Choices: {' '.join(options)}",
        "answer": chosen[0],
        "solution": f"The answer is ({letter}).",
    }


def _benchmark(topic: str) -> Callable[[Row], dict[str, Any]]:
    """Rows of MWPBench's full_test.json: every set in one file, told apart by `data_topic`."""

    def read(row: Row) -> dict[str, Any]:
        found = _text(row, "data_topic")
        if found != topic and not found.startswith(topic + "."):
            raise _Skip
        return {
            "question": _text(row, "question"),
            "answer": _text(row, "answer"),
            "solution": f"The answer is {_text(row, 'answer')}.",
            "family": found.removeprefix(topic).lstrip("."),
        }

    return read


_SUBJECTS = (
    "algebra", "counting_and_probability", "geometry", "intermediate_algebra", "number_theory", "prealgebra",
    "precalculus",
)  # fmt: skip
_JSONL = "one JSON object a line with the fields"
_MWPBENCH = (
    "data/full_test.json of MWPBench (microsoft/unilm on GitHub, mathscale/MWPBench), one JSON object a line with the "
    "fields data_topic, question, answer"
)
_MWPBENCH_FILES: dict[str, tuple[str, ...]] = {"test": ("full_test.json", "test.jsonl")}

# Revisions: each stands beside the id, configuration and splits given here in several public repositories, that of SAT-math
# on the hub's own page of this tree. Fields: from files, dataset cards, or code that reads them. Nothing was downloaded.
SOURCES: dict[str, Source] = {
    "gsm8k": Source(
        "gsm8k",
        _gsm8k,
        Hub(
            "openai/gsm8k",
            "740312add88f781978c0658806c59bc2815b9866",
            {"train": ("train",), "test": ("test",)},
            ("main",),
        ),
        f"grade_school_math/data of openai/grade-school-math on GitHub, {_JSONL} question, answer",
        has_train=True,
    ),
    "math": Source(
        "math",
        _math,
        Hub(
            "EleutherAI/hendrycks_math",
            "21a5633873b6a120296cce3e2df9d5550074f4a3",
            {"train": ("train",), "test": ("test",)},
            _SUBJECTS,
        ),
        f"the problems of hendrycks/math, {_JSONL} problem, solution, level, type",
        has_train=True,
    ),
    # the hub splits SVAMP into 700 + 300; LeMa tests on all 1,000
    "svamp": Source(
        "gsm8k",
        _svamp,
        Hub("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", {"test": ("train", "test")}),
        f"SVAMP.json of arkilpatel/SVAMP on GitHub, {_JSONL} Body, Question, Equation, Answer, Type",
    ),
    "math500": Source(
        "math",
        _math,
        Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", {"test": ("test",)}),
        f"test.jsonl of that data set, {_JSONL} problem, solution, answer, subject, level",
    ),
    # all 2,305 rows are the split 'validation'
    "asdiv": Source(
        "gsm8k",
        _asdiv,
        Hub("EleutherAI/asdiv", "8f95807222d87b4c688c3c22a6ba2801e1fa03e2", {"test": ("validation",)}, ("asdiv",)),
        f"ASDiv.xml of chaochun/nlu-asdiv-dataset on GitHub, {_JSONL} body, question, answer, formula, solution_type",
    ),
    # the test split has no labels: the paper's 1,221 are the validation split
    "csqa": Source(
        "choice",
        _csqa,
        Hub(
            "tau/commonsense_qa",
            "94630fe30dad47192a8546eb75f094926d47e155",
            {"train": ("train",), "test": ("validation",)},
        ),
        "train_rand_split.jsonl and dev_rand_split.jsonl of CommonsenseQA 1.11, as released",
        has_train=True,
        worked=False,
        files={"train": ("train.jsonl", "train_rand_split.jsonl"), "test": ("test.jsonl", "dev_rand_split.jsonl")},
    ),
    # MWPBench of MathScale (SEI's evaluation files), topics as in its driver.py, fields as in its other files. No copy on
    # the hub was found in public loaders or pages, only the file on GitHub, so there is no id and no revision.
    "college_math": Source("math", _benchmark("college_math"), None, _MWPBENCH, files=_MWPBENCH_FILES),
    "gaokao": Source("math", _benchmark("gaokao_bench_math_en"), None, _MWPBENCH, files=_MWPBENCH_FILES),
    # All 220 problems with their choices, as AGIEval has them. SEI tests on `agieval.sat-math` of MWPBench instead: 102 of
    # them, rewritten as questions without choices.
    "sat_math": Source(
        "choice",
        _sat_math,
        Hub("dmayhem93/agieval-sat-math", "385ef339b8285867cf276eee44cbbd785d467879", {"test": ("test",)}),
        f"data/v1/sat-math.jsonl of ruixiangcui/AGIEval on GitHub, {_JSONL} question, options, label",
        files={"test": ("test.jsonl", "sat-math.jsonl")},
    ),
}


def _with_split(problem: Problem, split: str) -> Problem:
    return Problem.from_json({**problem.to_json(), "split": split})
