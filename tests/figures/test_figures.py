"""Every figure of the catalogue, drawn from small runs in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.analysis.time_series import analyse
from centralflows.config.catalogue import CATALOGUE, MANY, NEEDS
from centralflows.config.processes import SpectrumConfig
from centralflows.figures import draw, save
from centralflows.figures.animation import animate
from centralflows.figures.films import growing, valley
from centralflows.figures.quadratics import iterates
from centralflows.figures.run_view import NotShown
from centralflows.figures.style import MODES, darker
from centralflows.flows.discrete_loop import Start
from centralflows.flows.preconditioner_speeds import compare
from centralflows.problems.criteria import CRITERIA
from centralflows.problems.networks.mlp import mlp
from centralflows.provenance.lineage import identifier_of

REPORT = Path(__file__).parents[2] / "workflow" / "report"
FLOWS = ("stable", "central", "ablated", "stationary", "stationary-ablated")


def run(optimizer, flows) -> dict:
    """40 steps on 20 points of a plane; the edge is reached."""
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    network = mlp(shape=(2,), outputs=2, width=6, depth=1, activation="gelu").double()
    inputs = torch.randn(20, 2, generator=generator, dtype=torch.float64)
    objective = Objective(network, inputs, (inputs[:, 0] > 0).long(), CRITERIA["mse"])
    experiment = Experiment(
        objective,
        optimizer,
        40,
        examples=inputs[:3],
        spectrum=SpectrumConfig(minimum=3, hessian_every=4),
        warm_start=4,
        coordinates=6,
    )
    found = experiment.run(("discrete", "midpoint", *flows))
    if "stationary" in flows:
        points = ((t, Start(*at(found["central"], t), experiment.start.steps + t)) for t in (0, 15, 30))
        found["speeds"] = compare(experiment, points, tolerance=1e-3)
    return found | {"analysis": analyse(found, width=4.0)}


def at(trajectory, step):
    row = trajectory.sel(saved_step=step)
    return torch.from_numpy(row.weights.values), (torch.from_numpy(row.nu.values),)


@pytest.fixture(scope="module")
def runs() -> dict:
    return {
        "gd": run(GradientDescent(1.0), FLOWS[:2]),
        "scalar": run(ScalarRMSProp(0.3, 0.9), FLOWS[:3]),
        "rmsprop": run(RMSProp(0.05, 0.9, eps=1e-3), FLOWS),
    }


def chosen(slug, runs):
    name = slug.split("-")[0]
    one = runs["gd" if name == "precond" else name]
    count = {0: 0, MANY: 3}.get(CATALOGUE[slug].runs, CATALOGUE[slug].runs)
    return {f"run{i}": one for i in range(count)}


@pytest.mark.parametrize("slug", CATALOGUE)
def test_every_figure_is_drawn_labelled_and_small(slug, runs, tmp_path):
    figure = draw(slug, chosen(slug, runs))
    shown = [axes for axes in figure.axes if axes.axison]
    assert shown
    for axes in shown:
        assert axes.get_ylabel() or axes.get_title()
        assert axes.lines or axes.collections
        assert all(np.isfinite(limit) for limit in axes.get_xlim() + axes.get_ylim())
    for kind, most in (("png", 150_000), ("svg", 1_000_000)):
        save(figure, tmp_path / f"a.{kind}")
        assert (tmp_path / f"a.{kind}").stat().st_size < most


@pytest.mark.parametrize("slug", ["precond-quadratic", "gd-central-flow", "rmsprop-precond-speed"])
def test_the_same_figure_has_the_same_bytes(slug, runs, tmp_path):
    for kind in ("png", "svg"):
        for copy in ("a", "b"):
            save(draw(slug, chosen(slug, runs)), tmp_path / f"{copy}.{kind}")
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()


@pytest.mark.parametrize("slug", [slug for slug, drawing in CATALOGUE.items() if drawing.runs])
def test_it_needs_no_more_than_the_catalogue_says(slug, runs):
    stores = ("discrete", "midpoint", *CATALOGUE[slug].stores)
    bare = {name: {store: one[store] for store in stores} for name, one in chosen(slug, runs).items()}
    draw(slug, bare)


@pytest.mark.parametrize("slug", [slug for slug, drawing in CATALOGUE.items() if drawing.runs])
def test_a_window_cuts_every_curve(slug, runs):
    figure = draw(slug, chosen(slug, runs), start=5, stop=31)
    for axes in figure.axes:
        for line in axes.lines if axes.over_time else ():
            x = np.asarray(line.get_xdata(), dtype=float)
            assert set(x) <= {0.0, 1.0} or (x.min() >= 5 and x.max() <= 30)  # 0 and 1 are ends of a line across


def test_a_window_without_steps_is_refused(runs):
    with pytest.raises(NotShown, match=r"no step of discrete, midpoint.* lies in \[90, 95\)"):
        draw("gd-eos", {"a": runs["gd"]}, start=90, stop=95)


def test_what_a_figure_needs_and_a_run_does_not_hold_is_named(runs):
    bare = {name: store for name, store in runs["rmsprop"].items() if name not in ("analysis", "speeds")}
    mute = bare | {"discrete": bare["discrete"].drop_vars("outputs")}
    single = bare | {"discrete": bare["discrete"].drop_vars(["gradient_squared", "state_coordinates"])}
    for slug, run, message in (
        ("rmsprop-eoss", bare, "there is no figure 'rmsprop-eoss'; did you mean 'rmsprop-eos'?"),
        ("rmsprop-stationary-cosine", bare, r"shows speeds, which mine does not hold \(speeds: see centralflows"),
        (
            "rmsprop-central-flow",
            {"discrete": bare["discrete"]},
            "shows midpoint, .*central.*, which mine does not hold",
        ),
        ("rmsprop-nu-oscillation", single, "shows single weights, and mine holds no gradient_squared"),
        ("gd-network-predictions", mute, "shows network outputs, and mine holds no outputs"),
    ):
        with pytest.raises(NotShown, match=message):
            draw(slug, {"mine": run})


@pytest.mark.parametrize("slug", [slug for slug, drawing in CATALOGUE.items() if "analysis" in drawing.stores])
def test_an_analysis_that_is_not_there_is_made(slug, runs):
    bare = {
        name: {store: data for store, data in one.items() if store != "analysis"}
        for name, one in chosen(slug, runs).items()
    }
    draw(slug, bare)


def test_the_processes_keep_their_colours(runs):
    figure = draw("gd-central-flow", {"a": runs["gd"]})
    for axes in figure.axes:
        for line in axes.lines:
            expected = {"central flow": ("black", True), "gradient flow": ("#c4281f", True)}.get(line.get_label())
            if expected:
                assert (line.get_color(), line.is_dashed()) == expected


def test_a_run_that_never_reaches_the_edge_says_so(runs):
    calm = {name: store.copy() for name, store in runs["gd"].items()}
    calm["midpoint"]["effective_eigenvalues"] = calm["midpoint"].effective_eigenvalues * 0 + 1.0
    figure = draw("gd-one-cycle", {"a": calm})
    assert "does not reach the edge" in figure.get_suptitle()


@pytest.mark.parametrize("product", [1.9, 2.1])
def test_iterates_on_a_parabola_are_powers(product):
    w = iterates(np.array([[product]]), np.array([1.0]), 9)[:, 0]
    np.testing.assert_allclose(w, (1 - product) ** np.arange(9), rtol=1e-14)  # 8 products


def test_a_figure_carries_its_identifier_and_is_the_same_picture_without(runs, tmp_path):
    for kind in ("svg", "png"):
        figure = draw("gd-eos", {"a": runs["gd"]})
        with_it, again, without = (tmp_path / f"{name}.{kind}" for name in "abc")
        for path in (with_it, again):
            save(figure, path, identifier="f00d")
        save(figure, without)
        assert identifier_of(with_it) == "f00d" and identifier_of(without) is None
        assert with_it.read_bytes() == again.read_bytes() != without.read_bytes()
    pixels = [np.asarray(Image.open(tmp_path / f"{name}.png").convert("RGB")) for name in "ac"]
    assert (pixels[0] == pixels[1]).all()


def test_a_file_of_another_kind_is_refused(runs, tmp_path):
    figure = draw("gd-eos", {"a": runs["gd"]})
    save(figure, str(tmp_path / "a.svg"))
    with pytest.raises(ValueError, match=r"a\.pdf: figures are saved as \.svg or \.png"):
        save(figure, tmp_path / "a.pdf")


def test_runs_in_memory_are_called_by_their_names(runs):
    figure = draw("scalar-rmsprop-beta2-cycle", {"short": runs["scalar"], "long": runs["scalar"]})
    assert {"short", "long"} <= {line.get_label() for line in figure.axes[0].lines}


@pytest.mark.parametrize("slug", ["rmsprop-nu-oscillation", "scalar-rmsprop-one-cycle"])
def test_a_state_of_a_users_own_is_not_shown_as_nu(slug, runs):
    one = next(iter(chosen(slug, runs).values()))
    own = one | {"discrete": one["discrete"].rename_vars(nu="size")}
    with pytest.raises(NotShown, match=r"shows .*, and mine holds no nu"):
        draw(slug, {"mine": own})


def test_squared_gradients_are_those_of_the_optimizer_that_was_run(runs):
    discrete = runs["rmsprop"]["discrete"].assign_attrs(optimizer_name="Careful")
    figure = draw("rmsprop-gradsq-prediction", {"mine": runs["rmsprop"] | {"discrete": discrete}})
    assert {"Careful", "Careful, time average"} <= {line.get_label() for line in figure.axes[0].lines}


@pytest.mark.parametrize("slug", CATALOGUE)
def test_labels_fit_and_nothing_covers_the_curves(slug, runs):
    figure = draw(slug, chosen(slug, runs))
    figure.canvas.draw()
    shown = [axes for axes in figure.axes if axes.axison]
    for axes in shown:
        frame = axes.get_window_extent()
        assert axes.yaxis.label.get_window_extent().height <= 1.02 * frame.height, axes.get_ylabel()
        assert axes.title.get_window_extent().width <= 1.15 * frame.width, axes.get_title()
        if (legend := axes.get_legend()) is not None:
            box = legend.get_window_extent()
            for line in axes.lines:
                points = line.get_transform().transform(line.get_xydata())
                inside = (
                    (box.x0 < points[:, 0])
                    & (points[:, 0] < box.x1)
                    & (box.y0 < points[:, 1])
                    & (points[:, 1] < box.y1)
                )
                assert not inside.any(), f"the legend of {axes.get_title()} covers a curve"
    apart = [*figure.legends, *([figure._suptitle] if figure._suptitle else [])]
    boxes = [part.get_window_extent() for part in apart]
    for i, box in enumerate(boxes):
        assert box.width <= figure.bbox.width
        assert not any(box.overlaps(other) for other in boxes[:i])
        assert not any(box.overlaps(axes.get_tightbbox()) for axes in shown)


def test_panels_over_time_share_their_range_and_few_steps_are_marked(runs):
    figure = draw("gd-central-flow", {"a": runs["gd"]})
    assert len({axes.get_xlim() for axes in figure.axes}) == 1
    solid = [line for line in figure.axes[0].lines if line.get_linestyle() == "-" and len(line.get_xdata()) > 2]
    assert solid and all(line.get_marker() == "." for line in solid)  # 40 steps


def test_a_flow_that_ends_early_has_a_cross_and_the_reason_is_told(runs):
    early = dict(runs["gd"])
    cut = early["stable"].isel(step=slice(0, 20)).assign_attrs(stopped="effective sharpness 10.1 passed 10 at step 19")
    early["stable"] = cut
    figure = draw("gd-central-flow", {"a": early})
    crosses = [line for axes in figure.axes for line in axes.lines if line.get_marker() == "x"]
    assert {float(line.get_xdata()[0]) for line in crosses} == {19.0}
    assert "gradient flow ends: effective sharpness 10.1 passed 10" in figure.get_suptitle()
    whole = draw("gd-central-flow", {"a": early}, stop=15)  # it ends beyond the window
    assert "ends" not in whole.get_suptitle()


def test_the_smallest_learning_rate_is_blue_and_its_flow_a_darker_blue(runs):
    slow, fast = runs["gd"], run(GradientDescent(1.5), ("stable", "central"))
    for order in ({"a": slow, "b": fast}, {"a": fast, "b": slow}):
        axes = draw("gd-loss-zoo", order).axes[0]
        colors = {line.get_label(): line.get_color() for line in axes.lines}
        assert colors["lr 1"] == MODES[0] and colors["lr 1.5"] == MODES[1]
        assert darker(MODES[0]) in [line.get_color() for line in axes.lines]


def test_seeds_are_drawn_as_bands(runs):
    plain = draw("gd-central-flow", {"a": runs["gd"]})
    banded = draw("gd-central-flow", {"a": runs["gd"], "b": runs["gd"], "c": runs["gd"]})
    assert not any(axes.collections for axes in plain.axes)
    loss, _, _, distance = banded.axes
    assert len(loss.collections) == 3 and len(distance.collections) == 2
    low, high = (np.nanmin, np.nanmax)
    band = distance.collections[0].get_datalim(distance.transData)
    flow = runs["gd"]["stable"].distance
    assert (band.y0, band.y1) == pytest.approx((float(low(flow)), float(high(flow))), abs=1e-12)


def test_a_film_grows_and_loops(runs, tmp_path):
    for name in ("a.gif", "b.gif"):
        film = growing(draw("gd-central-flow", {"a": runs["gd"]}))
        animate(film, tmp_path / name, identifier="f00d", frames=5)
    assert identifier_of(tmp_path / "a.gif") == "f00d"
    assert (tmp_path / "a.gif").read_bytes() == (tmp_path / "b.gif").read_bytes()
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 5 and image.info["loop"] == 0
        ink = []
        for frame in range(5):
            image.seek(frame)
            ink.append((np.asarray(image.convert("L")) < 250).sum())
    assert ink == sorted(ink) and ink[-1] > ink[0]


def test_the_iterate_moves_in_its_valley(runs, tmp_path):
    film = valley(runs["gd"])
    (wall, _, ball, *_), first, last = film.figure.axes[0].lines, *film.times
    for time in np.arange(first, last + 1):
        film.at(time)
        x, y = (float(values[0]) for values in ball.get_data())
        grid, heights = wall.get_data()
        assert np.interp(x, grid, heights) == pytest.approx(
            y, rel=0.05, abs=1e-3 * heights.max()
        )  # it lies on the wall
    animate(film, tmp_path / "a.gif", identifier="f00d", frames=4)
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 4


def test_every_figure_has_a_claim_and_a_caption_that_could_be_false():
    for slug, drawing in CATALOGUE.items():
        assert drawing.claim.endswith(".") and set(drawing.needs) <= set(NEEDS)
        caption = (REPORT / f"{slug}.rst").read_text()
        assert "falsified" in caption
        assert ("{{ snakemake.params.about }}" in caption) == (drawing.runs != 0)
