"""Windows found from series whose crossings are known."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from centralflows.analysis import windows


def midpoint(first, second=None) -> xr.Dataset:
    columns = [first] if second is None else [first, second]
    values = np.array(columns, dtype=float).T
    coords = {"step": np.arange(len(values)), "mode": np.arange(1, len(columns) + 1)}
    return xr.Dataset({"effective_eigenvalues": (("step", "mode"), values)}, coords)


def central(rank) -> xr.Dataset:
    return xr.Dataset({"rank": ("step", np.array(rank))}, {"step": np.arange(len(rank))})


# Rises by 0.1 to 2.4 at step 14, falls by 0.2 to 1.6 at 18 (below 2 from 17 on), rises again: crossings at 10 and 22.
WAVE = [1 + 0.1 * t for t in range(15)] + [2.2, 2.0, 1.8, 1.6, 1.7, 1.8, 1.9, 2.0, 2.1, 2.2, 2.1, 1.9, 1.8]


def test_the_first_cycle_lasts_from_crossing_to_crossing():
    assert windows.cycle(midpoint(WAVE)) == (10, 23)
    assert windows.cycle(midpoint(WAVE), 2) == (22, 28)
    assert windows.cycle(midpoint(WAVE), 3) is None


def test_sharpening_ends_where_the_edge_has_been_passed_by_the_factor():
    assert windows.sharpening(midpoint(WAVE), over=1.05) == (0, 12)  # 2.1 at step 11
    assert windows.sharpening(midpoint(WAVE), over=3.0) == (0, 18)  # it falls below 2 at step 17
    assert windows.sharpening(midpoint([1.0, 1.5])) is None


def test_the_first_blow_is_around_the_fall():
    # The fall is at step 17, its minimum one step later: four steps, but at least 15, to both sides, within the cycle.
    assert windows.first_blow(midpoint(WAVE)) == (10, 23)
    slow = [1.0] + [2.0 + 0.01 * t for t in range(40)] + [1.9 - 0.01 * t for t in range(5)] + [1.9] * 60
    assert windows.first_blow(midpoint(slow)) == (41 - 16, 41 + 16)


def test_one_mode_is_alone_until_the_second_arrives():
    second = [0.0] * 40 + [2.0] * 10
    assert windows.one_unstable(midpoint([1.0] * 10 + [2.1] * 40, second)) == (10 - 6, 40)
    assert windows.one_unstable(midpoint([1.0] * 10 + [2.1] * 40, [0.0] * 50)) == (10 - 8, 50)
    assert windows.one_unstable(midpoint([1.0] * 50, second)) is None


@pytest.mark.parametrize(
    ("ranks", "most", "expected"),
    [
        ([0] * 5 + [1] * 10 + [3] * 20 + [2] * 5, 100, (15, 35)),
        ([0] * 5 + [1] * 10 + [3] * 20 + [2] * 5, 7, (21, 28)),  # the middle of it
        ([0] * 10 + [3] * 2 + [1] * 28, 100, (10, 40)),  # rank 3 does not last for a tenth of the run
        ([0] * 40, 100, None),
    ],
)
def test_the_highest_lasting_rank(ranks, most, expected):
    assert windows.highest_rank(central(ranks), most=most) == expected


def test_rank_one_is_the_longest_time_of_one_direction():
    assert windows.rank_one(central([1, 0, 1, 1, 2, 2, 2])) == (2, 4)


def test_the_first_cycles_end_with_a_crossing():
    assert windows.early(midpoint(WAVE), cycles=1) == (0, 23)
    assert windows.early(midpoint(WAVE), cycles=2) is None


def test_restarted_runs_are_shown_until_the_slowest_comes_back():
    quick, slow = [2.0, 2.2, 1.8, 2.1, 2.2, 2.2, 2.2], [2.0, 2.1, 2.2, 1.8, 1.9, 2.0, 2.2]
    assert windows.restarted([midpoint(quick), midpoint(slow)]) == (0, 6)
    assert windows.restarted([midpoint([2.0, 2.1])]) is None
