"""Where a model's weights come from, and what is in the way of reading them: asked before anything is spent.

Place in the flow: `sei.fit` asks at the start of a run. A local folder and the hub's cache are looked at; the hub itself is
asked for its list of files only where the weights are not here yet (`ask`), which a plan leaves out. Pickled weights are
never loaded: where a model has no others, this says which revision has safetensors, or how to convert them.

Example::

    missing_weights("meta-math/MetaMath-7B-V1.0", None, gated=False, ask=True)     # "" where nothing is in the way
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from sei.target.shape import cached_snapshot, hub_home

_PATIENCE = 10.0  # seconds for one answer of the hub
_REQUESTS = 20  # conversions are among the first pull requests of a model


def missing_weights(model: str, revision: str | None, *, gated: bool, ask: bool = False) -> str:
    """What prevents reading the weights, "" if nothing does as far as can be told."""
    folder = Path(model)
    if folder.is_dir():
        return _only_pickles(model, (path.name for path in folder.iterdir()), "")
    if folder.is_absolute() or model.startswith(".") or model.count("/") != 1:
        return f"{model}: no such folder."
    if snapshot := cached_snapshot(model):
        return _only_pickles(model, (path.name for path in snapshot.iterdir()), "")
    if os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on"):
        return f"{model} is not in the local cache, and HF_HUB_OFFLINE forbids the download."
    has_token = bool(os.environ.get("HF_TOKEN")) or (hub_home() / "token").is_file()
    if gated and not has_token:
        return (
            f"{model} is not in the local cache, its licence must be accepted on the model's page, and no access token was "
            "found (set HF_TOKEN)."
        )
    return _on_the_hub(model, revision) if ask else ""


def hub_answers() -> bool:
    """Whether the hub can be reached, through a proxy where one is set: one attempt of seconds, where its client tries for half
    a minute."""
    try:
        urlopen(Request(os.environ.get("HF_ENDPOINT") or "https://huggingface.co", method="HEAD"), timeout=3).close()
    except HTTPError:  # an answer, if not the one that was hoped for
        return True
    except (OSError, ValueError) as error:  # certificates are the client's own affair: it may know others than we do
        return isinstance(getattr(error, "reason", error), ssl.SSLError)
    return True


def _on_the_hub(model: str, revision: str | None) -> str:
    """What the hub's own list of files says."""
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    hub = HfApi()

    def files(at: str | None) -> list[str]:
        found = hub.model_info(model, revision=at, timeout=_PATIENCE).siblings or []
        return [one.rfilename for one in found]

    try:
        names = files(revision)
        if not _only_pickles(model, names, ""):
            return ""
        requests = hub.list_repo_refs(model, include_pull_requests=True).pull_requests or []
        converted = next(
            (one.ref for one in requests[:_REQUESTS] if any(name.endswith(".safetensors") for name in files(one.ref))),
            "",
        )
        return _only_pickles(model, names, converted)
    except GatedRepoError:
        return f"{model}: your access token may not read it: accept its licence on the model's page."
    except RevisionNotFoundError:
        return f"{model}: has no revision {revision}; leave model.revision out for the newest."
    except RepositoryNotFoundError:
        return f"{model}: there is no such model on the hub, or your access token (HF_TOKEN) may not see it."
    except Exception as error:  # the hub's client raises dozens of types, most of them for "no network"
        return f"{model} is not in the local cache, and the hub cannot be reached ({type(error).__name__})."


def _only_pickles(model: str, names: Iterable[str], converted: str) -> str:
    """Why files of these names cannot be read: there are weights among them, and all are pickles."""
    endings = {Path(name).suffix for name in names}
    if ".safetensors" in endings or not endings & {".bin", ".pt", ".pth", ".ckpt"}:
        return ""
    if converted:
        return (
            f"{model} has its weights as pickles only, which are never loaded. Its revision {converted} has safetensors: add "
            f"model.revision={converted}."
        )
    return (
        f"{model} has its weights as pickles only, which are never loaded. The page huggingface.co/spaces/safetensors/convert "
        "makes a pull request that has safetensors: name it with model.revision=refs/pr/NUMBER. Or convert the files on a "
        "machine that holds nothing of worth, and give the folder with model.path=FOLDER."
    )
