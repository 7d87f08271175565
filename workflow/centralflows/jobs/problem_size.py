"""The size of a configured problem, counted on torch's meta device: nothing is allocated and nothing is computed.

torch is imported only when the first network is counted, because the Snakefile imports this module.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

from ..common.references import load
from ..config.datasets import Cifar10Config, DatasetConfig, DatasetPluginConfig, SequencesConfig, Sst2Config
from ..config.networks import NetworkConfig, NetworkPluginConfig
from ..config.run import RunConfig


class Size(NamedTuple):
    """The numbers that the cost of a trajectory grows with.

    Attributes:
        p: number of weights.
        products: multiplications in the network's forward pass for one example.
        n: number of examples.
        microbatch: number of examples that are held in memory at once.
    """

    p: int
    products: int
    n: int
    microbatch: int


UNKNOWN = Size(p=1_000_000, products=10_000_000, n=1000, microbatch=1000)
"""The size assumed for a user-defined network or dataset: about twice that of the paper's CNN."""


def size(run: RunConfig) -> Size:
    """Return the size of a run's problem; a plugin is assumed to be about twice as large as the paper's CNN."""
    own = isinstance(run.dataset, DatasetPluginConfig)
    n = UNKNOWN.n if own else run.dataset.examples
    p, products = UNKNOWN[:2] if own or isinstance(run.model, NetworkPluginConfig) else counted(run.model, run.dataset)
    return Size(p, products, n, n if run.microbatch_size == "auto" else min(n, run.microbatch_size))


@cache
def counted(network: NetworkConfig, dataset: DatasetConfig) -> tuple[int, int]:
    """Return the number of weights of a network for a dataset, and the number of multiplications for one example."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    sizes = example_sizes(dataset)
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the jobs will show the warnings
        made = load(network.implementation)(**sizes, **network.arguments())
        tokens = dataset.kind == "tokens"
        example = torch.zeros((1, sizes["length"]), dtype=torch.int64) if tokens else torch.zeros((1, *sizes["shape"]))
        with FlopCounterMode(display=False) as operations, torch.no_grad():
            made(example)
    # A multiplication and its addition are two operations.
    return sum(weight.numel() for weight in made.parameters()), operations.get_total_flops() // 2


def example_sizes(dataset: Any) -> dict[str, Any]:
    """Return the sizes of a dataset's examples that a network needs; `make_network` reads them from the examples."""
    if isinstance(dataset, SequencesConfig):
        return {"symbols": dataset.symbols, "length": 2 * dataset.length - 1, "outputs": dataset.symbols}
    outputs = 1 if dataset.binary else dataset.classes
    if isinstance(dataset, Sst2Config):
        from ..problems.data.sst2 import PADDING  # loads NumPy

        return {"symbols": PADDING + 1, "length": dataset.length, "outputs": outputs}
    if dataset.kind == "points":
        return {"shape": (getattr(dataset, "dimensions", 2),), "outputs": outputs}
    channels = 3 if isinstance(dataset, Cifar10Config) else 1
    return {"shape": (channels, dataset.image_size, dataset.image_size), "outputs": outputs}
