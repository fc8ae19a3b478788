"""The launchers of `sei.launch`, where Hydra looks for them: it makes plugins of this namespace alone.

Place in the flow: conf/hydra/launcher/*.yaml name these classes. Python adds this folder to what other installed plugins call by
the same name, since it has no `__init__.py`.
"""

from __future__ import annotations

from sei.launch import local


class LocalLauncher(local.LocalLauncher):
    """`hydra/launcher=local`."""
