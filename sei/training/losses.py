"""The losses, as pure functions of tensors.

Place in the flow: `training.module` calls them on the model's logits; nothing here knows of models or loops. Example::

    losses, chosen_rewards, rejected_rewards = dpo_loss(
        policy_chosen_logps, policy_rejected_logps, ref_chosen_logps, ref_rejected_logps, beta=0.1
    )
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, logsigmoid

from sei.training.settings import Preference

MASKED = -100  # label of a token that is not trained on, as everywhere in PyTorch and transformers


def target_logps(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Log-probability of each target, [tokens] float32, in nats.

    logits: [tokens, vocabulary], any float type; computed in float32.
    targets: [tokens] ids: `targets[i]` is what `logits[i]` predicts.
    """
    return -cross_entropy(logits.float(), targets, reduction="none")


def sft_loss(logps: torch.Tensor, step_tokens: int) -> torch.Tensor:
    """Next-token negative log-likelihood of the labelled tokens, summed, divided by `step_tokens`.

    logps: [tokens], see `target_logps`.
    step_tokens: labelled tokens of the whole optimizer step. Dividing by it, and not by the number in this batch,
        makes the sum over all micro-batches and devices of a step the mean over the step's tokens, so that every
        token has the same weight.
    Returns a scalar in nats per token. Without tokens it is 0, with gradient 0.

    Source: LeMa (arXiv 2310.20689), section 2.2: the loss is computed on outputs alone.
    """
    return -logps.sum() / step_tokens


def answer_logps(logps: torch.Tensor, answers: torch.Tensor, count: int) -> torch.Tensor:
    """Log-probability of each of `count` answers: the sum over its tokens, in nats.

    logps, answers: [tokens]; token i belongs to answer number `answers[i]`. Returns [count]; 0 for an answer without tokens.
    """
    return logps.new_zeros(count).index_add(0, answers, logps)


def dpo_loss(
    policy_chosen_logps: torch.Tensor,
    policy_rejected_logps: torch.Tensor,
    ref_chosen_logps: torch.Tensor,
    ref_rejected_logps: torch.Tensor,
    *,
    beta: float,
    label_smoothing: float = 0.0,
    kind: Preference = "sigmoid",
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Direct preference optimization: losses, chosen rewards and rejected rewards of each pair, all [pairs].

    policy_*_logps, ref_*_logps: [pairs] log-probability of the whole answer given the prompt, in nats. For `sigmoid` the
        sum over the answer's tokens, for `ipo` the mean (as in TRL 1.16, which says that IPO's authors did so: a
        squared distance to a fixed margin would otherwise grow with the length of the answers).
    beta: strength of the pull to the reference; for `ipo` the tau of its paper.
    label_smoothing: the share of pairs whose preference is assumed to be reversed; `sigmoid` only.

    With h = (policy_chosen - ref_chosen) - (policy_rejected - ref_rejected):
        sigmoid: -(1 - s) ln sigmoid(beta h) - s ln sigmoid(-beta h). At policy = reference it is ln 2.
            Rafailov et al. 2023 (arXiv 2305.18290), eq. 7; s: Mitchell 2023, "A note on DPO with noisy preferences", eq. 3.
        ipo: (h - 1 / (2 beta))^2. Azar et al. 2023 (arXiv 2310.12036), eq. 17.
    Rewards are beta * (policy - ref), without gradient: Rafailov et al., eq. 5 without the term of the prompt alone.
    """
    chosen_logratios = policy_chosen_logps - ref_chosen_logps
    rejected_logratios = policy_rejected_logps - ref_rejected_logps
    margins = chosen_logratios - rejected_logratios
    if kind == "sigmoid":
        losses = -(1 - label_smoothing) * logsigmoid(beta * margins) - label_smoothing * logsigmoid(-beta * margins)
    else:
        losses = (margins - 1 / (2 * beta)) ** 2
    return losses, beta * chosen_logratios.detach(), beta * rejected_logratios.detach()


def sft_term(policy_chosen_logps: torch.Tensor, chosen_tokens: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood per token of each chosen answer, [pairs]; may be added to the DPO loss with a weight.

    policy_chosen_logps: [pairs] sums over the answer's tokens. chosen_tokens: [pairs] the number of these tokens.
    Source: Pang et al. 2024 (arXiv 2404.19733), eq. 1.
    """
    return -policy_chosen_logps / chosen_tokens
