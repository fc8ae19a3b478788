"""The command `python -m sei.calibrate`: see the package."""

from __future__ import annotations

import sys

from sei.calibrate.command import main

if __name__ == "__main__":
    sys.exit(main())
