"""What every process measures at a point: the entries of a `trajectory.Record`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .flows import Oscillation
from .objective import Objective
from .spectrum import Spectrum
from .trajectory import Record


class Diverged(ArithmeticError):
    """A quantity is no longer finite."""


class Observer:
    """Measures one process of an objective.

    Args:
        process: its name, for messages.
        objective: whose outputs are recorded.
        examples: inputs (of test examples, say) on which the network's outputs are recorded; None for none.
    """

    def __init__(self, process: str, objective: Objective, examples: Tensor | None = None):
        self.process, self.objective, self.examples = process, objective, examples

    @property
    def outputs_shape(self) -> tuple[int, int]:
        """(examples, outputs per example) that are recorded."""
        if self.examples is None or not len(self.examples):
            return 0, 0
        outputs = self._outputs(self.objective.initial_weights)
        return outputs.shape[0], outputs.shape[1]

    def record(
        self,
        step: int,
        w: Tensor,
        loss: Tensor,
        gradient: Tensor,
        preconditioner: Tensor,
        spectrum: Spectrum | None = None,
        **more: Any,
    ) -> Record:
        """The record of a step.

        Raises:
            Diverged: loss, gradient or weights are not finite; names the first such quantity and the step.
        """
        for name, quantity in (("weights", w), ("loss", loss), ("gradient", gradient)):
            if not torch.isfinite(quantity).all():
                raise Diverged(f"{self.process}: the {name} are not finite at step {step}; try a smaller learning rate")
        values: dict[str, Any] = {
            "loss": loss.item(),
            "gradient_norm_squared": gradient.double().square().sum().item(),
            "step_size": 1.0 / preconditioner.double().mean().item(),
            **more,
        }
        if self.examples is not None and len(self.examples):
            values["outputs"] = self._outputs(w).cpu().double().numpy()
        if spectrum is not None:
            values["effective_eigenvalues"] = spectrum.values.cpu().double().numpy()
            values["eigen_residuals"] = spectrum.residuals.cpu().double().numpy()
            values["tracked_modes"] = len(spectrum.values)
        return Record(step, values, w.detach().cpu().numpy())

    def _outputs(self, w: Tensor) -> Tensor:
        with torch.no_grad():
            return self.objective.outputs(w, self.examples).flatten(1)


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
    }
    if offset is not None:
        measured["displacement"] = (directions.T @ (preconditioner * offset)).cpu().double().numpy()
    return measured
