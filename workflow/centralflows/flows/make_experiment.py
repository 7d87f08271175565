"""The experiment that a configuration describes."""

from __future__ import annotations

import torch

from ..config.run import RunConfig
from ..optimizers.make_optimizer import make_optimizer
from ..problems.criteria import make_criterion
from ..problems.data.dataset import Dataset
from ..problems.networks.make_network import make_network
from ..problems.objective import Objective
from .discrete_loop import Start
from .experiment import Experiment


def make_experiment(
    run: RunConfig, dataset: Dataset, device: torch.device | str = "cpu", start_from: Start | None = None
) -> Experiment:
    """Return the experiment that a configuration describes, on a device.

    Args:
        start_from: the start, if the configuration says that the run starts from another run.
    """
    lr = run.warm_start_lr
    network = make_network(run.model, dataset, seed=run.seed)
    inputs, labels = torch.from_numpy(dataset.inputs), torch.from_numpy(dataset.labels)
    criterion = make_criterion(run.criterion)
    objective = Objective(network, inputs, labels, criterion, microbatch_size=run.microbatch_size)
    objective = objective.to(device, getattr(torch, run.dtype))
    test_inputs, test_labels = torch.from_numpy(dataset.test_inputs), torch.from_numpy(dataset.test_labels)
    if test_inputs.is_floating_point():
        test_inputs = test_inputs.to(objective.inputs.dtype)
    test_inputs = test_inputs.to(device)
    return Experiment(
        objective,
        make_optimizer(run.optimizer),
        run.steps,
        examples=test_inputs[: run.outputs] if run.outputs else None,
        spectrum=run.spectrum,
        central=run.central,
        stable=run.stable,
        stationary=run.stationary,
        seed=run.seed,
        warm_start=run.warm_start,
        warm_start_optimizer=None if lr is None else make_optimizer(run.optimizer.model_copy(update={"lr": lr})),
        start_from=start_from,
        stop_at_loss=run.stop_at_loss,
        coordinates=run.coordinates,
        accuracy_every=run.accuracy_every,
        test=(test_inputs, test_labels),
    )
