"""Liger's kernels for norms, rotary positions and feed-forward gates, on a GPU: `trainer.liger=true`.

Place in the flow: `sei.plan` refuses with `complaint` before anything is spent, `training.run` puts the kernels into the model.
Its kernels for the loss are not used: `training.scoring` does not hold the logits either, and knows any head. No GPU was at
hand to run them. Example::

    apply(model)
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from sei.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def complaint(*, on_gpu: bool) -> str:
    """Why the kernels cannot be used here; "" where they can."""
    if not on_gpu:
        return "trainer.liger=true: Liger's kernels run on a GPU, and here a CPU trains. Set trainer.liger=false."
    if find_spec("liger_kernel") is None:
        return 'trainer.liger=true: Liger\'s kernels are not installed: pip install -c constraints.txt -e ".[liger]"'
    return ""


def apply(model: PreTrainedModel) -> None:
    """Put the kernels into a model of transformers. Raises UserError where there are none for it."""
    if said := complaint(on_gpu=model.device.type == "cuda"):
        raise UserError(said)
    from liger_kernel.transformers import _apply_liger_kernel_to_instance
    from liger_kernel.transformers.monkey_patch import MODEL_TYPE_TO_APPLY_LIGER_FN

    kind = model.config.model_type
    if kind not in MODEL_TYPE_TO_APPLY_LIGER_FN:
        raise UserError(f"trainer.liger=true: Liger has no kernels for models of type {kind}. Set trainer.liger=false.")
    _apply_liger_kernel_to_instance(model=model, cross_entropy=False, fused_linear_cross_entropy=False)
