"""Where work is kept: the run folder a person reads, and the stage cache that makes nothing be computed twice.

Place in the flow: `lab.do` runs every stage through `Workspace.stage`. A finished stage lies in the cache, outside the run
folder, under the key of its call (`sei.stage`), and every job of a sweep shares it. The manifest is written last and names
the checksum of every file, so a half-written or damaged entry is detected and computed again. `kill -9` at any moment
leaves either a whole entry or a scratch folder from which the same command continues.

The cache may be a folder that several machines share. Who computes a stage holds its lease (`sei.lease`); whoever wants the same
one waits, and takes over when that holder is dead. Nothing breaks where a holder that counted as dead comes back: an entry is
made aside and renamed, whole, to its name, so that the second one is dropped; and whoever takes over takes the scratch folder
away under another name, so that two never write into one.

On disk::

    <cache>/<stage>/<key>/              records.jsonl rejected.jsonl files/ manifest.json
    <cache>/<stage>/<key>.scratch/      what an interrupted stage has so far
    <cache>/<stage>/<key>.lease         who computes it
    <run>/stages/<number>-<name>/       the same as in the cache, numbered in the order of the run
    <run>/<name>.jsonl  <run>/<name>/   of the few stages that a person looks for first: records, and the adapter's files

Large files are hard links to the cache, so that a tuned model of 14 GB is on the disk once; small ones are copies, which
may be edited without harm. Should somebody edit a large file in place, the cache notices by its checksum.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import secrets
import shutil
import stat
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from sei.errors import UserError
from sei.lease import Lease
from sei.records import Record, Rejected
from sei.stage import Call, Output

R = TypeVar("R", bound=Record)

_LINKED = 1 << 20  # bytes from which on a file is linked and not copied
_OWN = secrets.token_hex(
    4
)  # in names of files that are this process's alone: another machine may have the same process id


@dataclass(frozen=True)
class Artifact(Generic[R]):
    """A finished stage under its name in the run: records, what it rejected, manifest, and where its files lie."""

    stage: str
    records: list[R]
    rejected: list[Rejected]
    manifest: dict[str, Any]
    files: Path | None
    cached: bool
    folder: str = ""  # its folder in the run folder
    place: str = ""  # where its files lie in the run folder

    @property
    def numbers(self) -> dict[str, Any]:
        numbers: dict[str, Any] = self.manifest["numbers"]
        return numbers


class NotComputed(Exception):
    """Raised instead of computing, in a workspace opened with `compute=False` (dry run)."""

    def __init__(self, stage: str) -> None:
        super().__init__(stage)
        self.stage = stage


class Workspace:
    """The run folder and the stage cache of one run.

    `on_stage(artifact)` is called after every stage, `on_note(text)` when another process is computing the same one or a
    damaged cache entry is dropped.
    """

    def __init__(
        self,
        run: Path,
        cache_folder: Path,
        *,
        compute: bool = True,
        on_stage: Callable[[Artifact[Any]], None] = lambda artifact: None,
        on_note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.run, self.cache, self.compute = run, cache_folder, compute
        self.on_stage, self.on_note = on_stage, on_note
        self.done: list[Artifact[Any]] = []
        if compute:
            for what, folder in (("run folder", run), ("cache_dir", cache_folder)):
                _check_writable(what, folder)

    def stage(self, call: Call[R], name: str, run: Callable[[Path], Output[R]] | None = None) -> Artifact[R]:
        """The result of `call`, from the cache or by `run(scratch)`; also put into the run folder, as `name`.

        `run` is `call.run` with a scratch folder unless it is given. Raises UserError when the disk is full or a folder
        cannot be written, NotComputed where this workspace computes nothing and the cache has no result.
        """
        entry = self.cache / call.stage.folder / call.key
        with _explained_os_errors(self.cache):
            artifact = self._load(entry, name, call, say=self.on_note)
            if artifact is None:
                if not self.compute:
                    raise NotComputed(name)
                artifact = self._compute(entry, name, call, run or (lambda scratch: call.run(scratch=scratch)))
        if self.compute:
            with _explained_os_errors(self.run):
                on_top = call.stage.on_top and name.split(".round")[0] == call.stage.name
                folder, files = self._publish(entry, name, on_top=on_top)
                artifact = dataclasses.replace(artifact, folder=folder, place=files)
        self.done.append(artifact)
        self.on_stage(artifact)
        return artifact

    def write(self, name: str, value: Any) -> Path:
        """Write one JSON file into the run folder, whole or not at all."""
        path = self.run / name
        with _explained_os_errors(self.run):
            write_json(path, value)
        return path

    def write_text(self, name: str, text: str) -> None:
        """Write a text file into the run folder, whole or not at all."""
        with _explained_os_errors(self.run):
            _write_text(self.run / name, text)

    def write_records(self, name: str, records: Sequence[Record]) -> Path:
        """Write a JSONL file into the run folder, whole or not at all."""
        path = self.run / name
        with _explained_os_errors(self.run):
            write_records(path, records)
        return path

    def _load(
        self, entry: Path, name: str, call: Call[R], *, say: Callable[[str], None] = lambda text: None
    ) -> Artifact[R] | None:
        """The cached artifact, or None: where there is none, and where the entry is not what was written."""
        if not os.path.lexists(entry / "manifest.json"):
            return None
        try:
            manifest = _checked_manifest(entry, call)
            records = read_records(entry / "records.jsonl", call.stage.record_type)
            rejected = read_records(entry / "rejected.jsonl", Rejected)
            if len(records) != manifest["records"]:
                raise ValueError("another number of records than its manifest names")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError, FileNotFoundError) as problem:
            say(f"The cached artifact of stage '{name}' is damaged ({str(problem)[:200]}); computing it again.")
            return None
        files = entry / "files"
        return Artifact(name, records, rejected, manifest, files if files.is_dir() else None, cached=True)

    def _compute(self, entry: Path, name: str, call: Call[R], run: Callable[[Path], Output[R]]) -> Artifact[R]:
        _make_folder(entry.parent)
        place = entry.with_suffix(".lease")
        if place.is_dir():
            _remove(place)
        while True:
            lease = Lease(place)
            waited = not lease.take_now()
            if waited:
                self.on_note(f"Stage '{name}' is being computed by another job ({lease.holder}); waiting for it.")
                lease.wait()
            try:
                if (artifact := self._load(entry, name, call)) is not None:
                    return artifact
                if waited:
                    self.on_note(
                        f"Stage '{name}': {lease.holder} has ended without a result or gives no sign of life; going on "
                        "with what it left."
                    )
                scratch = _scratch(entry, anew=waited)
                started = time.monotonic()
                output = run(scratch)
                _write_entry(scratch, entry, call, output, time.monotonic() - started, self._load)
                for left in _scratches(entry):
                    shutil.rmtree(left, ignore_errors=True)
                loaded = self._load(entry, name, call)
                assert loaded is not None, f"stage {name}: the entry just written cannot be read"
                return dataclasses.replace(loaded, cached=False)
            except Exception:
                if not lease.lost:
                    raise
                self.on_note(f"Stage '{name}': another job took it over while this one gave no sign of life.")
            finally:
                lease.release()

    def _publish(self, entry: Path, name: str, *, on_top: bool) -> tuple[str, str]:
        """Put a cache entry into the run folder; says in which folder of it, and where its files lie."""
        if not self.done:  # what an earlier run of this folder left, perhaps in another order
            shutil.rmtree(self.run / "stages", ignore_errors=True)
        folder = f"stages/{len(self.done) + 1:02d}-{name}"
        link_tree(entry, self.run / folder)
        if not on_top:
            return folder, f"{folder}/files"
        link(entry / "records.jsonl", self.run / f"{name}.jsonl")
        if (entry / "files").is_dir():
            shutil.rmtree(self.run / name, ignore_errors=True)
            link_tree(entry / "files", self.run / name)
        return folder, name


def stage_folder(run: Path, name: str) -> Path | None:
    """Where stage `name` of a run lies, None where the run has not come to it."""
    return next((path for path in (run / "stages").glob(f"[0-9]*-{name}") if _name_of(path) == name), None)


def _name_of(folder: Path) -> str:
    return folder.name.partition("-")[2]


def _scratches(entry: Path) -> list[Path]:
    return sorted(entry.parent.glob(f"{entry.name}*.scratch"))


def _scratch(entry: Path, *, anew: bool) -> Path:
    """The scratch folder of an entry, with all that an interrupted computation has left there.

    With `anew` it gets another name: should the one who worked there be alive after all, it finds its folder gone.
    """
    plain = entry.with_suffix(".scratch")
    found = next(iter(_scratches(entry)), plain)
    if anew and found.is_dir():
        found = found.rename(entry.with_name(f"{entry.name}.{secrets.token_hex(4)}.scratch"))
    _make_folder(found)
    return found


def _make_folder(path: Path) -> None:
    """A folder, whatever else lies in its place."""
    if not path.is_dir():
        _remove(path)
    path.mkdir(parents=True, exist_ok=True)


def _remove(path: Path) -> None:
    """Remove a folder with all it holds, a file, or a link (and not what that leads to)."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_MANIFEST: dict[str, type[Any] | tuple[type[Any], ...]] = {
    "stage": str,
    "key": str,
    "received": int,
    "passed": int,
    "records": int,
    "rejected": dict,
    "numbers": dict,
    "seconds": (int, float),
    "parameters": dict,
    "inputs": dict,
    "files": dict,
}


def _checked_manifest(entry: Path, call: Call[R]) -> dict[str, Any]:
    """An entry's manifest. Raises ValueError where it is none, or the entry holds anything but the files that it names."""
    names = _files_in(entry)
    if "manifest.json" not in names:
        raise ValueError("its manifest is no file")
    manifest: dict[str, Any] = json.loads((entry / "manifest.json").read_text(encoding="utf-8"))
    for field, kind in _MANIFEST.items():
        if not isinstance(manifest[field], kind):
            raise ValueError(f"field '{field}' of its manifest is no {getattr(kind, '__name__', 'number')}")
    if (manifest["stage"], manifest["key"]) != (call.stage.folder, call.key):
        raise ValueError("its manifest is that of another entry")
    checksums = manifest["files"]
    if names != {"manifest.json", "records.jsonl", "rejected.jsonl", *checksums}:
        raise ValueError("it holds other files than its manifest names")
    for relative, checksum in checksums.items():
        if file_digest(entry / relative) != checksum:
            raise ValueError(f"{relative} does not have the checksum its manifest names")
    return manifest


def _files_in(folder: Path) -> set[str]:
    """The files in a folder and its folders. Raises ValueError for what is neither, such as a link: it may lead anywhere."""
    names = set()
    for path in folder.rglob("*"):
        relative = path.relative_to(folder).as_posix()
        if stat.S_ISREG(mode := path.lstat().st_mode):
            names.add(relative)
        elif not stat.S_ISDIR(mode):
            raise ValueError(f"{relative} is no file")
    return names


def _write_entry(
    scratch: Path,
    entry: Path,
    call: Call[R],
    output: Output[R],
    seconds: float,
    load: Callable[..., Artifact[R] | None],
) -> None:
    """A whole cache entry, renamed to its name when all of it is there. Where `load` finds a whole one meanwhile, that stays."""
    new = scratch / ".entry"
    _remove(new)  # of a process that was killed while it wrote
    new.mkdir()
    _fill(new, call, output, seconds)
    try:
        new.rename(entry)
    except OSError as problem:
        if problem.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise
        if load(entry, call.stage.folder, call) is None:  # what lies there is damaged
            _remove(entry)
            new.rename(entry)


def _fill(entry: Path, call: Call[R], output: Output[R], seconds: float) -> None:
    """All files of an entry; its manifest comes last."""
    write_records(entry / "records.jsonl", output.records)
    write_records(entry / "rejected.jsonl", output.rejected)
    if output.files is not None:
        link_tree(output.files, entry / "files")
    names = sorted(path.relative_to(entry).as_posix() for path in entry.rglob("*") if path.is_file())
    manifest = {
        "stage": call.stage.folder,
        "key": call.key,
        "received": output.received,
        "passed": output.accepted,
        "records": len(output.records),
        "rejected": dict(sorted(Counter(item.reason for item in output.rejected).items())),
        "numbers": dict(output.numbers),
        "seconds": round(seconds, 3),
        "parameters": call.parameters,
        "inputs": call.inputs,
        "files": {relative: file_digest(entry / relative) for relative in names},
    }
    write_json(entry / "manifest.json", manifest)


def link(source: Path, target: Path) -> None:
    """`target` becomes `source`: a hard link where the file is large and the disk allows it, else a copy."""
    target.unlink(missing_ok=True)
    if source.stat().st_size >= _LINKED:
        with contextlib.suppress(OSError):  # another disk, or a file system without hard links
            os.link(source, target)
            return
    shutil.copyfile(source, target)


def link_tree(source: Path, target: Path) -> None:
    """As `link`, a folder with all it holds."""
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            link(path, place)


def file_digest(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_records(path: Path, record_type: type[R]) -> list[R]:
    """The records of a JSONL file that `write_records` wrote."""
    with path.open(encoding="utf-8") as file:
        return [record_type.from_json(json.loads(line)) for line in file]


def write_records(path: Path, records: Sequence[Record]) -> None:
    """One JSON object a line; the file appears whole or not at all."""
    _write_text(path, "".join(json.dumps(r.to_json(), ensure_ascii=False) + "\n" for r in records))


def write_json(path: Path, value: Any) -> None:
    """Indented JSON; the file appears whole or not at all."""
    _write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def _write_text(path: Path, text: str) -> None:
    temporary = path.with_name(f"{path.name}.{_OWN}-{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)  # half a file on a full disk is in the way of everything else
        raise


def _check_writable(what: str, folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable.{_OWN}-{os.getpid()}"
        probe.write_bytes(b"\0" * 4096)
        probe.unlink()
    except OSError as problem:
        raise UserError(
            f"the {what} {folder} cannot be written ({problem.strerror}). Free some space or choose another folder: "
            "`hydra.run.dir=FOLDER` for the run folder, `cache_dir=FOLDER` for the cache."
        ) from problem


@contextlib.contextmanager
def _explained_os_errors(folder: Path) -> Iterator[None]:
    """Turn a full disk or a folder turned read-only into a message; what is finished stays in the cache."""
    try:
        yield
    except OSError as problem:
        if problem.errno is None or isinstance(problem, (FileNotFoundError, ConnectionError, TimeoutError)):
            raise
        raise UserError(
            f"writing to {folder} failed: {problem.strerror}. Finished stages are kept; make room or choose another "
            "folder (`cache_dir=FOLDER`, `hydra.run.dir=FOLDER`) and run the same command again."
        ) from problem
