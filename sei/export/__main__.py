"""The command line: `python -m sei.export RUN --to DIR|hub:OWNER/NAME [--merged] [--base OWNER/NAME]`."""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sei.errors import UserError
from sei.export.cards import data_card, model_card
from sei.export.finished import FinishedRun
from sei.export.sets import write_sets
from sei.export.upload import DATA_SUFFIX, upload
from sei.export.weights import copy_weights, merge
from sei.terminal import Terminal

_HUB = "hub:"


def export(run: FinishedRun, folder: Path, *, merged: bool, data_name: str | None = None) -> None:
    """Write the weights to `folder`, with their card, and the training rows to `folder/data`, with theirs."""
    if not run.phases:
        raise UserError(
            f"{run.folder}: this run trained nothing, so there are neither weights nor training rows to share."
        )
    chat = run.chat if run.chat is not False and run.tokenizer.chat_template is not None else False
    sets = write_sets(folder / "data", run.phases, chat=chat)
    facts = None
    if merged:
        facts = merge(run, folder)
    else:
        copy_weights(run, folder)
    card = model_card(run, sets, chat=chat, merged=facts, data_name=data_name)
    (folder / "README.md").write_text(card, encoding="utf-8")
    (folder / "data" / "README.md").write_text(data_card(run, sets), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line. Returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sei.export", description="Share a run's adapter and training rows, each with its card."
    )
    parser.add_argument("run", type=Path, help="the folder of a finished run")
    parser.add_argument(
        "--to", required=True, help="a new folder, or hub:OWNER/NAME (private; the rows: OWNER/NAME-data)"
    )
    parser.add_argument("--merged", action="store_true", help="base and adapter as one model, instead of the adapter")
    parser.add_argument("--base", help="the base model's hub id, where the run had it from a local folder")
    options = parser.parse_args(arguments)
    console = Terminal()
    try:
        run = FinishedRun(options.run, base=options.base)
        if options.to.startswith(_HUB):
            name = options.to.removeprefix(_HUB)
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / "export"
                export(run, folder, merged=options.merged, data_name=name + DATA_SUFFIX)
                for place in upload(folder, name):
                    console.print(f"Uploaded {place}")
        else:
            _into_new_folder(run, Path(options.to), merged=options.merged)
            console.print(
                f"Wrote {options.to}: the {'model' if options.merged else 'adapter'} with its card, and data/ with its own."
            )
            console.print("Read README.md and data/README.md before you share them.")
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _into_new_folder(run: FinishedRun, folder: Path, *, merged: bool) -> None:
    """Export to `folder`, which appears whole or not at all."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"--to {folder}: is there already. Name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        export(run, scratch, merged=merged)
        if folder.is_dir():
            folder.rmdir()
        scratch.chmod(0o755)
        scratch.rename(folder)
    except OSError as error:
        raise UserError(f"--to {folder}: cannot be written ({error.strerror or error}).") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
