"""The store of paid answers where several machines share its folder: one file for each answer.

Place in the flow: `open_store` makes one of these in place of `store.Store` where the cache lies on a network file system, or
where one was there before; nobody else notices. SQLite is no good there: its shared memory ends at the machine, so may locks, and
a killed process has left such stores unreadable. One process that writes for all would need to be reached, and to outlive them.
So every answer is a file of its own, under the hash of what was asked: written aside, on the disk, then linked to its name, which
happens once. Whoever comes second finds the first answer; nothing is ever merged or written over.

Who asks holds the lease of the key (`sei.lease`) in the same folder, so that two jobs never pay for one call: the other one waits
until the answer is there, or takes over when the holder is dead. What a run used and paid is appended to a journal that one
process writes alone. Rows that change, open batches and what is reserved of a budget, are one small file that is read and
written whole under a lease of its own. In memory all of it is the same SQL as `store.Store`'s.

On disk, beside `teacher.sqlite`, which is read and not written where it is there::

    teacher/answers/ab/ab12....json     .lease while it is being asked
    teacher/runs/<run>/<process>.jsonl  what each process of a run used, and what it paid
    teacher/tables.json                 batches and reservations

Example::

    store = open_store(cache / "teacher.sqlite")
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import json
import logging
import os
import secrets
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import quote

from sei.errors import UserError
from sei.lease import Lease
from sei.llm.store import COLUMNS, INSERT, SCHEMA, PromptHistory, Store, StoredAnswer, Sums, Use

T = TypeVar("T")
log = logging.getLogger(__name__)

# File systems of one machine alone. Any other may be shared, where SQLite's locks may not hold.
_LOCAL = frozenset(
    "ext2 ext3 ext4 xfs btrfs zfs f2fs bcachefs jfs reiserfs tmpfs ramfs overlay aufs squashfs ecryptfs fuseblk vfat exfat "
    "ntfs3 apfs hfs".split()
)
_TABLES = {  # rows that change, with their columns
    "batches": ("tag", "batch_id", "endpoint", "run", "state", "created"),
    "batch_lines": ("key", "tag", "outcome", "request"),
    "reservations": ("holder", "run", "usd"),
}
_USES = tuple(field.name for field in dataclasses.fields(Use))
_NO_LINKS = (errno.EPERM, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP)
_FULL = (errno.ENOSPC, errno.EDQUOT)
_ROOM = 1 << 20  # bytes kept for the answers to calls in flight: a hundred long ones
_READERS = 16  # files read at once: over a network each takes a millisecond


def open_store(path: Path) -> Store:
    """The store that `path` names, made where it is not there yet."""
    if path.with_suffix("").is_dir() or not _on_local_disk(path.parent):
        return SharedStore(path)
    return Store(path)


def is_store(path: Path) -> bool:
    """Whether there is a store at `path`."""
    return path.exists() or path.with_suffix("").is_dir()


def _on_local_disk(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> bool:
    """Whether a folder, which need not exist yet, lies on a disk of this machine, as far as the system tells."""
    if not mounts.is_file():
        return True
    kinds = {}
    for line in mounts.read_text(encoding="utf-8", errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        place = before.split()[4].encode().decode("unicode_escape")  # a space in a name is written \\040
        kinds[place] = after.split()[0]
    folder = folder.resolve()
    return next((kinds[str(one)] in _LOCAL for one in (folder, *folder.parents) if str(one) in kinds), True)


class SharedStore(Store):
    """A store without a file that two processes write."""

    poll_s = 1.0  # each look goes over the network

    def _open(self) -> None:
        self.folder = self.path.with_suffix("")
        (self.folder / "answers").mkdir(parents=True, exist_ok=True)
        # Private to this process, in memory and, where it grows, in an unnamed temporary file.
        self._reader = self._writer = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._reader.executescript(SCHEMA)
        if self.path.exists():
            self._take_in(self.path)
        self._claims: dict[str, Lease] = {}
        self._waiting: dict[str, Lease] = {}
        self._told: set[str] = set()
        self._room: IO[bytes] | None = (
            None  # a file without a name, given up for what is on the wire when the disk is full
        )
        self._full: OSError | None = None  # that has happened: no further call starts
        self._own = f"{os.getpid()}-{secrets.token_hex(4)}"

    def _take_in(self, path: Path) -> None:
        """What a store of one machine held before: it is copied first, since SQLite is not to open it over a network."""
        with tempfile.TemporaryDirectory() as folder:
            for suffix in ("", "-wal"):
                with contextlib.suppress(FileNotFoundError):
                    shutil.copyfile(f"{path}{suffix}", Path(folder, f"copy{suffix}"))
            self._reader.execute("ATTACH ? AS old", (str(Path(folder, "copy")),))
            for table, wanted in {**_TABLES, "answers": COLUMNS, "uses": _USES, "spending": ("run", "usd")}.items():
                there = {row[1] for row in self._reader.execute(f"PRAGMA old.table_info({table})")}
                if columns := ", ".join(name for name in wanted if name in there):
                    self._reader.execute(f"INSERT OR IGNORE INTO {table} ({columns}) SELECT {columns} FROM old.{table}")
            self._reader.execute("DETACH old")

    def _complaint(self, error: BaseException) -> UserError:
        if not isinstance(error, OSError):
            return super()._complaint(error)
        return UserError(
            f"teacher store {self.folder}: {error.strerror or error}. What was written before is kept: make room there, or give "
            "another folder with cache_dir=FOLDER, and run the same command again."
        )

    # Reading

    def _place(self, key: str) -> Path:
        return self.folder / "answers" / key[:2] / f"{key}.json"

    def get(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """As the base class."""
        wanted = list(dict.fromkeys(keys))
        found = super().get(wanted)
        missing = [self._place(key) for key in wanted if key not in found]
        if len(missing) > _READERS:
            with ThreadPoolExecutor(_READERS) as pool:
                rows = [row for row in pool.map(_read_answer, missing) if row]
        else:
            rows = [row for place in missing if (row := _read_answer(place))]
        self._reader.executemany(INSERT, [_values(row) for row in rows])
        return found | {row.key: row for row in rows}

    def spent(self, run: str) -> float:
        """As the base class."""
        lines = self._lines(run)
        paid = {line["paid"] for line in lines if "paid" in line}
        # A process that was killed between writing an answer and its cost: its next use tells who paid for it.
        unsaid = {line["key"]: line["usd"] for line in lines if line.get("payer") == run and line["key"] not in paid}
        return super().spent(run) + sum(line["usd"] for line in lines if "paid" in line) + sum(unsaid.values())

    def sums(self, run: str) -> Sums:
        """As the base class."""
        figures = {
            line["key"]: (line["tokens_in"], line["tokens_out"], line["usd"])
            for line in self._lines(run)
            if "key" in line
        }
        rows = self._rows(
            "SELECT key, tokens_in, tokens_out, cost_usd FROM answers WHERE key IN (SELECT key FROM uses WHERE run = ?)",
            (run,),
        )
        figures |= {row[0]: row[1:] for row in rows}
        tokens_in, tokens_out, usd = (
            (sum(column) for column in zip(*figures.values(), strict=True)) if figures else (0, 0, 0.0)
        )
        return Sums(len(figures), int(tokens_in), int(tokens_out), float(usd), self.spent(run))

    def history(self, model: str, prompt: str, prompt_hash: str) -> PromptHistory | None:
        """As the base class; reads every answer there is."""
        self.get(path.stem for path in (self.folder / "answers").glob("*/*.json"))
        return super().history(model, prompt, prompt_hash)

    def used(self, run: str) -> Iterator[tuple[Use, StoredAnswer]]:
        """As the base class."""
        uses = {Use(run, line["key"], line["stage"], line["error_type"]) for line in self._lines(run) if "key" in line}
        uses |= {use for use, _ in super().used(run)}
        answers = self.get(use.key for use in uses)
        for use in sorted(uses, key=lambda one: (one.stage, one.error_type, one.key)):
            if use.key in answers:
                yield use, answers[use.key]

    def _lines(self, run: str) -> list[dict[str, Any]]:
        """What all processes of a run have noted; a line in which one was killed is none."""
        lines = []
        for path in sorted(self._journals(run).glob("*.jsonl")):
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(ValueError):
                    lines.append(json.loads(line))
        return lines

    def _journals(self, run: str) -> Path:
        return self.folder / "runs" / quote(run, safe="")

    # Writing

    def _commit(self, answers: Sequence[StoredAnswer], uses: Sequence[Use]) -> None:
        try:
            self._write(answers, uses)
        except OSError as error:
            if error.errno not in _FULL or self._room is None:
                raise
            self._full, room, self._room = error, self._room, None
            room.close()
            self._write(answers, uses)

    def _write(self, answers: Sequence[StoredAnswer], uses: Sequence[Use]) -> None:
        for answer in answers:
            _write_answer(self._place(answer.key), answer)
        self._writer.executemany(INSERT, [_values(answer) for answer in answers])
        lines: dict[str, list[dict[str, Any]]] = {}
        for answer in answers:
            lines.setdefault(answer.run, []).append({"paid": answer.key, "usd": answer.cost_usd})
        rows = Store.get(self, [use.key for use in uses])
        for use in uses:
            row = rows.get(use.key)
            if row is not None:
                figures = {
                    "tokens_in": row.tokens_in,
                    "tokens_out": row.tokens_out,
                    "usd": row.cost_usd,
                    "payer": row.run,
                }
                line = {"key": use.key, "stage": use.stage, "error_type": use.error_type, **figures}
                lines.setdefault(use.run, []).append(line)
        for run, own in lines.items():
            _append(self._journals(run) / f"{self._own}.jsonl", own)

    def _within(self, function: Callable[[sqlite3.Connection], T]) -> T:
        lease, file = Lease(self.folder / "tables.lease"), self.folder / "tables.json"
        lease.wait()
        try:
            with self.transaction() as connection:
                before = self._load(connection, file)
                result = function(connection)
                after = _dumped(connection)
                if after != before:
                    _write_aside(file, json.dumps(after), os.replace)
                return result
        finally:
            lease.release()

    def _load(self, connection: sqlite3.Connection, file: Path) -> dict[str, Any]:
        """Make the rows that change what the others have left. Gives what the file holds."""
        if not file.exists():
            return {}
        tables: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        for table, columns in _TABLES.items():
            connection.execute(f"DELETE FROM {table}")
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", tables[table])
        return tables

    # Who is asking

    def claim(self, key: str) -> bool:
        """As the base class, on all machines that share the folder."""
        if key in self._claims:
            return False
        lease = self._waiting.pop(key, None)
        try:
            if self._full is not None:
                raise self._full
            if self._room is None:
                self._room = _made_room(self.folder)
            if lease is None:
                place = self._place(key).with_suffix(".lease")
                place.parent.mkdir(parents=True, exist_ok=True)
                lease = Lease(place)
            taken = lease.take_now()
        except OSError as error:
            self._waiting.pop(key, None)
            raise self._complaint(error) from error
        if not taken:
            self._waiting[key] = lease
            return False
        if lease.holder and str(lease.holder) not in self._told and not self._place(key).exists():
            self._told.add(str(lease.holder))
            log.warning("%s has ended or gives no sign of life; asking what it was asking", lease.holder)
        self._claims[key] = lease
        return True

    def release(self, key: str) -> None:
        self._claims.pop(key).release()

    def close(self) -> None:
        super().close()
        for lease in self._claims.values():
            lease.release()
        if self._room is not None:
            self._room.close()


def _made_room(folder: Path) -> IO[bytes]:
    """A file that keeps space on the disk until it is closed; it has no name, so a process that is killed leaves none."""
    file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (it is closed when its space is needed)
    file.write(os.urandom(_ROOM))  # zeros might take none
    file.flush()
    os.fsync(file.fileno())
    return file


def _values(answer: StoredAnswer) -> tuple[Any, ...]:
    return tuple(getattr(answer, name) for name in COLUMNS)


def _dumped(connection: sqlite3.Connection) -> dict[str, Any]:
    return {
        table: [list(row) for row in connection.execute(f"SELECT {', '.join(columns)} FROM {table}")]
        for table, columns in _TABLES.items()
    }


def _read_answer(place: Path) -> StoredAnswer | None:
    try:
        return StoredAnswer(**json.loads(place.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise UserError(f"{place}: is damaged ({error}). Remove it; what it held is then asked again.") from error


def _write_answer(place: Path, answer: StoredAnswer) -> None:
    """The file of an answer, whole or not at all. An answer that is there already stays."""

    def once(aside: Path, place: Path) -> None:
        try:
            os.link(aside, place)
        except FileExistsError:
            pass
        except OSError as problem:
            if problem.errno not in _NO_LINKS:
                raise
            if not place.exists():
                os.rename(aside, place)

    place.parent.mkdir(parents=True, exist_ok=True)
    _write_aside(place, json.dumps(dataclasses.asdict(answer), ensure_ascii=False), once)


def _write_aside(place: Path, text: str, put: Callable[[Path, Path], None]) -> None:
    """Write `text` to a file of our own in the same folder, on the disk; then `put` it in its place."""
    aside = place.with_name(f".{place.name}.{secrets.token_hex(8)}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        put(aside, place)
    finally:
        aside.unlink(missing_ok=True)


def _append(path: Path, lines: Sequence[dict[str, Any]]) -> None:
    """Add lines to a journal that this process alone writes: all of them or, on a full disk, none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        size = file.tell()
        try:
            file.write("".join(f"{json.dumps(line)}\n" for line in lines).encode())
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                os.truncate(path, size)
            raise
