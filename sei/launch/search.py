"""A sweep that searches: Optuna proposes the settings of each job from the results of those before (`hparams_search=optuna`).

Place in the flow: Hydra makes an `OptunaSweeper` from conf/hydra/sweeper/optuna.yaml and hands it the command line; its jobs go
to whatever launcher was chosen. A job's value is its accuracy on the validation problems after training, and is maximised. The
proposals depend on the seed and on the values alone, so that the same command finds the finished jobs in the cache and goes on.
Example::

    python train.py -m hparams_search=optuna recipe=cot 'recipe.training.learning_rate=tag(log,interval(2e-4,2e-2))'
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from sei.errors import UserError, missing_extra
from sei.launch.jobs import check_whole, said_by_hydra
from sei.sweep import BEST


class OptunaSweeper(Sweeper):
    """Searches with `n_trials` trials, `at_once` of them at a time; `params` are ranges beside those of the command line."""

    hydra_context: HydraContext
    config: DictConfig
    launcher: Launcher

    def __init__(self, n_trials: int, at_once: int, seed: int, params: Mapping[str, str] | None = None) -> None:
        self.n_trials, self.at_once, self.seed, self.params = n_trials, at_once, seed, params or {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.hydra_context, self.config = hydra_context, config
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def sweep(self, arguments: list[str]) -> list[JobReturn]:
        """What each job returned, in order. `arguments` are the overrides of the command line."""
        with said_by_hydra():
            check_whole("hydra.sweeper", 1, n_trials=self.n_trials, at_once=self.at_once)
            optuna = _optuna()
            swept, fixed = self._parted(arguments)
            space = {one.get_key_element(): _distribution(optuna, one) for one in swept}
            study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self.seed))
            found = self._search(optuna, study, space, fixed)
            if not self.config.dry_run:
                _write_best(study, Path(self.config.hydra.sweep.dir))
        return found

    def _parted(self, arguments: Sequence[str]) -> tuple[list[Override], list[str]]:
        """The overrides that give a range, and the words that every job has."""
        given = [*(f"{key}={value}" for key, value in self.params.items()), *arguments]
        parser = OverridesParser.create(self.hydra_context.config_loader)
        last = {one.key_or_group: one for one in parser.parse_overrides(given)}.values()  # later words win
        swept = [one for one in last if one.is_sweep_override()]
        if not swept:
            raise UserError(
                "hparams_search=optuna: there is nothing to search. Give ranges of any keys, such as recipe.training.rank=8,32 "
                "or 'recipe.training.learning_rate=tag(log,interval(2e-4,2e-2))'"
            )
        return swept, [str(one.input_line) for one in last if not one.is_sweep_override()]

    def _search(self, optuna: Any, study: Any, space: Mapping[str, Any], fixed: Sequence[str]) -> list[JobReturn]:
        """Try all trials; what their jobs returned."""
        folder = Path(self.config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self.config, folder / "multirun.yaml")
        found: dict[tuple[str, ...], JobReturn] = {}
        wanted = 1 if self.config.dry_run else self.n_trials
        while (left := wanted - len(study.trials)) > 0:
            trials = [study.ask(dict(space)) for _ in range(min(self.at_once, left))]
            words = [tuple(f"{key}={trial.params[key]}" for key in space) for trial in trials]
            # Of few choices one comes again: its result is known.
            new = [one for one in dict.fromkeys(words) if one not in found]
            jobs = [[*fixed, *one] for one in new]
            self.validate_batch_is_legal(jobs)
            if jobs:
                found |= zip(new, self.launcher.launch(jobs, initial_job_idx=len(found)), strict=True)
            for trial, one in zip(trials, words, strict=True):
                _tell(optuna, study, trial, found[one])
        return list(found.values())


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise missing_extra("optuna", "optuna", "hparams_search=optuna") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _distribution(optuna: Any, override: Override) -> Any:
    """From what a trial's value of a key is drawn."""
    sweep = override.value()
    log = "log" in getattr(sweep, "tags", ())
    if isinstance(sweep, IntervalSweep):
        whole = isinstance(sweep.start, int) and isinstance(sweep.end, int)
        kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
        return kind(sweep.start, sweep.end, log=log)
    if isinstance(sweep, RangeSweep) and isinstance(numbers := sweep.range(), range) and numbers.step > 0:
        return optuna.distributions.IntDistribution(numbers[0], numbers[-1], step=numbers.step)
    return optuna.distributions.CategoricalDistribution(list(override.sweep_string_iterator()))


def _tell(optuna: Any, study: Any, trial: Any, returned: JobReturn) -> None:
    """A trial's value; none where its job failed or trained nothing, of which the search then knows."""
    if returned.status is not JobStatus.COMPLETED:
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    elif isinstance(value := returned.return_value, int | float) and math.isfinite(value):
        study.tell(trial, value)
    else:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)


def _write_best(study: Any, folder: Path) -> None:
    """What the search found, where other sweepers of Hydra's put it too. Raises UserError where nothing had a value."""
    done = [trial for trial in study.trials if trial.value is not None]
    if not done:
        raise UserError(
            f"None of {len(study.trials)} trials gave an accuracy on validation problems: see the jobs' errors."
        )
    best = max(done, key=lambda trial: trial.value)
    params = {key.lstrip("+"): value for key, value in best.params.items()}
    OmegaConf.save(OmegaConf.create({"name": "optuna", "best_params": params, "best_value": best.value}), folder / BEST)
