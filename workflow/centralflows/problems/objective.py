"""The training objective $L(w)$ as a function of one flat weight vector.

Only this file handles both a `torch.nn.Module` and the flat vector that all other code uses.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from functools import partial
from numbers import Integral
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..common.errors import OutOfMemory, UserError
from .substitution import Substitution

Criterion = Callable[[Tensor, Tensor], Tensor]


class NotSeparable(UserError, ValueError):
    """The loss over all examples is not the sum of the contributions of microbatches."""


class Objective:
    r"""The full-batch objective $L(w) = \mathrm{criterion}(\mathrm{network}(\mathrm{inputs}; w), \mathrm{targets})$.

    Args:
        network: any module that is a deterministic function of its trainable parameters and of `inputs`; parameters
            with `requires_grad=False` and buffers stay constant. It is copied and therefore never modified.
        inputs: all training inputs, examples along the first axis.
        targets: targets with which the criterion compares the outputs.
        criterion: `(outputs, targets) -> loss`, a scalar, differentiable three times. It may average over examples, but
            must not otherwise depend on their number or on the network: the derivative check calls it on the first few.
        microbatch_size: examples per microbatch. The loss is then the sum of `parts`, and its derivatives
            (`derivatives`) hold the graph of one microbatch at a time. A criterion that averages over something other
            than examples, such as unmasked labels, must have an attribute `weight(targets)` that returns its amount, a
            number. By default all examples are one microbatch, and microbatches are halved if memory runs out.
        batched: whether derivatives along several vectors are taken in one pass, by torch's batching rules. This is
            faster for networks of many small operations (fully connected, recurrent), mostly on a GPU. The default is
            the network's attribute `batched`, or False if it has none.

    Attributes:
        p: number of weights.
        microbatch_size: current number of examples per microbatch.
        adapts: whether microbatches may be halved.
        initial_weights: the network's own weights as one vector `[p]`, in the order of `named_parameters()`.

    Raises:
        ValueError: the network has no trainable parameter, or its parameters differ in dtype or device or have less
            than float32 precision, or a microbatch would hold less than one example.
        TypeError: on evaluation, if the criterion does not return a scalar tensor.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Tensor,
        targets: Tensor,
        criterion: Criterion,
        *,
        microbatch_size: int | Literal["auto"] = "auto",
        batched: bool | None = None,
    ):
        self.adapts = microbatch_size == "auto"
        if not self.adapts and (not isinstance(microbatch_size, Integral) or microbatch_size < 1):
            raise ValueError(f"microbatch_size must be a whole number, at least 1, or 'auto' (got {microbatch_size!r})")
        network = copy.deepcopy(network)
        parameters = {name: value for name, value in network.named_parameters() if value.requires_grad}
        if not parameters:
            raise ValueError("the network has no trainable parameter")
        kinds = {(value.dtype, value.device) for value in parameters.values()}
        if len(kinds) > 1:
            raise ValueError(
                f"all trainable parameters must share one dtype and device, found {sorted(map(str, kinds))}"
            )
        if (dtype := next(iter(kinds))[0]) not in (torch.float32, torch.float64):
            raise ValueError(f"the network must be float32 or float64 (is {str(dtype).removeprefix('torch.')})")
        self.network, self.inputs, self.targets, self.criterion = network, inputs, targets, criterion
        self.batched = getattr(network, "batched", False) if batched is None else batched
        owners = {value: name for name, value in parameters.items()}
        self._names = {
            f"{prefix}.{name}" if prefix else name: owners[value]
            for prefix, module in network.named_modules()
            for name, value in module.named_parameters(recurse=False, remove_duplicate=False)
            if value in owners
        }
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.p = sum(self._sizes)
        self._begin(len(inputs) if self.adapts else microbatch_size)

    def _begin(self, microbatch_size: int) -> None:
        """Set the initial weights and microbatches from the current network, examples and criterion."""
        weights = [value for value in self.network.parameters() if value.requires_grad]
        self.initial_weights: Float[Tensor, " p"] = torch.cat([value.detach().reshape(-1) for value in weights])
        self._substitution = Substitution(self._tied(self.initial_weights), batched=self.batched)
        self.set_microbatch_size(microbatch_size)

    def unflatten(self, w: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Return the named parameters that the flat vector `w` holds (views, differentiable)."""
        parts = w.split(self._sizes)
        return {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def outputs(self, w: Float[Tensor, " p"], inputs: Tensor | None = None) -> Tensor:
        """Return the network outputs at weights `w`, on the training inputs or on the given `inputs`."""
        weights = self._tied(w)
        with self._substitution.of(weights):
            # Without tied weights: torch would swap in the weights of a module that is used twice, and not swap them
            # out again.
            return torch.func.functional_call(
                self.network, weights, (self.inputs if inputs is None else inputs,), tie_weights=False
            )

    def _tied(self, w: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Return `unflatten` under all names of parameters that several modules share."""
        values = self.unflatten(w)
        return {name: values[own] for name, own in self._names.items()}

    def predictions(self, w: Float[Tensor, " p"], inputs: Tensor) -> Tensor:
        """Return the network outputs at weights `w` on any inputs, without a graph, one microbatch at a time."""
        with torch.no_grad():
            return torch.cat([self.outputs(w, part) for part in inputs.split(self.microbatch_size)])

    def __call__(self, w: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Return the loss at weights `w`, differentiable in `w`."""
        if self._microbatches:
            return torch.stack([part(w) for part in self.parts]).sum()
        return self._loss(self.outputs(w), self.targets)

    @property
    def parts(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        """Functions of `w` that add up to the loss, one for each microbatch."""
        return tuple(partial(self._part, *each) for each in self._microbatches) or (self,)

    def _part(self, inputs: Tensor, targets: Tensor, fraction: float, w: Tensor) -> Tensor:
        return fraction * self._loss(self.outputs(w, inputs), targets)

    def _loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        with self._substitution:
            loss = self.criterion(outputs, targets)
        if not isinstance(loss, Tensor) or loss.numel() != 1:
            found = f"a tensor of shape {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
            raise TypeError(f"the criterion must return a scalar tensor (got {found})")
        return loss

    def set_microbatch_size(self, size: int) -> None:
        """Split the examples into microbatches of the given size."""
        self.microbatch_size = min(size, len(self.inputs))
        self._microbatches = self._divided(size) if size < len(self.inputs) else []

    def halve_microbatches(self) -> None:
        """Halve the microbatch size, with a warning.

        Raises:
            OutOfMemory: the microbatch size was given, or a microbatch is one example.
            NotSeparable: the loss is not a sum over microbatches.
        """
        if not self.adapts:
            raise OutOfMemory(f"out of memory with microbatch_size {self.microbatch_size}; make it smaller, or 'auto'")
        if self.microbatch_size == 1:
            raise OutOfMemory("out of memory with a single example at a time")
        if not self._microbatches:
            self.check_microbatches(self.initial_weights)
        size = -(-self.microbatch_size // 2)
        warnings.warn(
            f"out of memory with microbatches of {self.microbatch_size} examples; continuing with {size}", stacklevel=2
        )
        self.set_microbatch_size(size)

    def check_microbatches(self, w: Float[Tensor, " p"], examples: int = 8) -> None:
        """Compare the loss of the first few examples with the sum over microbatches of unequal sizes, in float64.

        Raises:
            NotSeparable: they differ.
        """
        small = self.head(examples).to("cpu", torch.float64)
        with torch.no_grad():
            w = w.to(small.initial_weights)
            whole = small(w).item()
            small.set_microbatch_size(3)
            divided = small(w).item()
        if abs(divided - whole) > 1e-6 * abs(whole):
            raise NotSeparable(
                f"the loss of {len(small.inputs)} examples is {whole:.6g} at once and {divided:.6g} in microbatches of 3: "
                "the network must treat examples one by one, and the criterion must average over them, or have "
                "`weight(targets)`"
            )

    def _divided(self, size: int) -> list[tuple[Tensor, Tensor, float]]:
        """Return the inputs and targets of each microbatch, and its fraction of the whole mean."""
        if len(self.targets) != len(self.inputs):
            raise NotSeparable(
                f"{len(self.inputs)} inputs and {len(self.targets)} targets cannot be divided into microbatches"
            )
        weight = getattr(self.criterion, "weight", None)
        weight = weight if callable(weight) else len  # torch's losses have a `weight` that is a tensor or None
        microbatches = list(zip(self.inputs.split(size), self.targets.split(size), strict=True))
        weights = [float(weight(targets)) for _, targets in microbatches]
        whole = sum(weights) or 1.0  # if no label counts, the loss is zero
        # A microbatch without weight contributes nothing, and a user's criterion may have no mean for it.
        kept = [(*each, part / whole) for each, part in zip(microbatches, weights, strict=True) if part]
        return kept or [(*microbatches[0], 0.0)]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Objective:
        """Return a copy on another device or with another floating dtype; integer inputs and targets keep theirs."""

        def move(x: Tensor) -> Tensor:
            return x.to(device=device, dtype=dtype if x.is_floating_point() else None)

        moved = copy.copy(self)
        moved.network = copy.deepcopy(self.network).to(device=device, dtype=dtype)  # `Module.to` works in place
        if isinstance(self.criterion, nn.Module):  # it may hold tensors, such as class weights
            moved.criterion = copy.deepcopy(self.criterion).to(device=device, dtype=dtype)
        moved.inputs, moved.targets = move(self.inputs), move(self.targets)
        moved._begin(len(self.inputs) if self.adapts else self.microbatch_size)
        return moved

    def head(self, examples: int) -> Objective:
        """Return the objective on the first `examples` examples only, as the derivative check needs."""
        first = copy.copy(self)
        first.network = copy.deepcopy(self.network)
        first.inputs, first.targets, first.adapts = self.inputs[:examples], self.targets[:examples], True
        first._begin(examples)
        return first
