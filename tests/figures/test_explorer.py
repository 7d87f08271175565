"""The data and the page of the explorer."""

from __future__ import annotations

import base64
import json
import re
import zlib

import numpy as np
import pytest
import xarray as xr

from centralflows import Experiment, GradientDescent
from centralflows.figures.explorer import PANELS, STYLES, document, explorer, renumbered, scored
from centralflows.figures.explorer_data import MOST, curves, extremes, group_size, packed, rounded

CARD = {
    "claims": {
        "edge": {"statement": "It is at 2.", "relation": "<=", "threshold": 0.1},
        "larger-lr": {"statement": "Larger is flatter.", "relation": ">=", "threshold": 1.0},
    },
    "runs": {"a": {"edge": {"value": 0.12345, "verdict": "fails"}}, "b": {"edge": {"verdict": "not scored"}}},
    "learning_rates": [{"runs": ["a", "c"], "value": 1.0, "verdict": "holds"}],
}


def run(steps: int = 60, *, last: int | None = None) -> dict[str, xr.Dataset]:
    """A run with one direction of oscillation and two tracked eigenvalues; the stable flow ends early."""
    time, random = np.arange(steps), np.random.default_rng(0)
    coords = {"step": time, "mode": [1, 2]}
    modes = ("step", "mode")
    spectrum = np.stack([2.0 + 0.1 * random.standard_normal(steps), np.full(steps, np.nan)], 1)
    loss = 1 / (1 + time) + 0.1 * random.random(steps)
    ended = np.where(time < (steps // 2 if last is None else last), 1.0, np.nan)
    config = {"run": {"model": {"name": "mlp"}, "optimizer": {"name": "gd", "lr": 0.1}}}
    weights = (("saved_step", "parameter"), np.zeros((1, 5)))
    return {
        "discrete": xr.Dataset({"loss": ("step", loss), "weights": weights}, coords, {"config": json.dumps(config)}),
        "midpoint": xr.Dataset({"effective_eigenvalues": (modes, spectrum)}, coords),
        "stable": xr.Dataset({"loss": ("step", ended), "distance": ("step", 3 * ended)}, coords),
        "central": xr.Dataset(
            {
                "loss": ("step", loss),
                "predicted_loss": ("step", loss + 0.05),
                "distance": ("step", 0.01 * time),
                "effective_eigenvalues": (modes, spectrum),
                "displacement": (modes, spectrum),
                "variances": (modes, spectrum**2),
                "rank": ("step", np.ones(steps, "int16")),
            },
            coords,
        ),
    }


def values_of(found: dict) -> np.ndarray:
    """The values of packed curves, as the page unpacks them."""
    raw = zlib.decompress(base64.b64decode(found["data"]))
    return np.frombuffer(raw, "<f4").reshape(len(found["curves"]), found["points"])


def test_what_is_shown_of_a_run():
    shown = {(curve.panel, curve.style, curve.label) for curve in curves(run(), 4.0)}
    assert shown == {
        ("loss", "raw", "gradient descent"),
        ("loss", "average", "its time average"),
        ("loss", "stable", "gradient flow"),
        ("loss", "central", "central flow, predicted average"),
        ("distance", "stable", "gradient flow"),
        ("distance", "central", "central flow"),
        ("spectrum", "mode", "midpoints, 1"),
        ("spectrum", "central", "central flow, 1"),
        ("variance", "average", "measured, 1"),
        ("variance", "predicted", "predicted, 1"),
    }
    assert {panel for panel, _, _ in shown} == PANELS.keys() and {style for _, style, _ in shown} <= STYLES.keys()
    alone = {name: run()[name] for name in ("discrete", "midpoint")}
    assert {curve.panel for curve in curves(alone, 4.0)} == {"loss", "spectrum"}


def test_curves_are_unpacked_to_four_digits():
    one = run()
    found = packed(one, 4.0)
    assert (found["first"], found["stride"], found["points"], found["grouped"]) == (0, 1, 60, 0)
    shown, expected = values_of(found), list(curves(one, 4.0))
    for values, curve in zip(shown, expected, strict=True):
        # 13 bits after the leading one, rounded to nearest: half a unit in the last place; float32 itself adds 2^-24.
        np.testing.assert_allclose(values, curve.values.values, rtol=2.0**-14 + 2.0**-23, atol=0)


def test_long_runs_keep_their_spikes():
    steps = 3 * MOST + 7
    one = run(steps)
    one["discrete"].loss[1234] = 50.0
    found = packed(one, 4.0)
    assert found["points"] <= MOST and found["stride"] == found["grouped"] / 2
    raw = values_of(found)[0]
    assert raw.max() == pytest.approx(50.0, rel=2.0**-14)
    at = found["first"] + found["stride"] * int(raw.argmax())
    assert abs(at - 1234) < found["grouped"]  # drawn within its group of steps


@pytest.mark.parametrize(("steps", "size"), [(1, 0), (2000, 0), (2001, 3), (3000, 3), (20_000, 20), (20_001, 21)])
def test_groups_are_as_small_as_they_may_be(steps, size):
    assert group_size(steps, 2000) == size
    assert size == 0 or 2 * -(-steps // size) <= 2000


def test_extremes_keep_the_order_in_which_they_occur():
    values = np.array([[3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 7.0], [np.nan, 1.0, np.nan, np.nan, np.nan, np.nan, 2.0]])
    found = extremes(values, 3)
    np.testing.assert_array_equal(found[0], [3, 1, 4, 6, 7, 7])
    np.testing.assert_array_equal(found[1], [1, 1, np.nan, np.nan, 2, 2])


def test_rounding_keeps_what_is_not_finite():
    found = rounded(np.array([np.nan, np.inf, -np.inf, 0.0, 1.0 + 2.0**-13, 1.0 + 2.0**-15, 1e300]))
    np.testing.assert_array_equal(found, np.float32([np.nan, np.inf, -np.inf, 0.0, 1.0 + 2.0**-13, 1.0, np.inf]))


def test_the_row_of_a_run_in_the_scorecard():
    assert scored(CARD, "a") == {
        "edge": ["fails", "0.123", "at most 0.1"],
        "larger-lr": ["holds", "1", "at least 1"],
    }
    assert scored(CARD, "b") == {"edge": ["not scored", "", "at most 0.1"]}


def test_models_are_numbered_anew():
    assert (
        renumbered('{"id": "p1042", "of": ["p1007", "p1042"], "p": "p"}')
        == '{"id": "p1", "of": ["p2", "p1"], "p": "p"}'
    )
    assert document() == document()


def test_one_cursor_and_one_range_are_in_all_panels():
    text = json.dumps(document())
    assert text.count('"name": "Span"') == 2  # the cursor, and the edge of stability
    assert text.count('"name": "CrosshairTool"') == len(PANELS) == len(document()["roots"])
    assert text.count('"name": "Range1d"') == 1


def test_equal_runs_give_equal_pages():
    runs, widths = {"a": run(), "b": run(last=9)}, {"a": 4.0, "b": 4.0}
    page = explorer("mine", runs, widths=widths, card=CARD)
    assert page == explorer("mine", runs, widths=widths, card=CARD)
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', page)[1])
    assert data["runs"].keys() == {"a", "b"} and data["card"]["a"]["edge"][:2] == ["fails", "0.123"]


def test_runs_in_memory_need_no_scorecard_and_no_configuration(tiny):
    found = Experiment(tiny, GradientDescent(0.05), 12).run(["discrete", "midpoint", "central"])
    page = explorer("mine", {"one": found})
    assert "31 weights" in page and "GradientDescent" not in page and "Gradient descent" in page
    assert "index.html" not in page.split("<script>")[0]


def test_sixty_runs_of_a_thousand_steps_are_a_page_of_less_than_eight_megabytes():
    one = run(1000)
    wide = {
        name: xr.concat([store] * 2, "mode", data_vars="minimal")
        for name, store in one.items()
        if "mode" in store.sizes
    }
    for store in (wide["midpoint"], wide["central"]):
        store["mode"] = np.arange(1, 5)
    # Noise in all four eigenvalues and variances compresses worse than any trajectory.
    noise = np.random.default_rng(1).random((1000, 4))
    for name in ("effective_eigenvalues", "displacement", "variances"):
        wide["central"][name] = (("step", "mode"), noise)
    wide["midpoint"]["effective_eigenvalues"] = (("step", "mode"), noise)
    wide["central"]["rank"] = ("step", np.full(1000, 4, "int16"))
    size = len(json.dumps(packed(one | wide, 12.0)))
    assert 60 * size + 1_400_000 < 8_000_000
