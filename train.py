"""The one command: compose the configuration, check it, run the recipe, report.

    python train.py                                   # the embedded default, on a CPU
    python train.py model=llama2-70b recipe=sei       # a large target
    python train.py -m recipe=cot,correction,sei seed=0,1,2

Reads top to bottom; the method is in `sei/recipes/<recipe>.py`. Heavy libraries are imported when first needed, so
`--help` and `--cfg job` answer at once.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# Threads that wait for work sleep, but only after a moment's spinning. Longer spinning takes cores from other work (two
# runs at once on 2 cores were three times slower); none at all costs a run alone 40 % in training. Measured on the
# embedded target; read once, when torch is loaded. The first is for OpenMP runtimes that do not know the second.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "3000")

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from sei.config import explain_unknown_keys, register
from sei.errors import UserError

register()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(config: DictConfig) -> float | None:
    """Run one job. Returns the accuracy on the validation split after training, for sweepers."""
    from sei.run import run

    hydra_config = HydraConfig.get()
    overrides = list(hydra_config.overrides.task)
    try:
        return run(config, Path(hydra_config.runtime.output_dir), overrides)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        if hydra_config.mode is RunMode.MULTIRUN:
            raise  # marks this job as failed; the other jobs of the sweep go on
        sys.exit(2)
    except KeyboardInterrupt as stop:
        print(stop or "stopped; the same command goes on from here", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    try:
        explain_unknown_keys(sys.argv[1:])
    except UserError as error:
        sys.exit(f"error: {error}")
    main()
