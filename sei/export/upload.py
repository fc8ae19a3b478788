"""An exported folder goes to the hub: weights into a model repository, rows into a data set's.

Place in the flow: after `export` has written the folder. New repositories are private; what was checked by eye is made public on
the hub's page. The token comes from the environment (`HF_TOKEN`) or from `hf auth login`, and is written nowhere.

Example::

    upload(Path("shared/my-adapter"), "me/llama3-sei")      # me/llama3-sei and me/llama3-sei-data
"""

from __future__ import annotations

import re
from pathlib import Path

from sei.errors import UserError

DATA_SUFFIX = "-data"


def upload(folder: Path, name: str) -> list[str]:
    """Upload `folder`, and its `data/` apart. Returns both addresses. Raises UserError where the hub refuses."""
    from huggingface_hub import HfApi

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        raise UserError(f"--to hub:{name}: expected OWNER/NAME.")
    hub = HfApi()
    try:
        model = hub.create_repo(name, repo_type="model", private=True, exist_ok=True)
        hub.upload_folder(repo_id=name, repo_type="model", folder_path=str(folder), ignore_patterns=["data/*"])
        data = hub.create_repo(name + DATA_SUFFIX, repo_type="dataset", private=True, exist_ok=True)
        hub.upload_folder(repo_id=name + DATA_SUFFIX, repo_type="dataset", folder_path=str(folder / "data"))
    except Exception as error:  # the hub's own errors, and those of whatever library its client speaks HTTP with
        raise UserError(
            f"--to hub:{name}: the hub did not take it: {' '.join(str(error).split())[:300]}. Set HF_TOKEN to a token that may "
            "write there, or export to a folder (--to DIR)."
        ) from error
    return [str(model), str(data)]
