"""The stable flow, which is gradient flow for gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from .flow import Flow
from .integrators import INTEGRATORS


@dataclass(frozen=True)
class StableFlow(Flow):
    r"""The stable flow: $dw/dt = -P^{-1} \nabla L(w)$, with $ds/dt$ the optimizer's own drift.

    For gradient descent it is gradient flow.

    Source: arXiv:2410.24206, the stable flow.
    """

    name: ClassVar[str] = "stable"
    follows_modes: ClassVar[bool] = False

    @classmethod
    def configured(cls, config, spectrum, evaluator, optimizer, first_step):
        kind = INTEGRATORS[config.method]
        return cls(evaluator, optimizer, first_step), kind.from_config(config, evaluations=config.stop_at_evaluations)

    def velocity(self, time, w, state, frame):
        return self._smooth_velocity(time, w, state)
