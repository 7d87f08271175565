"""What every process measures at a point: the entries of a `trajectory.Record`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from .errors import Diverged, UserError
from .flows import Oscillation
from .spectrum import Spectrum
from .trajectory import Record


class Observer:
    """Measures one process.

    Args:
        process: its name, for messages.
        outputs: the network outputs to record at weights w, `[examples, outputs]`; None for none.
    """

    def __init__(self, process: str, outputs: Callable[[Tensor], Tensor] | None = None):
        self.process, self.outputs = process, outputs

    @contextmanager
    def at(self, step: int) -> Iterator[None]:
        """Errors of the mathematics in this block say which process and which step they belong to."""
        try:
            yield
        except UserError as error:
            if isinstance(error, ArithmeticError):
                raise type(error)(f"{self.process}, step {step}: {error}") from error
            raise

    def check(self, w: Tensor, loss: Tensor, gradient: Tensor) -> None:
        """Raise `Diverged`, with the first quantity that is not finite, unless all are."""
        for name, quantity in (("weights are", w), ("loss is", loss), ("gradient is", gradient)):
            if not torch.isfinite(quantity).all():
                raise Diverged(f"the {name} not finite; try a smaller learning rate")

    def record(
        self,
        step: int,
        w: Tensor,
        loss: Tensor,
        gradient: Tensor,
        preconditioner: Tensor,
        spectrum: Spectrum | None = None,
    ) -> Record:
        """The record of a step whose quantities have been checked."""
        values: dict[str, Any] = {
            "loss": loss.item(),
            "gradient_norm_squared": gradient.double().square().sum().item(),
            "step_size": 1.0 / preconditioner.double().mean().item(),
        }
        if self.outputs is not None:
            values["outputs"] = self.outputs(w).cpu().double().numpy()
        if spectrum is not None:
            values["effective_eigenvalues"] = spectrum.values.cpu().double().numpy()
            values["eigen_residuals"] = spectrum.residuals.cpu().double().numpy()
            values["tracked_modes"] = len(spectrum.values)
        return Record(step, values, w.detach().cpu().numpy())


def oscillation_values(
    oscillation: Oscillation | None, values: dict[str, Any], preconditioner: Tensor, offset: Tensor | None
) -> dict[str, Any]:
    """Predictions of a central flow at a point, and the offset (discrete minus central) in the basis of Sigma.

    Args:
        values: `loss` and `gradient_norm_squared` of the flow itself.
        offset: `[p]`, or None where the discrete weights are not known.
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
        "rank": int((variances > 1e-6 * max(variances.max(), 1e-300)).sum()),
        "complementarity_gap": oscillation.solution.gap,
        "complementarity_violation": oscillation.solution.violation,
        "complementarity_monotonicity": oscillation.solution.monotonicity,
    }
    if offset is not None:
        measured["displacement"] = (directions.T @ (preconditioner * offset)).cpu().double().numpy()
    return measured
