"""One job of a sweep as a process of its own: `python -m sei.launch PARENT`, started by `sei.launch.process`.

Place in the flow: reads a `Job` as JSON from standard input, carries it out and writes its `Ending` to what was standard output.
All that anything else prints there goes to standard error, which is the job's `log.txt`.
"""

from __future__ import annotations

import contextlib
import os
import sys

from sei.launch.jobs import Job, carry_out
from sei.processes import end_with_parent


def main(parent: int) -> None:
    """Carry out the job that standard input names, for the process `parent`."""
    end_with_parent(parent)
    job = Job.from_json(sys.stdin.read())
    with os.fdopen(os.dup(1), "w", encoding="utf-8") as channel:
        os.dup2(2, 1)
        # What the job itself prints, `tracking.log_file` writes to log.txt: it is not to be there twice.
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
            ending = carry_out(job)
        channel.write(ending.to_json())


if __name__ == "__main__":
    main(int(sys.argv[1]))
