r"""Convolutions whose higher derivatives are as fast as their first.

A convolution $F(x, w)$, the gradient of its input $I(g, w)$ and that of its weight $W(x, g)$ are bilinear, and the
derivatives of each are the other two:
$\langle g, F(x, w) \rangle = \langle I(g, w), x \rangle = \langle W(x, g), w \rangle$. In this form, every order of
differentiation uses the three kernels that training uses. torch's own second derivative computes $W$ as a convolution
with images for kernels and examples for channels, which costs up to fifteen gradients on a GPU.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Options(NamedTuple):
    """Options of a convolution over zero-padded inputs, with one number for each spatial axis."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int


NAMES = ("input", "weight", "output")


class Bilinear(torch.autograd.Function):
    """The bilinear map to one of `NAMES` from the other two, in their order.

    Call `apply(result, shape, first, second, options)`, with the shape of the result.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(result: str, shape: tuple[int, ...] | None, first: Tensor, second: Tensor, options: Options) -> Tensor:
        stride, padding, dilation, groups = options
        common = (stride, padding, dilation, False, [0] * len(stride), groups)  # the False: not transposed
        if result == "output":
            return torch.ops.aten.convolution(first, second, None, *common)
        absent = first.new_empty(1).expand(shape)  # only its shape is used
        x, w, g = (absent, first, second) if result == "input" else (first, absent, second)
        wanted = [result == "input", result == "weight", False]
        gradients = torch.ops.aten.convolution_backward(g, x, w, None, *common, wanted)
        return gradients[NAMES.index(result)]

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Tensor) -> None:
        ctx.result, ctx.shape, first, second, ctx.options = inputs
        ctx.save_for_backward(first, second)
        ctx.save_for_forward(first, second)

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[Tensor | None, ...]:
        operands = [name for name in NAMES if name != ctx.result]
        given = dict(zip(operands, ctx.saved_tensors, strict=True)) | {ctx.result: cotangent}

        def gradient(operand: str) -> Tensor:
            first, second = (given[name] for name in NAMES if name != operand)
            return Bilinear.apply(operand, given[operand].shape, first, second, ctx.options)

        wanted = ctx.needs_input_grad[2:4]
        found = [gradient(name) if needed else None for name, needed in zip(operands, wanted, strict=True)]
        return None, None, *found, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> Tensor:
        (first, second), (dfirst, dsecond) = ctx.saved_tensors, tangents[2:4]
        changes = [(a, b) for a, b in ((dfirst, second), (first, dsecond)) if a is not None and b is not None]
        return sum(Bilinear.apply(ctx.result, ctx.shape, *change, ctx.options) for change in changes)


def convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | str | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
) -> Tensor | None:
    """Return the convolution of a batch `[n, channels, ...]`, zero-padded by given numbers."""
    if isinstance(padding, str) or x.ndim != weight.ndim:
        return None
    axes = x.ndim - 2
    options = Options(*(_each(value, axes) for value in (stride, padding, dilation)), groups)
    return _biased(Bilinear.apply("output", None, x, weight, options), bias)


def convolution_on_gpu(x: Tensor, *args: Any, **kwargs: Any) -> Tensor | None:
    """Return the convolution of a batch on a GPU; on a CPU, torch's own derivatives are as fast."""
    return convolution(x, *args, **kwargs) if x.is_cuda else None


def transposed_convolution(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Sequence[int] = 1,
    padding: int | Sequence[int] = 0,
    output_padding: int | Sequence[int] = 0,
    groups: int = 1,
    dilation: int | Sequence[int] = 1,
) -> Tensor | None:
    """Return the transposed convolution of a batch or of one example: a convolution's gradient of its input.

    torch's own has no third derivative with an output padding.
    """
    if x.ndim == weight.ndim - 1:
        batch = transposed_convolution(x[None], weight, bias, stride, padding, output_padding, groups, dilation)
        return None if batch is None else batch[0]
    axes = x.ndim - 2
    options = Options(*(_each(value, axes) for value in (stride, padding, dilation)), groups)
    extras = _each(output_padding, axes)
    # An extra of a stride or more, which a dilation allows, belongs to no convolution.
    if x.ndim != weight.ndim or not any(extras) or any(map(operator.ge, extras, options.stride)):
        return None
    sides = [
        (size - 1) * step - 2 * pad + gap * (width - 1) + extra + 1
        for size, width, step, pad, gap, extra in zip(x.shape[2:], weight.shape[2:], *options[:3], extras, strict=True)
    ]
    shape = (len(x), weight.shape[1] * groups, *sides)
    return _biased(Bilinear.apply("input", shape, weight, x, options), bias)


def _each(value: int | Sequence[int], axes: int) -> tuple[int, ...]:
    """Return one number for each axis."""
    values = (value,) if isinstance(value, int) else tuple(value)
    return values * axes if len(values) == 1 else values


def _biased(x: Tensor, bias: Tensor | None) -> Tensor:
    return x if bias is None else x + bias.view(-1, *[1] * (x.ndim - 2))
