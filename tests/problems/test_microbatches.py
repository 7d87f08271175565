"""An objective in microbatches: the same loss and derivatives, in less memory."""

from __future__ import annotations

import warnings
import weakref
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from centralflows import Experiment, GradientDescent, Objective
from centralflows.common.errors import OutOfMemory
from centralflows.derivatives.derivative_check import check_derivatives
from centralflows.derivatives.evaluator import DerivativeEvaluator
from centralflows.derivatives.point import Point, value_and_gradient
from centralflows.problems.criteria import CRITERIA
from centralflows.problems.separation import NotSeparable

# Sums of at most a few hundred terms of order one, in another order.
CLOSE = {"rtol": 1e-12, "atol": 1e-13}
N = 11


def half_square(f, y):
    return 0.5 * (f - y).square().sum(-1).mean()


def objective(criterion: str, microbatch_size: int | str = "auto") -> Objective:
    """Of 11 sequences of 4 tokens in 3 classes, some masked, or of 11 points that a criterion of the user compares."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, 3)).double()
    inputs = torch.randn(N, 4, 5, dtype=torch.float64)
    if criterion == "user":
        return Objective(
            network, inputs[:, 0], torch.randn(N, 3).double(), half_square, microbatch_size=microbatch_size
        )
    labels = torch.randint(-1, 3, (N, 4))
    labels[5:9] = -1  # whole microbatches without a label
    return Objective(network, inputs, labels, CRITERIA[criterion], microbatch_size=microbatch_size)


@pytest.mark.parametrize("microbatch_size", [1, 3, 10])
@pytest.mark.parametrize("criterion", ["user", *CRITERIA])
def test_loss_and_all_derivatives_are_those_of_the_whole(criterion, microbatch_size):
    whole, sliced = objective(criterion), objective(criterion, microbatch_size)
    w = whole.initial_weights
    u = torch.randn(whole.p, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    points = DerivativeEvaluator(whole).at(w), DerivativeEvaluator(sliced).at(w)
    assert (len(whole.parts), len(sliced.parts) > 1) == (1, microbatch_size < N)
    torch.testing.assert_close(sliced(w), whole(w), **CLOSE)
    torch.testing.assert_close(value_and_gradient(sliced, w), value_and_gradient(whole, w), **CLOSE)
    graphs = [point.product_graphs(u) for point in points]
    for name, (expected, found) in {
        "loss": [point.loss for point in points],
        "gradient": [point.gradient for point in points],
        "product": [point.hessian_product(u) for point in points],
        "columns": [torch.stack(each).detach() for each in graphs],
        "third": [point.curvature_gradients(u, graph) for point, graph in zip(points, graphs, strict=True)],
    }.items():
        torch.testing.assert_close(found, expected, **CLOSE, msg=lambda text, name=name: f"{name}: {text}")
        assert not found.requires_grad


def test_without_directions_there_are_no_products():
    point = DerivativeEvaluator(objective("mse", 3)).at(objective("mse").initial_weights)
    assert point.product_graphs(point.w.new_empty(len(point.w), 0)) == ()
    assert point.hessian_product(point.w.new_empty(len(point.w), 0)).shape == (len(point.w), 0)


def test_one_slice_is_the_whole():
    made = objective("mse", N)
    assert made.parts == (made,)
    with pytest.raises(ValueError, match="microbatch_size must be a whole number, at least 1"):
        objective("mse", 0)


def test_where_no_label_counts_the_loss_is_zero():
    made = objective("cross-entropy")
    masked = Objective(made.network, made.inputs, torch.full((N, 4), -1), made.criterion, microbatch_size=3)
    loss, gradient = value_and_gradient(masked, made.initial_weights)
    assert loss == 0 and gradient.abs().max() == 0


def test_slices_are_kept_when_moved():
    moved = objective("mse", 3).to(dtype=torch.float32)
    assert len(moved.parts) == 3  # of four, one has no label
    assert moved(moved.initial_weights).dtype == torch.float32


def test_a_flow_in_slices_is_the_flow():
    def run(microbatch_size):
        made = objective("user", microbatch_size)
        sharpness = float(torch.linalg.eigvalsh(torch.func.hessian(made)(made.initial_weights))[-1])
        return Experiment(made, GradientDescent(2.1 / sharpness), 6).run()

    whole, sliced = run("auto"), run(4)
    assert whole["central"]["rank"].max() > 0
    for process, dataset in whole.items():
        # The eigen-solver stops at a residual of 3e-5 and so may stop elsewhere; eigenvalues err by its square.
        np.testing.assert_allclose(sliced[process].loss, dataset.loss, rtol=1e-7)


class Peak(torch.autograd.graph.saved_tensors_hooks):
    """The largest number of bytes that graphs held at once inside the context."""

    def __init__(self):
        self.held = self.peak = 0
        super().__init__(self._pack, lambda held: held[0])

    def __enter__(self):
        super().__enter__()
        return self

    def _pack(self, tensor: torch.Tensor) -> Held:
        held = Held([tensor.detach()])  # with its graph, a saved output would hold itself
        size = tensor.numel() * tensor.element_size()
        self.held += size
        self.peak = max(self.peak, self.held)
        weakref.finalize(held, self._release, size)
        return held

    def _release(self, size: int) -> None:
        self.held -= size


class Held(list):
    """A list that can be watched."""


@pytest.mark.parametrize("order", [1, 2, 3])
def test_memory_falls_with_the_slices(order):
    """Weights are few, so that what graphs hold is nearly all in proportion to the examples."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1))
    inputs, targets = torch.randn(6400, 2), torch.randn(6400, 1)
    peaks = []
    for microbatch_size in (6400, 1600, 400):
        made = Objective(network, inputs, targets, half_square, microbatch_size=microbatch_size)
        u = torch.eye(made.p)[:, :2]
        with Peak() as peak:
            point = DerivativeEvaluator(made).at(made.initial_weights)
            if order == 2:
                point.hessian_product(u)
            if order == 3:
                point.curvature_gradients(u, point.product_graphs(u))
        peaks.append(peak.peak)
    assert peaks[1] < 1.1 / 4 * peaks[0] and peaks[2] < 1.1 / 16 * peaks[0]


def root_mean_square(f, y):
    return (f - y).square().mean().sqrt()


def test_a_criterion_that_is_no_mean_is_refused():
    made = objective("user")
    root = Objective(made.network, made.inputs, made.targets, root_mean_square, microbatch_size=4)
    with pytest.raises(NotSeparable, match="must average over them"):
        check_derivatives(root, made.initial_weights)
    check_derivatives(objective("user", 4), made.initial_weights)
    check_derivatives(objective("cross-entropy", 4), made.initial_weights)


class Bounded(nn.Module):
    """A network with memory for so many examples at a time: for more, torch is asked for a terabyte that it cannot have."""

    def __init__(self, most: int):
        super().__init__()
        self.layer, self.most, self.seen = nn.Linear(2, 3), most, []

    def forward(self, x):
        self.seen.append(len(x))
        if len(x) > self.most:
            torch.empty(2**50, dtype=torch.uint8)
        return torch.tanh(self.layer(x)).square()


def bounded(most: int, microbatch_size: int | str = "auto") -> Objective:
    torch.manual_seed(0)
    return Objective(
        Bounded(most), torch.randn(40, 2), torch.randn(40, 3), half_square, microbatch_size=microbatch_size
    )


def test_slices_are_halved_until_memory_suffices():
    made, whole = bounded(8), bounded(40)
    w = made.initial_weights
    with pytest.warns(UserWarning, match="out of memory with microbatches of") as warned:
        found = value_and_gradient(made, w)
    sizes = [str(warning.message).split()[-1] for warning in warned]
    assert sizes == ["20", "10", "5"] and made.microbatch_size == 5
    torch.testing.assert_close(found, value_and_gradient(whole, w))


def test_an_experiment_runs_in_smaller_microbatches_if_memory_runs_out():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found, whole = (Experiment(bounded(most), GradientDescent(0.1), 3).run() for most in (8, 40))
    for process, dataset in whole.items():  # float32: sums in another order
        np.testing.assert_allclose(found[process].loss, dataset.loss, rtol=1e-5)


def test_a_check_that_does_not_fit_says_so():
    made = bounded(8)
    root = Objective(made.network, made.inputs, made.targets, root_mean_square)
    with pytest.raises(OutOfMemory, match="derivative check does not fit into memory with 40 examples"):
        check_derivatives(root, root.initial_weights)


@pytest.mark.parametrize("derivative", ["hessian_product", "product_graphs", "curvature_gradients"])
def test_memory_may_run_out_at_any_derivative(derivative, monkeypatch):
    made, whole = objective("mse"), objective("mse", N)
    w = made.initial_weights
    u = torch.randn(made.p, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    point, real = DerivativeEvaluator(made).at(w), getattr(Point, derivative)

    def bounded(self, *arguments):
        if isinstance(self, Point) and len(made.parts) == 1:
            torch.empty(2**50, dtype=torch.uint8)
        return real(self, *arguments)

    monkeypatch.setattr(Point, derivative, bounded)
    with pytest.warns(UserWarning, match="microbatches of 11 examples; continuing with 6"):
        found = getattr(point, derivative)(u)
    monkeypatch.undo()
    expected = getattr(DerivativeEvaluator(whole).at(w), derivative)(u)
    torch.testing.assert_close(found, expected, **CLOSE)


def test_slices_that_were_halved_for_the_gradient_are_those_of_the_products():
    made = bounded(5)
    made.set_microbatch_size(40 // 2)
    with pytest.warns(UserWarning, match="continuing with 5"):
        point = DerivativeEvaluator(made).at(made.initial_weights)
        point.hessian_product(torch.ones(made.p, 1))
    assert made.microbatch_size == 5


def test_a_size_that_was_given_stays():
    made = bounded(8, 10)
    with pytest.raises(OutOfMemory, match="out of memory with microbatch_size 10; make it smaller"):
        value_and_gradient(made, made.initial_weights)


def test_a_single_example_is_the_least():
    made = bounded(0)
    made.set_microbatch_size(2)
    with (
        pytest.warns(UserWarning, match="microbatches of 2 examples; continuing with 1"),
        pytest.raises(OutOfMemory, match="a single example"),
    ):
        value_and_gradient(made, made.initial_weights)


def test_other_errors_pass():
    made = bounded(40)
    with pytest.raises(RuntimeError, match="split_sizes"):
        value_and_gradient(made, torch.zeros(made.p + 1))


def test_a_criterion_that_is_no_mean_is_not_cut():
    made = bounded(8)
    root = Objective(made.network, made.inputs, made.targets, root_mean_square)
    with pytest.raises(NotSeparable, match="must average over them"):
        value_and_gradient(root, root.initial_weights)


LABELS = torch.arange(24) // 8  # the first eight look uniform
CLASS_WEIGHTS = torch.tensor([1.0, 5.0, 0.2])


def masked_labels() -> torch.Tensor:
    labels = LABELS.clone()
    labels[8::2] = -100
    return labels


@pytest.mark.parametrize(
    ("criterion", "labels"),
    [
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), LABELS),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS, label_smoothing=0.1), masked_labels()),
        (nn.CrossEntropyLoss(), masked_labels()),
        (nn.CrossEntropyLoss(ignore_index=2), LABELS),
        (nn.CrossEntropyLoss(reduction="sum"), LABELS),
        (nn.CrossEntropyLoss(reduction="none"), LABELS),
        (nn.CrossEntropyLoss(weight=CLASS_WEIGHTS), torch.eye(3)[LABELS]),
        (nn.functional.cross_entropy, masked_labels()),
        (partial(nn.functional.cross_entropy, weight=CLASS_WEIGHTS), LABELS),
        (nn.MultiLabelSoftMarginLoss(), torch.eye(3)[LABELS]),
        (nn.BCEWithLogitsLoss(pos_weight=CLASS_WEIGHTS), torch.eye(3)[LABELS]),
        (lambda f, y: nn.functional.cross_entropy(f, y, reduction="sum"), LABELS),
    ],
)
def test_microbatches_of_torchs_losses_are_exact(criterion, labels):
    """Of any size, also when memory runs out in the middle: the loss of all examples, to rounding in float64."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    inputs = torch.randn(24, 6).double()
    if isinstance(criterion, nn.Module):
        criterion = criterion.double()
    if isinstance(criterion, partial):
        criterion = partial(criterion.func, weight=CLASS_WEIGHTS.double())
    labels = labels.double() if labels.is_floating_point() else labels
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = Objective(network, inputs, labels, criterion)
        w = whole.initial_weights
        expected = value_and_gradient(whole, w)
        for size in (1, 5, 8):
            sliced = Objective(network, inputs, labels, criterion, microbatch_size=size)
            sliced.check_microbatches(w)
            torch.testing.assert_close(value_and_gradient(sliced, w), expected, **CLOSE)
        whole.halve_microbatches()
        torch.testing.assert_close(value_and_gradient(whole, w), expected, **CLOSE)


def test_a_loss_whose_weights_are_hidden_is_not_cut():
    """Class weights in a closure: nobody can say how such losses add up, so they are refused, and never another loss."""
    torch.manual_seed(0)
    network, inputs = nn.Linear(6, 3), torch.randn(24, 6)
    made = Objective(network, inputs, LABELS, lambda f, y: nn.functional.cross_entropy(f, y, weight=CLASS_WEIGHTS))
    with pytest.raises(NotSeparable, match="must average over them"):
        made.halve_microbatches()
    assert made.parts == (made,)
