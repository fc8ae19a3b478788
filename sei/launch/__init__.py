"""Where the jobs of a sweep run: several at once on this machine, on a Ray cluster, or in Slurm's queue.

Place in the flow: Hydra finds the launchers in `hydra_plugins.sei` (the folder `plugins`); the YAMLs of conf/hydra/launcher
choose one. Example::

    python train.py -m recipe=cot,sei seed=0,1,2 hydra/launcher=local
"""
