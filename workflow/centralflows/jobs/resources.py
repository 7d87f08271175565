"""What a trajectory's job needs of a machine, estimated from its settings.

Calibrated on networks of the paper and on the default profile (docs/cluster.md). An estimate is meant to be kept: a job that is
given too little is started again, one that asks for too much only starts a little later.
"""

from __future__ import annotations

from typing import NamedTuple

from ..config.run import RunConfig
from .problem_size import Size, size


class Machine(NamedTuple):
    """What computes.

    Attributes:
        overhead: time of one gradient, however small the network [s].
        speed: multiplications of a weight by a number [1/s].
        memory: that of a process with its libraries [MB].
        holds_examples: whether the memory that a scheduler counts is the one that holds what is computed from the examples.
    """

    overhead: float
    speed: float
    memory: int
    holds_examples: bool


CPU = Machine(overhead=5e-3, speed=1e10, memory=1000, holds_examples=True)
"""One core; measured."""

GPU = Machine(overhead=5e-3, speed=2e12, memory=4000, holds_examples=False)
"""Two hundred cores, and no faster with small networks; assumed. It has memory of its own, which no scheduler counts."""

GRADIENTS = {
    "discrete": 100,
    "stable": 100,
    "central": 100,
    "ablated": 100,
    "stationary": 1500,
    "stationary-ablated": 1500,
    "speeds": 4000,
}
"""Gradients that a step of each process costs, its other derivatives counted as such; more than was measured."""

VECTORS = 80  # of the size of the weights, for each tracked mode; half as many more than were measured
BYTES = {"mlp": 1, "cnn": 4, "resnet": 4, "vit": 5, "lstm": 8, "transformer": 16, "mamba": 64}
"""Held for each product of an example, with the third derivatives of four modes: twice what was measured. What grows is the
number of results, and a convolution makes many products for one."""
ASSUMED = 4  # of them, for a network of one's own

MARGIN = 3  # on the time: slower cores, more modes
START = 10  # minutes: libraries from a busy file system, the derivative probe
LONGEST = 24 * 60  # minutes: partitions often end at a day, and a job that is started again goes on from where it was


def minutes(run: RunConfig, process: str, machine: Machine) -> int:
    """Time limit of a process of a run [minutes]: what it takes, with some to spare, up to a day."""
    problem = size(run)
    steps = run.steps // run.stationary_every if process == "speeds" else run.steps
    gradient = machine.overhead + 3 * problem.n * problem.products / machine.speed
    seconds = (run.warm_start + GRADIENTS[process] * steps) * gradient
    return min(START + round(MARGIN * seconds / 60), LONGEST)


def megabytes(run: RunConfig, machine: Machine) -> int:
    """Memory of any process of a run [MB]: what it needs, with some to spare."""
    held = _held(run, size(run)) if machine.holds_examples else 0
    return machine.memory + round(held / 2**20)


def _held(run: RunConfig, problem: Size) -> int:
    """Bytes that grow with the problem."""
    single = 2 if run.dtype == "float64" else 1
    vectors = 4 * VECTORS * (run.spectrum.minimum + 1) * problem.p
    return single * (vectors + BYTES.get(run.model.name, ASSUMED) * problem.microbatch * problem.products)
