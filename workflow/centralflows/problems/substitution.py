"""Substitutes for what torch differentiates wrongly, however a network calls it.

Some functions of torch return wrong third derivatives, or wrong second ones, or have none. While a `Substitution` is
active, such a function is evaluated as a composition in elementary operations, whose derivatives of every order are
right. It does not matter whether a network calls it as a module, from `torch.nn.functional`, `torch`, `torch.ops.aten`,
or as a method.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import torch
import torch.utils.checkpoint
from torch import Tensor
from torch.overrides import TorchFunctionMode

from .compositions.attention import scaled_dot_product_attention
from .compositions.convolutions import convolution_on_gpu, transposed_convolution
from .compositions.distances import cdist, pdist
from .compositions.embeddings import NotAFunction, embedding, embedding_bag, embedding_renorm
from .compositions.experts import grouped_mm
from .compositions.margins import hardsigmoid, multi_margin_loss, multilabel_margin_loss
from .compositions.normalisations import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    native_batch_norm,
    native_layer_norm,
    weight_norm,
)
from .compositions.recurrences import without_cudnn
from .compositions.recursions import ctc_loss, logcumsumexp


def _unchunked(*args: Any, options: object = None, **kwargs: Any) -> Tensor:
    """Return torch's `linear_cross_entropy` in one piece; in chunks, its second derivatives are wrong."""
    return torch.nn.functional.linear_cross_entropy(*args, **kwargs)


COMPOSITIONS: dict[str, Callable] = {
    "_grouped_mm": grouped_mm,
    "_weight_norm": weight_norm,
    "batch_norm": batch_norm,
    "cdist": cdist,
    "conv1d": convolution_on_gpu,
    "conv2d": convolution_on_gpu,
    "conv3d": convolution_on_gpu,
    "conv_transpose1d": transposed_convolution,
    "conv_transpose2d": transposed_convolution,
    "conv_transpose3d": transposed_convolution,
    "ctc_loss": ctc_loss,
    "embedding": embedding,
    "embedding_bag": embedding_bag,
    "embedding_renorm_": embedding_renorm,
    "functional.linear_cross_entropy": _unchunked,
    "group_norm": group_norm,
    "gru": without_cudnn(torch.gru),
    "hardsigmoid": hardsigmoid,
    "instance_norm": instance_norm,
    "layer_norm": layer_norm,
    "logcumsumexp": logcumsumexp,
    "lstm": without_cudnn(torch.lstm),
    "multi_margin_loss": multi_margin_loss,
    "multilabel_margin_loss": multilabel_margin_loss,
    "native_batch_norm": native_batch_norm,
    "native_layer_norm": native_layer_norm,
    "pdist": pdist,
    "rnn_relu": without_cudnn(torch.rnn_relu),
    "rnn_tanh": without_cudnn(torch.rnn_tanh),
    "scaled_dot_product_attention": scaled_dot_product_attention,
}
"""The compositions by the names that their functions have in `torch.ops.aten`, which all ways of a call lead to, or in
`torch.nn.functional`. A function that changes its argument in place has the composition of the one that does not."""

WITHOUT_BATCHES = ("group_norm",)
"""Functions that are right in torch but for batched gradients."""


class Substitution(TorchFunctionMode):
    """A context in which functions of torch are replaced by their `COMPOSITIONS`.

    It also switches activation checkpointing off (`torch.utils.checkpoint`), which would evaluate a part of the network
    again during the backward pass, and outside of the context.

    Args:
        initial: initial values of the network's weights, by the names that `of` is given. The padding row of an
            embedding keeps its initial value.
        batched: whether functions are replaced as well whose derivatives are right, but not in one pass for several
            vectors (`is_grads_batched`).

    Attributes:
        replaced: names of the functions that were replaced so far.
    """

    def __init__(self, initial: Mapping[str, Tensor] | None = None, *, batched: bool = True):
        super().__init__()
        self._kept = () if batched else WITHOUT_BATCHES
        self.replaced: set[str] = set()
        self._initial, self._weights = initial or {}, {}
        self._roads: dict[Any, Callable | None] = {}
        self._whole: dict[tuple, Tensor | None] = {}
        self._depth, self._open = 0, set()

    def of(self, weights: Mapping[str, Tensor]) -> Substitution:
        """Return this context for a call with other weights, named as the initial ones."""
        self._weights = weights
        return self

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what is found again, for copies: functions of torch cannot be copied."""
        return vars(self) | {"_roads": {}}

    def __enter__(self) -> Substitution:
        if not self._depth:
            self._outside = {name: getattr(torch.utils.checkpoint, name) for name in _UNCHECKPOINTED}
            _set_checkpointing(_UNCHECKPOINTED)
        self._depth += 1
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._depth -= 1
        if not self._depth:
            _set_checkpointing(self._outside)
            self._weights = {}

    def __torch_function__(self, func, types, args=(), kwargs=None):
        try:
            road = self._roads[func]
        except KeyError:
            road = self._roads[func] = self._road(func)
        if road is None:
            return func(*args, **kwargs) if kwargs else func(*args)
        return road(func, types, args, kwargs or {})

    def _road(self, func: Callable) -> Callable | None:
        """Return how to call a function, or None if it is called as it is."""
        if isinstance(func, types.FunctionType):
            if func.__globals__.get("__name__") not in _ASKING:
                return None
            composition = COMPOSITIONS.get(f"functional.{func.__name__}")
            return partial(self._replaced, composition, func.__name__) if composition else self._within
        name = _name(func)
        if name == "embedding":
            return partial(self._replaced, partial(embedding, initial=self._initial_value), name)
        if name == "int":
            return partial(self._replaced, self._initial_int, name)
        if name in self._kept:
            return None
        if name in COMPOSITIONS:
            return partial(self._replaced, COMPOSITIONS[name], name)
        if name.removesuffix("_") in COMPOSITIONS:
            return partial(self._replaced, _in_place(COMPOSITIONS[name.removesuffix("_")]), name)
        return None

    def _within(self, func: Callable, types: tuple, args: tuple, kwargs: dict) -> Any:
        """Call a Python function of torch so that this context sees the functions that it calls."""
        # A subclass of Tensor may have its own way, and a function may ask once more through its helpers.
        if func in self._open or any(each not in _OWN for each in types):
            return func(*args, **kwargs)
        self._open.add(func)
        try:
            with self:
                return _body(func)(*args, **kwargs)
        finally:
            self._open.remove(func)

    def _replaced(self, composition: Callable, name: str, func: Callable, types: tuple, args: tuple, kwargs: dict):
        result = composition(*args, **kwargs)
        if result is None:
            return func(*args, **kwargs)
        self.replaced.add(name.strip("_"))
        return result

    def _initial_int(self, x: Tensor, **_: Any) -> Tensor | None:
        """Return weights as whole numbers that are constants, if they begin as whole numbers.

        `torch.nn.utils.parametrizations.orthogonal` keeps signs on the diagonal of its weights, which torch never trains.
        """
        name, weight = next(iter(self._weights.items()), (None, None))
        if weight is None or x.dtype != weight.dtype:
            return None
        try:
            if x.untyped_storage().data_ptr() != weight.untyped_storage().data_ptr():
                return None
        except RuntimeError:  # a tensor of torch.func has no storage
            return None
        start = x.storage_offset() - weight.storage_offset() + self._initial[name].storage_offset()
        place = (x.shape, x.stride(), start)
        if place not in self._whole:  # compared once, because a GPU has to wait for the result
            value = self._initial[name].as_strided(*place)
            self._whole[place] = value.int() if torch.equal(value, value.round()) else None
        return self._whole[place]

    def _initial_value(self, weight: Tensor) -> Tensor:
        """Return the initial value of a weight."""
        for name, value in self._weights.items():
            if value is weight:
                return self._initial[name]
        if weight.requires_grad:
            raise NotAFunction(
                "an embedding with `padding_idx` looks up weights that are computed from others, and torch would not "
                "differentiate its padding row; make the embedding without `padding_idx`"
            )
        return weight


def _name(func: Callable) -> str:
    """Return the name of a built-in function of torch."""
    func = getattr(func, "overloadpacket", func)
    if isinstance(func, torch._ops.OpOverloadPacket) and not func._qualified_op_name.startswith("aten::"):
        return ""
    return getattr(func, "__name__", "")


def _in_place(composition: Callable) -> Callable:
    """Return a composition that writes its result into its first argument."""

    def inplace(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return x.copy_(composition(x.clone(), *args, **kwargs))

    return inplace


_OWN = {Tensor, torch.nn.Parameter, torch.nn.Buffer}

_ASKING = ("torch.nn.functional", "torch.functional")
"""Modules whose functions ask for an active mode, and would ask the one that calls them again."""


@cache
def _body(function: types.FunctionType) -> types.FunctionType:
    """Return a Python function that does as the given one but never asks for an active mode."""
    body = types.FunctionType(
        function.__code__,
        _silent(function.__globals__["__name__"]),
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    body.__kwdefaults__ = function.__kwdefaults__
    return body


@cache
def _silent(module: str) -> dict[str, Any]:
    """Return the names of one of the modules, without its questions for an active mode."""
    names = vars(torch.functional if module == "torch.functional" else torch.nn.functional)
    return {**names, **{name: _never for name in names if name.startswith("has_torch_function")}}


def _never(*_: object) -> bool:
    return False


def _once(*_: object, **__: object) -> Iterator[None]:
    """Stand for the generator that surrounds a checkpointed call, and do nothing."""
    yield


class _Plain:
    """Stand for the autograd function of a checkpointed call, and call it."""

    @staticmethod
    def apply(function: Callable, preserve: bool, *args: Any) -> Any:
        return function(*args)


_UNCHECKPOINTED = {"_checkpoint_without_reentrant_generator": _once, "CheckpointFunction": _Plain}
"""The two ways of activation checkpointing, `use_reentrant` false and true, and what stands for them."""


def _set_checkpointing(ways: Mapping[str, Any]) -> None:
    for name, value in ways.items():
        setattr(torch.utils.checkpoint, name, value)
