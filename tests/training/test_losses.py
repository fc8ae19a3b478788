from __future__ import annotations

import math

import pytest
import torch

from sei.training.losses import answer_logps, dpo_loss, sft_loss, sft_term, target_logps


def test_hand_arithmetic() -> None:
    # Vocabulary of 2. p(token 1) at the two positions: 3/4 and 1/5; targets 1 and 0; 4 tokens in the step.
    probability = torch.tensor([3 / 4, 1 / 5])
    logits = torch.stack([torch.log(1 - probability), torch.log(probability)], dim=-1)
    expected = (math.log(4 / 3) + math.log(5 / 4)) / 4
    assert sft_loss(target_logps(logits, torch.tensor([1, 0])), step_tokens=4).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_gradient_is_softmax_minus_one_hot_over_step_tokens() -> None:
    logits = torch.zeros(1, 2, requires_grad=True)
    sft_loss(target_logps(logits, torch.tensor([1])), step_tokens=5).backward()
    # softmax (1/2, 1/2) minus one-hot (0, 1), divided by 5.
    assert torch.allclose(logits.grad, torch.tensor([[0.1, -0.1]]))


def test_without_targets_loss_and_gradient_are_zero() -> None:
    hidden = torch.randn(3, 4, requires_grad=True)
    loss = sft_loss(target_logps(hidden[:0], torch.tensor([], dtype=torch.long)), step_tokens=7)
    loss.backward()
    assert loss.item() == 0.0
    assert hidden.grad.abs().max().item() == 0.0


def test_bfloat16_logits_are_summed_in_float32() -> None:
    logits = torch.zeros(2000, 2, dtype=torch.bfloat16)
    targets = torch.zeros(2000, dtype=torch.long)
    # 2,000 times ln 2 over 2,000: bfloat16 could not hold the sum.
    assert sft_loss(target_logps(logits, targets), 2000).item() == pytest.approx(math.log(2), rel=1e-6)
    logps = answer_logps(target_logps(logits, targets), targets, 1)
    assert logps.item() == pytest.approx(-2000 * math.log(2), rel=1e-5)


def test_log_probability_of_an_answer_is_the_sum_over_its_tokens() -> None:
    # p(token 1) at two positions: 3/4, 1/5. Answer 0: tokens 1 (position 0), 0 (position 1); answer 1: token 0 (position 0).
    probability = torch.tensor([3 / 4, 1 / 5])
    logits = torch.stack([torch.log(1 - probability), torch.log(probability)], dim=-1)
    logps = target_logps(logits[[0, 1, 0]], torch.tensor([1, 0, 0]))
    logps = answer_logps(logps, torch.tensor([0, 0, 1]), 3)
    assert logps.tolist() == pytest.approx([math.log(3 / 4 * 4 / 5), math.log(1 / 4), 0.0], rel=1e-6)


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_dpo_by_hand() -> None:
    # Log-ratios: chosen -10 - -12 = 2, rejected -11 - -8 = -3. Margin 5, times beta 0.2: 1.
    losses, chosen, rejected = dpo_loss(values(-10.0), values(-11.0), values(-12.0), values(-8.0), beta=0.2)
    assert losses.item() == pytest.approx(math.log(1 + math.exp(-1)))
    assert chosen.item() == pytest.approx(0.4)
    assert rejected.item() == pytest.approx(-0.6)


def test_dpo_is_ln_2_where_policy_is_reference() -> None:
    here = values(-3.0, -700.0)
    losses, chosen, rejected = dpo_loss(here, here - 1, here, here - 1, beta=0.3)
    assert losses.tolist() == [math.log(2)] * 2
    assert chosen.tolist() == rejected.tolist() == [0.0, 0.0]


def test_label_smoothing_weighs_both_directions() -> None:
    # Margin 5, beta 0.2, smoothing 1/4: 3/4 of -ln sigmoid(1) and 1/4 of -ln sigmoid(-1).
    losses, *_ = dpo_loss(values(-10.0), values(-11.0), values(-12.0), values(-8.0), beta=0.2, label_smoothing=0.25)
    expected = 0.75 * math.log(1 + math.exp(-1)) + 0.25 * math.log(1 + math.exp(1))
    assert losses.item() == pytest.approx(expected)


def test_ipo_by_hand() -> None:
    # Margin 5, beta 0.2: (5 - 1/0.4)^2 = 2.5^2. At the reference: (1/0.4)^2.
    losses, *_ = dpo_loss(values(-10.0), values(-11.0), values(-12.0), values(-8.0), beta=0.2, kind="ipo")
    assert losses.item() == pytest.approx(6.25)
    here = values(-4.0)
    assert dpo_loss(here, here, here, here, beta=0.2, kind="ipo")[0].item() == pytest.approx(6.25)


def test_dpo_gradient_pulls_by_beta_times_how_wrong_the_rewards_are() -> None:
    policy = values(-10.0).requires_grad_(), values(-11.0).requires_grad_()
    losses, chosen, rejected = dpo_loss(*policy, values(-12.0), values(-8.0), beta=0.2)
    losses.sum().backward()
    # Rafailov et al., section 4: -beta * sigmoid(rejected reward - chosen reward), here sigmoid(-1), and its opposite.
    weight = 0.2 / (1 + math.exp(1))
    assert [one.grad.item() for one in policy] == pytest.approx([-weight, weight])
    assert not chosen.requires_grad
    assert not rejected.requires_grad


def test_sft_term_is_nats_a_token() -> None:
    assert sft_term(values(-6.0, -8.0), torch.tensor([3, 2])).tolist() == [2.0, 4.0]
