"""LoRA's layers with fewer passes over the activations: the same products, but scaled and added within them.

Place in the flow: `training.run` makes the model ready and calls `lighten`. PEFT computes `base(x) + lora_B(lora_A(x)) *
scaling`, each operation a pass over numbers of the size of the output, and under autocast casts x twice for every layer that
takes it. Here the sum and the factor are part of the last product (`torch.addmm`), and layers that take the same x share its
cast. Layers of any other kind (quantized weights, DoRA, a bias in LoRA, several adapters) stay as PEFT has them. Example::

    model = get_peft_model(base, config)
    lighten(model)
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from peft.tuners.lora.layer import Linear
from torch import nn
from torch.nn.functional import linear


def lighten(model: nn.Module) -> int:
    """Have the LoRA layers of a model computed so, where they can be; their number."""
    layers = [module for module in model.modules() if _is_plain(module)]
    for layer in layers:
        layer.forward = partial(_forward, layer, layer.forward)
    return len(layers)


def _is_plain(module: Any) -> bool:
    """Whether it is PEFT's layer for one adapter beside an ordinary linear layer, with nothing else to it."""
    if type(module) is not Linear or type(module.base_layer) is not nn.Linear or len(module.active_adapters) != 1:
        return False
    [name] = module.active_adapters
    return (
        name in module.lora_A
        and name not in module.lora_variant
        and module.lora_B[name].bias is None
        and not module.fan_in_fan_out
    )


def _forward(layer: Any, own: Any, x: torch.Tensor, *arguments: Any, **more: Any) -> torch.Tensor:
    if layer.disable_adapters or layer.merged or arguments or more:
        return own(x, *arguments, **more)
    [name] = layer.active_adapters
    weight, bias = layer.base_layer.weight, layer.base_layer.bias
    entering = _cast(x).flatten(0, -2)
    base = linear(entering, weight.to(entering.dtype), None if bias is None else bias.to(entering.dtype))
    kept = layer.lora_dropout[name](entering)
    inner = linear(kept, layer.lora_A[name].weight.to(entering.dtype))
    outer = layer.lora_B[name].weight.to(entering.dtype)
    return torch.addmm(base, inner, outer.t(), alpha=layer.scaling[name]).view(*x.shape[:-1], -1)


def _cast(x: torch.Tensor) -> torch.Tensor:
    """x as autocast would have it. It is cast once, and kept beside x for the next layer that takes it."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    if x.dtype == dtype:
        return x
    state = (dtype, x._version, torch.is_grad_enabled())
    known: Any = getattr(x, "_sei_cast", None)
    if known is None or known[0] != state:
        known = (state, x.to(dtype))
        x._sei_cast = known  # type: ignore[attr-defined]
    return known[1]
