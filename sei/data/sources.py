"""The published problem sets, from the hub or from a local folder, as `Problem` with checked gold answers.

Purpose: one registry of the sets we know, so that nothing after it knows where a problem came from, and one data set
class for all of them.
Place in the flow: `data=gsm8k` and its like are `Published`; `load_tests` reads further evaluation sets by name; the
separate stage then compares training problems with all of them.

Local files are `train.jsonl` and `test.jsonl` in the folder given (one JSON object a line, the fields of the hub's
version or of the original release; some sets may keep the release's own file names), the hub's Parquet files, or folders
`train` and `test` with many files, as MATH was released. From the hub, the revision is pinned where one could be confirmed;
`content_checksum` records what was really read in either case.

Example::

    splits = Published("gsm8k", path="data/gsm8k", validation=500).load()
    splits.tests["gsm8k"][0].answer                    # "18"
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sei import answers
from sei.data import arithmetic, formats
from sei.data.base import Data, OverlapLimits
from sei.data.files import WANTED, Fault, Row, data_files, rows
from sei.data.rows import Reader, to_problems
from sei.data.splits import Splits, hold_out
from sei.errors import UserError
from sei.records import Problem
from sei.steps import split_steps
from sei.values import Count, Whole


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
    read: Reader
    hub: Hub | None
    download: str  # what to put into a local folder instead, for people without the hub
    size: tuple[int, int] = (0, 0)  # training and test problems, as published
    has_train: bool = False
    worked: bool = True  # whether solutions show how the answer is found
    licence: str = ""  # as its authors state it; "" where we know none
    files: dict[str, tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train.jsonl",), "test": ("test.jsonl",)}
    )


@dataclass(frozen=True)
class Published:
    """A set of the registry as a data set. Its test set has its own name."""

    name: str  # one of SOURCES
    path: str | None = None  # a local folder instead of the hub
    train: Count | None = None  # the first so many of the training problems, null: all
    validation: Whole = 0  # held out of the training problems by seed
    test: Count | None = None  # the first so many, null: all
    seed: int = 0
    overlap: OverlapLimits = field(default_factory=OverlapLimits)

    @property
    def style(self) -> answers.Style:
        """How its answers are graded."""
        return _source(self.name).style

    @property
    def has_train(self) -> bool:
        """Whether it has training problems."""
        return _source(self.name).has_train

    @property
    def test_sets(self) -> tuple[str, ...]:
        """One, with its own name."""
        return (self.name,)

    @property
    def worked(self) -> bool:
        """Whether its solutions show how the answer is found."""
        return _source(self.name).worked

    def complaints(self) -> list[str]:
        """A name that is none of the registry's, or a file that is not there."""
        try:
            for split in _splits(self.name):
                _place(self.name, split, self.path, "data.path")
        except UserError as error:
            return [str(error)]
        return []

    def load(self) -> Splits:
        """Its problems, cut to the sizes wanted."""
        splits = load(self.name, path=self.path, validation=self.validation, seed=self.seed)
        tests = {name: problems[: self.test] for name, problems in splits.tests.items()}
        return Splits(splits.train[: self.train], splits.validation, tests)


def load(name: str, *, path: str | None = None, validation: int = 0, seed: int = 0) -> Splits:
    """Train, validation and test problems of one set; `tests` has one entry, under the set's own name.

    `path` is a local folder; without it the hub is asked. `validation` of the training problems, drawn with
    `seed`, are held out. Sets without training problems give empty train and validation.
    Raises UserError for everything that is wrong with the files, five faults at a time.
    """
    problems = {split: _load_split(name, split, path, "data.path") for split in _splits(name)}
    train = problems.get("train", [])
    if train and not 0 <= validation < len(train):
        raise UserError(f"data.validation={validation}: {name} has {len(train)} training problems; hold out fewer.")
    train, held = hold_out(train, validation if train else 0, seed, "validation")
    return Splits(train=train, validation=held, tests={name: problems["test"]})


def load_tests(sets: Sequence[str], paths: Mapping[str, str]) -> dict[str, list[Problem]]:
    """The test problems of each named set, in order; `paths` gives local folders to the sets that are not from the hub.

    Raises UserError naming what is wrong with any of the sets, all at once.
    """
    tests: dict[str, list[Problem]] = {}
    faults = [f"eval.paths.{name}: the set is not in eval.sets" for name in paths if name not in sets]
    for name in dict.fromkeys(sets):
        try:
            tests[name] = _load_split(name, "test", paths.get(name), f"eval.paths.{name}")
        except UserError as error:
            faults.append(str(error))
    if faults:
        raise UserError("\n".join(["eval.sets:", *faults]))
    return tests


def training_complaints(data: Data) -> list[str]:
    """Why nothing can be trained on `data`. Not asked with recorded attempts: they may be at problems of any split."""
    if data.has_train:
        return []
    able = ", ".join(name for name, source in SOURCES.items() if source.has_train)
    return [
        f"data={data.name}: {data.name} has no training problems. Choose data for training (arithmetic, {able}, or a file "
        f"of your own with jsonl) and name it in eval.sets: eval.sets.out_of_domain=[{data.name}]"
    ]


def stand_ins(name: str, path: str | None) -> Splits | None:
    """As many problems as a published set has, with texts about as long as GSM8K's: for a plan, where the set cannot be read.

    None for sets of your own, whose size nobody knows.
    """
    if name not in SOURCES or path is not None:
        return None
    texts = [_as_long_as_gsm8k(problem) for problem in arithmetic.load(train=50, validation=0, test=1, seed=0).train]
    made = {
        split: [
            dataclasses.replace(texts[number % len(texts)], id=f"{name}-{split}-{number}", source=name, split=split)
            for number in range(size)
        ]
        for split, size in zip(("train", "test"), SOURCES[name].size, strict=True)
    }
    return Splits(made["train"], [], {name: made["test"]})


def _as_long_as_gsm8k(problem: Problem) -> Problem:
    """54 tokens a question and 94 a solution are GSM8K's means; the arithmetic world has 25 and 33."""
    return dataclasses.replace(
        problem, question=f"{problem.question} {problem.question}", solution="\n".join([problem.solution] * 3)
    )


def nowhere(name: str, key: str) -> str:
    """Why a set's test problems must come from a folder of your own (configuration key `key`), "" where the hub has them."""
    if name not in SOURCES or SOURCES[name].hub is not None:
        return ""
    return f"no copy on the hub is known to us. {_remedy(name, 'test', key)}"


def is_worked(problem: Problem) -> bool:
    """Whether the problem's solution shows how the answer is found, rather than naming it."""
    return bool(split_steps(problem.solution)[0])


def difficulty(problem: Problem) -> int:
    """The problem's level; without one, the number of steps of a solution in GSM8K's format. 0 where unknown."""
    steps, answer = split_steps(problem.solution)
    # without an answer line it is free text as in MATH, and a count of its lines beside levels 1 to 5 would mean nothing
    return problem.level or (0 if answer is None else len(steps))


def content_checksum(problems: Iterable[Problem]) -> str:
    """SHA-256 (hex) of ids, solutions and splits in order: equal exactly when the data read is equal."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.id, problem.solution, problem.split], ensure_ascii=False).encode())
    return digest.hexdigest()


def _source(name: str) -> Source:
    if name not in SOURCES:
        raise UserError(f"data={name}: no such problem set. Known: {', '.join(SOURCES)}.")
    return SOURCES[name]


def _splits(name: str) -> tuple[str, ...]:
    """The splits a set has."""
    return ("train", "test") if _source(name).has_train else ("test",)


def _load_split(name: str, split: str, path: str | None, key: str) -> list[Problem]:
    """One split of a set; `key` is where the configuration has its local folder."""
    source, place = _source(name), _place(name, split, path, key)
    found: Iterable[tuple[str, Row | Fault]]
    if isinstance(place, Hub):
        found = hub_rows(place, split, f"data={name}", _remedy(name, split, key))
        none = f"{place.id} gave no problems for {split}. {_remedy(name, split, key)}"
    else:
        found = (row for file in place for row in rows(file))
        none = f"{place[0]} holds no problems. {WANTED}."
    # The set's own parts may repeat a row, a file that someone made of them should not.
    strict = not isinstance(place, Hub) and len(place) == 1 and place[0].suffix != ".parquet"
    problems = to_problems(found, source.read, name=name, split=split, style=source.style, strict=strict)
    if not problems:
        raise UserError(f"data={name}: {none}")
    return problems


def _place(name: str, split: str, path: str | None, key: str) -> list[Path] | Hub:
    """Where one split is read from: files of the local folder, or the hub. Raises UserError where there is neither."""
    source = _source(name)
    if path is None:
        if source.hub is None:
            raise UserError(f"data={name}: no copy on the hub is known to us. {_remedy(name, split, key)}")
        return source.hub
    folder, candidates = Path(path), source.files[split]
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.exists() else "does not exist"
        own = f" A file with fields of your own is read by data=jsonl data.path={folder}." if folder.exists() else ""
        raise UserError(f"{key}={folder}: {what}. Give a folder that holds {candidates[0]} (data={name}).{own}")
    for files in _local(source, split, folder):
        if files:
            return files
    names = " or ".join(candidates)
    raise UserError(
        f"{key}={folder}: no file {names} in it, which data={name} needs: {source.download}. The hub's Parquet files are "
        f"read too, and a folder {split} with one problem a file.{data_files(folder)}"
    )


def _local(source: Source, split: str, folder: Path) -> Iterator[list[Path]]:
    """What a folder may hold of one split, most particular first; the first that is not empty counts."""
    for candidate in source.files[split]:
        stem = candidate.rpartition(".")[0]
        for name in (candidate, f"{candidate}.gz", f"{stem}.json", f"{stem}.json.gz", f"{stem}.parquet"):
            yield [folder / name] if (folder / name).is_file() else []
    hub = source.hub or Hub("", None, {split: (split,)})
    # A copy of the hub's repository: train-00000-of-00001.parquet, in a folder for each configuration.
    configured = [folder / config for config in hub.configs if config and (folder / config).is_dir()]
    yield [
        file
        for place in configured or [folder]
        for part in hub.splits[split]
        for file in sorted(place.rglob(f"{part}-*-of-*.parquet"))
    ]
    yield sorted(_data_files_below(folder / split), key=_natural)


def _data_files_below(folder: Path) -> Iterator[Path]:
    """MATH as released: algebra/1.json, algebra/2.json, ..., one problem a file."""
    for file in folder.rglob("*"):
        if re.fullmatch(r"[^.].*\.(jsonl?|parquet)(\.gz)?", file.name) and file.is_file():
            yield file


def _natural(path: Path) -> list[tuple[int, str]]:
    """The order of names with numbers: 2.json before 10.json."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"([0-9]{1,18})", str(path))]


def hub_rows(hub: Hub, split: str, what: str, remedy: str) -> list[tuple[str, Row | Fault]]:
    """("id/configuration:part:number", row) for every row of a split.

    Raises UserError where the hub cannot be read; `what` was asked for, and `remedy` says what to do instead.
    """
    import datasets

    found: list[tuple[str, Row | Fault]] = []
    try:
        for config in hub.configs:
            for part in hub.splits[split]:
                table = datasets.load_dataset(hub.id, config, split=part, revision=hub.revision)
                place = f"{hub.id}/{config}" if config else hub.id
                found += [(f"{place}:{part}:{number}", dict(row)) for number, row in enumerate(table, start=1)]
    except Exception as error:  # the hub's clients raise dozens of types, most of them for "no network"
        first = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise UserError(
            f"{what}: {hub.id} could not be read from the hub ({type(error).__name__}: {first}). {remedy}"
        ) from error
    return found


def _remedy(name: str, split: str, key: str) -> str:
    source = _source(name)
    return f"Set {key} to a folder that holds {' or '.join(source.files[split])}: {source.download}."


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
        formats.gsm8k,
        Hub(
            "openai/gsm8k",
            "740312add88f781978c0658806c59bc2815b9866",
            {"train": ("train",), "test": ("test",)},
            ("main",),
        ),
        f"grade_school_math/data of openai/grade-school-math on GitHub, {_JSONL} question, answer",
        size=(7_473, 1_319),
        has_train=True,
        licence="MIT",
    ),
    "math": Source(
        "math",
        formats.math,
        Hub(
            "EleutherAI/hendrycks_math",
            "21a5633873b6a120296cce3e2df9d5550074f4a3",
            {"train": ("train",), "test": ("test",)},
            _SUBJECTS,
        ),
        f"the problems of hendrycks/math, {_JSONL} problem, solution, level, type",
        size=(7_500, 5_000),
        has_train=True,
        licence="MIT",
    ),
    # the hub splits SVAMP into 700 + 300; LeMa tests on all 1,000
    "svamp": Source(
        "gsm8k",
        formats.svamp,
        Hub("ChilleD/SVAMP", "5e0bf1e5e7c0e9c4bc39180d224f41f3f801b7ef", {"test": ("train", "test")}),
        f"SVAMP.json of arkilpatel/SVAMP on GitHub, {_JSONL} Body, Question, Equation, Answer, Type",
        size=(0, 1_000),
    ),
    "math500": Source(
        "math",
        formats.math,
        Hub("HuggingFaceH4/MATH-500", "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", {"test": ("test",)}),
        f"test.jsonl of that data set, {_JSONL} problem, solution, answer, subject, level",
        size=(0, 500),
    ),
    # all 2,305 rows are the split 'validation'
    "asdiv": Source(
        "gsm8k",
        formats.asdiv,
        Hub("EleutherAI/asdiv", "8f95807222d87b4c688c3c22a6ba2801e1fa03e2", {"test": ("validation",)}, ("asdiv",)),
        f"ASDiv.xml of chaochun/nlu-asdiv-dataset on GitHub, {_JSONL} body, question, answer, formula, solution_type",
        size=(0, 2_305),
    ),
    # the test split has no labels: the paper's 1,221 are the validation split
    "csqa": Source(
        "choice",
        formats.csqa,
        Hub(
            "tau/commonsense_qa",
            "94630fe30dad47192a8546eb75f094926d47e155",
            {"train": ("train",), "test": ("validation",)},
        ),
        "train_rand_split.jsonl and dev_rand_split.jsonl of CommonsenseQA 1.11, as released",
        size=(9_741, 1_221),
        has_train=True,
        licence="MIT",
        worked=False,
        files={"train": ("train.jsonl", "train_rand_split.jsonl"), "test": ("test.jsonl", "dev_rand_split.jsonl")},
    ),
    # MWPBench of MathScale (SEI's evaluation files), topics as in its driver.py, fields as in its other files. No copy on
    # the hub was found in public loaders or pages, only the file on GitHub, so there is no id and no revision.
    "college_math": Source(
        "math", formats.benchmark("college_math"), None, _MWPBENCH, size=(0, 2_818), files=_MWPBENCH_FILES
    ),
    "gaokao": Source(
        "math", formats.benchmark("gaokao_bench_math_en"), None, _MWPBENCH, size=(0, 508), files=_MWPBENCH_FILES
    ),
    # All 220 problems with their choices, as AGIEval has them. SEI tests on `agieval.sat-math` of MWPBench instead: 102 of
    # them, rewritten as questions without choices.
    "sat_math": Source(
        "choice",
        formats.sat_math,
        Hub("dmayhem93/agieval-sat-math", "385ef339b8285867cf276eee44cbbd785d467879", {"test": ("test",)}),
        f"data/v1/sat-math.jsonl of ruixiangcui/AGIEval on GitHub, {_JSONL} question, options, label",
        size=(0, 220),
        files={"test": ("test.jsonl", "sat-math.jsonl")},
    ),
}
