"""The training objective $L(w)$ as a function of one flat weight vector.

Only this file handles both a `torch.nn.Module` and the flat vector that all other code uses. It is longer than most
because this class is what strangers hand their network to: its arguments, its data and its division are described here.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from functools import partial
from numbers import Integral, Real
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..common.errors import OutOfMemory, UnusableData
from .batches import Batches, Part, batches_of
from .function_network import FunctionNetwork
from .network_call import NetworkCall
from .network_copy import converted, copied
from .precision import Float64
from .separation import Fractions, NotSeparable, candidates, found_fractions
from .substitution import Substitution
from .trees import examples_of, mapped, moved, part_of, prediction, tensors

Criterion = Callable[[Any, Any], Tensor]


class Objective:
    r"""The full-batch objective $L(w) = \mathrm{criterion}(\mathrm{network}(\mathrm{inputs}; w), \mathrm{targets})$.

    Args:
        network: any module that is a deterministic function of its trainable parameters and of `inputs`; parameters
            with `requires_grad=False` and buffers stay constant. It is copied and therefore never modified.
        inputs: all training inputs: a tensor with the examples along its first axis, or tensors in a tuple, a mapping
            or a dataclass. A tuple is passed as several arguments if `forward` takes as many, a mapping as keyword
            arguments if `forward` has all of its keys. A `DataLoader` holds inputs and targets (see `from_batches`).
        targets: whatever the criterion compares the outputs with; None if it needs nothing.
        criterion: `(outputs, targets) -> loss`, differentiable three times. It gets the outputs as the network returns
            them. Of a loss per example the mean is taken.
        microbatch_size: examples per microbatch. The loss is then the sum of `parts`, and its derivatives
            (`derivatives`) hold the graph of one microbatch at a time. How the losses of microbatches add up is known
            for torch's own criteria; of others, means over examples and sums are recognised. A criterion that averages
            over something else must have an attribute `weight(targets)` that returns its amount, a number. By default
            all examples are one microbatch, and microbatches are halved if memory runs out.
        batched: whether derivatives along several vectors are taken in one pass, by torch's batching rules. This is
            faster for networks of many small operations (fully connected, recurrent), mostly on a GPU. The default is
            the network's attribute `batched`, or False if it has none.
        training: whether the network is evaluated in training mode, with the dropout and batch statistics of that mode;
            None keeps its mode.
        l2: adds $\tfrac{l_2}{2} |w|^2$ to the loss, whose gradient is that of `weight_decay` in `torch.optim.SGD`.

    Attributes:
        p: number of weights.
        batches: inputs and targets, one `Part` for each batch that was given.
        n: number of examples; None if the data do not have one axis of examples in common.
        microbatch_size: current number of examples per microbatch.
        fractions: how the losses of microbatches add up; None as long as this has not been found out.
        adapts: whether microbatches may be halved.
        initial_weights: the network's own weights as one vector `[p]`, in the order of `named_parameters()`.

    Raises:
        UnusableNetwork: the network has no trainable parameter, or its parameters differ in dtype or device or have less
            than float32 precision, or it is scripted or not initialised.
        UnusableData: there are no examples.
        ValueError: a microbatch would hold less than one example, or `l2` is negative.
        TypeError: network or criterion have a wrong type; on evaluation, the criterion does not return a loss.
    """

    def __init__(
        self,
        network: nn.Module,
        inputs: Any = None,
        targets: Any = None,
        criterion: Criterion | None = None,
        *,
        microbatch_size: int | Literal["auto"] = "auto",
        batched: bool | None = None,
        training: bool | None = None,
        l2: float = 0.0,
    ):
        self.adapts = microbatch_size == "auto"
        if not self.adapts and (not isinstance(microbatch_size, Integral) or microbatch_size < 1):
            raise ValueError(f"microbatch_size must be a whole number, at least 1, or 'auto' (got {microbatch_size!r})")
        if not isinstance(l2, Real) or not 0 <= l2 < math.inf:
            raise ValueError(f"l2 must be 0 or a positive number (got {l2!r})")
        if not callable(criterion):
            raise TypeError(
                "the criterion must be a function (outputs, targets) -> loss, such as torch.nn.MSELoss() "
                f"(got {criterion if isinstance(criterion, str) else type(criterion).__name__!r})"
            )
        if isinstance(criterion, type):
            raise TypeError(f"the criterion is a class; give an instance, {criterion.__name__}(...)")
        self.batched = getattr(network, "batched", False) if batched is None else batched
        self.network, self.criterion, self.l2 = copied(network, training=training), criterion, float(l2)
        self._call = NetworkCall(self.network)
        given = batches_of(inputs, targets)
        self._one_batch = len(given) == 1
        parameters = {name: value for name, value in self.network.named_parameters() if value.requires_grad}
        owners = {value: name for name, value in parameters.items()}
        self._names = {
            f"{prefix}.{name}" if prefix else name: owners[value]
            for prefix, module in self.network.named_modules()
            for name, value in module.named_parameters(recurse=False, remove_duplicate=False)
            if value in owners
        }
        self._shapes = {name: value.shape for name, value in parameters.items()}
        self._sizes = [math.prod(shape) for shape in self._shapes.values()]
        self.p = sum(self._sizes)
        self._copies_inputs: bool | None = None
        self._added_modes: tuple[Callable[[], TorchFunctionMode], ...] = ()
        self._said: set[str] = set()
        self.fractions: Fractions | None = None
        # Several batches may be too many for the memory of an accelerator: each is moved when it is needed.
        device = next(iter(parameters.values())).device
        self.batches = [Part(*moved(part, device)) for part in given] if self._one_batch else given
        self._begin(microbatch_size)

    @classmethod
    def from_batches(
        cls, network: nn.Module, batches: Iterable[tuple[Any, Any]], criterion: Criterion, **options: Any
    ) -> Objective:
        """Return the objective of data that come in batches: the mean loss over all of their examples.

        The batches are read once and kept. They are evaluated one after the other, each moved to the network's device
        for that time.

        Args:
            batches: pairs of inputs and targets, for example a `DataLoader`.
            options: as for the class.
        """
        return cls(network, Batches(batches), None, criterion, **options)

    @classmethod
    def from_function(cls, loss: Callable[[Any], Tensor], w0: Any, *, l2: float = 0.0) -> Objective:
        """Return the objective of a scalar function of a vector, or of nested tensors.

        Args:
            loss: differentiable three times; it gets the weights in the form of `w0`.
            w0: initial weights: a vector `[p]`, or a nesting of floating tensors (tuples, lists, mappings).
        """
        return cls(FunctionNetwork(loss, w0), None, None, lambda outputs, _: outputs, l2=l2)

    def _begin(self, microbatch_size: int | str) -> None:
        """Set the initial weights and microbatches from the current network, batches and criterion."""
        weights = [value for value in self.network.parameters() if value.requires_grad]
        self.initial_weights: Float[Tensor, " p"] = torch.cat([value.detach().reshape(-1) for value in weights])
        self._substitution = Substitution(self._tied(self.initial_weights), batched=self.batched)
        sizes = [examples_of(*part) for part in self.batches]
        self.n = None if None in sizes else sum(sizes)
        largest = 1 if None in sizes else max(sizes)
        self.set_microbatch_size(largest if microbatch_size == "auto" else microbatch_size)

    @property
    def inputs(self) -> Any:
        """All inputs, if the data came in one batch."""
        return self._only_batch.inputs

    @property
    def targets(self) -> Any:
        """All targets, if the data came in one batch."""
        return self._only_batch.targets

    @property
    def first_part(self) -> Part:
        """The first microbatch, or all data if there are none."""
        return self._microbatches[0][0] if self._microbatches else self.batches[0]

    @property
    def _only_batch(self) -> Part:
        if len(self.batches) > 1:
            raise UnusableData(f"the data came in {len(self.batches)} batches; each has its own inputs and targets")
        return self.batches[0]

    @property
    def replaced(self) -> list[str]:
        """Names of the functions of torch that were replaced, so far, because their own derivatives are wrong."""
        return sorted(self._substitution.replaced)

    def unflatten(self, w: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Return the named parameters that the flat vector `w` holds (views, differentiable)."""
        parts = w.split(self._sizes)
        return {name: part.view(shape) for part, (name, shape) in zip(parts, self._shapes.items(), strict=True)}

    def outputs(self, w: Float[Tensor, " p"], inputs: Any = None) -> Any:
        """Return what the network returns at weights `w`, on the training inputs or on the given `inputs`."""
        args, kwargs = self._call.arguments(self.inputs if inputs is None else inputs)
        if self._copies_inputs is not False:
            args, kwargs = mapped(torch.clone, args), mapped(torch.clone, kwargs)
        weights = self._tied(w)
        with self._modes(w.dtype, weights):
            # Without tied weights: torch would swap in the weights of a module that is used twice, and not swap them
            # out again.
            found = torch.func.functional_call(self.network, weights, args, kwargs, tie_weights=False)
        if self._copies_inputs is None:  # a network that works in place must not change the examples
            self._copies_inputs = any(x._version for x in tensors((args, kwargs)))
        return found

    def _modes(self, dtype: torch.dtype, weights: Mapping[str, Tensor] | None = None) -> ExitStack:
        """Return a context for the functions that network and criterion call."""
        stack = ExitStack()
        if dtype == torch.float64:
            stack.enter_context(Float64())
        stack.enter_context(self._substitution.of(weights or {}))
        for mode in self._added_modes:
            stack.enter_context(mode())
        return stack

    def under(self, mode: Callable[[], TorchFunctionMode]) -> Objective:
        """Return a copy whose network and criterion are evaluated within another mode of torch as well."""
        found = copy.copy(self)
        found._added_modes = (*self._added_modes, mode)
        found._begin("auto" if self.adapts else self.microbatch_size)  # parts refer to the copy
        return found

    def _tied(self, w: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Return `unflatten` under all names of parameters that several modules share."""
        values = self.unflatten(w)
        return {name: values[own] for name, own in self._names.items()}

    def predictions(self, w: Float[Tensor, " p"], inputs: Any) -> Tensor:
        """Return the network's predictions at weights `w` on any inputs, without a graph, one microbatch at a time.

        Raises:
            NoTensor: the network does not return one tensor (see `trees.prediction`).
        """
        examples = examples_of(inputs)
        size = self.microbatch_size if self.n and examples else 0
        starts = range(0, examples, size) if size else [None]
        with torch.no_grad():
            return torch.cat(
                [
                    prediction(self.outputs(w, inputs if start is None else part_of(inputs, start, start + size)))
                    for start in starts
                ]
            )

    def __call__(self, w: Float[Tensor, " p"]) -> Float[Tensor, ""]:
        """Return the loss at weights `w`, differentiable in `w`."""
        if self._microbatches:
            return torch.stack([part(w) for part in self.parts]).sum()
        loss = self.loss_of(w, self.batches[0])
        return loss + self._penalty(w) if self.l2 else loss

    @property
    def parts(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        """Functions of `w` that add up to the loss, one for each microbatch and one for the L2 term."""
        if not self._microbatches:
            return (self,)
        parts = [partial(self._part, *each) for each in self._microbatches]
        return (*parts, self._penalty) if self.l2 else tuple(parts)

    def _part(self, part: Part, fraction: float, w: Tensor) -> Tensor:
        return fraction * self.loss_of(w, Part(*moved(part, w.device)))

    def _penalty(self, w: Tensor) -> Tensor:
        return 0.5 * self.l2 * w.square().sum()

    def loss_of(self, w: Float[Tensor, " p"], part: Part) -> Float[Tensor, ""]:
        """Return the loss of some examples alone at weights `w`.

        Raises:
            TypeError: the criterion does not return a loss.
        """
        outputs = self.outputs(w, part.inputs)
        with self._modes(w.dtype):
            loss = self.criterion(outputs, part.targets)
        if not isinstance(loss, Tensor):
            raise TypeError(f"the criterion must return a scalar tensor (got {type(loss).__name__})")
        if loss.numel() == 1:
            return loss.reshape(())
        if not loss.ndim or len(loss) != examples_of(*part):
            raise TypeError(f"the criterion must return a scalar tensor (got a tensor of shape {list(loss.shape)})")
        self._say(
            f"the criterion returns a loss of shape {list(loss.shape)}, one for each example; their mean is taken"
        )
        return loss.mean()

    def _say(self, message: str) -> None:
        """Warn once."""
        kind = message.split("[")[0]
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(message, stacklevel=2)

    def set_microbatch_size(self, size: int) -> None:
        """Split the examples into microbatches of the given size."""
        largest = max((examples_of(*part) or 1) for part in self.batches)
        self.microbatch_size = min(size, largest)
        divided = size < largest or len(self.batches) > 1
        self._microbatches = self._divided(size) if divided else []

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
        self.check_microbatches(self.initial_weights)
        size = -(-self.microbatch_size // 2)
        warnings.warn(
            f"out of memory with microbatches of {self.microbatch_size} examples; continuing with {size}", stacklevel=2
        )
        self.set_microbatch_size(size)

    def check_microbatches(self, w: Float[Tensor, " p"]) -> None:
        """Find out how the losses of microbatches add up (see `separation.found_fractions`), once.

        Raises:
            NotSeparable: they do not add up, as the network or the criterion treats examples together.
        """
        if self.fractions is None:
            self.fractions = found_fractions(self, w)
            self.set_microbatch_size(self.microbatch_size)

    @property
    def separable(self) -> bool:
        """Whether the loss adds up from microbatches; found out when it is first asked for."""
        if self.n is None:
            return False
        try:
            self.check_microbatches(self.initial_weights)
        except Exception:  # whatever a network raises that needs all examples at once
            return False
        return True

    def _divided(self, size: int) -> list[tuple[Part, float]]:
        """Return each microbatch, and its fraction of the whole."""
        parts = []
        for part in self.batches:
            examples = examples_of(*part)
            if examples is None and size < max(len(x) for x in tensors(tuple(part)) if x.ndim):
                lengths = sorted({len(x) for x in tensors(tuple(part)) if x.ndim})
                raise NotSeparable(
                    f"inputs and targets of lengths {', '.join(map(str, lengths))} cannot be divided into microbatches"
                )
            step = size if examples else 1
            parts += (
                [Part(*part_of(tuple(part), k, k + step)) for k in range(0, examples, step)] if examples else [part]
            )
        fractions = (self.fractions or next(candidates(self.criterion)))(parts)
        # A microbatch without weight contributes nothing, and a user's criterion may have no mean for it.
        kept = [(part, fraction) for part, fraction in zip(parts, fractions, strict=True) if fraction]
        return kept or [(parts[0], 0.0)]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Objective:
        """Return a copy on another device or with another floating dtype; integer inputs and targets keep theirs."""
        found = copy.copy(self)
        found.network = converted(self.network, device, dtype)
        found._call = NetworkCall(found.network)
        if isinstance(self.criterion, nn.Module):  # it may hold tensors, such as class weights
            found.criterion = converted(self.criterion, device, dtype)
        place = device if self._one_batch else None
        found.batches = [Part(*moved(tuple(part), place, dtype)) for part in self.batches]
        size = self.microbatch_size
        found._begin("auto" if self.adapts else size)
        return found

    def head(self, examples: int) -> Objective:
        """Return a copy on the first `examples` examples only if the loss is separable, and on all otherwise."""
        first = copy.copy(self)
        first.network = copied(self.network)
        first._call, first.adapts = NetworkCall(first.network), True
        if self.n is not None and self.n > examples and self.separable:
            first.batches, first.fractions = [Part(*part_of(tuple(self.batches[0]), 0, examples))], self.fractions
            first._one_batch = True
        first._begin("auto")
        return first
