"""Share what a run made: `python -m sei.export RUN --to DIR` (or `--to hub:NAME`).

Place in the flow: after a finished run. Its adapter becomes a repository with a model card (`weights`, `cards`), its training
rows become a data set with a data card, in the forms that other training tools read (`sets`). Both can go to the hub
(`upload`). Nothing of this machine, such as a path, goes along.

Example::

    python -m sei.export multirun/sei-tiny-arithmetic-seed0-e3b0c442 --to shared/my-adapter
    python -m sei.export RUN --to hub:me/llama3-sei --merged
"""
