"""The one command: compose the configuration, check it, run the recipe, report.

    python train.py                                   # the embedded default, on a CPU
    python train.py model=llama2-70b recipe=sei       # a large target
    python train.py -m recipe=cot,correction,sei seed=0,1,2

Reads top to bottom; the method is in `sei/recipes/<recipe>.py`. Heavy libraries are imported when first needed, so
`--help` and `--cfg job` answer at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Any

# Threads that wait for work sleep, but only after a moment's spinning. Longer spinning takes cores from other work (two
# runs at once on 2 cores were three times slower); none at all costs a run alone 40 % in training. Measured on the
# embedded target; read once, when torch is loaded. The first is for OpenMP runtimes that do not know the second.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from sei.compose import keys_to_leave_out, nearby, origin, origins, prepare, register, without
from sei.config import build
from sei.errors import Ended, UserError

register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(composed: DictConfig) -> float | None:
    """Run one job. Returns the accuracy on the validation split after training, for sweepers."""
    from sei.tracking.log_file import logged

    folder = Path(HydraConfig.get().runtime.output_dir)
    with contextlib.nullcontext() if composed.dry_run else logged(folder):
        return job(composed, folder)


def job(composed: DictConfig, folder: Path) -> float | None:
    """Check the configuration and run it in `folder`; what goes wrong is said in one line, and the exit status tells it."""
    from sei.run import record_failure, run

    hydra_job = HydraConfig.get()
    overrides = list(hydra_job.overrides.task)
    in_sweep = hydra_job.mode is RunMode.MULTIRUN
    show_page = in_sweep and not composed.dry_run and not composed.rehearsal
    try:
        try:
            left_out = keys_to_leave_out(composed, overrides, recipes_of_sweep(hydra_job))
            chosen = origins(composed, overrides, hydra_job.runtime.config_sources, swept_by_experiment(hydra_job))
            config = build(composed, left_out=left_out, chosen=tuple(chosen))
        except UserError as error:
            if not composed.dry_run:
                record_failure(folder, error)
            raise
        where = origin(hydra_job, sys.argv[1:], left_out, multirun=in_sweep)
        near = partial(nearby, overrides, hydra_job.runtime.config_sources)
        return run(config, folder, without(overrides, left_out), where, nearby=near, in_sweep=in_sweep)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        if in_sweep:
            # Marks this job as failed; the other jobs of the sweep go on. Hydra prints no traceback of this kind of error.
            raise CompactHydraException(str(error).partition("\n")[0]) from None
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(str(stop) or "Interrupted. Run the same command to resume.", file=sys.stderr)
        show_page = False  # who interrupts a sweep does not wait for its page
        sys.exit(128 + (stop.number if isinstance(stop, Ended) else signal.SIGINT))
    finally:
        if show_page:
            update_sweep(Path(hydra_job.sweep.dir))


def update_sweep(folder: Path) -> None:
    """Write the sweep's page anew, now that one more of its jobs has ended."""
    from sei.comparison.page import update_page
    from sei.tracking.page.run import try_to_write

    try_to_write(lambda: update_page(folder), print)


def recipes_of_sweep(job: Any) -> list[str]:
    """All options of `recipe` in this sweep, from the command line and the experiment; none outside a sweep.

    Both, since an experiment's settings for its own recipes still stand when the command line names other ones.
    """
    if job.mode is not RunMode.MULTIRUN:
        return []
    swept = OmegaConf.select(job, "sweeper.params.recipe") or ""
    words = [word.removeprefix("recipe=") for word in sys.argv[1:] if word.startswith("recipe=")]
    return [name.strip() for name in ",".join([*words[-1:], str(swept)]).split(",") if name.strip()]


def swept_by_experiment(job: Any) -> list[str]:
    """The keys that this sweep's experiment varies, and not the command line."""
    named = {word.partition("=")[0] for word in sys.argv[1:]}
    return [key for key in OmegaConf.select(job, "sweeper.params") or {} if key not in named]


if __name__ == "__main__":
    try:
        sys.argv[1:] = prepare(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    try:
        main()
    finally:
        if sweep := sys.modules.get("sei.sweep"):  # Hydra imported it, as a run or a sweep began
            sweep.narrator().tell_end()
