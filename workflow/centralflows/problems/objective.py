"""The training objective $L(w)$ as a function of one flat weight vector.

Only this file handles both a `torch.nn.Module` and the flat vector that all other code uses.
"""

from __future__ import annotations

import copy
import inspect
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
from torch.utils.data import DataLoader

from ..common.errors import OutOfMemory, UnusableData, UserError
from .network_copy import UnusableNetwork, copied
from .precision import Float64
from .separation import Fractions, Part, candidates
from .substitution import Substitution
from .trees import examples_of, mapped, moved, part_of, prediction, tensors

Criterion = Callable[[Any, Any], Tensor]


class NotSeparable(UserError, ValueError):
    """The loss over all examples is not the sum of the contributions of microbatches."""


class OtherWeights(UserError, ValueError):
    """The loss depends on trainable parameters that are not weights of the objective."""


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
                f"(got {criterion!r})"
            )
        self.batched = getattr(network, "batched", False) if batched is None else batched
        self.network, self.criterion, self.l2 = copied(network, training=training), criterion, float(l2)
        self._call = _Call(self.network)
        given = _batches(inputs, targets)
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
        self._fractions: Fractions | None = None
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
        return cls(network, _Batches(batches), None, criterion, **options)

    @classmethod
    def from_function(cls, loss: Callable[[Any], Tensor], w0: Any, *, l2: float = 0.0) -> Objective:
        """Return the objective of a scalar function of a vector, or of nested tensors.

        Args:
            loss: differentiable three times; it gets the weights in the form of `w0`.
            w0: initial weights: a vector `[p]`, or a nesting of floating tensors (tuples, lists, mappings).
        """
        return cls(_Function(loss, w0), None, None, lambda outputs, _: outputs, l2=l2)

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
        """Return a copy that is evaluated in a further mode."""
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
        loss = self._loss(w, self.batches[0])
        return loss + self._penalty(w) if self.l2 else loss

    @property
    def parts(self) -> tuple[Callable[[Tensor], Tensor], ...]:
        """Functions of `w` that add up to the loss, one for each microbatch and one for the L2 term."""
        if not self._microbatches:
            return (self,)
        parts = [partial(self._part, *each) for each in self._microbatches]
        return (*parts, self._penalty) if self.l2 else tuple(parts)

    def _part(self, part: Part, fraction: float, w: Tensor) -> Tensor:
        return fraction * self._loss(w, Part(*moved(part, w.device)))

    def _penalty(self, w: Tensor) -> Tensor:
        return 0.5 * self.l2 * w.square().sum()

    def _loss(self, w: Tensor, part: Part) -> Tensor:
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

    def trial(self, w: Float[Tensor, " p"]) -> None:
        """Evaluate loss and gradient once, and explain what fails.

        Raises:
            UnusableNetwork: network or criterion fail on the data.
            OtherWeights: the loss depends on trainable parameters other than `w`.
        """
        w = w.detach().requires_grad_()
        with torch.enable_grad():
            part = self._microbatches[0][0] if self._microbatches else self.batches[0]
            part = Part(*moved(part, w.device))
            try:
                loss = self._loss(w, part)
                if loss.requires_grad:
                    torch.autograd.grad(loss, w, retain_graph=True, materialize_grads=True)
            except (UserError, torch.OutOfMemoryError):
                raise
            except Exception as error:
                if isinstance(error, TypeError) and "criterion must return" in str(error):
                    raise
                raise UnusableNetwork(self._explained(error, part)) from error
        others = [x for x in _leaves(loss) if x is not w]
        if others:
            raise OtherWeights(
                f"the loss depends on {len(others)} trainable tensors that are not weights of the network, of shapes "
                f"{', '.join(str(list(x.shape)) for x in others[:3])}: the optimizer would not see their part of the "
                "gradient. The network is copied, so a criterion must not use the original; for an L2 penalty give "
                "Objective(..., l2=...), and parameters of a criterion must belong to the network"
            )

    def _explained(self, error: Exception, part: Part) -> str:
        """Return why network and criterion cannot be evaluated."""
        weights = self.initial_weights.dtype
        for name, data in (("inputs", part.inputs), ("targets", part.targets)):
            other = {x.dtype for x in tensors(data) if x.is_floating_point()} - {weights}
            if (other and "dtype" in str(error)) or (other and "Expected" in str(error) and "but found" in str(error)):
                return (
                    f"the {name} are {_word(other.pop())} and the network is {_word(weights)}; convert one of them, or give "
                    "Experiment(..., dtype=torch.float64) or torch.float32, which converts both"
                )
        shapes = ", ".join(str(list(x.shape)) for x in tensors(part.inputs)) or type(part.inputs).__name__
        text = next(iter(str(error).splitlines()), "")
        return f"the network or the criterion fails on inputs of shape {shapes}: {type(error).__name__}: {text}"

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
        """Find out how the losses of microbatches add up, by comparing them with the loss of all examples in float64.

        The comparison is made near `w`, at a distance: losses that are equal for all examples would hide a difference.

        Raises:
            NotSeparable: they do not add up, as the network or the criterion treats examples together.
        """
        if self._fractions is not None:
            return
        wide = self.to(dtype=torch.float64)
        shift = torch.randn(w.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(w.device)
        w = w.double() + 0.1 * (w.norm() if w.norm() > 0 else 1.0) / shift.norm() * shift
        sizes = self._compared_sizes()
        ways = list(candidates(self.criterion))
        reasons = []
        for fractions in ways:
            wide._fractions = fractions
            losses = wide._losses_by_size(w, sizes)
            found = list(losses.values())
            if all(abs(each - found[0]) <= 1e-6 * abs(found[0]) + 1e-12 for each in found):
                self._fractions = fractions
                self.set_microbatch_size(self.microbatch_size)
                return
            reasons.append(losses)
        first, *others = reasons[0]
        other = max(others, key=lambda size: abs(reasons[0][size] - reasons[0][first]))
        raise NotSeparable(
            f"the loss is {reasons[0][first]:.6g} in microbatches of {first} and {reasons[0][other]:.6g} in microbatches "
            f"of {other}: the network must treat examples one by one, and the criterion must average over them or sum, or "
            "have `weight(targets)`"
        )

    def _compared_sizes(self) -> list[int]:
        """Return sizes of microbatches whose losses must be equal, of which at most the first may exhaust the memory."""
        if not self.adapts:  # larger ones might not fit
            size = max(self.microbatch_size, 2)
            return [size, -(-size // 2), -(-size // 3)]
        largest = max(examples_of(*part) or 1 for part in self.batches)
        return [largest, *(size for size in (largest // 2 + 1, 7, 3, 1) if size < largest)]

    def _losses_by_size(self, w: Tensor, sizes: list[int]) -> dict[int, float]:
        """Return the loss in microbatches of several sizes, as far as memory suffices for them."""
        found = {}
        with torch.no_grad():
            for size in dict.fromkeys(sizes):
                self.set_microbatch_size(size)
                try:
                    found[size] = self(w).item()
                except torch.OutOfMemoryError:
                    continue
                except RuntimeError as error:
                    if "can't allocate memory" not in str(error):
                        raise
        return found

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
        fractions = (self._fractions or next(candidates(self.criterion)))(parts)
        # A microbatch without weight contributes nothing, and a user's criterion may have no mean for it.
        kept = [(part, fraction) for part, fraction in zip(parts, fractions, strict=True) if fraction]
        return kept or [(parts[0], 0.0)]

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> Objective:
        """Return a copy on another device or with another floating dtype; integer inputs and targets keep theirs."""
        found = copy.copy(self)
        found.network = _converted(self.network, device, dtype)
        found._call = _Call(found.network)
        if isinstance(self.criterion, nn.Module):  # it may hold tensors, such as class weights
            found.criterion = _converted(self.criterion, device, dtype)
        place = device if self._one_batch else None
        found.batches = [Part(*moved(tuple(part), place, dtype)) for part in self.batches]
        size = self.microbatch_size
        found._begin("auto" if self.adapts else size)
        return found

    def head(self, examples: int) -> Objective:
        """Return a copy on the first `examples` examples only if the loss is separable, and on all otherwise."""
        first = copy.copy(self)
        first.network = copied(self.network)
        first._call, first.adapts = _Call(first.network), True
        if self.n is not None and self.n > examples and self.separable:
            first.batches, first._fractions = [Part(*part_of(tuple(self.batches[0]), 0, examples))], self._fractions
            first._one_batch = True
        first._begin("auto")
        return first


class _Batches(list):
    """Batches of data, told apart from inputs that happen to be a list."""


def _batches(inputs: Any, targets: Any) -> list[Part]:
    """Return the data as parts.

    Raises:
        UnusableData: there are no examples.
    """
    if isinstance(inputs, DataLoader):
        inputs = _Batches(inputs)
    if isinstance(inputs, _Batches):
        if not inputs:
            raise UnusableData("there is no batch of data")
        for batch in inputs:
            if not isinstance(batch, tuple | list) or len(batch) != 2:
                raise UnusableData(f"a batch must be a pair of inputs and targets (got a {type(batch).__name__})")
        found = [Part(*batch) for batch in inputs]
    else:
        found = [Part(inputs, targets)]
    found = [Part(*(mapped(lambda x: x, each) for each in part)) for part in found]
    if any(x.ndim and not len(x) for part in found for x in tensors(part.inputs)):
        raise UnusableData("there are no examples: the inputs are empty")
    return found


class _Call:
    """How a network takes its inputs: as one argument, or as several."""

    def __init__(self, network: nn.Module):
        parameters = list(inspect.signature(network.forward).parameters.values())
        self._keywords = any(each.kind is each.VAR_KEYWORD for each in parameters)
        self._any_number = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        self._positional = [
            each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        self._named = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        self._required = [each for each in self._positional if each.default is each.empty]

    def arguments(self, inputs: Any) -> tuple[tuple, dict[str, Any]]:
        if inputs is None and not self._required:
            return (), {}
        if type(inputs) in (tuple, list):
            enough = len(self._required) <= len(inputs)
            if enough and (self._any_number or len(inputs) <= len(self._positional)):
                return tuple(inputs), {}
        if isinstance(inputs, Mapping):
            keys = set(inputs)
            complete = {each.name for each in self._required} <= keys
            if complete and (self._keywords or keys <= self._named):
                return (), dict(inputs)
        return (inputs,), {}


class _Function(nn.Module):
    """A scalar function of nested tensors as a network without inputs."""

    def __init__(self, loss: Callable[[Any], Tensor], w0: Any):
        super().__init__()
        if not callable(loss):
            raise TypeError(f"the loss must be a function of the weights (got {type(loss).__name__})")
        self._form = mapped(lambda x: x.detach(), w0)
        found = tensors(self._form)
        if not found or not all(x.is_floating_point() for x in found):
            raise TypeError("w0 must hold floating tensors, and no others")
        self.weights = nn.ParameterList([nn.Parameter(x.clone()) for x in found])
        self._loss = loss

    def forward(self) -> Tensor:
        values = iter(self.weights)
        return self._loss(mapped(lambda _: next(values), self._form))


def _converted(network: nn.Module, device: Any, dtype: torch.dtype | None) -> nn.Module:
    """Return a copy of a module on a device and in a dtype, with the tensors that it holds outside of its buffers."""
    made = copied(network) if any(value.requires_grad for value in network.parameters()) else copy.deepcopy(network)
    made = made.to(device=device, dtype=dtype)  # `Module.to` works in place
    for module in made.modules():
        for name, value in list(vars(module).items()):
            if isinstance(value, Tensor):
                vars(module)[name] = moved(value, device, dtype)
    return made


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaves of an autograd graph that require a gradient."""
    pending, seen, found = [loss.grad_fn], set(), []
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        pending += [following for following, _ in node.next_functions]
    return found


def _word(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
