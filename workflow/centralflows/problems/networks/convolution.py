r"""Convolutions whose higher derivatives are as fast as their first.

A convolution $F(x, w)$, the gradient of its input $I(g, w)$ and that of its weight $W(x, g)$ are bilinear, and the
derivatives of each are the other two:
$\langle g, F(x, w) \rangle = \langle I(g, w), x \rangle = \langle W(x, g), w \rangle$. In this form, every order of
differentiation uses the three kernels that training uses. torch's own second derivative computes $W$ as a convolution
with images for kernels and examples for channels, which costs up to fifteen gradients on a GPU.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


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


class _Convolution:
    def forward(self, x: Tensor) -> Tensor:
        if self.padding_mode != "zeros" or isinstance(self.padding, str) or x.ndim != self.weight.ndim:
            return super().forward(x)
        options = Options(self.stride, self.padding, self.dilation, self.groups)
        result = Bilinear.apply("output", None, x, self.weight, options)
        return result if self.bias is None else result + self.bias.view(-1, *[1] * len(self.stride))


class Conv1d(_Convolution, nn.Conv1d):
    """A `torch.nn.Conv1d` with fast higher derivatives."""


class Conv2d(_Convolution, nn.Conv2d):
    """A `torch.nn.Conv2d` with fast higher derivatives."""


class Conv3d(_Convolution, nn.Conv3d):
    """A `torch.nn.Conv3d` with fast higher derivatives."""


OURS: dict[type[nn.Module], type[nn.Module]] = {nn.Conv1d: Conv1d, nn.Conv2d: Conv2d, nn.Conv3d: Conv3d}


def replace_convolutions(network: nn.Module) -> None:
    """Replace the plain convolutions of a network by these, in place; instances of subclasses are left as they are."""
    for module in network.modules():
        module.__class__ = OURS.get(type(module), type(module))
