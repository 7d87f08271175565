"""Claims measured on trajectories whose numbers are chosen."""

from __future__ import annotations

import json

import numpy as np
import pytest
import xarray as xr

from centralflows.analysis import claims
from centralflows.analysis.claims import CLAIMS, FAILS, HOLDS, UNDECIDED, Claim
from centralflows.analysis.scorecard import crossings, learning_rates, misses, scorecard
from centralflows.figures.scorecard_tables import tables

STEPS, ONSET = 200, 40
TIME = np.arange(STEPS)
EDGE = TIME >= ONSET


def series(values) -> tuple[str, np.ndarray]:
    return "step", np.broadcast_to(np.asarray(values, dtype=float), STEPS).copy()


def modes(first, second=np.nan) -> tuple[tuple[str, str], np.ndarray]:
    return ("step", "mode"), np.stack([np.broadcast_to(x, STEPS) for x in (first, second)], 1).astype(float)


def run(*, sharpness=2.1, error=0.0, lr=0.1, fall=1.0, **settings) -> dict[str, xr.Dataset]:
    """A run that reaches the edge at ONSET and stays at a sharpness; its flow predicts everything up to a factor.

    Its second eigenvalue falls below 2 four times.
    """
    coords = {"step": TIME, "mode": [1, 2]}
    factor = 1 + error
    config = {"run": {"optimizer": {"name": "gd", "lr": lr}, "model": {"name": "mlp"}, **settings}}
    effective = np.where(EDGE, sharpness, 1.0)
    loss = 2.0 - fall * TIME / STEPS
    discrete = {
        "loss": series(loss),
        "gradient_norm_squared": series(4.0),
        "step_size": series(lr),
        "state_total": series(3.0),
        "nu": (("saved_step", "nu_entry"), [[3.0]]),
    }
    midpoint = {
        "loss": series(loss),
        "effective_eigenvalues": modes(effective, np.where(EDGE & ((TIME - ONSET) % 40 < 20), 2.05, 1.9)),
        "hessian_eigenvalues": modes(effective / lr),
    }
    central = {
        "loss": series(loss - 0.1),
        "predicted_loss": series(factor * loss),
        "predicted_gradient_norm_squared": series(factor * 4.0),
        "state_total": series(factor * 3.0),
        "effective_eigenvalues": modes(np.where(EDGE, 2.0 * factor, 1.0)),
        "hessian_eigenvalues": modes(20.0),
        "rank": ("step", EDGE.astype("int16")),
        "variances": modes(np.where(EDGE, factor * 0.5, np.nan)),
        "displacement": modes(np.where(EDGE, np.sqrt(0.5) * (-1.0) ** TIME, np.nan)),
        "distance": series(0.1 * TIME),
        "step_size": series(1.0),
    }
    stable = {"distance": series(np.where(TIME < 100, 0.4 * TIME, np.nan))}
    ablated = {"hessian_eigenvalues": modes(30.0), "step_size": series(0.5), "loss": series(loss)}
    settled = {"stationary": {"distance": series(0.2 * TIME)}, "stationary-ablated": {"distance": series(0.5 * TIME)}}
    parts = settled | {
        "discrete": discrete,
        "midpoint": midpoint,
        "central": central,
        "stable": stable,
        "ablated": ablated,
    }
    return {
        name: xr.Dataset(part, coords, {"config": json.dumps(config), "isotropic": 1} if name == "discrete" else {})
        for name, part in parts.items()
    }


@pytest.mark.parametrize(
    ("claim", "expected", "rtol"),
    [
        ("edge", 0.05, 1e-12),
        ("critical", 0.02, 1e-12),
        ("distance", 0.25, 1e-12),
        # The average of a line is the line except near the ends, where its kernel is cut: at width 2, within 8 steps of
        # 160, by less than a width times the slope of 0.005 against a loss of at least 1.
        ("loss", 0.02, 0.06),
        ("gradient-norm", 0.02, 1e-12),
        ("state", 0.02, 1e-12),
        ("variance", np.log2(1.02), 1e-12),
        ("step-size", 0.05, 1e-12),
        ("ablated-sharper", 1.5, 1e-12),
        ("ablated-steps", 0.5, 1e-12),
        ("stationary-penalty", 0.4, 1e-12),
    ],
)
def test_each_number_by_hand(claim, expected, rtol):
    measured = CLAIMS[claim].measure(run(error=0.02), 2.0)
    assert getattr(measured, "value", measured) == pytest.approx(expected, rel=rtol)


def test_a_falling_loss_is_monotone_and_a_bump_is_measured():
    fine = run()
    assert CLAIMS["monotone"].measure(fine, 2.0) < 0
    bump = fine["central"].loss.values
    bump[50] = bump[49] + 0.01
    fine["central"]["loss"] = series(bump)
    assert CLAIMS["monotone"].measure(fine, 2.0) == pytest.approx(0.01 / (bump[0] - bump.min()), rel=1e-9)


def test_what_a_flow_does_on_its_way_back_to_the_edge_is_not_measured():
    begun_beyond = run()
    central = begun_beyond["central"]
    central["effective_eigenvalues"][0, 0], central["rank"][0] = 2.5, 1
    central["predicted_gradient_norm_squared"][0] = 1e6
    central["loss"][0] = -5.0
    for claim in ("gradient-norm", "monotone"):
        assert CLAIMS[claim].verdict(CLAIMS[claim].measure(begun_beyond, 2.0)) == HOLDS


def test_what_a_run_does_not_have_is_not_measured():
    bare = {name: run()[name] for name in ("discrete", "midpoint")}
    assert {name for name, claim in CLAIMS.items() if claim.measure(bare, 2.0) is not None} == {"edge", "step-size"}
    stable = run(sharpness=1.9)
    assert CLAIMS["edge"].measure(stable, 2.0) is None


@pytest.mark.parametrize(
    ("change", "unjudged"),
    [
        # A step size for each weight, although no weights were recorded one by one.
        (lambda discrete: discrete.assign_attrs(isotropic=0), {"step-size"}),
        # A state of the user's own is not nu.
        (lambda discrete: discrete.rename_vars(nu="size"), {"step-size", "state"}),
        # Gradient descent adapts no step size.
        (
            lambda discrete: discrete.drop_vars(["nu", "state_total"]),
            {"step-size", "state", "ablated-sharper", "ablated-steps", "ablated-slower", "stationary-penalty"},
        ),
    ],
)
def test_claims_about_one_optimizer_do_not_judge_another(change, unjudged):
    whole = run()
    other = whole | {"discrete": change(whole["discrete"])}
    judged, left = (
        {name for name, claim in CLAIMS.items() if claim.measure(r, 2.0) is not None} for r in (whole, other)
    )
    assert judged - left == unjudged


@pytest.mark.parametrize(
    ("values", "verdict"), [((0.9, 1.0), HOLDS), ((1.1, 2.0), FAILS), ((0.9, 1.1), UNDECIDED), ((1.0,), HOLDS)]
)
def test_a_verdict_that_hinges_on_the_width_is_undecided(values, verdict):
    assert Claim("", "", "<=", 1.0, lambda run, width: None).verdict(*values) == verdict


def test_the_sensitivity_to_the_width_is_shown():
    # A loss of period 16 around 1.5, predicted at its upper turning points: wide averages see the mean, narrow ones follow.
    waving = run()
    loss = 1.5 + 0.12 * np.cos(2 * np.pi * TIME / 16)
    waving["discrete"]["loss"] = series(loss)
    waving["central"]["predicted_loss"] = series(1.5)
    entry = scorecard({"a": waving}, {"a": 2.0})["runs"]["a"]["loss"]
    half, twice = entry["at_half_and_twice_the_width"]
    # A Gaussian of width s damps cos(k t) by exp(-k^2 s^2 / 2); the mean of |cos| is 2/pi; ends and curvature of 1/x: 10 %.
    k = 2 * np.pi / 16
    for value, width in ((half, 1.0), (entry["value"], 2.0), (twice, 4.0)):
        assert value == pytest.approx(0.08 * 2 / np.pi * np.exp(-((k * width) ** 2) / 2), rel=0.1)
    assert entry["verdict"] == HOLDS and entry["width"] == 2.0


def test_a_run_with_fewer_than_three_cycles_is_not_scored():
    calm = run()
    calm["midpoint"].effective_eigenvalues[:, 1] = 1.9
    card = scorecard({"calm": calm, "whole": run()}, {"calm": 2.0, "whole": 2.0})
    assert card["cycles"] == {"calm": 0, "whole": 4}
    assert card["unscored"] == ["calm"] and list(card["runs"]) == ["whole"]


@pytest.mark.parametrize("cycles", [4, 100, 2000])
def test_the_variance_is_held_to_what_the_length_of_a_run_allows(cycles):
    """The squared displacement of a block is 0.5 or 1.5, equally often, where 1 is predicted.

    Two standard errors of the mean are 2 (1/2) sqrt(n / (n - 1)) / sqrt(n) = 1 / sqrt(n - 1) of it, for n = 4 more than the
    laxest threshold.
    """
    measured = np.repeat(np.resize([0.5, 1.5], cycles), 10)
    found = claims._ratio_of_means(measured, np.ones_like(measured), cycles)
    assert found.value == 0.0 and found.bound == pytest.approx(np.log2(1 + 1 / np.sqrt(cycles - 1)))
    assert CLAIMS["variance"].threshold_for(found) == pytest.approx(max(0.05, min(0.5, found.bound)))
    assert claims._ratio_of_means(measured[: cycles - 1], np.ones(cycles - 1), cycles) is None


def test_a_noisy_eigenvector_does_not_hide_a_wrong_one():
    """Of one the variance is 1.1 times too large, measured exactly; of the other 1.2 times, which its scatter allows."""
    both = run()
    both["central"]["rank"] = series(2)
    both["central"]["variances"] = modes(1.1, 1.2)
    both["central"]["displacement"] = modes(1.0, np.sqrt(np.resize(np.repeat([0.5, 1.5], STEPS // 8), STEPS)))
    found = CLAIMS["variance"].measure(both, 2.0)
    assert found.value == pytest.approx(np.log2(1.1)) and CLAIMS["variance"].verdict(found) == FAILS


def test_larger_learning_rates_are_compared_at_the_same_loss():
    runs = {"slow": run(lr=0.1), "same": run(lr=0.1), "fast": run(lr=0.2, fall=1.5), "other": run(lr=0.4, seed=3)}
    (group,) = learning_rates(runs)
    assert group["runs"] == ["slow", "fast"] and group["verdict"] == HOLDS
    np.testing.assert_allclose(group["sharpness"], [21.0, 10.5], rtol=1e-12)
    assert group["loss"] == pytest.approx(2.0 - 199 / 200)  # what the slower one reaches


def test_places_change_where_speeds_cross():
    speeds = {"speed_stationary": ("step", [1.0, 3.0, 3.0, 1.0]), "speed_gradient_descent": ("step", [2.0] * 4)}
    assert crossings(xr.Dataset(speeds, {"step": [0, 10, 20, 30]})) == [10, 30]


def test_a_spike_that_the_flow_does_not_follow_is_listed():
    missed = run()
    loss = missed["discrete"].loss.values
    loss[100:110] *= 2
    missed["discrete"]["loss"] = series(loss)
    (found,) = misses(missed, 1.0)
    assert 100 <= found["step"] < 110 and found["excess"] == pytest.approx(1.0, abs=0.02) and 8 <= found["length"] <= 12
    assert misses(run(), 1.0) == []


def test_the_card_is_plain_data_and_makes_tables():
    runs = {"good": run(), "bad": run(error=0.5)}
    card = json.loads(json.dumps(scorecard(runs, {"good": 2.0, "bad": 2.0}, {"runs": {"good": {"edge": 0.03}}})))
    assert card["runs"]["good"]["loss"]["verdict"] == HOLDS and card["runs"]["bad"]["loss"]["verdict"] == FAILS
    (table,) = tables(card, {name: {"optimizer": "RMSProp", "problem": "", "settings": ""} for name in runs})
    (loss,) = (row for row in table["rows"] if row["claim"] == "loss")
    assert (
        loss["held"] == "1 of 2"
        and loss["failing"] == ["bad (0.5)"]
        and card["runs"]["good"]["edge"]["published"] == 0.03
    )


def test_the_second_half_of_the_time_at_the_edge():
    steps = claims.at_edge(run()).values
    assert steps[0] == (ONSET + STEPS - 1) // 2 and steps[-1] == STEPS - 1
