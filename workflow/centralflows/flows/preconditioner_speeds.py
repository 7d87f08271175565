r"""The rate of loss decrease $|\nabla L|^2_{P^{-1}}$ of three preconditioners along a stored central flow.

The three are $\bar P(w)$ at the stationary value of the state, $\hat P(w)$ from the curvature alone, and plain gradient
descent at its edge of stability, $P = S/2$ with the sharpness S. The reference is the optimizer's own P, whose state
depends on its history.

Source: arXiv:2410.24206, the comparison of preconditioners.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from ..derivatives.evaluator import DerivativeEvaluator
from ..optimizers.ema import SquaredGradientAverage
from ..optimizers.optimizer import State
from ..store.trajectory import open_trajectory
from .discrete_loop import Start
from .experiment import Experiment
from .stationary_dual import Program, duality_gap
from .stationary_state import Stationary, settle

VARIABLES = {
    "speed": ("loss / optimizer step", "|grad L|^2 in the metric of P^-1, P the optimizer's own"),
    "speed_stationary": ("loss / optimizer step", "the same at the stationary preconditioner P-bar"),
    "speed_curvature": ("loss / optimizer step", "the same at the preconditioner P-hat of the curvature alone"),
    "speed_gradient_descent": ("loss / optimizer step", "the same for gradient descent at its edge, P = S/2"),
    "sharpness": ("loss / weight^2", "largest eigenvalue of the Hessian"),
    "cosine": ("1", "cosine of the optimizer's state and its stationary value"),
    "residual": ("1", "what is left of the drift at the stationary state, relative to it"),
    "residual_curvature": ("1", "the same for P-hat"),
    "duality_gap": ("1", "bound on the relative distance of P-bar from the optimum of its convex program"),
    "duality_gap_curvature": ("1", "the same for P-hat"),
    "rank": ("1", "rank of Sigma at the stationary state"),
}


def steps_along(central: Path, every: int) -> list[int]:
    """Return the stored steps of a central flow that are multiples of a number, up to the end of the flow."""
    store = open_trajectory(central)
    known = store.loss.notnull().values
    return [int(step) for step in store.saved_step.values if step % every == 0 and known[step]]


def compare(experiment: Experiment, points: Iterator[tuple[int, Start]], *, tolerance: float) -> xr.Dataset:
    """Return a comparison of the preconditioners, and of the stationary state with the stored one, at points of a
    trajectory.

    Args:
        experiment: provides the objective and the optimizer.
        points: for each point, the trajectory's step and the start there (weights, state and step count), in order of
            time.
        tolerance: on the residuals.

    Returns:
        A Dataset over `step`, with the stationary states `[step, entry]` as `<name>_stationary`.
    """
    objective, optimizer = DerivativeEvaluator(experiment.objective), experiment.optimizer
    settled, curved, plain = experiment.tracker(), experiment.tracker(), experiment.hessian_tracker()
    steps, rows, states = [], [], []
    for t, start in points:
        w, *parts = (part.to(experiment.initial_weights) for part in (start.w, *start.state))
        state = tuple(parts)
        point, step = objective.at(w), torch.tensor(float(start.first_step), dtype=torch.float64)
        bar = settle(point, optimizer, step, state, settled, tolerance=tolerance)
        flat = torch.zeros_like(point.gradient)
        hat = settle(point, optimizer, step, bar.state, curved, gradient=flat, tolerance=tolerance)
        sharpness = plain.update(point, torch.ones_like(w[:1])).values[0].item()
        preconditioners = {
            "speed": optimizer.preconditioner(step, state),
            "speed_stationary": bar.preconditioner,
            "speed_curvature": hat.preconditioner,
            "speed_gradient_descent": torch.full_like(w[:1], sharpness / 2),
        }
        square = point.gradient.double().square()
        row: dict[str, Any] = {name: (square / p.double()).sum().item() for name, p in preconditioners.items()}
        row |= {
            "sharpness": sharpness,
            "cosine": _cosine(state, bar.state),
            "residual": bar.residual,
            "residual_curvature": hat.residual,
            "duality_gap": _gap(optimizer, step, point.gradient, bar),
            "duality_gap_curvature": _gap(optimizer, step, flat, hat),
            "rank": bar.oscillation.rank if bar.oscillation else 0,
        }
        steps.append(t)
        rows.append(row)
        states.append([part.cpu().numpy() for part in bar.state])
    data: dict[str, Any] = {
        name: ("step", np.array([row[name] for row in rows], dtype="float64"), {"units": units, "long_name": long_name})
        for name, (units, long_name) in VARIABLES.items()
    }
    for i, name in enumerate(optimizer.state_names):
        attrs = {"units": "1", "long_name": f"stationary value of the optimizer's state {name}"}
        data[f"{name}_stationary"] = (("step", f"{name}_entry"), np.stack([parts[i] for parts in states]), attrs)
    step_attrs = {"units": "optimizer steps", "long_name": "time: number of optimizer steps taken"}
    return xr.Dataset(data, {"step": ("step", np.array(steps, dtype="int64"), step_attrs)})


def _cosine(a: State, b: State) -> float:
    a, b = torch.cat(a).double(), torch.cat(b).double()
    return (a @ b / (a.norm() * b.norm())).item()


def _gap(optimizer: Any, step: Tensor, gradient: Tensor, found: Stationary) -> float:
    """Return the duality gap of a stationary state, or NaN for rules whose convex program is not known."""
    if not isinstance(optimizer, SquaredGradientAverage):
        return np.nan
    lr = optimizer.learning_rate(step)
    square = optimizer.square(gradient).double().clamp_min(1e-60)  # P-hat is the limit of vanishing gradients
    return duality_gap(Program(square, lr, optimizer.eps), found)
