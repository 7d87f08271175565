"""One quantity of an experiment's trajectories, on axes of its own or of a user's."""

from __future__ import annotations

from dataclasses import dataclass

import matplotlib
import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from torch import nn

from centralflows import Experiment, GradientDescent, Objective, RMSProp, SpectrumConfig, figures
from centralflows.analysis.time_series import time_average
from centralflows.figures.run_view import learning_rate, names
from centralflows.figures.style import LINES, styled
from centralflows.optimizers.rmsprop import RMSProp as Base

QUANTITIES = ("loss", "sharpness", "gradient_norm", "distance", "variance", "accuracy")


@dataclass(frozen=True)
class Careful(Base):
    """An optimizer of a user's own."""


def trajectories(optimizer, processes=("discrete", "midpoint", "stable", "central"), **settings) -> dict:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(2, 6), nn.GELU(), nn.Linear(6, 2)).double()
    inputs = torch.randn(20, 2, dtype=torch.float64)
    labels = (inputs[:, 0] > 0).long()

    def criterion(outputs, labels):
        return (outputs - nn.functional.one_hot(labels, 2)).square().mean()

    objective = Objective(network, inputs, labels, criterion)
    return Experiment(objective, optimizer, 30, spectrum=SpectrumConfig(minimum=3), **settings).run(processes)


@pytest.fixture(scope="module")
def gd() -> dict:
    """Gradient descent that reaches the edge of stability within the first steps."""
    inputs = torch.randn(5, 2, dtype=torch.float64)
    test = inputs, torch.zeros(5, dtype=torch.long)
    return trajectories(GradientDescent(1.6), accuracy_every=4, examples=inputs[:3], test=test)


def curves(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")}


def test_the_curves_are_what_was_recorded(gd):
    central, stable = gd["central"], gd["stable"]
    expected = {
        figures.loss: (gd["discrete"].loss, stable.loss, central.predicted_loss),
        figures.gradient_norm: (
            gd["discrete"].gradient_norm_squared,
            stable.gradient_norm_squared,
            central.predicted_gradient_norm_squared,
        ),
        figures.sharpness: [gd[name].effective_eigenvalues[:, 0] for name in ("midpoint", "stable", "central")],
    }
    for draw, series in expected.items():
        found = curves(draw(gd))
        for name, values in zip(("gradient descent", "gradient flow", "central flow"), series, strict=True):
            np.testing.assert_array_equal(found[name], values.dropna("step"))
    found = curves(figures.distance(gd))
    assert found.keys() == {"gradient flow", "central flow"}
    np.testing.assert_array_equal(found["central flow"], central.distance)
    found = curves(figures.variance(gd, width=3.0))
    squared = central.displacement.isel(mode=0) ** 2
    np.testing.assert_array_equal(found["squared displacement"], squared)
    np.testing.assert_array_equal(found["its time average"], time_average(squared, width=3.0))
    np.testing.assert_array_equal(found["central flow's variance"], central.variances.isel(mode=0))
    found = curves(figures.accuracy(gd))
    np.testing.assert_array_equal(found["gradient descent"], gd["discrete"].accuracy[::4])
    found = curves(figures.accuracy(gd, test=True))
    np.testing.assert_array_equal(found["gradient descent"], gd["discrete"].test_accuracy[::4])


@pytest.mark.parametrize("name", QUANTITIES)
def test_axes_of_a_users_own_get_curves_labels_and_a_legend_only(name, gd):
    figure = Figure(figsize=(3, 2))
    axes, other = figure.subplots(1, 2)
    (own,) = axes.plot([0, 40], [0.5, 0.5], label="mine", color="green")
    axes.set_title("my title")
    assert getattr(figures, name)(gd, ax=axes) is axes
    assert tuple(figure.get_size_inches()) == (3, 2) and not other.lines and not figure.legends
    assert axes.get_title() == "my title" and axes.lines[0] is own and own.get_color() == "green"
    assert all(spine.get_visible() for spine in axes.spines.values())
    assert axes.get_xlabel() == "step" and axes.get_ylabel()
    assert "mine" in [text.get_text() for text in axes.get_legend().get_texts()]


def test_a_legend_of_a_users_own_stays(gd):
    axes = Figure().subplots()
    axes.plot([0, 1], [0, 1], label="mine")
    mine = axes.legend(title="my legend")
    figures.loss(gd, axes)
    assert axes.get_legend() is mine


def test_each_process_has_its_colour_and_line_and_units_are_named(gd):
    axes = figures.distance(gd)
    for line, process in zip(axes.lines, ("stable", "central"), strict=True):
        assert to_hex(line.get_color()) == to_hex(LINES[process]["color"]) and line.is_dashed()
    assert axes.get_ylabel() == "distance to gradient descent [weight]"
    assert figures.gradient_norm(gd).get_ylabel() == "squared gradient norm [loss$^{2}$ / weight$^{2}$]"
    (edge,) = [line for line in figures.sharpness(gd).lines if line.get_label().startswith("edge")]
    assert list(edge.get_ydata()) == [2, 2] and edge.is_dashed()


def test_processes_of_one_style_can_be_told_apart(gd):
    both = gd | {name: gd[of] for name, of in (("ablated", "stable"), ("stationary-ablated", "stable"))}
    with styled():
        red = [line for line in figures.distance(both).lines if line.get_color() == LINES["stable"]["color"]]
        dashes = [tuple(line._dash_pattern[1]) for line in red]
    assert len(set(dashes)) == len(dashes) == 3


def test_any_variable_is_drawn_whole_or_by_entry(gd):
    whole = figures.quantity(gd, "outputs")
    assert len(whole.lines) == 3 * 6 and len(curves(whole)) == 3  # processes that record outputs, times 3 x 2 entries
    one = curves(figures.quantity(gd, "outputs", example=2, output=1))
    np.testing.assert_array_equal(one["central flow"], gd["central"].outputs[:, 2, 1])
    assert len(figures.sharpness(gd, modes=2).lines) == 3 * 2 + 1
    assert figures.quantity(gd, "rank").get_ylabel() == "rank"


def test_what_is_lacking_is_named_with_its_cure(gd):
    bare = trajectories(GradientDescent(0.1), ("discrete", "central"))
    for draw, run, message in (
        (
            figures.accuracy,
            bare,
            r"no known value of accuracy is in discrete, central; Experiment\(..., accuracy_every=",
        ),
        (figures.distance, {"discrete": bare["discrete"]}, "distance is recorded in stable, .*there is only discrete"),
        (figures.sharpness, {"discrete": bare["discrete"]}, "recorded in midpoint, stable, .*there is only discrete"),
        (figures.variance, {"discrete": bare["discrete"]}, "variance shows the central flow, .*there is only discrete"),
        (figures.variance, bare, "no known value of displacement is in central; it is known while .* at the edge"),
        (figures.loss, {}, "there is only nothing"),
        (lambda run: figures.quantity(run, "predicted_los"), bare, "did you mean 'predicted_loss'"),
        (lambda run: figures.quantity(run, "state_total"), bare, "the optimizer has no state"),
        (lambda run: figures.quantity(run, "outputs", example=7), gd, "outputs has no entry {'example': 7}"),
        (lambda run: figures.sharpness(run, modes=0), gd, "modes must be at least 1"),
    ):
        with pytest.raises(figures.NotShown, match=message):
            draw(run)


def test_a_flow_alone_is_drawn(gd):
    assert curves(figures.loss({"central": gd["central"]})).keys() == {"central flow"}


def test_optimizers_are_called_by_their_names():
    one = trajectories(RMSProp(0.013, 0.9, eps=1e-3), "discrete")
    assert (names(one)["discrete"], learning_rate(one)) == ("RMSProp", "lr 0.013")
    own = trajectories(Careful(0.02, 0.9, eps=1e-3), "discrete")
    assert (names(own)["discrete"], learning_rate(own)) == ("Careful", "lr 0.02")
    assert list(curves(figures.loss(own))) == ["Careful"]
    scheduled = trajectories(GradientDescent(lambda step: 0.1 / (1 + step)), "discrete")
    assert learning_rate(scheduled) == "learning rate by a schedule"


def test_a_plugin_in_a_store_is_called_by_its_class(gd):
    stored = {"discrete": gd["discrete"].copy().assign_attrs(optimizer_name="")}
    stored["discrete"].attrs["config"] = '{"run": {"optimizer": {"name": "my_module:Careful", "lr": 0.5}}}'
    assert (names(stored)["discrete"], learning_rate(stored)) == ("Careful", "lr 0.5")


def test_eigenvalues_of_the_hessian_are_not_compared_with_one_edge_for_a_step_size_per_weight():
    run = trajectories(RMSProp(0.01, 0.9, eps=1e-3), ("discrete", "midpoint"))
    with pytest.raises(figures.NotShown, match="mine has a step size for each weight"):
        figures.draw("gd-eos", {"mine": run})


def test_the_style_is_the_same_whatever_the_users_is(gd, tmp_path):
    for file in ("a.svg", "a.png"):
        with matplotlib.rc_context():
            figures.save(figures.loss(gd).figure, tmp_path / file)
            mine = {"lines.linewidth": 9, "font.size": 20, "svg.hashsalt": "mine", "axes.grid": True, "savefig.dpi": 30}
            matplotlib.rcParams.update(mine)
            figures.save(figures.loss(gd).figure, tmp_path / f"again-{file}")
            assert all(matplotlib.rcParams[key] == value for key, value in mine.items())
        assert (tmp_path / file).read_bytes() == (tmp_path / f"again-{file}").read_bytes()
    with pytest.raises(KeyError), styled():
        matplotlib.rcParams["figure.nonsense"] = 1


def test_notebooks_display_axes_and_figures(gd):
    axes = figures.loss(gd)
    assert axes._repr_png_().startswith(b"\x89PNG") and axes._repr_png_() == axes.figure._repr_png_()
