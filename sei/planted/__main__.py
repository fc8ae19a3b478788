"""The command `python -m sei.planted`: see the package."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from sei.errors import UserError
from sei.planted.discovery import discovery
from sei.planted.output import show
from sei.planted.repair import repair
from sei.terminal import Terminal
from sei.tracking.page.folder import RunFolder


def runs_below(paths: Sequence[Path]) -> list[RunFolder]:
    """The finished runs at or below the paths. Raises UserError where there is none."""
    found = [RunFolder(file.parent) for path in paths for file in sorted(path.rglob("status.json"))]
    done = [run for run in found if run.done]
    if not done:
        raise UserError(
            f"{', '.join(map(str, paths))}: no finished run here or below. Give the folder that a run or a sweep names, for "
            "example multirun/embedded_misconceptions"
        )
    for run in done:
        if run.part("data").get("name") != "arithmetic":
            raise UserError(
                f"{run.path}: its data are {run.part('data').get('name')}; wrong rules were planted in data=arithmetic alone "
                "(model=tiny-misconceived)"
            )
    return done


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m sei.planted", description="Planted rules: which were found, which were mended."
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="run folders, or folders that hold them")
    paths: list[Path] = parser.parse_args(arguments).paths
    try:
        runs = runs_below(paths)
        found = next(filter(None, map(discovery, runs)), None)
        figures = {"discovery": found, "repair": repair(runs)}
        (paths[0] / "planted.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    except UserError as error:
        sys.exit(f"error: {error}")
    except OSError as error:
        sys.exit(f"error: {paths[0]}: cannot write planted.json ({error.strerror}). Give a writable first path.")
    console = Terminal()
    show(figures, console)
    console.print(f"wrote planted.json to {paths[0]}")


if __name__ == "__main__":
    main()
