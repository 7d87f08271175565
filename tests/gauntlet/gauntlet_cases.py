"""Networks, losses and ways to call them that were not written for this library, and what comes of each.

A case is made by a function that returns a `Problem`. Its outcome is "runs", "warns" (it runs, and the library says that
the loss is not smooth), or "refused" with a part of the sentence that says why. Random weights and data, sizes of toys. The
file is one long list.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset
from wrong_layer import Cube


@dataclass
class Problem:
    """What a stranger hands over, and the same loss in their own words.

    Attributes:
        network, inputs, targets, criterion, options: the arguments of `Objective`.
        loss: `(network) -> loss` as torch alone computes it.
        make: makes the objective, where it is not made from the arguments above.
    """

    network: Any
    inputs: Any = None
    targets: Any = None
    criterion: Any = None
    options: dict[str, Any] = field(default_factory=dict)
    loss: Callable[[nn.Module], Tensor] | None = None
    make: Callable[[], Any] | None = None


class Case(NamedTuple):
    """A case of the gauntlet.

    Attributes:
        name, kind: what it is, and the section of the page that lists it.
        make: makes its problem; torch's generator is seeded before.
        outcome: "runs", "warns" or "refused".
        why: a pattern in the sentence of a refusal, or in that of the warning.
        needs: module that must be installed.
    """

    name: str
    kind: str
    make: Callable[[], Problem]
    outcome: str = "runs"
    why: str = ""
    needs: str = "torch"


CASES: list[Case] = []


def case(name: str, kind: str, outcome: str = "runs", why: str = "", needs: str = "torch") -> Callable:
    """Add the decorated function to the cases."""

    def added(make: Callable[[], Problem]) -> Callable[[], Problem]:
        CASES.append(Case(name, kind, make, outcome, why, needs))
        return make

    return added


MSE, CE = nn.MSELoss(), nn.CrossEntropyLoss()
N, FEATURES = 12, 6


def points() -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(N, FEATURES), torch.randn(N, 3), torch.randint(0, 3, (N,))


def mlp(*middle: nn.Module, width: int = 8) -> nn.Module:
    return nn.Sequential(nn.Linear(FEATURES, width), *middle, nn.Linear(width, 3))


def regression(network: nn.Module, criterion: Any = MSE, **options: Any) -> Problem:
    x, y, _ = points()
    return Problem(network, x, y, criterion, options)


def classification(network: nn.Module, inputs: Tensor, classes: int = 3, criterion: Any = CE) -> Problem:
    return Problem(network, inputs, torch.randint(0, classes, (len(inputs),)), criterion)


# Activations ----------------------------------------------------------------------------------------------------------

SMOOTH = {
    "GELU": nn.GELU, "GELU tanh": partial(nn.GELU, "tanh"), "SiLU": nn.SiLU, "Mish": nn.Mish, "Tanh": nn.Tanh,
    "Sigmoid": nn.Sigmoid, "Softplus": nn.Softplus, "LogSigmoid": nn.LogSigmoid, "Softmax": partial(nn.Softmax, -1),
    "Tanhshrink": nn.Tanhshrink, "GLU": lambda: nn.Sequential(nn.Linear(8, 16), nn.GLU()),
}  # fmt: skip
KINKED = {
    "ReLU": nn.ReLU, "ReLU in place": partial(nn.ReLU, inplace=True), "LeakyReLU": nn.LeakyReLU, "PReLU": nn.PReLU,
    "ReLU6": nn.ReLU6, "ELU": nn.ELU, "SELU": nn.SELU, "CELU": nn.CELU, "Hardtanh": nn.Hardtanh,
    "Hardswish": nn.Hardswish, "Hardsigmoid": nn.Hardsigmoid, "Softsign": nn.Softsign, "Softshrink": nn.Softshrink,
    "Hardshrink": nn.Hardshrink, "Threshold": partial(nn.Threshold, 0.1, 0.1),
}  # fmt: skip
for name, layer in SMOOTH.items():
    case(f"nn.{name}", "activations")(lambda layer=layer: regression(mlp(layer())))
for name, layer in KINKED.items():
    case(f"nn.{name}", "activations", "warns")(lambda layer=layer: regression(mlp(layer())))


# Norms, weights, regularisers -----------------------------------------------------------------------------------------

NORMS = {
    "LayerNorm": lambda: nn.LayerNorm(8), "BatchNorm1d, training": lambda: nn.BatchNorm1d(8),
    "BatchNorm1d, evaluation": lambda: nn.BatchNorm1d(8).eval(), "RMSNorm": lambda: nn.RMSNorm(8),
    "GroupNorm": lambda: nn.GroupNorm(2, 8),
    "InstanceNorm1d": lambda: nn.Sequential(nn.Unflatten(1, (2, 4)), nn.InstanceNorm1d(2, affine=True), nn.Flatten()),
    "LocalResponseNorm": lambda: nn.Sequential(nn.Unflatten(1, (8, 1)), nn.LocalResponseNorm(3), nn.Flatten()),
}  # fmt: skip
for name, layer in NORMS.items():
    case(f"nn.{name}", "norms")(lambda layer=layer: regression(mlp(layer(), nn.Tanh())))


@case("weight_norm (parametrization)", "weights")
def _():
    return regression(nn.Sequential(parametrizations.weight_norm(nn.Linear(FEATURES, 8)), nn.Tanh(), nn.Linear(8, 3)))


@case("weight_norm (old style)", "weights")
def _():
    return regression(nn.Sequential(nn.utils.weight_norm(nn.Linear(FEATURES, 8)), nn.Tanh(), nn.Linear(8, 3)))


@case("spectral_norm, evaluation", "weights")
def _():
    return regression(mlp(nn.Tanh(), parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Tanh()).eval())


@case("spectral_norm, training", "weights", "refused", "not deterministic")
def _():
    return regression(mlp(nn.Tanh(), parametrizations.spectral_norm(nn.Linear(8, 8)), nn.Tanh()))


@case("orthogonal", "weights")
def _():
    return regression(mlp(nn.Tanh(), parametrizations.orthogonal(nn.Linear(8, 8)), nn.Tanh()))


@case("a parametrization of one's own", "weights")
def _():
    class Symmetric(nn.Module):
        def forward(self, x):
            return x + x.T

    layer = nn.Linear(8, 8)
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return regression(mlp(nn.Tanh(), layer, nn.Tanh()))


@case("pruned", "weights")
def _():
    network = mlp(nn.Tanh())
    prune.l1_unstructured(network[0], "weight", 0.3)
    return regression(network)


@case("tied weights", "weights")
def _():
    network = nn.Sequential(nn.Linear(FEATURES, 6), nn.Tanh(), nn.Linear(6, FEATURES), nn.Tanh(), nn.Linear(6, 3))
    network[2].weight = network[0].weight
    return regression(network)


@case("frozen layers", "weights")
def _():
    network = mlp(nn.Tanh())
    network[0].requires_grad_(False)
    return regression(network)


@case("Dropout, training", "weights", "refused", "training=False")
def _():
    return regression(mlp(nn.Tanh(), nn.Dropout(0.3)))


@case("Dropout, training=False", "weights")
def _():
    problem = regression(mlp(nn.Tanh(), nn.Dropout(0.3)).eval())
    problem.options["training"] = False
    return problem


@case("half precision", "weights", "refused", "float32 or float64")
def _():
    return regression(mlp(nn.Tanh()).half())


@case("complex weights", "weights", "refused", "complex")
def _():
    return regression(mlp(nn.Tanh()).to(torch.complex64))


@case("lazy, not initialised", "weights", "refused", "not initialised")
def _():
    return regression(nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(3)))


@case("autocast inside", "weights", "refused", "autocast")
def _():
    class Autocast(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x):
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.net(x).float()

    return regression(Autocast())


@case("casts to float32 inside", "weights")
def _():
    class Casts(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.scale = nn.Linear(FEATURES, 8), nn.Linear(8, 3), torch.rand(8)

        def forward(self, x):
            return self.b(torch.tanh(self.a(x).float() @ torch.diag(self.scale)).to(torch.float32))

    return regression(Casts())


# Layers ---------------------------------------------------------------------------------------------------------------


class First(nn.Module):
    """A layer that returns a tuple, and a head on its first entry."""

    def __init__(self, layer: nn.Module, width: int):
        super().__init__()
        self.layer, self.head = layer, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.layer(x)[0].mean(1))


def images(n: int = 6, size: int = 8, channels: int = 3) -> Tensor:
    return torch.randn(n, channels, size, size)


def sequences(n: int = 6, length: int = 5, width: int = 8) -> Tensor:
    return torch.randn(n, length, width)


def tokens(n: int = 6, length: int = 5, symbols: int = 11) -> Tensor:
    return torch.randint(0, symbols, (n, length))


for name in ("LSTM", "GRU", "RNN"):
    case(f"nn.{name}", "layers")(
        lambda name=name: classification(First(getattr(nn, name)(8, 6, batch_first=True), 6), sequences())
    )

CONVOLUTIONS = {
    "Conv2d": nn.Conv2d(3, 4, 3, padding=1), "Conv2d, strided": nn.Conv2d(3, 4, 3, stride=2),
    "Conv2d, dilated, grouped": nn.Conv2d(3, 6, 3, dilation=2, groups=3),
    "Conv2d, reflecting": nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"),
    "ConvTranspose2d": nn.ConvTranspose2d(3, 4, 2, stride=2), "Unfold": nn.Unfold(3),
}  # fmt: skip
for name in CONVOLUTIONS:

    @case(f"nn.{name}", "layers")
    def _(name=name):
        layer = CONVOLUTIONS[name]
        width = layer(images()).flatten(1).shape[1]
        return classification(nn.Sequential(layer, nn.Tanh(), nn.Flatten(), nn.Linear(width, 3)), images())


POOLS = {
    "AvgPool2d": (nn.AvgPool2d(2), "runs"), "AdaptiveAvgPool2d": (nn.AdaptiveAvgPool2d(2), "runs"),
    "MaxPool2d": (nn.MaxPool2d(2), "warns"), "AdaptiveMaxPool2d": (nn.AdaptiveMaxPool2d(2), "warns"),
    "LPPool2d": (nn.LPPool2d(2, 2), "warns"), "Upsample, bilinear": (nn.Upsample(scale_factor=2, mode="bilinear"), "runs"),
    "Upsample, bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), "runs"), "PixelShuffle": (nn.PixelShuffle(2), "runs"),
}  # fmt: skip
for name, (pool, outcome) in POOLS.items():

    @case(f"nn.{name}", "layers", outcome)
    def _(pool=pool):
        stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Softplus())
        width = pool(stem(images())).flatten(1).shape[1]
        return classification(nn.Sequential(stem, pool, nn.Flatten(), nn.Linear(width, 3)), images())


@case("nn.Bilinear", "layers")
def _():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Bilinear(FEATURES, FEATURES, 3)

        def forward(self, a, b):
            return self.layer(a, b)

    x, y, _ = points()
    return Problem(Both(), (x, x.flip(0)), y, MSE)


EMBEDDINGS = {
    "Embedding": {}, "Embedding, padding_idx": {"padding_idx": 0}, "Embedding, sparse": {"sparse": True},
}  # fmt: skip
for name, options in EMBEDDINGS.items():
    case(f"nn.{name}", "layers")(
        lambda options=options: classification(
            nn.Sequential(nn.Embedding(11, 4, **options), nn.Flatten(), nn.Tanh(), nn.Linear(20, 3)), tokens()
        )
    )
case("nn.Embedding, max_norm", "layers", "refused", "max_norm")(
    lambda: classification(nn.Sequential(nn.Embedding(11, 4, max_norm=1.0), nn.Flatten(), nn.Linear(20, 3)), tokens())
)
case("nn.EmbeddingBag", "layers")(
    lambda: classification(nn.Sequential(nn.EmbeddingBag(11, 4), nn.Tanh(), nn.Linear(4, 3)), tokens())
)


@case("nn.MultiheadAttention", "attention")
def _():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.MultiheadAttention(8, 2, batch_first=True), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(self.mix(x, x, x)[0].mean(1))

    return classification(Attention(), sequences())


@case("scaled_dot_product_attention, causal", "attention")
def _():
    class Attention(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix, self.head = nn.Linear(8, 24), nn.Linear(8, 3)

        def forward(self, x):
            q, k, v = (y.unflatten(-1, (2, 4)).transpose(1, 2) for y in self.mix(x).chunk(3, -1))
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            return self.head(y.transpose(1, 2).flatten(2).mean(1))

    return classification(Attention(), sequences())


class Mean(nn.Module):
    def __init__(self, body: nn.Module, width: int = 8):
        super().__init__()
        self.body, self.head = body, nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.body(x).mean(1))


def encoder_layer(activation: str, **options: Any) -> nn.Module:
    return nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=activation, batch_first=True, **options)


@case("nn.TransformerEncoder, GELU, training", "attention")
def _():
    return classification(Mean(nn.TransformerEncoder(encoder_layer("gelu"), 2)), sequences())


@case("nn.TransformerEncoder, ReLU, evaluation", "attention", "warns")
def _():
    return classification(Mean(nn.TransformerEncoder(encoder_layer("relu"), 1)).eval(), sequences())


@case("nn.Transformer", "attention")
def _():
    class Translator(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, activation=functional.gelu, batch_first=True)
            self.head = nn.Linear(8, 3)

        def forward(self, source, target):
            return self.head(self.body(source, target).mean(1))

    return Problem(Translator(), (sequences(), sequences(length=4)), torch.randint(0, 3, (6,)), CE)


@case("checkpointed attention", "attention")
def _():
    class Checkpointed(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.head = encoder_layer("gelu"), nn.Linear(8, 3)

        def forward(self, x):
            return self.head(checkpoint(self.layer, x, use_reentrant=False).mean(1))

    return classification(Checkpointed(), sequences())


@case("torch.cdist", "other functions")
def _():
    class Distances(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.places = nn.Linear(FEATURES, 4), nn.Parameter(torch.randn(5, 4))
            self.head = nn.Linear(5, 3)

        def forward(self, x):
            return self.head(torch.cdist(self.a(x), self.places).neg().softmax(-1))

    return regression(Distances())


@case("grid_sample", "other functions", "warns")
def _():
    class Sampler(nn.Module):
        def __init__(self):
            super().__init__()
            self.theta, self.head = nn.Parameter(torch.tensor([[0.8, 0.1, 0.0], [-0.1, 0.9, 0.1]])), nn.Linear(192, 3)

        def forward(self, x):
            grid = functional.affine_grid(self.theta.expand(len(x), -1, -1), list(x.shape), align_corners=False)
            return self.head(functional.grid_sample(x, grid, align_corners=False).flatten(1))

    return classification(Sampler(), images())


@case("top-1 mixture of experts", "other functions", "warns", "topk")
def _():
    class Experts(nn.Module):
        def __init__(self):
            super().__init__()
            self.gate = nn.Linear(FEATURES, 3)
            self.experts = nn.ModuleList([nn.Linear(FEATURES, 3) for _ in range(3)])

        def forward(self, x):
            weight, chosen = self.gate(x).softmax(-1).topk(1, -1)
            outputs = torch.stack([expert(x) for expert in self.experts], 1)
            return weight * outputs[torch.arange(len(x)), chosen[:, 0]]

    return regression(Experts())


@case("works on its input in place", "other functions")
def _():
    class InPlace(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, x):
            x -= x.mean(0)
            return self.net(x)

    problem = regression(InPlace())
    x, y = problem.inputs.clone(), problem.targets
    problem.loss = lambda network: MSE(network(x.clone()), y)
    return problem


@case("a custom autograd function with a wrong second derivative", "other functions", "refused", "Cube")
def _():
    return regression(mlp(Cube()))


# Losses ---------------------------------------------------------------------------------------------------------------

REGRESSIONS = {
    "MSELoss": (MSE, "runs"), "MSELoss, sum": (nn.MSELoss(reduction="sum"), "runs"), "L1Loss": (nn.L1Loss(), "warns"),
    "HuberLoss": (nn.HuberLoss(), "warns"), "SmoothL1Loss": (nn.SmoothL1Loss(), "warns"),
    "PoissonNLLLoss": (lambda o, t: nn.PoissonNLLLoss()(o, t.abs()), "runs"),
    "BCEWithLogitsLoss": (lambda o, t: nn.BCEWithLogitsLoss()(o, t.sigmoid()), "runs"),
    "KLDivLoss": (lambda o, t: nn.KLDivLoss(reduction="batchmean")(o.log_softmax(-1), t.softmax(-1)), "runs"),
    "GaussianNLLLoss": (lambda o, t: nn.GaussianNLLLoss()(o, t, torch.ones_like(o)), "runs"),
    "CosineEmbeddingLoss": (lambda o, t: nn.CosineEmbeddingLoss()(o, t, torch.ones(len(o))), "warns"),
    "SoftMarginLoss": (lambda o, t: nn.SoftMarginLoss()(o, t.sign()), "runs"),
    "a loss over pairs of examples": (lambda o, t: (o @ o.T - t @ t.T).square().mean(), "runs"),
}  # fmt: skip
for name, (criterion, outcome) in REGRESSIONS.items():
    case(f"nn.{name}" if name[0].isupper() else name, "losses", outcome)(
        lambda criterion=criterion: regression(mlp(nn.Tanh()), criterion)
    )

WEIGHTS = torch.tensor([1.0, 5.0, 0.2])
LABELLED = {
    "CrossEntropyLoss": (CE, "runs"), "CrossEntropyLoss, class weights": (nn.CrossEntropyLoss(weight=WEIGHTS), "runs"),
    "CrossEntropyLoss, ignore_index": (nn.CrossEntropyLoss(ignore_index=2), "runs"),
    "CrossEntropyLoss, label smoothing": (nn.CrossEntropyLoss(label_smoothing=0.1), "runs"),
    "CrossEntropyLoss, none": (nn.CrossEntropyLoss(reduction="none"), "runs"),
    "NLLLoss": (lambda o, t: nn.NLLLoss()(o.log_softmax(-1), t), "runs"),
    "MultiMarginLoss": (nn.MultiMarginLoss(), "warns"),
}  # fmt: skip
for name, (criterion, outcome) in LABELLED.items():

    @case(f"nn.{name}", "losses", outcome)
    def _(criterion=criterion):
        x, _, labels = points()
        problem = Problem(mlp(nn.Tanh()), x, labels, criterion)
        problem.loss = lambda network: criterion(network(x), labels).mean()
        return problem


@case("nn.CTCLoss", "losses")
def _():
    lengths, targets = torch.full((6,), 5), torch.randint(1, 4, (6, 2))

    def criterion(outputs, labels):
        return functional.ctc_loss(
            outputs.log_softmax(-1).transpose(0, 1), labels, lengths[: len(outputs)], lengths[: len(outputs)] * 0 + 2
        )

    return Problem(nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 4)), sequences(), targets, criterion)


@case("nn.TripletMarginLoss", "losses", "warns")
def _():
    class Triplet(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, a, b, c):
            return self.net(a), self.net(b), self.net(c)

    triple = tuple(torch.randn(N, FEATURES) for _ in range(3))
    return Problem(Triplet(), triple, None, lambda outputs, _: nn.TripletMarginLoss()(*outputs))


@case("L2 by closure over the network", "losses", "refused", "not weights of the network")
def _():
    network = mlp(nn.Tanh())
    return regression(network, lambda o, t: MSE(o, t) + 0.05 * sum(w.square().sum() for w in network.parameters()))


@case("L2 as an option", "losses")
def _():
    x, y, _ = points()
    problem = Problem(mlp(nn.Tanh()), x, y, MSE, {"l2": 0.1})
    problem.loss = lambda network: MSE(network(x), y) + 0.05 * sum(w.square().sum() for w in network.parameters())
    return problem


@case("a criterion with trainable parameters", "losses", "refused", "not weights of the network")
def _():
    class Temperature(nn.Module):
        def __init__(self):
            super().__init__()
            self.t = nn.Parameter(torch.zeros(()))

        def forward(self, o, y):
            return ((o * self.t.exp() - y) ** 2).mean()

    return regression(mlp(nn.Tanh()), Temperature())


@case("a criterion that returns a number", "losses", "refused", "must return a scalar tensor")
def _():
    return regression(mlp(nn.Tanh()), lambda o, t: MSE(o, t).item())


# Data and calls -------------------------------------------------------------------------------------------------------


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = mlp(nn.Tanh())

    def forward(self, a, b=None):
        return self.net(a * (1 if b is None else b))


@case("two arguments in a tuple", "data")
def _():
    x, y, _ = points()
    problem = Problem(Two(), (x, x + 1), y, MSE)
    problem.loss = lambda network: MSE(network(x, x + 1), y)
    return problem


@case("keyword arguments in a mapping", "data")
def _():
    x, y, _ = points()
    problem = Problem(Two(), {"a": x, "b": x + 1}, y, MSE)
    problem.loss = lambda network: MSE(network(a=x, b=x + 1), y)
    return problem


@case("a mapping as one argument, outputs in a mapping", "data")
def _():
    class Whole(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = mlp(nn.Tanh())

        def forward(self, batch):
            return {"logits": self.net(batch["x"]), "extra": batch["x"].sum()}

    x, _, labels = points()
    return Problem(Whole(), {"x": x}, labels, lambda outputs, t: CE(outputs["logits"], t))


@case("targets None (an autoencoder)", "data")
def _():
    class Auto(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(FEATURES, 3), nn.Tanh(), nn.Linear(3, FEATURES))

        def forward(self, x):
            return self.net(x) - x

    return Problem(Auto(), points()[0], None, lambda outputs, _: outputs.square().mean())


@case("targets in a tuple", "data")
def _():
    x, y, labels = points()
    return Problem(mlp(nn.Tanh()), x, (y, labels), lambda o, t: MSE(o, t[0]) + CE(o, t[1]))


@case("numpy arrays", "data")
def _():
    x, y, _ = points()
    problem = Problem(mlp(nn.Tanh()), x.numpy(), y.numpy(), MSE)
    problem.loss = lambda network: MSE(network(x), y)
    return problem


@case("float64 data for a float32 network", "data", "refused", "the inputs are float64 and the network is float32")
def _():
    x, y, _ = points()
    return Problem(mlp(nn.Tanh()), x.double(), y.double(), MSE)


@case("no examples", "data", "refused", "no examples")
def _():
    x, y, _ = points()
    return Problem(mlp(nn.Tanh()), x[:0], y[:0], MSE)


@case("fewer targets than inputs", "data", "refused", "fails on inputs of shape")
def _():
    x, y, _ = points()
    return Problem(mlp(nn.Tanh()), x, y[:5], MSE)


@case("a graph: all nodes are one example", "data")
def _():
    adjacency = torch.eye(N).roll(1, 0) / 2 + torch.eye(N) / 2

    class Graph(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(FEATURES, 8), nn.Linear(8, 3)

        def forward(self, x):
            return adjacency.to(x) @ self.b(torch.tanh(adjacency.to(x) @ self.a(x)))

    x, _, labels = points()
    return Problem(Graph(), x, labels, CE)


@case("a DataLoader", "data")
def _():
    x, y, _ = points()
    network = mlp(nn.Tanh())
    loader = DataLoader(TensorDataset(x, y), batch_size=5)
    return Problem(network, loader, None, MSE, loss=lambda network: MSE(network(x), y))


@case("microbatches", "data")
def _():
    x, _, labels = points()
    return Problem(mlp(nn.Tanh()), x, labels, nn.CrossEntropyLoss(weight=WEIGHTS), {"microbatch_size": 5})


@case("a function of a vector (Rosenbrock)", "data")
def _():
    from centralflows import Objective

    class Rosenbrock(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.3, -0.2, 0.5, 0.1]))

        def forward(self):
            return self.value(self.w)

        @staticmethod
        def value(w):
            return 0.1 * (w[1:] - w[:-1] ** 2).square().sum() + 0.05 * (1 - w).square().sum()

    network = Rosenbrock()
    made = lambda: Objective.from_function(Rosenbrock.value, network.w.detach())  # noqa: E731
    return Problem(network, make=made, loss=lambda network: network())


@case("a function of nested weights (a physics-informed loss)", "data")
def _():
    from centralflows import Objective

    x = torch.linspace(0, 1, 20)[:, None]

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Parameter(torch.randn(1, 8)), nn.Parameter(torch.randn(8, 1) / 3)

        def forward(self):
            return self.value({"a": self.a, "b": self.b})

        @staticmethod
        def value(weights):
            hidden = torch.tanh(x @ weights["a"])
            u, slope = hidden @ weights["b"], (1 - hidden**2) @ (weights["a"].T * weights["b"])
            return (slope + u).square().mean() + (u[0] - 1).square().sum()

    network = Field()
    start = {"a": network.a.detach(), "b": network.b.detach()}
    return Problem(network, make=lambda: Objective.from_function(Field.value, start), loss=lambda network: network())


# Wrappers -------------------------------------------------------------------------------------------------------------


def wrapped(wrap: Callable[[nn.Module], nn.Module]) -> Problem:
    x, y, _ = points()
    network = mlp(nn.Tanh())
    return Problem(wrap(network), x, y, MSE)


case("torch.compile", "wrappers")(lambda: wrapped(partial(torch.compile, backend="eager")))
case("DataParallel", "wrappers")(lambda: wrapped(nn.DataParallel))
case("torch.jit.script", "wrappers", "refused", "scripted or traced")(lambda: wrapped(torch.jit.script))
case("torch.fx", "wrappers")(lambda: wrapped(torch.fx.symbolic_trace))
