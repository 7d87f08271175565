r"""Integration of a flow over one unit of time (one optimizer step) through torchdiffeq.

torchdiffeq keeps every state it is asked for in memory, so each call covers one unit and the loop is ours.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torchdiffeq import odeint

from .discrete import Start
from .flows import CentralFlow, Flow, Frame, Snapshot
from .observe import Observer, oscillation_values
from .optimizers.base import State
from .spectrum import Tracker
from .trajectory import Record

FIXED_STEP = ("euler", "midpoint", "heun2", "heun3", "rk4")


@dataclass(frozen=True)
class Integrator:
    """How a unit of time is divided.

    Attributes:
        method: a fixed-step method of torchdiffeq. Euler with 4 substeps is the published discretisation.
        substeps: least number of equal steps per unit of time.
        substeps_per_sharpness: further substeps for a stiff flow, per unit of effective sharpness (Euler is stable from
            1/2 on; 2 keeps its error small and allows for growth within the unit).
    """

    method: str = "euler"
    substeps: int = 4
    substeps_per_sharpness: float = 0.0

    def __post_init__(self):
        if self.method not in FIXED_STEP:
            raise ValueError(f"unknown method {self.method!r}; choose one of {', '.join(FIXED_STEP)}")

    def count(self, frame: Frame) -> int:
        """Number of substeps at a frame."""
        return max(self.substeps, math.ceil(self.substeps_per_sharpness * float(frame.values[0])))

    def advance(self, flow: Flow, time: float, w: Tensor, state: State, frame: Frame) -> tuple[Tensor, State, Snapshot]:
        """(w, s) one unit of time later, and the snapshot at the start of the unit."""
        snapshots: list[Snapshot] = []

        def velocity(t: Tensor, y: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            dw, ds, snapshot = flow.velocity(t, y[0], y[1:], frame)
            if not snapshots:
                snapshots.append(snapshot)
            return dw, *ds

        times = torch.tensor([time, time + 1.0], dtype=torch.float64, device=w.device)
        options = {"step_size": 1.0 / self.count(frame)}
        with torch.no_grad():
            w_path, *state_paths = odeint(velocity, (w, *state), times, method=self.method, options=options)
        return w_path[-1], tuple(path[-1] for path in state_paths), snapshots[0]


class Stopped(Exception):
    """A flow became too stiff to go on; not an error. The message says when and why."""


def flow_trajectory(
    observer: Observer,
    flow: Flow,
    integrator: Integrator,
    start: Start,
    *,
    steps: int,
    tracker: Tracker,
    discrete_weights: Callable[[int], Tensor | None] = lambda step: None,
    stop_at_sharpness: float = math.inf,
) -> Iterator[Record]:
    """Integrates a flow; yields its record at t = 0 ... steps - 1.

    The flow starts where the discrete run does, its optimizer state updated once with the gradient there, as the first
    discrete step uses it.

    Args:
        observer: measures the flow.
        integrator: how each unit of time is divided.
        start: weights and state at t = 0; `flow.first_step` is one more than its step count.
        tracker: of the effective eigenvalues, solved for once per unit of time.
        discrete_weights: the discrete iterate at a step, or None where it is not known.
        stop_at_sharpness: largest effective sharpness that the flow is followed to.

    Raises:
        Diverged: something is not finite.
        Unsolved: the complementarity problem was not (see `complementarity`).
        Stopped: the effective sharpness passed `stop_at_sharpness`.
    """
    w = start.w
    state = flow.optimizer.update(flow.step(0), start.state, flow.points.at(w).gradient)
    for t in range(steps):
        with observer.at(t):
            point = flow.points.at(w)
            observer.check(w, point.loss, point.gradient)
            spectrum = tracker.update(point, flow.preconditioner(t, w, state))
            sharpness = spectrum.values[0].item()
            if sharpness > stop_at_sharpness:
                raise Stopped(f"effective sharpness {sharpness:.1f} passed {stop_at_sharpness:g} at step {t}")
            frame = Frame(spectrum.values, spectrum.vectors)
            following, following_state, snapshot = integrator.advance(flow, float(t), w, state, frame)
            record = observer.record(t, w, point.loss, point.gradient, snapshot.preconditioner, spectrum)
        discrete = discrete_weights(t)
        offset = None if discrete is None else discrete - w
        if offset is not None:
            record.values["distance"] = offset.double().norm().item()
        if isinstance(flow, CentralFlow):
            measured = oscillation_values(snapshot.oscillation, record.values, snapshot.preconditioner, offset)
            record.values.update(measured)
        yield record
        w, state = following, following_state
