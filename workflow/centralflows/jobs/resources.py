"""Estimates of the time and memory of a trajectory's job, from its settings.

Calibrated on networks of the paper and on the default profile for a CPU; the numbers of a GPU are assumed
(docs/cluster.md). The estimates should not be exceeded:
a job that is given too little is started again, while one that asks for too much only starts a little later.
"""

from __future__ import annotations

from typing import NamedTuple

from ..config.run import RunConfig
from .problem_size import Size, size


class Machine(NamedTuple):
    """Speed and memory of a kind of processor, which estimates of cost are made with.

    Attributes:
        overhead: time of one gradient, even of the smallest network [s].
        speed: multiplications by a weight per second [1/s].
        memory: memory of a process with its libraries [MB].
        holds_examples: whether the memory that a scheduler counts also holds what is computed from the examples.
    """

    overhead: float
    speed: float
    memory: int
    holds_examples: bool


CPU = Machine(overhead=5e-3, speed=1e10, memory=1000, holds_examples=True)
"""One core; measured."""

GPU = Machine(overhead=5e-3, speed=2e12, memory=4000, holds_examples=False)
"""As fast as two hundred cores, but no faster with small networks; assumed. Schedulers do not count its memory."""

GRADIENTS = {
    "discrete": 100,
    "stable": 100,
    "central": 100,
    "ablated": 100,
    "stationary": 1500,
    "stationary-ablated": 1500,
    "speeds": 4000,
}
"""Cost of a step of each process, with all its derivatives, in gradients; more than was measured."""

VECTORS = 80  # of the size of the weights, per tracked mode; 1.5 times as many as were measured
BYTES = {"mlp": 1, "cnn": 4, "resnet": 4, "vit": 4, "lstm": 8, "transformer": 16, "mamba": 64}
"""Memory per product of an example, with the third derivatives of four modes [bytes]: twice what was measured. It grows
with the number of results, and a convolution makes many products for one result."""
ASSUMED = 4  # bytes per product, for a user-defined network

MARGIN = 3  # factor of the time: slower cores, more modes
START = 10  # minutes: libraries from a busy file system, the derivative check
LONGEST = 24 * 60  # minutes: partitions often end at a day, and a job that is started again resumes


def minutes(run: RunConfig, process: str, machine: Machine) -> int:
    """Return the time limit of a process of a run [minutes]: the estimate with a margin, at most a day."""
    problem = size(run)
    steps = run.steps // run.stationary_every if process == "speeds" else run.steps
    gradient = machine.overhead + 3 * problem.n * problem.products / machine.speed
    seconds = (run.warm_start + GRADIENTS[process] * steps) * gradient
    return min(START + round(MARGIN * seconds / 60), LONGEST)


def megabytes(run: RunConfig, machine: Machine) -> int:
    """Return the memory limit of any process of a run [MB]: the estimate with a margin."""
    held = _held(run, size(run)) if machine.holds_examples else 0
    return machine.memory + round(held / 2**20)


def _held(run: RunConfig, problem: Size) -> int:
    """Return the memory that grows with the problem [bytes]."""
    single = 2 if run.dtype == "float64" else 1
    vectors = 4 * VECTORS * (run.spectrum.minimum + 1) * problem.p
    return single * (vectors + BYTES.get(run.model.name, ASSUMED) * problem.microbatch * problem.products)
