"""Recursions in logarithms, along time or along an axis."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

IMPOSSIBLE = -1e30
"""Logarithm of a probability of zero: infinity would make derivatives undefined."""


def logcumsumexp(x: Tensor, dim: int) -> Tensor:
    """Return the logarithm of the cumulated sum of exponentials. (torch's third derivative is not a number.)"""
    if not x.ndim:
        return x.clone()
    total, *rest = x.unbind(dim)
    totals = [total]
    for each in rest:
        total = torch.stack([total, each]).logsumexp(0)  # logaddexp overflows in its second derivative
        totals.append(total)
    return torch.stack(totals, dim)


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Tensor | Sequence[int],
    target_lengths: Tensor | Sequence[int],
    blank: int = 0,
    reduction: int = 1,
    zero_infinity: bool = False,
) -> Tensor:
    r"""Return the connectionist temporal classification loss, by the forward recursion. (torch has no second derivative.)

    $\alpha_t(s) = y_t(l_s) [\alpha_{t-1}(s) + \alpha_{t-1}(s - 1) + \alpha_{t-1}(s - 2)]$ over the labels l with a blank
    around each; the last term only if $l_s$ is neither blank nor $l_{s - 2}$.

    Args:
        log_probs: `[time, n, symbols]` or `[time, symbols]`.
        targets: `[n, longest]`, or all targets in one row.

    Source: Graves et al., ICML 2006, equations 5 to 8.
    """
    alone = log_probs.ndim == 2
    log_probs = log_probs.unsqueeze(1) if alone else log_probs
    device = log_probs.device
    lengths, times = (
        torch.as_tensor(each, device=device).reshape(-1).expand(log_probs.shape[1])
        for each in (target_lengths, input_lengths)
    )
    labels = _labels(targets.to(device), lengths, blank)
    # A step without change, one ahead, and two ahead past a blank between different symbols.
    skips = functional.pad((labels[:, 2:] != labels[:, :-2]) & (labels[:, 2:] != blank), (2, 0))
    penalty = torch.zeros_like(skips, dtype=log_probs.dtype).masked_fill(~skips, IMPOSSIBLE)
    start = torch.arange(labels.shape[1], device=device) < 2
    emitted = log_probs.gather(2, labels.expand(len(log_probs), -1, -1)).clamp_min(IMPOSSIBLE)
    state = emitted[0].where(start, IMPOSSIBLE)
    states = [state]
    for scores in emitted[1:]:
        padded = functional.pad(state, (2, 0), value=IMPOSSIBLE)
        state = torch.stack([state, padded[:, 1:-1], padded[:, :-2] + penalty]).logsumexp(0) + scores
        states.append(state)
    every = torch.arange(len(lengths), device=device)
    last = torch.stack(states)[(times - 1).clamp_min(0), every]
    ends = torch.stack([2 * lengths, (2 * lengths - 1).clamp_min(0)], 1)
    final = last.gather(1, ends)
    final = torch.stack([final[:, 0], final[:, 1].where(lengths > 0, IMPOSSIBLE)]).logsumexp(0)
    losses = (-final).where(final > IMPOSSIBLE / 2, 0.0 if zero_infinity else torch.inf)
    if reduction == 1:
        return (losses / lengths.clamp_min(1)).mean()
    return losses.sum() if reduction == 2 else losses[0] if alone else losses


def _labels(targets: Tensor, lengths: Tensor, blank: int) -> Tensor:
    """Return the symbols of each target with a blank before, between and after them `[n, 2 longest + 1]`."""
    longest = int(lengths.max())
    if targets.ndim == 1:  # one after the other
        targets = torch.nn.utils.rnn.pad_sequence(targets.split(lengths.tolist()), batch_first=True)
    within = torch.arange(longest, device=targets.device) < lengths[:, None]
    symbols = targets[:, :longest].where(within, blank)
    pairs = torch.stack([torch.full_like(symbols, blank), symbols], 2).flatten(1)
    return functional.pad(pairs, (0, 1), value=blank).long()
