"""The command `python -m sei.calibrate`: reads its options, measures on planted mistakes or on labels, prints the figures.

Place in the flow: `__main__` runs it; see the package for what it measures.

Example::

    main(["--items", "20", "teacher=symbolic"])      # 0, its exit status
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from sei.calibrate.labels import calibrate_labels, estimate_labels, show_labels
from sei.calibrate.mistakes import calibrate, estimate_costs, show
from sei.compose import configured
from sei.data.labelled import FIELDS, SPLITS
from sei.errors import UserError
from sei.tracking.display import Display

_DEFAULT_ITEMS = 100


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m sei.calibrate", description="Measure a teacher on planted mistakes, or on labels."
    )
    parser.add_argument(
        "--items", type=int, help="mistakes per source (default: 100), or labelled solutions (default: all)"
    )
    parser.add_argument("--labels", help=f"a file with the fields {FIELDS}, or processbench/{'|'.join(SPLITS)}")
    parser.add_argument("overrides", nargs="*", help="as for train.py: teacher=gpt-4o data=gsm8k data.path=DIR ...")
    options = parser.parse_intermixed_args(arguments)
    try:
        config = configured(options.overrides)
        display = Display()
        planted = _DEFAULT_ITEMS if options.items is None else options.items
        if options.labels and config.dry_run:
            estimate_labels(config, options.labels, options.items, display)
        elif options.labels:
            show_labels(calibrate_labels(config, options.labels, options.items), display)
        elif config.dry_run:
            estimate_costs(config, planted, display)
        else:
            show(calibrate(config, planted, display), display)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0
