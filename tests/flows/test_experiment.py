"""The library interface: what it returns, and what it says of wrong input."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn
from wrong_layer import Cube

from centralflows import Experiment, GradientDescent, Objective, RMSProp, ScalarRMSProp
from centralflows.analysis import claims
from centralflows.common.errors import Diverged
from centralflows.config.processes import CentralConfig, SpectrumConfig
from centralflows.derivatives.derivative_check import WrongDerivatives
from centralflows.problems.criteria import cross_entropy
from centralflows.store.trajectory import PROCESSES


def criterion(f, y):
    return 0.5 * (f - y).square().sum(-1).mean()


def objective(*layers: nn.Module, n: int = 20) -> Objective:
    torch.manual_seed(0)
    network = nn.Sequential(*(layers or (nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 2))))
    return Objective(network, torch.randn(n, 4), torch.randn(n, 2), criterion)


def test_each_process_has_its_variables_and_records():
    made = objective()
    optimizer = RMSProp(1e-3, 0.9, eps=1e-6)
    found = Experiment(made, optimizer, 5, warm_start=3, examples=made.inputs[:2], coordinates=2).run(PROCESSES)
    assert found.keys() == PROCESSES.keys()
    for process, dataset in found.items():
        names = set(PROCESSES[process]) - {"accuracy", "test_accuracy"}  # there are no class labels
        assert names <= set(dataset) <= {*names, "weights", *optimizer.state_names} and dataset.sizes["step"] == 5
        assert dataset.weights.shape == (5, made.p) and dataset.outputs.shape == (5, 2, 2)
        assert all(dataset[name].attrs["units"] for name in names)


def labelled(microbatch_size: int | str = "auto") -> tuple[Objective, tuple[torch.Tensor, torch.Tensor]]:
    """An objective with class labels of 20 examples, one of them masked, and 7 test examples."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))
    labels = torch.randint(3, (20,))
    labels[0] = -1
    made = Objective(network, torch.randn(20, 4), labels, cross_entropy, microbatch_size=microbatch_size)
    return made, (torch.randn(7, 4), torch.randint(3, (7,)))


@pytest.mark.parametrize("microbatch_size", ["auto", 6])
def test_accuracies_are_those_of_the_stored_weights(microbatch_size):
    made, test = labelled(microbatch_size)
    experiment = Experiment(made, GradientDescent(0.5), 8, accuracy_every=3, test=test)
    found = experiment.run()
    for process in ("discrete", "stable", "central"):
        for name, inputs, labels in (("accuracy", made.inputs, made.targets), ("test_accuracy", *test)):
            values = found[process][name]
            assert np.flatnonzero(values.notnull()).tolist() == [0, 3, 6]
            for step in (0, 3, 6):
                outputs = made.outputs(torch.from_numpy(found[process].weights[step].values), inputs)
                kept = labels >= 0
                assert values[step] == (outputs.argmax(-1)[kept] == labels[kept]).double().mean()
    assert not {"accuracy", "test_accuracy"} & set(found["midpoint"])


def test_accuracy_is_recorded_where_it_can_be_and_is_asked_for():
    made, test = labelled()

    def names(objective, **options):
        found = Experiment(objective, GradientDescent(0.5), 1, **options).run("discrete")["discrete"]
        return sorted({"accuracy", "test_accuracy"} & set(found))

    assert names(made, accuracy_every=1, test=test) == ["accuracy", "test_accuracy"]
    assert names(made, accuracy_every=1) == ["accuracy"]
    assert names(made, test=test) == []
    assert names(objective(), accuracy_every=1) == []  # labels are no classes


def test_all_processes_start_from_the_same_weights():
    found = Experiment(objective(), GradientDescent(0.1), 3, warm_start=4).run()
    starts = [dataset.weights[0].values for dataset in found.values()]
    assert all(np.array_equal(start, starts[0]) for start in starts)
    again = Experiment(objective(), GradientDescent(0.1), 5).run("discrete")["discrete"]
    np.testing.assert_array_equal(again.weights[4], starts[0])


def test_a_flow_that_grows_stiff_ends_and_says_so():
    from centralflows.config.processes import StableConfig

    made = Experiment(objective(), GradientDescent(0.5), 50, stable=StableConfig(stop_at_sharpness=0.1))
    stable = made.run("stable")["stable"]
    assert stable.sizes["step"] == 0 and "passed 0.1 at step 0" in stable.attrs["stopped"]


def test_one_weight_is_enough():
    torch.manual_seed(0)
    made = Objective(nn.Linear(1, 1, bias=False), torch.ones(3, 1), torch.zeros(3, 1), criterion)
    central = Experiment(made, GradientDescent(0.5), 4).run()["central"]
    np.testing.assert_allclose(central.effective_eigenvalues[:, 0], 0.5, rtol=1e-6)


def test_modes_beyond_the_maximum_are_warned_of():
    made = Experiment(
        objective(), GradientDescent(5.0), 2, spectrum=SpectrumConfig(maximum=1), central=CentralConfig(substeps=8)
    )
    with pytest.warns(UserWarning, match="more than 1 eigenvalues exceed 1.5"):
        made.run("central")


@pytest.mark.parametrize("where", ["inputs", "targets", "weights"])
def test_data_that_are_not_finite_are_named(where):
    made = objective()
    weights = made.initial_weights.clone()
    {"inputs": made.inputs, "targets": made.targets, "weights": weights}[where].view(-1)[-1] = torch.nan
    with pytest.raises(Diverged, match=where):
        Experiment(made, GradientDescent(0.1), 3, weights).run()


@pytest.mark.parametrize("lr", [0.0, -0.1, float("nan"), float("inf")])
def test_a_learning_rate_must_be_positive(lr):
    with pytest.raises(ValueError, match="learning rate must be a positive number"):
        Experiment(objective(), GradientDescent(lr), 3).run("discrete")


def test_a_learning_rate_may_be_a_function_that_returns_a_float():
    runs = [Experiment(objective(), GradientDescent(lr), 4).run("discrete") for lr in (0.1, lambda step: 0.1)]
    np.testing.assert_array_equal(runs[0]["discrete"].weights, runs[1]["discrete"].weights)


def test_wrong_arguments_are_named():
    made = objective()
    with pytest.raises(ValueError, match=r"initial_weights must be one vector \[58\], found \[3\]"):
        Experiment(made, GradientDescent(0.1), 3, np.zeros(3))
    with pytest.raises(ValueError, match="steps must be a whole number, at least 1"):
        Experiment(made, GradientDescent(0.1), 0)
    with pytest.raises(ValueError, match="beta2 must lie between 0 and 1"):
        RMSProp(0.1, 1.0)
    with pytest.raises(ValueError, match="unknown process centrall"):
        Experiment(made, GradientDescent(0.1), 3).run("centrall")


def test_arguments_of_the_wrong_type_are_named():
    """In a process of its own, where annotations are not checked as they are here."""
    program = """if True:
        import torch
        from centralflows import Experiment, GradientDescent, Objective, RMSProp
        made = Objective(torch.nn.Linear(2, 1), torch.ones(3, 2), torch.ones(3, 1), lambda y, t: (y - t).square().mean())
        optimizer = GradientDescent(0.1)
        for attempt in (
            lambda: Experiment(made, optimizer, 2.5),
            lambda: Experiment(made, optimizer, 3, central={"substeps": 8}),
            lambda: Experiment(made, torch.optim.SGD([torch.zeros(1)]), 3),
            lambda: Experiment(made, GradientDescent("0.1"), 3).run("discrete"),
            lambda: Experiment(made, GradientDescent(None), 3).run("discrete"),
            lambda: RMSProp(0.1, "0.9"),
            lambda: RMSProp(0.1, 0.9, eps=None),
            lambda: Experiment(made.network, optimizer, 3),
            lambda: Experiment(made, optimizer, 3, stop_at_loss="0.1"),
            lambda: Experiment(made, optimizer, 3, test=(torch.ones(2, 4),)),
            lambda: Experiment(made, optimizer, 3).run([1, "central"]),
            lambda: Experiment(made, optimizer, 3).run(start={"central": 0}),
            lambda: Experiment(made, optimizer, 3).run(start=torch.ones(3)),
            lambda: Experiment(made, GradientDescent, 3),
            lambda: Experiment(made, optimizer, 3, dtype="float64"),
            lambda: Objective(made.network, torch.ones(3, 2), torch.ones(3, 1), torch.nn.MSELoss),
            lambda: Experiment(made, optimizer, 3).run(check="on"),
            lambda: Objective(torch.nn.Linear(2, 1), torch.ones(3, 2), torch.ones(3, 1), "mse"),
            lambda: Objective(lambda x: x, torch.ones(3, 2), torch.ones(3, 1), torch.nn.MSELoss()),
            lambda: Objective.from_function("f", torch.ones(3)),
            lambda: Objective.from_function(torch.sum, torch.ones(3, dtype=torch.long)),
        ):
            try:
                attempt()
            except (TypeError, ValueError) as error:
                print(type(error).__name__, error)
    """
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.splitlines() == [
        "ValueError steps must be a whole number, at least 1 (got 2.5)",
        "TypeError central must be a CentralConfig (got {'substeps': 8})",
        "TypeError optimizer must be one of centralflows.optimizers, with its arguments (got SGD)",
        "ValueError the learning rate must be a positive number or a function of the step counter (got '0.1')",
        "ValueError the learning rate must be a positive number or a function of the step counter (got None)",
        "ValueError beta2 must lie between 0 and 1 (got '0.9')",
        "ValueError eps must be 0 or a positive number (got None)",
        "TypeError objective must be a centralflows.Objective (got Linear)",
        "TypeError stop_at_loss must be a number or None (got '0.1')",
        "ValueError test must be inputs and labels (got 1 parts)",
        "ValueError unknown process 1; there are discrete, midpoint, stable, central, ablated, stationary, stationary-ablated",
        "UnusableData a start is one trajectory, such as start=trajectories['central']",
        "UnusableData a start is a trajectory or the path of its store (got a Tensor); for a vector of weights give "
        "Experiment(..., initial_weights=)",
        "TypeError optimizer must be one of centralflows.optimizers, with its arguments (got the class GradientDescent)",
        "ValueError dtype must be torch.float32 or torch.float64 (got 'float64')",
        "TypeError the criterion is a class; give an instance, MSELoss(...)",
        "ValueError check must be 'off', 'warn' or 'refuse' (got 'on')",
        "TypeError the criterion must be a function (outputs, targets) -> loss, such as torch.nn.MSELoss() (got 'mse')",
        "TypeError the network must be a torch.nn.Module (got function); for a function of the weights use "
        "Objective.from_function",
        "TypeError the loss must be a function of the weights (got str)",
        "TypeError w0 must hold floating tensors, and no others",
    ]


@pytest.mark.parametrize(
    ("criterion", "found"),
    [
        (lambda outputs, targets: (outputs - targets).square().mean(0), r"a tensor of shape \[2\]"),
        (lambda outputs, targets: (outputs - targets).square().mean().item(), "float"),
    ],
)
def test_a_criterion_that_returns_no_scalar_tensor_is_refused(criterion, found):
    made = Objective(nn.Linear(4, 2), torch.randn(20, 4), torch.randn(20, 2), criterion)
    with pytest.raises(TypeError, match=f"must return a scalar tensor \\(got {found}\\)"):
        Experiment(made, GradientDescent(0.1), 3).run("discrete")


def test_the_mean_is_taken_of_a_loss_per_example():
    torch.manual_seed(0)
    network, x, y = nn.Linear(4, 2), torch.randn(20, 4), torch.randn(20, 2)
    each = Objective(network, x, y, lambda outputs, targets: (outputs - targets).square().mean(1))
    mean = Objective(network, x, y, nn.MSELoss())
    with pytest.warns(UserWarning, match="one for each example; their mean is taken"):
        value = each(each.initial_weights)
    torch.testing.assert_close(value, mean(mean.initial_weights))


@pytest.mark.parametrize(("labels", "named"), [((1, 9), "5 inputs and 1 labels"), ((5, 1), "9 inputs and 1 labels")])
def test_labels_that_are_not_as_many_as_inputs_have_no_accuracy(labels, named):
    """One label for all would be compared with each, and counted as often."""
    tested, trained = (torch.zeros(count, dtype=torch.long) for count in labels)
    made = Objective(nn.Linear(6, 3), torch.randn(9, 6), trained, lambda o, t: o.square().mean())
    experiment = Experiment(made, GradientDescent(0.1), 1, accuracy_every=1, test=(torch.randn(5, 6), tested))
    with pytest.raises(ValueError, match=named):
        experiment.run("discrete")


@pytest.mark.parametrize("optimizer", [ScalarRMSProp(0.05, 0.9), RMSProp(0.05, 0.9), GradientDescent(1.97)])
def test_a_quadratic_loss_is_followed_at_the_edge(optimizer):
    """It has no third derivatives: gradient descent is stable below 2 / S, and the others adapt until they are."""
    generator = torch.Generator().manual_seed(0)
    inputs, targets = torch.randn(30, 5, generator=generator).double(), torch.randn(30, 1, generator=generator).double()
    objective = Objective(
        nn.Linear(5, 1, bias=False).double(), inputs, targets, lambda y, t: 0.5 * (y - t).square().sum(-1).mean()
    )
    if isinstance(optimizer, GradientDescent):
        optimizer = GradientDescent(optimizer.lr / torch.linalg.eigvalsh(inputs.T @ inputs / 30)[-1].item())
    found = Experiment(objective, optimizer, 60).run("central")["central"]
    assert (found.critical_modes > 0).any()
    assert found.effective_eigenvalues[-1].max() < 2.02  # RMSProp starts beyond the edge
    assert float(found.loss[-1]) <= float(found.loss[0])


def test_a_network_that_the_check_refuses_is_not_run():
    with pytest.raises(WrongDerivatives, match="Cube"):
        Experiment(objective(nn.Linear(4, 8), Cube(), nn.Linear(8, 2)), GradientDescent(0.1), 3).run()


@pytest.mark.parametrize(
    ("optimizer", "judged"), [(RMSProp(0.05, 0.9, eps=1e-3), False), (ScalarRMSProp(0.3, 0.9), True)]
)
def test_the_claim_about_one_step_size_judges_optimizers_that_have_one(optimizer, judged):
    """Although no weights were recorded one by one, and the Hessian's eigenvalues are known at every step."""
    spectrum = SpectrumConfig(hessian_every=1)
    found = Experiment(objective(), optimizer, 60, spectrum=spectrum).run(["discrete", "midpoint"])
    assert "state_coordinates" not in found["discrete"] and claims.at_edge(found) is not None
    assert (claims.CLAIMS["step-size"].measure(found, 2.0) is not None) == judged
    assert np.isfinite(found["midpoint"].hessian_eigenvalues[:, 0].sel(step=claims.at_edge(found))).all()
