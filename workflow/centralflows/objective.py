r"""The training objective $L(w)$ as a function of one flat weight vector.

This is the only file that knows both a `torch.nn.Module` and the flat vector that all the mathematics works on.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

Criterion = Callable[[Tensor, Tensor], Tensor]


class Objective:
    r"""Full-batch objective $L(w) = \mathrm{criterion}(\mathrm{network}(\mathrm{inputs}; w), \mathrm{targets})$.

    Args:
        network: any module that is a deterministic function of its trainable parameters and of `inputs`;
            parameters with `requires_grad=False` and buffers stay as they are. It is copied, and so never modified.
        inputs: all training inputs, examples along the first axis.
        targets: what the criterion compares the outputs with.
        criterion: `(outputs, targets) -> loss`, a scalar, differentiable three times. It may average over examples, but not
            depend on their number or on the network otherwise: the derivative probe calls it on the first few.

    Attributes:
        p: number of weights.
        initial_weights: the network's own weights as one vector `[p]`, in the order of `named_parameters()`.

    Raises:
        ValueError: the network has no trainable parameter, or its parameters differ in dtype or device.
    """

    def __init__(self, network: nn.Module, inputs: Tensor, targets: Tensor, criterion: Criterion):
        network = copy.deepcopy(network)
        parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        if not parameters:
            raise ValueError("the network has no trainable parameter")
        kinds = {(value.dtype, value.device) for value in parameters.values()}
        if len(kinds) > 1:
            raise ValueError(
                f"all trainable parameters must share one dtype and device, found {sorted(map(str, kinds))}"
            )
        self.network, self.inputs, self.targets, self.criterion = network, inputs, targets, criterion
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.p = sum(self._sizes)
        self.initial_weights: Float[Tensor, " p"] = torch.cat([v.detach().reshape(-1) for v in parameters.values()])

    def unflatten(self, w: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """The named parameters that the flat vector `w` holds (views, differentiable)."""
        parts = w.split(self._sizes)
        return {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def outputs(self, w: Float[Tensor, " p"], inputs: Tensor | None = None) -> Tensor:
        """Network outputs at weights `w`, on the training inputs or on the `inputs` given."""
        # The fused attention kernels have no second derivative; the math backend has all of them.
        with sdpa_kernel(SDPBackend.MATH):
            return torch.func.functional_call(
                self.network, self.unflatten(w), (self.inputs if inputs is None else inputs,)
            )

    def __call__(self, w: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """The loss at weights `w`, differentiable in `w`."""
        return self.criterion(self.outputs(w), self.targets)

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Objective:
        """A copy on another device or in another floating dtype; integer inputs and targets keep theirs."""

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        network = copy.deepcopy(self.network).to(device=device, dtype=dtype)  # `Module.to` works in place
        return Objective(network, move(self.inputs), move(self.targets), self.criterion)

    def head(self, examples: int) -> Objective:
        """The objective on the first `examples` examples only (the derivative probe needs no more)."""
        return Objective(self.network, self.inputs[:examples], self.targets[:examples], self.criterion)
