"""The launchers and the sweeper of `sei.launch`, where Hydra looks for them: it makes plugins of this namespace alone.

Place in the flow: the YAMLs of conf/hydra/launcher and conf/hydra/sweeper name these classes. `sei.compose.register` puts the
folder above this one on Python's path; Python adds it to what other installed plugins call by the same name, since it has no
`__init__.py`.
"""

from __future__ import annotations

from sei.launch import local, ray, search, slurm


class LocalLauncher(local.LocalLauncher):
    """`hydra/launcher=local`."""


class RayLauncher(ray.RayLauncher):
    """`hydra/launcher=ray`."""


class SlurmLauncher(slurm.SlurmLauncher):
    """`hydra/launcher=slurm`, slurm_four_gpus and slurm_two_nodes."""


class OptunaSweeper(search.OptunaSweeper):
    """`hydra/sweeper=optuna`, which `hparams_search=optuna` chooses."""
