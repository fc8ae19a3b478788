"""Rows of a file of outside text: problems, recorded attempts, evaluation sets.

Purpose: one reader for everything that others write. What plainly means rows of named fields is read, whatever the file is
called: JSON objects one a line, one after another or in an array, in UTF-8, UTF-16 or UTF-32, with a byte order mark or
without, with any line ends, gzipped; Parquet. Everything else is an error that says what the file is and what is wanted.
Place in the flow: the data sets in `sei.data` and the recorded engine read here. Nothing in a file can raise anything but
`UserError`; what is wrong with one row is a `Fault` in its place, and the rows after it are still read.

Example::

    for where, row in rows(Path("test.jsonl.gz")):     # ("test.jsonl.gz:1", {"question": ..., "answer": ...})
        if isinstance(row, Fault): ...                  # ("test.jsonl.gz:2", Fault("malformed JSON at column 9 ..."))
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import logging
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from sei.errors import UserError

logger = logging.getLogger(__name__)

Row = dict[str, Any]

WANTED = "Wanted: JSON objects, one a line (JSONL) or in one array, gzipped or not; or Parquet"
MAX_FAULTS = 1000  # bad rows after which a file is not read on: it is no file of rows, or none of these
_PACKED_FLOOR, _PACKED_RATIO = 32 * 2**20, 200  # bytes that a packed file may unpack to, at least; times its size
_CHUNK = 2**16  # bytes looked at before a file is read; characters read at a time of what is no line


class Fault(Exception):
    """What is wrong with one row; whoever reads the rows adds where."""


def rows(path: Path) -> Iterator[tuple[str, Row | Fault]]:
    """(place, row or fault) of every row; the place is "path:line", in Parquet "path, row number".

    Half of a character that JSON wrote in two halves (an unpaired surrogate, as models leave them at a limit) is replaced
    by U+FFFD, since it cannot be written anywhere; such rows are counted and logged. Raises UserError where the file cannot
    be read at all.
    """
    faults, mended = 0, []
    for place, row, whole in _read(path):
        if not whole:
            mended.append(place)
        yield place, row
        faults += isinstance(row, Fault)
        if faults == MAX_FAULTS:
            break
    if mended:
        logger.warning(
            "%s: %d rows hold half a character (an unpaired surrogate, such as \\ud83d), replaced by U+FFFD; the first at %s",
            path,
            len(mended),
            mended[0],
        )


def data_files(folder: Path) -> str:
    """What to say where a file was wanted and not this folder: " It holds a.jsonl, b.parquet.", or nothing."""
    names = sorted(file.name for file in folder.glob("*") if re.search(r"\.(jsonl?|parquet)(\.gz)?$", file.name))
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f" It holds {', '.join(names[:5])}{more}." if names else ""


_Rows = Iterator[tuple[str, Row | Fault, bool]]  # place, row, whether all its text was whole


def _read(path: Path) -> _Rows:
    if path.is_dir():
        raise UserError(f"{path}: is a folder, not a file.{data_files(path)}")
    try:
        with path.open("rb") as plain:
            file, head = plain, plain.peek(_CHUNK)
            if head.startswith(b"PAR1"):
                yield from _parquet(path)
                return
            if head.startswith(b"\x1f\x8b"):
                file = io.BufferedReader(_Unpacked(path, plain), _CHUNK)
                head = file.peek(_CHUNK)
            encoding = json.detect_encoding(head[:4])
            start = head.decode(encoding, "ignore").lstrip("\ufeff")
            _refuse_others(path, head, start)
            read = _values if _is_document(start) else _lines
            name = str(path)
            for number, row, whole in read(file, encoding):
                yield f"{name}:{number}", row, whole
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}).") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not {error.encoding} text ({error.reason}). {WANTED}.") from error


# Text


def _is_document(start: str) -> bool:
    """Whether a text is an array, or objects over several lines, rather than a value a line."""
    lines = [line for line in re.split(r"[\r\n]+", start[:_CHUNK], maxsplit=2) if line.strip()]
    if start.lstrip().startswith("["):
        return True
    if len(lines) < 2 or not lines[0].lstrip().startswith("{") or lines[1].startswith("{"):
        return False
    try:
        json.loads(lines[0])
    except json.JSONDecodeError as error:
        return error.pos >= len(lines[0].rstrip())  # it would go on, and what follows is no row of its own
    except (ValueError, RecursionError):
        pass
    return False


def _lines(file: io.BufferedReader, encoding: str) -> Iterator[tuple[int, Row | Fault, bool]]:
    """(line, row, whole) of every line that is not blank."""
    for number, line in _decoded_lines(file, encoding):
        if isinstance(line, Fault):
            yield number, line, True
            continue
        # Only "\n", "\r\n" and "\r" end a line: texts may hold U+2028, at which str.splitlines would split.
        for offset, part in enumerate(line.split("\r")):
            if part := part.strip().removeprefix("\ufeff"):  # also of a second file that was appended
                yield number + offset, *_parse(part)


def _decoded_lines(file: io.BufferedReader, encoding: str) -> Iterator[tuple[int, str | Fault]]:
    if not encoding.startswith("utf-8"):
        yield from enumerate(io.TextIOWrapper(file, encoding, newline="\n"), start=1)
        return
    number = 0
    while line := file.readline():
        number += 1
        if line.isspace():
            while (ahead := file.peek()).isspace():  # a packed file may unpack to millions of blank lines
                number += ahead.count(b"\n")
                file.read(len(ahead))
            continue
        try:
            yield number, line.decode()
        except UnicodeDecodeError as error:
            wrong = f"byte {line[error.start]:#04x} at {error.start + 1}"
            yield number, Fault(f"not UTF-8 ({wrong}). Save the file as UTF-8")


def _parse(text: str) -> tuple[Row | Fault, bool]:
    try:
        return _row(json.loads(text), text)
    except (ValueError, RecursionError) as error:
        return _fault(error), True


_GAP = re.compile(r"[\s,\ufeff]*")


def _values(file: io.BufferedReader, encoding: str) -> Iterator[tuple[int, Row | Fault, bool]]:
    """(line, row, whole) of the values of an array, or of values one after another, read piece by piece.

    After malformed JSON nothing can be told apart any more, so that is the last row.
    """
    text, decoder = io.TextIOWrapper(file, encoding, newline=""), json.JSONDecoder()
    buffer, at, line, size, ended, inside = "", 0, 1, _CHUNK, False, False
    while True:
        start = _GAP.match(buffer, at).end()  # type: ignore[union-attr]  # it matches the empty string
        line += buffer.count("\n", at, start)
        at, sign = start, buffer[start : start + 1]
        if (sign == "[" and not inside) or (sign == "]" and inside):
            inside, at = sign != "]", at + 1
            continue
        end, problem = len(buffer), None
        try:
            if sign:
                value, end = decoder.raw_decode(buffer, at)
                row, whole = _row(value, buffer[at:end])
        except json.JSONDecodeError as error:
            problem = error
        except (ValueError, RecursionError) as error:
            yield line, _fault(error), True
            return
        if end == len(buffer) and not ended:  # it may go on
            more = text.read(size)
            buffer, at, ended, size = buffer[at:] + more, 0, not more, size * 2
        elif problem is not None or not sign:
            if problem is not None or inside:
                yield line, _unfinished(problem, buffer), True
            return
        else:
            yield line, row, whole
            line += buffer.count("\n", at, end)
            at, size = end, _CHUNK


def _unfinished(problem: json.JSONDecodeError | None, buffer: str) -> Fault:
    if problem is None or problem.pos >= len(buffer) or problem.msg.startswith("Unterminated"):
        return Fault("malformed JSON (the file ends inside the array or object that begins here)")
    return Fault(f"malformed JSON from here on ({problem.msg}: {buffer[problem.pos : problem.pos + 20]!r})")


def _fault(error: Exception) -> Fault:
    if isinstance(error, json.JSONDecodeError):
        return Fault(f"malformed JSON at column {error.colno} ({error.msg})")
    if isinstance(error, RecursionError):
        return Fault("malformed JSON (nested too deep to be read)")
    return Fault(f"malformed JSON (a number of more than {sys.get_int_max_str_digits():,} digits)")


_HALF = re.compile(r"\\u[dD][89a-fA-F]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def _row(value: Any, text: str) -> tuple[Row | Fault, bool]:
    """The value of a `text` as a row, and whether all characters were whole."""
    if not isinstance(value, dict):
        return Fault(f"expected a JSON object, found {type(value).__name__}"), True
    if not _HALF.search(text):
        return value, True
    mended = _mended(value)
    return mended, mended == value


def _mended(value: Any) -> Any:
    """A JSON value with U+FFFD for every unpaired surrogate."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(item) for name, item in value.items()}
    return value


# What is packed


class _Unpacked(io.RawIOBase):
    """What a gzipped file holds, with a limit: a few bytes can be made to unpack to as many gigabytes."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file, self._read = path, gzip.GzipFile(fileobj=file), 0
        self._limit = max(_PACKED_FLOOR, _PACKED_RATIO * path.stat().st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            found = self._file.read(len(buffer))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UserError(f"{self._path}: the gzip file is damaged or not complete ({error}).") from error
        self._read += len(found)
        _check_size(self._path, self._read, self._limit, "gunzip it")
        buffer[: len(found)] = found
        return len(found)


def _check_size(path: Path, size: int, limit: int, remedy: str) -> None:
    if size > limit:
        raise UserError(
            f"{path}: its {path.stat().st_size / 2**20:,.1f} MiB unpack to more than {limit / 2**20:,.0f} MiB, as a "
            f"decompression bomb does. If they are meant to, {remedy} and give the plain file."
        )


def _parquet(path: Path) -> _Rows:
    import pyarrow
    import pyarrow.parquet as parquet

    limit = max(_PACKED_FLOOR, _PACKED_RATIO * path.stat().st_size)
    try:
        with parquet.ParquetFile(path) as file:
            groups = [file.metadata.row_group(index) for index in range(file.metadata.num_row_groups)]
            _check_size(path, sum(group.total_byte_size for group in groups), limit, "convert it to JSONL")
            # A value that all rows share is stored once, so no more rows at a time than the limit has room for.
            largest = max((group.total_byte_size for group in groups), default=0)
            size, places = 0, itertools.count(1)
            for batch in file.iter_batches(batch_size=max(1, min(1024, limit // max(1, largest)))):
                size += batch.nbytes
                _check_size(path, size, limit, "convert it to JSONL")
                for row in batch.to_pylist():
                    yield f"{path}, row {next(places)}", row, True
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        first = str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: a Parquet file that cannot be read ({first[:200]}).") from error


# What is something else

_UNPACK = "Unpack it"
_OTHERS = {
    # how a file begins -> what it is, and what to do
    b"\x1f\x8b": ("gzipped twice", "Gunzip it once"),
    b"PAR1": ("Parquet, gzipped", "Gunzip it"),
    b"PK\x03\x04": ("a ZIP archive (or a spreadsheet, or NumPy's .npz)", _UNPACK),
    b"BZh": ("packed with bzip2", _UNPACK),
    b"\xfd7zXZ": ("packed with xz", _UNPACK),
    b"\x28\xb5\x2f\xfd": ("packed with Zstandard", f"{_UNPACK}: zstd -d FILE"),
    b"7z\xbc\xaf": ("a 7z archive", _UNPACK),
    b"ARROW1": ("an Arrow file", "Convert it: datasets.Dataset.from_file(FILE).to_json(...)"),
    b"\xff\xff\xff\xff": ("an Arrow stream", "Convert it: datasets.Dataset.from_file(FILE).to_json(...)"),
    b"SQLite format 3": ("an SQLite database", "Export the table as JSON"),
    b"\x80": ("a Python pickle, which is never read, as it can run code", "Convert it where you trust it"),
    b"version https://git-lfs": ("the pointer of Git LFS, not the data", "Fetch it: git lfs pull"),
    b"<": ("HTML or XML", "Download the file itself, not a page that shows it"),
    b"%PDF": ("a PDF", "Find the data as JSON"),
}


def _refuse_others(path: Path, head: bytes, start: str) -> None:
    """Raise UserError where a file is no JSON at all; a bad line among others is not decided here."""
    for magic, (what, remedy) in _OTHERS.items():
        if head.lstrip().startswith(magic):
            raise UserError(f"{path}: is {what}, not rows. {remedy}. {WANTED}.")
    lines = [line.strip() for line in re.split(r"[\r\n]+", start)[:5] if line.strip()]
    if lines and not any(line.startswith(("{", "[")) for line in lines):
        if "\0" in start[:1024]:
            raise UserError(f"{path}: is a binary file of an unknown kind. {WANTED}.")
        remedy = "Convert it, for a table: pandas.read_csv(FILE).to_json(OUT, orient='records', lines=True)"
        raise UserError(f"{path}: is text but not JSON, it begins {lines[0][:60]!r}. {remedy}. {WANTED}.")
