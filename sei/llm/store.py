"""The store of paid answers: one SQLite file that several processes of a machine share (`llm.shared`: several machines).

Place in the flow: `client` looks here before it asks, and commits every answer here before anyone uses it, so that a
killed run loses only what was on the wire. An answer is filed under what was asked (model, messages, parameters,
schema, sample index), never under who asked; the table `uses` says which run used it, in which stage, for which error
type, and `sei.ledger` sums that up. Keys and other secrets are never given to this module.

Example::

    store = Store(Path("teacher.sqlite"))
    store.get([key])                     # {} or {key: StoredAnswer}
    await store.put(answer, Use("run-1", answer.key, stage="diagnose"))
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import fcntl
import os
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

from sei.errors import UserError

T = TypeVar("T")
Status = Literal["ok", "truncated", "refused", "empty", "filtered"]

SCHEMA = """
CREATE TABLE IF NOT EXISTS answers (
    key TEXT PRIMARY KEY,         -- SHA-256 of what was asked
    model TEXT NOT NULL,
    endpoint TEXT NOT NULL,       -- base URL that answered
    prompt TEXT NOT NULL,         -- name of the prompt file
    prompt_hash TEXT NOT NULL,
    sample INTEGER NOT NULL,
    request TEXT NOT NULL,        -- messages, parameters and schema as JSON
    text TEXT NOT NULL,           -- the raw answer
    status TEXT NOT NULL,         -- ok | truncated | refused | empty | filtered
    finish_reason TEXT NOT NULL,
    tokens_in INTEGER NOT NULL,
    tokens_cached INTEGER NOT NULL,  -- the part of tokens_in that the provider had cached
    tokens_out INTEGER NOT NULL,
    characters INTEGER NOT NULL,  -- of everything the teacher read, to calibrate the dry run
    cost_usd REAL NOT NULL,
    latency_s REAL NOT NULL,
    mode TEXT NOT NULL,           -- live | batch
    response_id TEXT NOT NULL,
    run TEXT NOT NULL,            -- the run that paid
    created TEXT NOT NULL,        -- UTC, ISO 8601
    note TEXT NOT NULL DEFAULT '' -- of an empty answer: where the text was instead
);
CREATE INDEX IF NOT EXISTS answers_by_prompt ON answers (model, prompt, prompt_hash);
CREATE TABLE IF NOT EXISTS uses (
    run TEXT NOT NULL, key TEXT NOT NULL, stage TEXT NOT NULL, error_type TEXT NOT NULL,
    PRIMARY KEY (run, key, stage, error_type)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spending (run TEXT PRIMARY KEY, usd REAL NOT NULL);
CREATE TABLE IF NOT EXISTS reservations (  -- what its processes and open batches may spend beside that, see `budget`
    holder TEXT PRIMARY KEY, run TEXT NOT NULL, usd REAL NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
    tag TEXT PRIMARY KEY,         -- ours, sent along as metadata, so a batch whose id was lost can be found again
    batch_id TEXT NOT NULL,       -- the provider's, '' until it has answered
    endpoint TEXT NOT NULL, run TEXT NOT NULL,
    state TEXT NOT NULL,          -- open | merged
    created TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS batch_lines (
    key TEXT NOT NULL, tag TEXT NOT NULL,
    outcome TEXT NOT NULL,        -- open | answered | failed
    request TEXT NOT NULL,        -- as JSON, so that any run can merge the batch
    PRIMARY KEY (key, tag)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS batch_lines_by_tag ON batch_lines (tag);
"""

_LOOK_UP_CHUNK = 500  # keys in one SELECT; SQLite's own limit on variables is far higher


@dataclass(frozen=True)
class StoredAnswer:
    """One row of `answers`; the comments in the schema say what each column holds."""

    key: str
    model: str
    endpoint: str
    prompt: str
    prompt_hash: str
    sample: int
    request: str
    text: str
    status: Status
    finish_reason: str
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    characters: int
    cost_usd: float
    latency_s: float
    mode: Literal["live", "batch"]
    response_id: str
    run: str
    created: str
    note: str = ""


@dataclass(frozen=True)
class Use:
    """That `run` used the answer `key` in `stage`, for an error type where the stage works on one."""

    run: str
    key: str
    stage: str
    error_type: str = ""


@dataclass(frozen=True)
class Sums:
    """Calls, tokens and US dollars of one run; what is used and not paid lay in the store already."""

    calls: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    used_usd: float = 0.0
    paid_usd: float = 0.0


@dataclass(frozen=True)
class PromptHistory:
    """What earlier calls of one prompt cost in tokens: the basis of the dry run's estimate."""

    calls: int
    mean_tokens_out: float
    tokens_per_character: float  # of the input, as the provider counted it


COLUMNS = tuple(field.name for field in dataclasses.fields(StoredAnswer))
INSERT = f"INSERT OR IGNORE INTO answers ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
_USE = "INSERT OR IGNORE INTO uses (run, key, stage, error_type) VALUES (?, ?, ?, ?)"
_SPEND = "INSERT INTO spending (run, usd) VALUES (?, ?) ON CONFLICT (run) DO UPDATE SET usd = usd + excluded.usd"


class Store:
    """Answers by key. Reads happen on the caller's thread; writes go through one thread that commits in groups.

    Durability: `synchronous=FULL`, so a committed answer survives a power cut as well as SIGKILL. Group commit keeps
    that cheap: answers that arrive while one commit is being synced go into the next one together.
    """

    poll_s = 0.2  # how often to look whether another process has finished asking the same

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._open()
        except (OSError, sqlite3.DatabaseError) as error:
            raise self._complaint(error) from error
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="teacher-store")
        self._pending: list[tuple[StoredAnswer, Use, asyncio.Future[None]]] = []
        self._flushing: asyncio.Task[None] | None = None

    def _open(self) -> None:
        self._reader = self._connect()
        self._writer = self._connect()
        self._locks = _LockFile.of(self.path.with_name(self.path.name + ".lock"))

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=60, isolation_level=None, check_same_thread=False)
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise sqlite3.DatabaseError(f"the folder does not support write-ahead logging (journal mode {mode})")
        connection.execute("PRAGMA synchronous=FULL")
        connection.executescript(SCHEMA)
        columns = {row[1] for row in connection.execute("PRAGMA table_info(answers)")}
        if "note" not in columns:  # a store from before there were notes
            with contextlib.suppress(sqlite3.OperationalError):  # another process was faster
                connection.execute("ALTER TABLE answers ADD COLUMN note TEXT NOT NULL DEFAULT ''")
        return connection

    def _complaint(self, error: BaseException) -> UserError:
        if not isinstance(error, sqlite3.Error | OSError):
            return UserError(
                f"teacher store {self.path}: an answer could not be written ({type(error).__name__}: {error}). What was "
                "committed before is kept; this is a fault of ours, worth a report."
            )
        return UserError(
            f"teacher store {self.path}: {error}. Free space there, or give another folder with cache_dir=FOLDER; what was "
            "committed before is kept. A store that is damaged can be moved away: what it held is then asked again."
        )

    # Reading

    def _rows(self, question: str, values: Sequence[str]) -> list[tuple[Any, ...]]:
        """What SELECT `question` gives. Raises UserError where the file is damaged, or has other columns."""
        try:
            return self._reader.execute(question, values).fetchall()
        except sqlite3.ProgrammingError:  # a mistake of the caller's, such as a store that is closed
            raise
        except sqlite3.Error as error:
            raise self._complaint(error) from error

    def get(self, keys: Iterable[str]) -> dict[str, StoredAnswer]:
        """The stored answers among `keys`."""
        wanted = list(keys)
        found: dict[str, StoredAnswer] = {}
        for start in range(0, len(wanted), _LOOK_UP_CHUNK):
            chunk = wanted[start : start + _LOOK_UP_CHUNK]
            marks = ", ".join("?" * len(chunk))
            rows = self._rows(f"SELECT {', '.join(COLUMNS)} FROM answers WHERE key IN ({marks})", chunk)
            found.update((row[0], StoredAnswer(*row)) for row in rows)
        return found

    def spent(self, run: str) -> float:
        """US dollars that `run` paid so far, in all its processes."""
        rows = self._rows("SELECT usd FROM spending WHERE run = ?", (run,))
        return float(rows[0][0]) if rows else 0.0

    def sums(self, run: str) -> Sums:
        """What the answers that `run` used so far come to."""
        row = self._reader.execute(
            "SELECT count(*), total(tokens_in), total(tokens_out), total(cost_usd) FROM answers "
            "WHERE key IN (SELECT key FROM uses WHERE run = ?)",
            (run,),
        ).fetchone()
        return Sums(row[0], int(row[1]), int(row[2]), row[3], self.spent(run))

    def history(self, model: str, prompt: str, prompt_hash: str) -> PromptHistory | None:
        """Mean tokens of the stored calls of one prompt text with one model; None where there are none yet."""
        [row] = self._rows(
            "SELECT count(*), avg(tokens_out), 1.0 * sum(tokens_in) / sum(characters) FROM answers "
            "WHERE model = ? AND prompt = ? AND prompt_hash = ?",
            (model, prompt, prompt_hash),
        )
        return PromptHistory(row[0], row[1], row[2]) if row[0] else None

    def used(self, run: str) -> Iterator[tuple[Use, StoredAnswer]]:
        """Every use of an answer by `run`, with the answer, in a fixed order."""
        columns = ", ".join(f"a.{name}" for name in COLUMNS)
        rows = self._rows(
            f"SELECT u.run, u.key, u.stage, u.error_type, {columns} FROM uses u JOIN answers a ON a.key = u.key "
            "WHERE u.run = ? ORDER BY u.stage, u.error_type, u.key",
            (run,),
        )
        for row in rows:
            yield Use(*row[:4]), StoredAnswer(*row[4:])

    # Writing

    async def put(self, answer: StoredAnswer, use: Use) -> None:
        """Return when `answer` is on disk. A second answer for a key is ignored (but its cost is counted)."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._pending.append((answer, use, done))
        if self._flushing is None or self._flushing.done():
            self._flushing = loop.create_task(self._flush())
        await done

    async def _flush(self) -> None:
        while self._pending:
            group, self._pending = self._pending, []
            if not await self._flushed(group) and len(group) > 1:  # one that cannot be written must not cost the others
                for entry in group:
                    await self._flushed([entry])

    async def _flushed(self, group: list[tuple[StoredAnswer, Use, asyncio.Future[None]]]) -> bool:
        """Whether `group` is committed. Whoever waits for one of it is told, whatever goes wrong, unless it is to be split."""
        error: UserError | None = None
        rows, uses = [entry[0] for entry in group], [entry[1] for entry in group]
        try:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._commit, rows, uses)
        except Exception as caught:
            if len(group) > 1 and not isinstance(caught, sqlite3.OperationalError):
                return False
            error = self._complaint(caught)
        except BaseException:  # the loop is closing
            for *_, done in group:
                done.cancel()
            raise
        for *_, done in group:
            if not done.done():  # a cancelled caller is no longer waiting; its answer is saved all the same
                done.set_result(None) if error is None else done.set_exception(error)
        return True

    def put_all(self, answers: Sequence[StoredAnswer], uses: Sequence[Use]) -> None:
        """Commit many answers and uses at once (batch mode, and uses of answers that were already there)."""
        try:
            self._thread.submit(self._commit, answers, uses).result()
        except Exception as error:
            raise self._complaint(error) from error

    def _commit(self, answers: Sequence[StoredAnswer], uses: Sequence[Use]) -> None:
        with self.transaction() as connection:
            connection.executemany(INSERT, [tuple(getattr(answer, name) for name in COLUMNS) for answer in answers])
            connection.executemany(_USE, [(use.run, use.key, use.stage, use.error_type) for use in uses])
            costs: dict[str, float] = {}
            for answer in answers:
                costs[answer.run] = costs.get(answer.run, 0.0) + answer.cost_usd
            connection.executemany(_SPEND, list(costs.items()))

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The writing connection inside one transaction that other processes see whole or not at all."""
        connection = self._writer
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")

    def write(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """Run `function(connection)` inside a transaction on the writing thread, and return its result."""

        try:
            return self._thread.submit(self._within, function).result()
        except sqlite3.Error as error:
            raise self._complaint(error) from error

    async def write_soon(self, function: Callable[[sqlite3.Connection], T]) -> T:
        """As `write`, without keeping the event loop waiting."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, self._within, function)
        except sqlite3.Error as error:
            raise self._complaint(error) from error

    def _within(self, function: Callable[[sqlite3.Connection], T]) -> T:
        with self.transaction() as connection:
            return function(connection)

    # Who is asking

    def claim(self, key: str) -> bool:
        """Whether the caller may ask for `key`: nobody else on this machine is asking right now."""
        return self._locks.acquire(key)

    def release(self, key: str) -> None:
        self._locks.release(key)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._reader.close()
        self._writer.close()


class _LockFile:
    """One lock per key: a byte range of an empty file, which the kernel frees when its process dies, however it dies.

    Record locks belong to the process and are lost when any descriptor of the file is closed, so there is one
    descriptor per file and process, never closed, and a set that keeps this process's own clients apart.
    """

    _open: dict[Path, _LockFile] = {}  # noqa: RUF012 (one registry per process is the point)
    _guard = threading.Lock()

    @classmethod
    def of(cls, path: Path) -> _LockFile:
        with cls._guard:
            path = path.resolve()
            lock_file = cls._open.get(path)
            if lock_file is None or lock_file.pid != os.getpid():  # a forked child holds none of its parent's locks
                lock_file = cls._open[path] = cls(path.open("ab"))
            return lock_file

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.pid = os.getpid()
        self._held: set[str] = set()

    def acquire(self, key: str) -> bool:
        with self._guard:
            if key in self._held:
                return False
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, _offset(key))
            except (BlockingIOError, PermissionError):  # POSIX lets a refused lock be either
                return False
            self._held.add(key)
            return True

    def release(self, key: str) -> None:
        with self._guard:
            self._held.discard(key)
            fcntl.lockf(self.file, fcntl.LOCK_UN, 1, _offset(key))


def _offset(key: str) -> int:
    """A place in the lock file: 60 bits of the key, so two keys share one with a chance of 1e-18."""
    return int(key[:15], 16)
