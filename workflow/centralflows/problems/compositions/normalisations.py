"""Normalisations. The third derivatives of torch's own are wrong by 20 per cent and more (torch 2.13)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def layer_norm(
    x: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor | None:
    """Normalise over the last axes, which have the `normalized_shape`."""
    axes = tuple(range(-len(normalized_shape), 0))
    if x.shape[-len(normalized_shape) :] != tuple(normalized_shape):
        return None  # torch says what is wrong
    return _affine(standardised(x, axes, eps), weight, bias)


def native_layer_norm(
    x: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return `layer_norm`, and the mean and the inverse standard deviation over its axes."""
    axes = tuple(range(-len(normalized_shape), 0))
    return layer_norm(x, normalized_shape, weight, bias, eps), *_statistics(x, axes, eps)


def batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor | None:
    """Normalise each channel over the batch; the running statistics stay, because the loss must not change by a call."""
    if not training:
        return None  # an affine map
    axes = (0, *range(2, x.ndim))
    return _affine(standardised(x, axes, eps), *(_channels(each, x.ndim) for each in (weight, bias)))


def native_batch_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor] | None:
    """Return `batch_norm`, and mean and inverse standard deviation of each channel `[channels]`."""
    normed = batch_norm(x, weight, bias, running_mean, running_var, training, momentum, eps)
    if normed is None:
        return None
    return normed, *(each.flatten() for each in _statistics(x, (0, *range(2, x.ndim)), eps))


def group_norm(
    x: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor | None:
    """Normalise each group of channels of each example. (torch's own is right, but has no batched gradients.)"""
    if not x.numel():
        return None
    normed = standardised(x.reshape(len(x), num_groups, -1), (-1,), eps).view(x.shape)
    return _affine(normed, *(_channels(each, x.ndim) for each in (weight, bias)))


def instance_norm(
    x: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor | None:
    """Normalise each channel of each example; the running statistics stay, as in `batch_norm`."""
    if not use_input_stats:
        return None  # an affine map
    normed = standardised(x, tuple(range(2, x.ndim)), eps)
    return _affine(normed, *(_channels(each, x.ndim) for each in (weight, bias)))


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return `v` with the norms `g` along `dim`. (Already the second derivative of torch's own is wrong.)"""
    axes = tuple(axis for axis in range(v.ndim) if axis != dim)
    return v * (g / v.square().sum(axes, keepdim=True).sqrt())


def standardised(x: Tensor, axes: tuple[int, ...], eps: float) -> Tensor:
    """Return x with mean 0 and variance 1 over the axes."""
    centred = x - x.mean(axes, keepdim=True)
    return centred * (centred.square().mean(axes, keepdim=True) + eps).rsqrt()


def _statistics(x: Tensor, axes: tuple[int, ...], eps: float) -> tuple[Tensor, Tensor]:
    """Return mean and inverse standard deviation over the axes, which are constants for torch as well."""
    variance, mean = torch.var_mean(x.detach(), axes, correction=0, keepdim=True)
    return mean, (variance + eps).rsqrt()


def _affine(x: Tensor, weight: Tensor | None, bias: Tensor | None) -> Tensor:
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def _channels(value: Tensor | None, ndim: int) -> Tensor | None:
    return None if value is None else value.view(-1, *[1] * (ndim - 2))
