"""Measured tables of the manual: errors of the discretisations, and where tables are put."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from centralflows.jobs.benchmarks import cost_tables, discretisation, manual_tables
from centralflows.jobs.benchmarks.benchmark_runs import experiment


def test_a_table_replaces_what_stands_between_its_marks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- a: begin -->\nold\n<!-- a: end -->\nbetween\n<!-- b: begin --><!-- b: end -->\n")
    manual_tables.put(page, "a", "new\n")
    assert page.read_text().startswith("before\n<!-- a: begin -->\n\nnew\n\n<!-- a: end -->\nbetween\n")
    manual_tables.put(page, "b", "other")
    once = page.read_text()
    manual_tables.put(page, "b", "other")
    assert page.read_text() == once
    with pytest.raises(ValueError, match="has no marks <!-- c: begin --> and <!-- c: end -->"):
        manual_tables.put(page, "c", "lost")


def test_the_pages_have_the_measurements_that_are_kept():
    assert cost_tables.kept() in cost_tables.MANUAL.read_text()
    measured = json.loads((cost_tables.KEPT / "cpu.json").read_text())
    assert cost_tables.sentence(measured) in cost_tables.README.read_text()


def test_the_default_central_flow_is_near_the_fine_solution():
    """A few steps of one of the runs whose errors the manual has; they start beyond the edge."""
    made = experiment("mlp 16, scalar", torch.device("cpu"), steps=4)
    losses = [record.values["loss"] for record in made.flow("central")]
    np.testing.assert_allclose(losses, discretisation.fine_losses(made), rtol=1e-3)


def test_the_tables_have_a_column_for_each_discretisation():
    central = {label: [2e-3, 1e-4] for label in discretisation.CENTRAL} | {"missed": [2]}
    stable = {label: [2e-3, 1e-4, 7.5] for label in discretisation.STABLE} | {"sharpness": [2.0, 9.5]}
    lines = discretisation.tables({"central": {"a": central, "b": central}, "stable": {"c": stable}}).splitlines()
    assert lines[2] == "| a |" + " 2.0e-3, 1.0e-4 |" * len(discretisation.CENTRAL)
    assert "the published does not: 4." in lines[5]
    assert lines[-1].startswith("| c (sharpness 2 to 9.5) | 2.0e-3, 1.0e-4; 7.5 |")
