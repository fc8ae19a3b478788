"""`engine=vllm`: the target generates in processes of vLLM's own, which live as long as a phase of generation.

Place in the flow: bound by conf/engine/vllm.yaml; `engine` does the work and is loaded at the first question. vLLM need not be
installed where this package is: `engine.python` names the Python of an environment that has it.

Example::

    python train.py recipe=sei engine=vllm engine.python=vllm-env/bin/python
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

from sei.errors import UserError
from sei.target.cluster.choice import Clustered
from sei.target.engine import Engine
from sei.target.vllm import adapters
from sei.target.weights import Weights
from sei.values import Count, PositiveShare

OLDEST = (0, 32)  # versions before it have not been tried
_PLUGIN = "vllm-bnb-plugin"
_OWN = "python -m venv vllm-env && vllm-env/bin/pip install 'vllm>=0.32,<0.34'"
# Run by the other Python: what it has, without importing vllm, which takes long.
_PROBE = """
import importlib.metadata, importlib.util, json
found = {"version": None, "plugin": False}
if importlib.util.find_spec("vllm"):
    names = importlib.metadata.packages_distributions().get("vllm") or []
    found["version"] = importlib.metadata.version(names[0]) if names else ""
    found["plugin"] = any(one.metadata["Name"] == "%s" for one in importlib.metadata.distributions())
print(json.dumps(found))
"""


@dataclass(frozen=True)
class VLLM(Clustered):
    """How vLLM generates."""

    python: str | None = None  # of an environment that has vllm; null: this one
    processes: Count | None = None  # that share the requests; null: as many as the GPUs allow
    tensor_parallel: Count | None = None  # GPUs a process; null: as few as hold the weights
    memory: PositiveShare = 0.9  # of each GPU's, for weights, keys and values
    batch_invariant: bool = True  # where vLLM and GPU can: results that do not depend on what else is in the batch
    nf4: Literal["unquantized", "bitsandbytes"] = "unquantized"  # how a target with quantization=nf4 is loaded

    def open(self, weights: Weights) -> Engine:
        if self.cluster is not None:
            return self.over_cluster("vllm", weights)
        from sei.target.vllm.engine import VLLMEngine

        return VLLMEngine(weights, self)

    def fingerprint(self) -> dict[str, Any]:
        """What decides the completions. Not the number of processes or the size of batches: which requests meet in a batch
        depends on the moment with vLLM, whatever these are."""
        return {"batch_invariant": self.batch_invariant, "nf4": self.nf4}

    def complaints(self) -> list[str]:
        found = list(self.cluster_complaints())
        if self.cluster is not None and self.processes is not None:
            found.append(
                f"engine.processes={self.processes} is for one machine; with engine.cluster=ray there are as many as the nodes' "
                "GPUs allow (engine.tensor_parallel, engine.cores). Leave it out"
            )
        return found

    def check(self) -> None:
        if self.cluster is not None:
            self.check_cluster()
            return
        found = probe(self.executable)
        where = "" if self.python is None else f" in the environment of engine.python={self.python}"
        if found["version"] is None:
            raise UserError(
                f"engine=vllm needs the package 'vllm', which is not installed{where}. It pins libraries that this package "
                f"needs newer, so give it an environment of its own: {_OWN}. Then add engine.python=vllm-env/bin/python"
            )
        version = tuple(int(part) for part in found["version"].split(".")[:2] if part.isdecimal())
        if version and version < OLDEST:
            raise UserError(
                f"engine=vllm needs vllm 0.32 or newer; {found['version']} is installed{where}. Upgrade: {_OWN}"
            )
        if self.nf4 == "bitsandbytes" and not found["plugin"]:
            raise UserError(
                f"engine.nf4=bitsandbytes needs the package '{_PLUGIN}', which is not installed{where}. Install it there: "
                f"{self.executable} -m pip install {_PLUGIN}; or set engine.nf4=unquantized"
            )

    def announce(self, weights: Weights) -> list[str]:
        """What it would start for these weights."""
        if self.cluster is not None:
            return self.announce_cluster("vllm", weights)
        from sei.target.vllm.layout import group_gpus, is_invariant

        places = group_gpus(self, weights)
        on = f"{len(places[0])} GPU{'s' * (len(places[0]) > 1)} each" if places[0] else "on the CPU"
        invariant = is_invariant(self, places[0])
        lines = [
            f"Generation: vllm {probe(self.executable)['version'] or 'of unknown version'}, {len(places)} "
            f"process{'es' * (len(places) > 1)}, {on}; results {'do not depend' if invariant else 'may depend'} on the batch"
        ]
        if weights.quantization != "none":
            kind = "with bitsandbytes, in 4 bits" if self.quantizes(weights) else f"as {weights.dtype}, unquantized"
            lines.append(
                f"The target is trained as {weights.quantization} and generates {kind} (engine.nf4={self.nf4})"
            )
        return lines

    def gpus_each(self, weights: Weights) -> int:
        from sei.target.vllm.layout import group_gpus

        return len(group_gpus(self, weights)[0])

    def adapter_complaints(self, rank: int, modules: Sequence[str]) -> Iterator[str]:
        for fault in adapters.complaints(rank, modules):
            yield f"vLLM could not load the adapter that is trained: {fault}. Change it, or use engine=hf"

    def quantizes(self, weights: Weights) -> bool:
        """Whether vLLM quantizes these weights as it loads them."""
        return weights.quantization != "none" and self.nf4 == "bitsandbytes"

    @property
    def executable(self) -> str:
        return self.python or sys.executable


@lru_cache
def probe(python: str) -> dict[str, Any]:
    """What another Python has: the `version` of vllm ("" unknown, None without vllm), and whether the `plugin` is there."""
    if shutil.which(python) is None:
        raise UserError(f"engine.python={python}: no such program. Give the path of an environment's python: {_OWN}")
    done = subprocess.run([python, "-c", _PROBE % _PLUGIN], capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"engine.python={python}: is not a Python that runs here ({last}). It must be 3.10 or newer")
    found: dict[str, Any] = json.loads(done.stdout)
    return found
