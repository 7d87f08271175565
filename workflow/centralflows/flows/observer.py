"""The measurements of every process at a point: the entries of a `trajectory.Record`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64
from numpy import ndarray
from torch import Tensor

from ..common.errors import Diverged, UserError
from ..derivatives.eigen_solver import Spectrum
from ..derivatives.eigen_tracker import EigenTracker, EigenTrackerState
from ..derivatives.point import Point
from ..optimizers.optimizer import State
from ..store.trajectory import Record
from .input_subspace import Subspace
from .oscillation import Oscillation


class Observer:
    """The measurements of one process.

    Args:
        process: its name, for messages.
        outputs: function that returns the network outputs to record at weights w, `[examples, outputs]`; None for none.
        coordinates: indices of the weights that are recorded individually.
        subspace: where the given gradients and oscillations lie; all of weight space by default.
        hessian: eigen-tracker of the Hessian itself, if its eigenvalues are not a multiple of the effective ones;
            solved every `hessian_every` steps (0: never).
        accuracies: by recorded name, functions that return the fraction of labels that the network predicts correctly
            at weights w; measured every `accuracy_every` steps (0: never).
    """

    def __init__(
        self,
        process: str,
        outputs: Callable[[Tensor], Tensor] | None = None,
        *,
        coordinates: Int64[ndarray, " c"] | None = None,
        subspace: Subspace | None = None,
        hessian: EigenTracker | None = None,
        hessian_every: int = 0,
        accuracies: Mapping[str, Callable[[Tensor], float]] | None = None,
        accuracy_every: int = 0,
    ):
        self.process, self.outputs, self.hessian, self.hessian_every = process, outputs, hessian, hessian_every
        self.coordinates = np.arange(0) if coordinates is None else coordinates
        self.directions = subspace.directions if subspace else lambda direction: direction
        self.accuracies, self.accuracy_every = accuracies or {}, accuracy_every

    @property
    def resume_state(self) -> EigenTrackerState | None:
        """The resume state of the Hessian's eigen-tracker, or None."""
        return None if self.hessian is None else self.hessian.resume_state

    def resume(self, resume_state: EigenTrackerState | None) -> None:
        if self.hessian is not None and resume_state is not None:
            self.hessian.resume(resume_state)

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Add the process and the step to the messages of arithmetic errors raised in this block."""
        try:
            yield
        except UserError as error:
            if isinstance(error, ArithmeticError):
                raise type(error)(f"{self.process}, step {step}: {error}") from error
            raise

    def check(self, w: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Raise `Diverged` with the first quantity that is not finite, unless all are finite."""
        for name, quantity in (("weights are", w), ("loss is", loss), ("gradient is", gradient)):
            # A sum with a term that is not finite is not finite, and takes one pass. A sum can also overflow, so a
            # second test decides.
            if not math.isfinite(quantity.sum()) and not torch.isfinite(quantity).all():
                raise Diverged(f"the {name} not finite; try a smaller learning rate")

    def record(
        self,
        step: int,
        w: Tensor,
        state: State,
        loss: Tensor,
        gradient: Tensor,
        preconditioner: Tensor,
        spectrum: Spectrum | None = None,
        point: Point | None = None,
        oscillation: Oscillation | None = None,
    ) -> Record:
        """Return the record of a step whose quantities have been checked."""
        values: dict[str, Any] = {
            "loss": loss.item(),
            "gradient_norm_squared": torch.linalg.vector_norm(gradient, dtype=torch.float64).item() ** 2,
            "step_size": 1.0 / preconditioner.mean().item(),
        }
        if self.outputs is not None:
            values["outputs"] = self.outputs(w).cpu().double().numpy()
        if self.accuracy_every and step % self.accuracy_every == 0:
            values.update({name: measured(w) for name, measured in self.accuracies.items()})
        if spectrum is not None:
            values["effective_eigenvalues"] = spectrum.values.numpy()
            values["eigen_residuals"] = spectrum.residuals.numpy()
            values["tracked_modes"] = len(spectrum.values)
            if len(preconditioner) == 1:
                values["hessian_eigenvalues"] = preconditioner.item() * spectrum.values.numpy()
            elif self.hessian is not None and self.hessian_every and step % self.hessian_every == 0:
                plain = self.hessian.update(point, torch.ones_like(preconditioner[:1]))
                values["hessian_eigenvalues"] = plain.values.numpy()
        if state:
            values["state_total"] = state[0].sum().item()
        if len(self.coordinates):
            chosen = torch.as_tensor(self.coordinates, device=w.device)
            entries = self.directions(gradient)[chosen]
            values["gradient_squared"] = square = entries.double().square().cpu().numpy()
            if state and len(state[0]) == len(w):
                values["state_coordinates"] = state[0][chosen].double().cpu().numpy()
            values["predicted_gradient_squared"] = square
            if oscillation is not None:
                rows = [self.directions(product)[chosen] for product in oscillation.products.T]
                rows = torch.stack(rows, dim=1).double().cpu().numpy()
                values["predicted_gradient_squared"] = square + ((rows @ oscillation.solution.x) * rows).sum(1)
        return Record(step, values, _array(w), tuple(_array(part) for part in state))


def _array(x: Tensor) -> ndarray:
    return x.detach().cpu().numpy()


def oscillation_values(
    oscillation: Oscillation | None, values: dict[str, Any], preconditioner: Tensor, offset: Tensor | None
) -> dict[str, Any]:
    """Return a central flow's predictions at a point, and the offset (discrete minus central) in the basis of Sigma.

    Args:
        values: `loss` and `gradient_norm_squared` of the flow itself.
        offset: `[p]`, or None if the discrete weights are not known.
    """
    if oscillation is None:
        return {
            "predicted_loss": values["loss"],
            "predicted_gradient_norm_squared": values["gradient_norm_squared"],
            "critical_modes": 0,
            "rank": 0,
        }
    variances, directions = oscillation.principal()
    measured = {
        "predicted_loss": values["loss"] + oscillation.loss,
        "predicted_gradient_norm_squared": values["gradient_norm_squared"] + oscillation.gradient_norm_squared,
        "variances": variances,
        "critical_modes": len(variances),
        "rank": oscillation.rank,
        "complementarity_gap": oscillation.solution.gap,
        "complementarity_violation": oscillation.solution.violation,
        "complementarity_monotonicity": oscillation.solution.monotonicity,
    }
    if offset is not None:
        measured["displacement"] = (directions.T @ (preconditioner * offset)).cpu().double().numpy()
    return measured
