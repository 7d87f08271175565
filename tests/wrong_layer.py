"""A layer whose second derivative is wrong, for tests of what must be refused."""

from __future__ import annotations

import torch
from torch import nn


class Cubed(torch.autograd.Function):
    """The cube, with a gradient that takes one factor for a constant."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, cotangent):
        (x,) = ctx.saved_tensors
        return 3 * x * x.detach() * cotangent


class Cube(nn.Module):
    def forward(self, x):
        return Cubed.apply(x)
