"""Substitutes have the values and gradients of torch's own functions, and right derivatives of the first three orders."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations
from torch.utils import checkpoint as checkpointing

from centralflows import Objective
from centralflows.derivatives.point import Point
from centralflows.problems.compositions.embeddings import NotAFunction
from centralflows.problems.substitution import Substitution

EPS = torch.finfo(torch.float64).eps


def randn(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def assert_exact(function: Callable[[Tensor], Tensor], w: Tensor, *, step: float = 1e-3) -> None:
    """Hold the first three derivatives against differences of the lower order, along one direction.

    The differences have order four: half the step divides their error by 16. So the error at half the step is less than
    the change by halving, unless the derivative is wrong. Rounding adds at most about 1e3 eps of the lower order, over
    the step.
    """
    u = randn(len(w), seed=3)

    def derivatives(point: Point) -> list[Tensor]:
        return [point.loss, point.gradient, point.hessian_product(u[:, None])[:, 0]]

    def difference(step: float) -> list[Tensor]:
        shifted = {k: derivatives(Point(function, w + k * step * u)) for k in (-2, -1, 1, 2)}
        return [
            (8 * (shifted[1][order] - shifted[-1][order]) - shifted[2][order] + shifted[-2][order]) / (12 * step)
            for order in range(3)
        ]

    here = Point(function, w)
    lower = derivatives(here)
    exact = [here.gradient @ u, lower[2], here.curvature_gradients(u[:, None])[:, 0]]
    for order, (value, coarse, fine) in enumerate(zip(exact, difference(step), difference(step / 2), strict=True)):
        rounding = 1e3 * EPS * (lower[order].norm() + 1) / step
        change = (coarse - fine).norm()
        assert change <= 1e-3 * fine.norm() + rounding, "the differences have not converged"
        assert (value - fine).norm() <= change + rounding, f"order {order + 1}"


def assert_batched(function: Callable[[Tensor], Tensor], w: Tensor) -> None:
    """Derivatives along several vectors in one pass differ from single ones by the order of sums only."""
    u = randn(len(w), 3, seed=4)
    single, batched = (Point(function, w, batched=batched) for batched in (False, True))
    for derivative in (lambda point: point.hessian_product(u), lambda point: point.curvature_gradients(u)):
        torch.testing.assert_close(derivative(batched), derivative(single), rtol=1e-9, atol=1e-9)


INDICES = torch.tensor([[1, 2, 0, 5], [6, 6, 3, 1], [0, 4, 2, 2]])
LABELS = torch.tensor([1, 0, 4])
LABEL_SETS = torch.tensor([[1, 2, -1, 0, 0], [0, -1, 3, 3, 3], [4, 1, 2, -1, 0]])
MASK = torch.tensor([[True, False, True], [True, True, False], [False, True, True], [True, True, True]])
CONSTANT = randn(4, seed=9)


def bag(w: Tensor, **options) -> Tensor:
    return functional.embedding_bag(INDICES, w, **options)


def uneven_bag(w: Tensor, **options) -> Tensor:
    return functional.embedding_bag(INDICES.flatten(), w, torch.tensor([0, 3, 3, 7]), **options)


def transposed(x: Tensor, w: Tensor, b: Tensor | None = None, axes: int = 2, **options) -> Tensor:
    function = getattr(functional, f"conv_transpose{axes}d")
    return function(x, w, b, stride=2, padding=1, output_padding=1, **options)


def ctc(x: Tensor, targets: Tensor, lengths: list[int], **options) -> Tensor:
    return functional.ctc_loss(x.log_softmax(-1), targets, torch.tensor([6, 6, 5]), torch.tensor(lengths), **options)


def in_chunks(x: Tensor, w: Tensor) -> Tensor:
    return functional.linear_cross_entropy(x, w, LABELS, options=nn.LinearCrossEntropyOptions())


ENTRIES: dict[str, tuple[Callable, list[tuple[int, ...]], str]] = {
    "layer_norm": (lambda x, w, b: functional.layer_norm(x, (5,), w, b), [(3, 4, 5), (5,), (5,)], "layer_norm"),
    "layer_norm of two axes": (lambda x, w: functional.layer_norm(x, (4, 5), w), [(3, 4, 5), (4, 5)], "layer_norm"),
    "layer_norm alone": (lambda x: functional.layer_norm(x, (5,)), [(3, 5)], "layer_norm"),
    "native_layer_norm": (
        lambda x, w, b: torch.native_layer_norm(x, [5], w, b, 1e-5)[0], [(3, 5), (5,), (5,)], "native_layer_norm",
    ),
    "batch_norm": (
        lambda x, w, b: functional.batch_norm(x, None, None, w, b, True), [(4, 3, 2, 2), (3,), (3,)], "batch_norm",
    ),
    "batch_norm of vectors": (lambda x: functional.batch_norm(x, None, None, training=True), [(5, 3)], "batch_norm"),
    "native_batch_norm": (
        lambda x, w, b: torch.native_batch_norm(x, w, b, None, None, True, 0.1, 1e-5)[0],
        [(5, 3), (3,), (3,)],
        "native_batch_norm",
    ),
    "instance_norm": (
        lambda x, w, b: functional.instance_norm(x, weight=w, bias=b), [(2, 3, 5), (3,), (3,)], "instance_norm",
    ),
    "group_norm": (lambda x, w, b: functional.group_norm(x, 2, w, b), [(2, 4, 3), (4,), (4,)], "group_norm"),
    "weight_norm": (lambda v, g: torch._weight_norm(v, g, 0), [(4, 3), (4, 1)], "weight_norm"),
    "weight_norm of columns": (lambda v, g: torch._weight_norm(v, g, 1), [(4, 3), (1, 3)], "weight_norm"),
    "weight_norm as a whole": (lambda v, g: torch._weight_norm(v, g, -1), [(4, 3), ()], "weight_norm"),
    "attention": (functional.scaled_dot_product_attention, [(2, 4, 3)] * 3, "scaled_dot_product_attention"),
    "causal attention": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=True, scale=0.7),
        [(2, 4, 3)] * 3,
        "scaled_dot_product_attention",
    ),
    "masked attention": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, MASK),
        [(2, 4, 5), (2, 3, 5), (2, 3, 5)],
        "scaled_dot_product_attention",
    ),
    "biased attention": (
        functional.scaled_dot_product_attention, [(4, 5), (3, 5), (3, 5), (4, 3)], "scaled_dot_product_attention",
    ),
    "attention with shared keys": (
        lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, enable_gqa=True),
        [(1, 4, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2)],
        "scaled_dot_product_attention",
    ),
    "embedding_bag": (bag, [(7, 4)], "embedding_bag"),
    "embedding_bag of sums": (
        lambda w, s: bag(w, mode="sum", per_sample_weights=s), [(7, 4), (3, 4)], "embedding_bag",
    ),
    "embedding_bag of maxima": (lambda w: bag(w, mode="max", padding_idx=2), [(7, 4)], "embedding_bag"),
    "uneven embedding_bag": (uneven_bag, [(7, 4)], "embedding_bag"),
    "uneven embedding_bag with padding": (lambda w: uneven_bag(w, padding_idx=6), [(7, 4)], "embedding_bag"),
    "uneven embedding_bag with padding from the end": (
        lambda w: uneven_bag(w, padding_idx=-2), [(7, 4)], "embedding_bag",
    ),
    "embedding_bag with a last offset": (
        lambda w: uneven_bag(w, include_last_offset=True, mode="max"), [(7, 4)], "embedding_bag",
    ),
    **{
        f"cdist {p}": (lambda x, y, p=p: torch.cdist(x, y, p), [(2, 4, 3), (2, 5, 3)], "cdist")
        for p in (1.0, 1.5, 2.0, 3.0, torch.inf)
    },
    "cdist of many": (torch.cdist, [(26, 3), (2, 3)], "cdist"),
    **{f"pdist {p}": (lambda x, p=p: torch.pdist(x, p), [(4, 3)], "pdist") for p in (1.0, 1.5, 2.0, 3.0)},
    "hardsigmoid": (lambda x: functional.hardsigmoid(2 * x), [(5, 3)], "hardsigmoid"),
    "hardsigmoid in place": (lambda x: functional.hardsigmoid(2 * x, inplace=True), [(5, 3)], "hardsigmoid"),
    "multi_margin_loss": (lambda x: functional.multi_margin_loss(x, LABELS), [(3, 5)], "multi_margin_loss"),
    "squared multi_margin_loss": (
        lambda x: functional.multi_margin_loss(x, LABELS, 2, 0.5, randn(5, seed=8).abs(), reduction="none"),
        [(3, 5)],
        "multi_margin_loss",
    ),
    "multi_margin_loss of one": (lambda x: functional.multi_margin_loss(x, LABELS[0]), [(5,)], "multi_margin_loss"),
    **{
        f"multilabel_margin_loss, {reduction}": (
            lambda x, reduction=reduction: functional.multilabel_margin_loss(x, LABEL_SETS, reduction=reduction),
            [(3, 5)],
            "multilabel_margin_loss",
        )
        for reduction in ("none", "mean", "sum")
    },
    "ctc_loss": (lambda x: ctc(x, torch.tensor([[1, 2, 2], [3, 1, 0], [1, 0, 0]]), [3, 2, 1]), [(6, 3, 4)], "ctc_loss"),
    "ctc_loss of one row": (
        lambda x: ctc(x, torch.tensor([1, 2, 2, 3, 1]), [3, 2, 0], reduction="none"), [(6, 3, 4)], "ctc_loss",
    ),
    "ctc_loss of one": (
        lambda x: functional.ctc_loss(x.log_softmax(-1), torch.tensor([0, 2]), (5,), (2,), blank=3), [(5, 4)], "ctc_loss",
    ),
    "impossible ctc_loss": (
        lambda x: ctc(x, torch.tensor([[1] * 5, [2] * 5, [3] * 5]), [5, 2, 5], zero_infinity=True), [(6, 3, 4)], "ctc_loss",
    ),
    "logcumsumexp": (lambda x: x.logcumsumexp(1), [(3, 4)], "logcumsumexp"),
    "logcumsumexp of distant numbers": (
        lambda x: (x + torch.tensor([0.0, 0.0, 800.0, 0.0])).logcumsumexp(1) - 800, [(3, 4)], "logcumsumexp",
    ),
    "transposed convolution": (transposed, [(2, 4, 3, 3), (4, 2, 3, 3), (2,)], "conv_transpose2d"),
    "transposed convolution of one": (transposed, [(4, 3, 3), (4, 2, 3, 3)], "conv_transpose2d"),
    "grouped transposed convolution": (
        lambda x, w: transposed(x, w, axes=1, groups=2, dilation=2), [(2, 4, 4), (4, 1, 3)], "conv_transpose1d",
    ),
}  # fmt: skip
if hasattr(functional, "linear_cross_entropy"):  # since torch 2.13
    ENTRIES["linear_cross_entropy"] = in_chunks, [(3, 4), (5, 4)], "linear_cross_entropy"


def scalar(
    function: Callable, shapes: list[tuple[int, ...]], *, replaced: bool = True
) -> tuple[Callable, Tensor, Substitution]:
    """Return a function of all arguments in one vector, with derivatives of every order, and the point to test it at."""
    parts = [randn(*shape, seed=seed) for seed, shape in enumerate(shapes)]
    mode = Substitution()

    def loss(w: Tensor) -> Tensor:
        pieces = w.split([part.numel() for part in parts])
        args = [piece.view(part.shape) for piece, part in zip(pieces, parts, strict=True)]
        if replaced:
            with mode:
                y = function(*args)
        else:
            y = function(*args)
        weights = randn(y.numel(), seed=7).view(y.shape)
        return (weights * (y + y**2)).sum()

    return loss, torch.cat([part.flatten() for part in parts]), mode


def gradient_tolerance(name: str) -> float:
    """Return the relative tolerance of a gradient; torch computes hardsigmoid's with a sixth in float32."""
    return torch.finfo(torch.float32).eps if "hardsigmoid" in name.lower() else 1e-10


@pytest.mark.parametrize("name", ENTRIES)
def test_a_substitute_has_torchs_value_and_gradient(name):
    """Both are exact: they differ by the order of sums of at most a few hundred terms of order one."""
    function, shapes, replaced = ENTRIES[name]
    own, w, _ = scalar(function, shapes, replaced=False)
    ours, _, mode = scalar(function, shapes)
    w = w.requires_grad_()
    left, right = own(w), ours(w)
    torch.testing.assert_close(right, left, rtol=1e-12, atol=1e-12)
    found, expected = (torch.autograd.grad(each, w)[0] for each in (right, left))
    torch.testing.assert_close(found, expected, rtol=gradient_tolerance(name), atol=1e-10)
    assert mode.replaced == {replaced}


@pytest.mark.parametrize("name", ENTRIES)
def test_a_substitute_has_three_exact_derivatives(name):
    loss, w, _ = scalar(*ENTRIES[name][:2])
    assert_exact(loss, w)
    assert_batched(loss, w)


def test_every_road_leads_to_the_substitute():
    x, w, b = randn(3, 5, seed=0), randn(5, seed=1), randn(5, seed=2)
    layer = nn.LayerNorm(5, dtype=torch.float64)
    layer.weight.data, layer.bias.data = w, b
    roads = [
        lambda: layer(x),
        lambda: functional.layer_norm(x, (5,), w, b),
        lambda: torch.layer_norm(x, (5,), w, b),
        lambda: torch.ops.aten.layer_norm(x, [5], w, b),
        lambda: torch.ops.aten.layer_norm.default(x, [5], w, b),
    ]
    for road in roads:
        with Substitution() as mode:
            found = road()
        torch.testing.assert_close(found, road(), rtol=1e-14, atol=1e-14)
        assert mode.replaced == {"layer_norm"}
    with Substitution() as mode:
        x.logcumsumexp(1)
    assert mode.replaced == {"logcumsumexp"}


def test_what_is_right_stays_torchs_own():
    network = nn.Sequential(nn.Linear(4, 4), nn.GELU(), nn.BatchNorm1d(4), nn.Linear(4, 2)).eval()
    x = torch.randn(3, 4)
    with Substitution() as mode:
        found = network(x)
    assert torch.equal(found, network(x)) and not mode.replaced


def test_a_group_norm_is_replaced_for_batched_gradients_only():
    """torch's own is right, and faster in a gradient."""
    x = torch.randn(2, 4, 3)
    for batched in (False, True):
        with Substitution(batched=batched) as mode:
            functional.group_norm(x, 2)
        assert mode.replaced == ({"group_norm"} if batched else set())


def test_criteria_are_replaced_too():
    torch.manual_seed(0)
    made = Objective(nn.Linear(6, 5).double(), randn(3, 6, seed=0), LABELS, nn.MultiMarginLoss(p=2))
    assert_exact(made, made.initial_weights)


def test_a_used_objective_can_be_copied():
    made = objective(between(nn.LayerNorm(6)))
    made(made.initial_weights)
    copied = copy.deepcopy(made)
    assert copied(made.initial_weights) == made(made.initial_weights)
    assert copied._substitution is not made._substitution


def test_mistakes_are_torchs_errors():
    with Substitution(), pytest.raises(RuntimeError, match="normalized_shape"):
        functional.layer_norm(torch.zeros(3, 4), (1,))


def test_an_alias_sees_what_is_changed_in_place():
    x = randn(5, seed=0)
    alias = x[1:]
    expected = functional.hardsigmoid(x)
    with Substitution():
        assert functional.hardsigmoid(x, inplace=True) is x
    torch.testing.assert_close(alias, expected[1:])


def test_a_function_of_a_python_function_is_replaced():
    """multi_head_attention_forward is written in Python, and calls attention."""
    layer = nn.MultiheadAttention(4, 2, batch_first=True)
    x = torch.randn(2, 3, 4)
    with Substitution() as mode:
        found = layer(x, x, x, need_weights=False)[0]
    torch.testing.assert_close(found, layer(x, x, x, need_weights=False)[0])
    assert mode.replaced == {"scaled_dot_product_attention"}


def test_a_python_function_that_asks_twice_is_called_once():
    """meshgrid asks for a mode in a helper, in the name of itself."""
    x, y = torch.arange(3.0), torch.arange(2.0)
    with Substitution():
        found = torch.meshgrid(x, y, indexing="ij")
    assert all(map(torch.equal, found, torch.meshgrid(x, y, indexing="ij")))


# --- whole networks


class Attention(nn.Module):
    """Attention and a norm, perhaps checkpointed."""

    def __init__(self, **options):
        super().__init__()
        self.project, self.norm, self.head, self.options = nn.Linear(6, 12), nn.LayerNorm(4), nn.Linear(4, 2), options

    def attend(self, x: Tensor) -> Tensor:
        return self.norm(functional.scaled_dot_product_attention(*self.project(x).chunk(3, -1)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(checkpointing.checkpoint(self.attend, x, **self.options) if self.options else self.attend(x))


class InSegments(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return checkpointing.checkpoint_sequential(list(self), 2, x, use_reentrant=False)


class First(nn.Sequential):
    """A layer that returns several things, of which the first counts; an attention attends to itself."""

    def forward(self, x: Tensor) -> Tensor:
        return self[0](*[x] * (3 if isinstance(self[0], nn.MultiheadAttention) else 1))[0]


def between(*layers: nn.Module, width: int = 6) -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 6), *layers, nn.Linear(width, 2))


def encoder(**options) -> nn.Module:
    return nn.TransformerEncoderLayer(6, 2, 8, batch_first=True, activation="gelu", **options)


def old(norm: Callable) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the spelling is deprecated, and still used
        return between(norm(nn.Linear(6, 6)), nn.Tanh())


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "LayerNorm": lambda: between(nn.LayerNorm(6)),
    "RMSNorm": lambda: between(nn.RMSNorm(6)),
    "GroupNorm": lambda: between(nn.GroupNorm(2, 4)),
    "BatchNorm": lambda: between(nn.BatchNorm1d(4)),
    "BatchNorm, eval": lambda: between(nn.BatchNorm1d(4)).eval(),
    "InstanceNorm": lambda: between(nn.InstanceNorm1d(4, affine=True, track_running_stats=True)),
    "InstanceNorm, eval": lambda: between(nn.InstanceNorm1d(4, affine=True, track_running_stats=True)).eval(),
    "TransformerEncoderLayer": lambda: encoder(dropout=0.0),
    "TransformerEncoderLayer, eval": lambda: encoder().eval(),
    "TransformerEncoder, eval": lambda: nn.TransformerEncoder(encoder(norm_first=False), 2).eval(),
    "MultiheadAttention": lambda: First(nn.MultiheadAttention(6, 2, batch_first=True)),
    "MultiheadAttention, eval": lambda: First(nn.MultiheadAttention(6, 2)).eval(),
    "weight_norm": lambda: between(parametrizations.weight_norm(nn.Linear(6, 6)), nn.Tanh()),
    "old weight_norm": lambda: old(nn.utils.weight_norm),
    "spectral_norm": lambda: between(parametrizations.spectral_norm(nn.Linear(6, 6)), nn.Tanh()).eval(),
    "old spectral_norm": lambda: old(nn.utils.spectral_norm).eval(),
    **{
        f"orthogonal by {kind}": lambda kind=kind: between(
            parametrizations.orthogonal(nn.Linear(6, 6), orthogonal_map=kind), nn.Tanh()
        )
        for kind in ("matrix_exp", "cayley", "householder")
    },
    "orthogonal rectangle": lambda: between(parametrizations.orthogonal(nn.Linear(6, 4)), nn.Tanh(), width=4),
    "attention": Attention,
    "checkpointed": lambda: Attention(use_reentrant=False),
    "checkpointed, re-entrant": lambda: Attention(use_reentrant=True),
    "checkpointed in segments": lambda: InSegments(nn.Linear(6, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, 2)),
    "LSTM": lambda: First(nn.LSTM(6, 3, 2, batch_first=True, bidirectional=True)),
    "GRU": lambda: First(nn.GRU(6, 3)),
    "Hardsigmoid": lambda: between(nn.Hardsigmoid(inplace=True)),
    "Hardswish": lambda: between(nn.Hardswish(inplace=True)),
    "EmbeddingBag": lambda: nn.Sequential(nn.EmbeddingBag(7, 4, padding_idx=2), nn.Linear(4, 2)),
    "Embedding": lambda: nn.Sequential(nn.Embedding(7, 4, padding_idx=2), nn.Tanh(), nn.Linear(4, 2)),
    "sparse Embedding": lambda: nn.Sequential(nn.Embedding(7, 4, sparse=True), nn.Tanh(), nn.Linear(4, 2)),
}


def objective(network: nn.Module, *, batched: bool = False) -> Objective:
    embeds = any(isinstance(module, nn.Embedding | nn.EmbeddingBag) for module in network.modules())
    inputs = INDICES if embeds else randn(3, 4, 6, seed=5)
    network = network.double()
    with torch.no_grad():
        targets = torch.randn_like(network(inputs))
    return Objective(network, inputs, targets, nn.MSELoss(), batched=batched)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_three_exact_derivatives(name):
    torch.manual_seed(0)
    made = objective(NETWORKS[name](), batched=True)
    w = made.initial_weights + 0.05 * randn(made.p, seed=6)
    assert_exact(made, w, step=2e-4)
    assert_batched(made, w)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_has_torchs_loss_and_gradient_at_the_start(name):
    torch.manual_seed(0)
    made = objective(NETWORKS[name]())
    network = copy.deepcopy(made.network)
    inputs = made.inputs.clone()
    inputs.requires_grad = inputs.is_floating_point()  # without this, re-entrant checkpointing has no gradient
    loss = functional.mse_loss(network(inputs), made.targets)
    loss.backward()
    gradient = [value.grad for value in network.parameters()]
    expected = torch.cat([(each.to_dense() if each.is_sparse else each).flatten() for each in gradient])
    point = Point(made, made.initial_weights)
    # sums of at most a few hundred terms of order one, in another order
    torch.testing.assert_close(point.loss, loss.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(point.gradient, expected, rtol=gradient_tolerance(name), atol=1e-10)


def test_calls_leave_the_running_statistics_alone():
    made = objective(nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4, momentum=0.5)))
    before = copy.deepcopy(dict(made.network.named_buffers()))
    assert torch.equal(made(made.initial_weights), made(made.initial_weights))
    for name in ("1.running_mean", "1.running_var"):
        assert torch.equal(made.network.get_buffer(name), before[name])


def test_a_padding_row_is_constant():
    torch.manual_seed(0)
    embedding = nn.Embedding(7, 4, padding_idx=2)
    embedding.weight.data[2] = 1.0  # a network may begin with any values there
    made = objective(nn.Sequential(embedding, nn.Linear(4, 2)))
    w = made.initial_weights + 0.05 * randn(made.p, seed=6)
    other = w.clone()
    other[8:12] += 1.0
    assert torch.equal(made(w), made(other))
    assert made(made.initial_weights) == functional.mse_loss(made.network(made.inputs), made.targets)
    point = Point(made, w)
    assert not point.gradient[8:12].any() and point.gradient[:8].any()
    assert torch.equal(made.to(dtype=torch.float32)._substitution._initial["0.weight"][2], torch.ones(4))


def test_only_weights_that_begin_as_whole_numbers_are_constants_as_such():
    w = randn(4, seed=0)
    weights = {"signs": w[:2], "other": w[2:]}
    initial = torch.tensor([1.0, -1.0, 0.5, 2.5], dtype=torch.float64)
    mode = Substitution({"signs": initial[:2], "other": initial[2:]})
    with mode.of(weights):
        assert weights["signs"].int().tolist() == [1, -1]
        assert torch.equal(weights["other"].int(), w[2:].to(torch.int32))
        assert torch.equal((2 * w).int(), (2 * w).to(torch.int32))


def test_an_embedding_that_is_no_function_of_its_weights_is_refused():
    for options, reason in (({"max_norm": 1.0}, "max_norm"), ({"scale_grad_by_freq": True}, "scale_grad_by_freq")):
        for layer in (nn.Embedding, nn.EmbeddingBag):
            with Substitution(), pytest.raises(NotAFunction, match=reason):
                layer(7, 4, **options)(INDICES)
    weight = torch.randn(7, 4, requires_grad=True)
    with Substitution(), pytest.raises(NotAFunction, match="padding_idx"):
        functional.embedding(INDICES, 2 * weight, padding_idx=0)


def test_checkpointing_is_off_inside_only():
    """Outside, a checkpointed function is called again in the backward pass."""
    calls = []

    def function(x: Tensor) -> Tensor:
        calls.append(torch.overrides._get_current_function_mode() is not None)
        return x.sin()

    for reentrant in (False, True):
        x = torch.ones(2, requires_grad=True)
        calls.clear()
        with pytest.raises(ZeroDivisionError), Substitution() as mode:
            with mode:
                checkpointing.checkpoint(function, x, use_reentrant=reentrant).sum().backward()
            raise ZeroDivisionError
        assert calls == [True]
        checkpointing.checkpoint(function, x, use_reentrant=reentrant).sum().backward()
        assert calls == [True, False, False]


def test_products_of_groups_are_torchs_and_exist_in_float64():
    """torch has them up to float32; the second group is empty, and the last row belongs to none."""
    x, matrices, ends = randn(5, 8, seed=1), randn(3, 8, 8, seed=2), torch.tensor([1, 1, 4], dtype=torch.int32)
    own = functional.grouped_mm(x[:4].float(), matrices.float(), offs=ends)
    with Substitution() as mode:
        torch.testing.assert_close(functional.grouped_mm(x[:4].float(), matrices.float(), offs=ends), own)
        assert functional.grouped_mm(x, matrices, offs=ends)[4].abs().max() == 0
    assert mode.replaced == {"grouped_mm"}

    def loss(w: Tensor) -> Tensor:
        with Substitution():
            return functional.grouped_mm(x, w.view(3, 8, 8), offs=ends).tanh().sum()

    assert_exact(loss, matrices.flatten())
