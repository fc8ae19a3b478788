"""`python -m sei.sweep status|resume|cancel FOLDER`: see `sei.sweep.steer`.

Example::

    python -m sei.sweep status multirun/sweep-recipe
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sei.errors import UserError
from sei.sweep.steer import cancel, print_status, resume


def main() -> int:
    """Carry out the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m sei.sweep", description="Steer a sweep from outside.")
    parser.add_argument("what", type=str.lower, choices=("status", "resume", "cancel"), help="what to do with it")
    parser.add_argument("folder", type=Path, help="the sweep's folder, such as multirun/sweep-recipe")
    given = parser.parse_args()
    try:
        if given.what == "status":
            print_status(given.folder)
            return 0
        return resume(given.folder) if given.what == "resume" else cancel(given.folder)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
