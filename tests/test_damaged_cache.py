"""The cache after anything has happened to it: what is damaged is computed again, said once, and never in the way."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sei.errors import UserError
from sei.records import Problem
from sei.stage import Output
from sei.workspace import Artifact, Workspace
from tests.test_workspace import KEEP, PROBLEMS

Damage = Callable[[Path], Any]


def with_file(scratch: Path) -> Output[Problem]:
    (scratch / "files").mkdir(exist_ok=True)
    (scratch / "files/a.txt").write_text("a")
    return Output(PROBLEMS[:3], received=3, files=scratch / "files")


def run(workspace: Workspace) -> Artifact[Problem]:
    return workspace.stage(KEEP.call(PROBLEMS), "keep", with_file)


def entry_of(cache: Path) -> Path:
    (manifest,) = cache.glob("*/*/manifest.json")
    return manifest.parent


def edit(change: Callable[[dict[str, Any]], Any]) -> Damage:
    def damage(entry: Path) -> None:
        manifest = json.loads((entry / "manifest.json").read_text())
        change(manifest)
        (entry / "manifest.json").write_text(json.dumps(manifest))

    return damage


def remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() else path.unlink()


def instead(name: str, make: Callable[[Path], Any]) -> Damage:
    """`make` something in the place of `name`; "": of the entry itself."""

    def damage(entry: Path) -> None:
        path = entry / name if name else entry
        remove(path)
        make(path)

    return damage


FIELDS = ("files", "stage", "key", "received", "passed", "records", "rejected", "numbers", "seconds")
OTHERS: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda path: (path / "x").mkdir(parents=True),
    "a dead link": lambda path: path.symlink_to("/nonexistent/x"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to a folder": lambda path: path.symlink_to("/tmp"),
    "a pipe": os.mkfifo,
}


def text(content: str) -> Damage:
    return lambda entry: (entry / "manifest.json").write_text(content)


def lease_as_folder(entry: Path) -> None:
    remove(entry)
    entry.with_suffix(".lease").mkdir()


DAMAGES: dict[str, Damage] = {
    **{f"manifest {content[:9]}": text(content) for content in ("", "null", "3", '"x"', "[1]", "{}", "[" * 100_000)},
    **{f"manifest without {name}": edit(lambda manifest, name=name: manifest.pop(name)) for name in FIELDS},
    **{
        f"manifest with another {name}": edit(lambda manifest, name=name: manifest.update({name: [None]}))
        for name in FIELDS
    },
    "no checksums": edit(lambda manifest: manifest["files"].clear()),
    "one checksum too few": edit(lambda manifest: manifest["files"].pop("files/a.txt")),
    "a link too many": lambda entry: (entry / "files/b.txt").symlink_to("/tmp"),
    "a pipe too many": lambda entry: os.mkfifo(entry / "files/b.txt"),
    "a file too many": lambda entry: (entry / "files/b.txt").write_text("b"),
    **{
        f"{name} is {kind}": instead(name, make)
        for name in ("manifest.json", "records.jsonl", "rejected.jsonl", "files/a.txt", "files")
        for kind, make in OTHERS.items()
    },
    "files is a file": instead("files", lambda path: path.write_text("x")),
    "the entry is a file": instead("", lambda entry: entry.write_text("x")),
    "the entry is a dead link": instead("", lambda entry: entry.symlink_to("/nonexistent/x")),
    "the scratch folder is a file": instead("", lambda entry: entry.with_suffix(".scratch").write_text("x")),
    "the lease is a folder": lease_as_folder,
    "the stage's folder is a file": lambda entry: (remove(entry.parent), entry.parent.write_text("x")),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_entry_of_any_kind_heals(tmp_path: Path, name: str) -> None:
    run(Workspace(tmp_path / "a", tmp_path / "cache"))
    DAMAGES[name](entry_of(tmp_path / "cache"))
    healed = run(Workspace(tmp_path / "b", tmp_path / "cache"))
    assert not healed.cached
    assert healed.records == PROBLEMS[:3]
    files = tmp_path / "b" / healed.place
    assert {path.name: path.read_text() for path in files.iterdir()} == {"a.txt": "a"}
    assert run(Workspace(tmp_path / "c", tmp_path / "cache")).cached


def test_damage_is_said_once_and_what_a_link_leads_to_is_left_alone(tmp_path: Path) -> None:
    notes: list[str] = []
    run(Workspace(tmp_path / "a", tmp_path / "cache"))
    entry = entry_of(tmp_path / "cache")
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    assert run(Workspace(tmp_path / "b", tmp_path / "cache")).cached  # a folder may lie on another disk
    (entry / "records.jsonl").write_text("")
    assert not run(Workspace(tmp_path / "c", tmp_path / "cache", on_note=notes.append)).cached
    assert notes == [
        "The cached artifact of stage 'keep' is damaged (records.jsonl does not have the checksum its manifest names); "
        "computing it again."
    ]
    assert (tmp_path / "elsewhere/records.jsonl").read_text() == ""
    assert not entry.is_symlink()


def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = Workspace(tmp_path / "a", tmp_path / "cache")
    workspace.write("status.json", {"status": "running"})

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match=r"No space left on device.*make room"):
        workspace.write("status.json", {"status": "done"})
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["status.json"]
    assert "running" in (tmp_path / "a/status.json").read_text()
