"""How large a configured network is, counted from its settings. Imports no torch: resources are asked for before any job."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import ceil, prod
from typing import Any, NamedTuple

from .datasets import Cifar10Config, DatasetConfig, DatasetPluginConfig, SequencesConfig, Sst2Config
from .networks import (
    CnnConfig,
    LstmConfig,
    MambaConfig,
    MlpConfig,
    NetworkConfig,
    NetworkPluginConfig,
    ResNetConfig,
    TransformerConfig,
    VitConfig,
)
from .run import RunConfig


class Part(NamedTuple):
    """Weights of a network that are used together."""

    weights: int
    uses: int = 1  # places of one example at which they are used: pixels, patches, tokens


class Size(NamedTuple):
    """What the cost of a trajectory grows with.

    Attributes:
        p: number of weights.
        products: multiplications by a weight for one example.
        n: examples.
        slice: of them, those that are held in memory at once.
    """

    p: int
    products: int
    n: int
    slice: int


UNKNOWN = Size(p=1_000_000, products=10_000_000, n=1000, slice=1000)
"""What is assumed of networks and datasets of one's own: as large as the largest of the paper."""


def size(run: RunConfig) -> Size:
    """The size of a run's problem; what a plugin makes is assumed to be as large as the largest of the paper."""
    n = getattr(run.dataset, "examples", UNKNOWN.n)
    if isinstance(run.dataset, DatasetPluginConfig):
        n = UNKNOWN.n
    counted = list(parts(run.model, run.dataset))
    p = sum(part.weights for part in counted) or UNKNOWN.p
    products = sum(part.weights * part.uses for part in counted) or UNKNOWN.products
    return Size(p, products, n, n if run.microbatch_size == "auto" else min(n, run.microbatch_size))


def parts(model: NetworkConfig, dataset: DatasetConfig) -> Iterator[Part]:
    """The parts of a network for a dataset; none where one of them is a plugin."""
    if not isinstance(model, NetworkPluginConfig) and not isinstance(dataset, DatasetPluginConfig):
        yield from _PARTS[model.name](model, _example(dataset))


class _Example(NamedTuple):
    shape: tuple[int, ...]  # (channels, height, width), (dimensions,) or (length,)
    outputs: int
    symbols: int = 0


def _example(dataset: Any) -> _Example:
    if isinstance(dataset, SequencesConfig):
        return _Example((2 * dataset.length - 1,), dataset.symbols, dataset.symbols)
    outputs = 1 if dataset.binary else dataset.classes
    if isinstance(dataset, Sst2Config):
        return _Example((dataset.length,), outputs, 257)  # bytes, and one symbol of padding
    if dataset.kind == "points":
        return _Example((getattr(dataset, "dimensions", 2),), outputs)
    channels = 3 if isinstance(dataset, Cifar10Config) else 1
    return _Example((channels, dataset.image_size, dataset.image_size), outputs)


def _linear(inputs: int, outputs: int, uses: int = 1) -> Part:
    return Part((inputs + 1) * outputs, uses)


def _mlp(model: MlpConfig, example: _Example) -> Iterator[Part]:
    for inputs, outputs in pairwise([prod(example.shape), *[model.width] * model.depth, example.outputs]):
        yield _linear(inputs, outputs)


def _cnn(model: CnnConfig, example: _Example) -> Iterator[Part]:
    depth, height, width = example.shape
    channels, last = model.channels, 2 * model.channels * (height // 4) * (width // 4)
    yield Part(9 * depth * channels, height * width)
    yield Part(9 * channels * 2 * channels, (height // 2) * (width // 2))
    yield Part(last * model.dense)
    yield _linear(model.dense, example.outputs)


def _resnet(model: ResNetConfig, example: _Example) -> Iterator[Part]:
    depth, side, _ = example.shape
    channels = model.width
    yield Part(9 * depth * channels, side**2)
    for stage, count in enumerate(model.blocks):
        for block in range(count):
            halves = stage > 0 and block == 0
            inputs, channels, side = (channels, 2 * channels, ceil(side / 2)) if halves else (channels, channels, side)
            convolution, norm = (9 * inputs + 1) * channels, 2 * channels
            yield Part(convolution + norm, side**2)
            yield Part((9 * channels + 1) * channels + norm, side**2)
            if halves:
                yield Part(convolution + norm, side**2)
    yield _linear(channels, example.outputs)


def _vit(model: VitConfig, example: _Example) -> Iterator[Part]:
    depth, height, width = example.shape
    pixels, patches, d = depth * model.patch**2, (height // model.patch) * (width // model.patch), model.width
    attention = 4 * d * model.heads * model.head_width
    feed_forward = (d + 1) * model.hidden + (model.hidden + 1) * d
    yield Part(2 * pixels + (pixels + 1) * d + 2 * d, patches)
    yield Part(model.layers * (2 * d + attention + 2 * d + feed_forward), patches)
    yield Part(2 * d)
    yield _linear(d, example.outputs)


def _transformer(model: TransformerConfig, example: _Example) -> Iterator[Part]:
    (length,), d = example.shape, model.width
    attention, feed_forward, norm = 4 * (d + 1) * d, (d + 1) * 4 * d + (4 * d + 1) * d, 2 * d
    yield Part(example.symbols * d)
    yield Part(model.layers * (2 * attention + feed_forward + 3 * norm), length)
    yield _linear(d, example.outputs, length)


def _lstm(model: LstmConfig, example: _Example) -> Iterator[Part]:
    (length,), d = example.shape, model.width
    yield Part(example.symbols * d)
    yield Part(model.layers * 2 * (d + 1) * 4 * d, length)
    yield _linear(d, example.outputs, length)


def _mamba(model: MambaConfig, example: _Example) -> Iterator[Part]:
    (length,), d = example.shape, model.width
    channels, rank = model.expansion * d, ceil(d / 16)
    maps = 2 * channels * d + channels * (rank + 2 * model.state) + (rank + 1) * channels + channels * d
    rest = channels * (model.taps + 1) + channels * model.state + channels
    yield Part(example.symbols * d)
    yield Part(model.layers * (maps + rest + d) + d, length)
    yield Part(d * example.outputs, length)


_PARTS: dict[str, Callable[[Any, _Example], Iterator[Part]]] = {
    "mlp": _mlp,
    "cnn": _cnn,
    "resnet": _resnet,
    "vit": _vit,
    "transformer": _transformer,
    "lstm": _lstm,
    "mamba": _mamba,
}
