"""One reader for all outside text: what plainly is rows is read, the rest is named, nothing else is ever raised."""

from __future__ import annotations

import codecs
import gzip
import json
import pickle
import random
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sei.data.files import MAX_FAULTS, WANTED, Fault, Row, rows
from sei.data.sources import Published
from sei.errors import UserError

CASES = Path(__file__).parents[2] / "../shared/cases/data"
ROWS: list[Row] = [
    {"question": f"{n} and “1”\u2028more?", "answer": f"{n}+1\n#### {n + 1}", "n": [n]} for n in range(3)
]


def lines(found: list[Row] = ROWS, end: str = "\n", **options: Any) -> str:
    return "".join(json.dumps(row, ensure_ascii=False, **options) + end for row in found)


def read(file: Path, content: bytes | str) -> list[tuple[str, Row | str]]:
    """What is read of the content: (place after the path, row or fault's text)."""
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    found = [(place.removeprefix(str(file)), row) for place, row in rows(file)]
    return [(place, str(row) if isinstance(row, Fault) else row) for place, row in found]


ARRAY = json.dumps(ROWS, indent=1, ensure_ascii=False)
SAME: dict[str, tuple[bytes | str, list[str]]] = {
    "JSONL": (lines(), [":1", ":2", ":3"]),
    "no end of the last line": (lines().rstrip("\n"), [":1", ":2", ":3"]),
    "escaped": ("".join(json.dumps(row) + "\n" for row in ROWS), [":1", ":2", ":3"]),
    "blank lines": ("\n" + lines(end="\n \n\n"), [":2", ":5", ":8"]),
    "CRLF": (lines(end="\r\n"), [":1", ":2", ":3"]),
    "CR": (lines(end="\r"), [":1", ":2", ":3"]),
    "CRLF made twice": (lines(end="\r\r\n"), [":1", ":2", ":3"]),
    "byte order mark": (codecs.BOM_UTF8 + lines().encode(), [":1", ":2", ":3"]),
    "files with marks, one after another": (lines(end="\n\ufeff"), [":1", ":2", ":3"]),
    "UTF-16 with a mark": (lines().encode("utf-16"), [":1", ":2", ":3"]),
    "UTF-16, big end first": (codecs.BOM_UTF16_BE + lines(end="\r\n").encode("utf-16-be"), [":1", ":2", ":3"]),
    "UTF-16 without a mark": (lines().encode("utf-16-le"), [":1", ":2", ":3"]),
    "UTF-32": (lines().encode("utf-32"), [":1", ":2", ":3"]),
    "array": (ARRAY, [":2", ":9", ":16"]),
    "array on one line": (json.dumps(ROWS), [":1", ":1", ":1"]),
    "array with a mark, CRLF": (codecs.BOM_UTF8 + ARRAY.replace("\n", "\r\n").encode(), [":2", ":9", ":16"]),
    "array in UTF-16": (ARRAY.encode("utf-16"), [":2", ":9", ":16"]),
    "an array a line": (lines(end="]\n").replace('{"question"', '[{"question"'), [":1", ":2", ":3"]),
    "a comma behind the last": (f"[{lines(end=',')}]", [":1", ":1", ":1"]),
    "objects over lines": (lines(indent=1), [":1", ":8", ":15"]),
    "objects over lines, the first moved in": (" " + lines(indent=1), [":1", ":8", ":15"]),
    "gzip": (gzip.compress(lines().encode()), [":1", ":2", ":3"]),
    "gzip in two parts": (gzip.compress(lines(ROWS[:1]).encode()) + gzip.compress(lines(ROWS[1:]).encode()), [":1", ":2", ":3"]),
    "gzipped array in UTF-16": (gzip.compress(ARRAY.encode("utf-16")), [":2", ":9", ":16"]),
}  # fmt: skip


@pytest.mark.parametrize("form", SAME)
@pytest.mark.parametrize("name", ["train.jsonl", "train.json", "train.gz", "train.txt"])
def test_what_is_plainly_rows_is_read_whatever_the_file_is_called(tmp_path: Path, form: str, name: str) -> None:
    content, places = SAME[form]
    assert read(tmp_path / name, content) == list(zip(places, ROWS, strict=True))


def test_parquet(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = pyarrow.Table.from_pylist([*ROWS, {"question": None, "answer": "a", "n": []}])
    for compression in ("snappy", "zstd", None):
        file = tmp_path / "train.jsonl"
        parquet.write_table(table, file, compression=compression, row_group_size=2)
        assert list(rows(file)) == [
            (f"{file}, row {number}", row)
            for number, row in enumerate([*ROWS, {"question": None, "answer": "a", "n": []}], start=1)
        ]
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UserError, match=r"train\.jsonl: a Parquet file that cannot be read \(.+\)\.$"):
        list(rows(file))


def test_long_arrays_are_read_piece_by_piece(tmp_path: Path) -> None:
    many = [{"question": f"{n} " + "é" * random.Random(n).randrange(3000), "answer": str(n)} for n in range(300)]
    for indent in (None, 2):
        found = read(tmp_path / "a.json", json.dumps(many, ensure_ascii=False, indent=indent))
        assert [row for _, row in found] == many
    long = [{"question": "a" * 2_000_000}, {"question": "b"}]
    assert [row for _, row in read(tmp_path / "a.json", json.dumps(long))] == long


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "q"', r"malformed JSON at column 17 \(Expecting ',' delimiter\)"),
        ('{"question": "line', "malformed JSON at column 14"),
        ("[1]", "expected a JSON object, found list"),
        ("null", "expected a JSON object, found NoneType"),
        ('"text"', "expected a JSON object, found str"),
        ('{"answer": ' + "9" * 5000 + "}", "a number of more than 4,300 digits"),
        ('{"a": ' + "[" * 10_000 + "]" * 10_000 + "}", "nested too deep to be read"),
        ('{"a":' * 10_000, "nested too deep to be read"),
        (b'{"question": "caf\xe9"}', r"not UTF-8 \(byte 0xe9 at 18\)\. Save the file as UTF-8"),
        (b'{"question": "\xed\xa0\xbd"}', "not UTF-8"),  # half of a character, written as if it were one
        ("\0\0\0\0", "malformed JSON at column 1"),
    ],
)
def test_a_bad_line_is_a_fault_in_its_place_and_the_next_is_read(
    tmp_path: Path, line: str | bytes, message: str
) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    first, bad, last = read(tmp_path / "a.jsonl", b'{"a": 1}\n' + raw + b'\n{"a": 2}\n')
    assert (first, last) == ((":1", {"a": 1}), (":3", {"a": 2}))
    assert bad[0] == ":2"
    assert re.search(message, str(bad[1]))


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ('[\n{"a": 1},\n{"a": ', ":3", r"malformed JSON \(the file ends inside the array or object that begins here\)"),
        ('[\n{"a": 1},\n{"a": "cut', ":3", "the file ends inside"),
        ('[\n{"a": 1},\n', ":3", "the file ends inside"),
        ('[\n{"a": 1},\n{"a": x}]', ":3", r"malformed JSON from here on \(Expecting value: 'x\}\]'\)"),
        ('[\n{"a": 1},\n[2]]', ":3", "expected a JSON object, found list"),
        ('[\n{"a": 1}]\n]', ":3", "malformed JSON from here on"),
        ('[\n{"a": 1},\n' + "[" * 10_000, ":3", "nested too deep"),
        ('[\n{"a": 1},\n' + "9" * 5000 + "]", ":3", "more than 4,300 digits"),
    ],
)
def test_faults_in_an_array_have_a_line(tmp_path: Path, text: str, place: str, message: str) -> None:
    first, (found, fault) = read(tmp_path / "a.json", text)
    assert first == (":2", {"a": 1})
    assert found == place
    assert re.search(message, str(fault))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"PK\x03\x04....", "is a ZIP archive"),
        (b"BZh91AY&SY", "is packed with bzip2, not rows. Unpack it"),
        (b"\xfd7zXZ\x00", "is packed with xz"),
        (b"\x28\xb5\x2f\xfd...", "is packed with Zstandard, not rows. Unpack it: zstd -d"),
        (b"ARROW1\0\0", "is an Arrow file"),
        (b"\xff\xff\xff\xff\x88\x01", "is an Arrow stream"),
        (b"SQLite format 3\0", "is an SQLite database"),
        (pickle.dumps(ROWS), "is a Python pickle, which is never read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is the pointer of Git LFS"),
        (b"\n<!DOCTYPE html>\n<html>", "is HTML or XML, not rows. Download the file itself"),
        (b"\x7fELF\x02\x01\x01\0\0\0", "is a binary file of an unknown kind"),
        (b"question,answer\nq,5\n", "is text but not JSON, it begins 'question,answer'. Convert it, for a table: pandas"),
        (codecs.BOM_UTF8 + b"question\tanswer\n", "is text but not JSON, it begins 'question"),
        ("question,answer\n".encode("utf-16"), "is text but not JSON, it begins 'question,answer'"),
        (gzip.compress(b"question,answer\n", mtime=0), "is text but not JSON"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "is gzipped twice"),
        (gzip.compress(b"PAR1", mtime=0), "is Parquet, gzipped"),
        (codecs.BOM_UTF16_LE + b'{\0"\0\0\xd8"\0}\0', "not utf-16-le text (illegal"),
    ],
)  # fmt: skip
def test_what_is_no_rows_is_named_with_what_is_wanted(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read(tmp_path / "a.jsonl", content)
    assert str(caught.value).startswith(f"{tmp_path}/a.jsonl: ")
    assert message in str(caught.value)
    assert str(caught.value).endswith(f"{WANTED}.")


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent\.jsonl: cannot be read \(No such file or directory\)"):
        list(rows(tmp_path / "absent.jsonl"))
    (tmp_path / "b.jsonl").touch()
    (tmp_path / "a.parquet").touch()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(UserError, match=r": is a folder, not a file\. It holds a\.parquet, b\.jsonl\.$"):
        list(rows(tmp_path))
    assert read(tmp_path / "empty.jsonl", b"") == read(tmp_path / "mark.jsonl", codecs.BOM_UTF16_LE) == []
    packed = gzip.compress(lines(ROWS * 100).encode())
    for damaged in (packed[:-30], packed[:50] + b"\xff" * 20 + packed[70:]):
        with pytest.raises(UserError, match="the gzip file is damaged or not complete"):
            read(tmp_path / "cut.jsonl.gz", damaged)


def test_halves_of_characters_are_replaced_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = (
        '{"a": "\\ud83d!", "\\uDE00": [{"b": "\\ude00\\ud83d"}]}\n{"a": "\\ud83d\\ude00 \\\\ud83d"}\n{"a": "\\ud83d"}\n'
    )
    expected = [
        {"a": "\ufffd!", "\ufffd": [{"b": "\ufffd\ufffd"}]},
        {"a": "\U0001f600 \\ud83d"},
        {"a": "\ufffd"},
    ]
    for content in (text, "[" + text.replace("}\n", "},\n") + "]"):
        caplog.clear()
        assert [row for _, row in read(tmp_path / "a.jsonl", content)] == expected
        assert f"a.jsonl: 2 rows hold half a character (an unpaired surrogate, such as \\ud83d), replaced by U+FFFD; the first at {tmp_path}/a.jsonl:1" in caplog.text  # fmt: skip  # noqa: E501


def test_bombs_are_not_unpacked(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    bomb = gzip.compress(b'{"question": "' + b"a" * 200_000_000)
    with pytest.raises(
        UserError, match=r"its 0\.2 MiB unpack to more than 3\d MiB, .* gunzip it and give the plain file"
    ):
        read(tmp_path / "a.jsonl", bomb)
    file = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"question": ["a" * 1_000_000] * 2000}), file, compression="zstd")
    with pytest.raises(UserError, match="unpack to more than 32 MiB, as a decompression bomb does"):
        list(rows(file))


def test_repetitive_rows_are_no_bomb(tmp_path: Path) -> None:
    assert len(read(tmp_path / "a.gz", gzip.compress(b'{"a": "one more time"}\n' * 20_000, 9))) == 20_000


HOSTILE: dict[str, Callable[[int], bytes]] = {
    "blank lines": lambda size: b"\n" * size,
    "braces": lambda size: b"{" * size,
    "brackets": lambda size: b"[" * size,
    "lines of braces": lambda size: b"{\n" * (size // 2),
    "commas": lambda size: b"[" + b"," * size,
    "numbers": lambda size: b"[" + b"1," * (size // 2),
    "digits": lambda size: b'{"a": ' + b"9" * size + b"}",
    "a string without end": lambda size: b'["' + b"a" * size,
    "backslashes": lambda size: b'{"a": "' + b"\\" * size + b'"}',
    "halves": lambda size: b'{"a": "' + b"\\ud83d" * (size // 6) + b'"}',
    "carriage returns": lambda size: b"\r" * size,
    "invalid bytes": lambda size: b"{\xfe\n" * (size // 3),
    "noise": lambda size: b"{" + random.Random(0).randbytes(size),
    "packed blank lines": lambda size: gzip.compress(b"\n" * (20 * size)),
    "objects that go on": lambda size: b'{\n "a": 1,\n' * (size // 11),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_megabyte_of_anything_is_read_or_refused_at_once(tmp_path: Path, kind: str) -> None:
    content = HOSTILE[kind](1_000_000)
    start = time.process_time()
    try:
        found = read(tmp_path / "a.jsonl", content)
    except UserError:
        found = []
    assert time.process_time() - start < 1
    assert sum(isinstance(row, str) for _, row in found) <= MAX_FAULTS


def test_damaged_files_raise_nothing_else(tmp_path: Path) -> None:
    draw = random.Random(0)
    good = [content if isinstance(content, bytes) else content.encode() for content, _ in SAME.values()]
    for _ in range(2000):
        content = bytearray(draw.choice(good))
        for _ in range(draw.randrange(1, 4)):
            start = draw.randrange(len(content))
            content[start : start + draw.randrange(4)] = draw.choice(
                [b"", b"\0", b"\xff\xfe", b"[", b"{", b'"', b"\\ud800", b"\r"]
            )
        try:
            for _, row in read(tmp_path / "a.jsonl", bytes(content)):
                assert isinstance(row, str) or json.dumps(row, ensure_ascii=False).encode()
        except UserError as error:
            assert str(error).startswith(f"{tmp_path}/a.jsonl: ")  # noqa: PT017


@pytest.mark.skipif(not CASES.is_dir(), reason="the shared cases are not beside the project")
def test_handed_cases() -> None:
    array = Published("gsm8k", path=str(CASES / "array-message")).load()
    assert (len(array.train), len(array.tests["gsm8k"])) == (8, 2)
    (problem,) = Published("gsm8k", path=str(CASES / "surrogate")).load().train
    assert problem.question == "Ann has 2 \ufffd pens and 3 more. How many?"
    with pytest.raises(
        UserError, match=r"3 bad rows.*\n.*train\.jsonl:1: field 'solution'.*\n.*:2: field 'problem'.*\n.*:3: f"
    ):
        Published("math", path=str(CASES / "nan")).load()
