"""The figures of the paper: the claim of each, and the stores that it is drawn from.

The module holds data only, so that the configuration can import it. It is one table, and therefore one long file.
Captions are in `workflow/report/<slug>.rst`.
"""

from __future__ import annotations

from typing import NamedTuple

QUADRATICS, GD, SCALAR, RMSPROP = "Quadratics", "Gradient descent", "Scalar RMSProp", "RMSProp"
BESIDE, BEYOND = "Beside the paper", "Beyond the paper"
MANY = -1


class Drawing(NamedTuple):
    """A figure of the catalogue.

    Attributes:
        claim: statement that the figure shows, in one sentence.
        function: the function that draws it, as `module:function` in the package `figures`.
        category: chapter that it belongs to.
        stores: stores that are read of each run, besides the discrete run and its midpoints; `analysis` is computed from
            them.
        runs: number of runs that it is drawn from; MANY for one or more.
        needs: settings that each run must have for the figure to be drawn; keys of `NEEDS`.
        seeds: whether it can show the range over runs of other seeds.
        film: how it moves as a GIF: "growing", its curves grow with time; "valley", the iterate moves in its valley; or not
            at all.
    """

    claim: str
    function: str
    category: str
    stores: tuple[str, ...] = ()
    runs: int = 1
    needs: tuple[str, ...] = ()
    seeds: bool = False
    film: str = ""

    @property
    def implementation(self) -> str:
        """Reference to the function that draws the figure."""
        return f"centralflows.figures.{self.function}"


NEEDS = {
    "one step size": "shows eigenvalues of the Hessian itself; use an optimizer with one step size for all weights",
    "state": "shows the average of squared gradients; use scalar-rmsprop or rmsprop",
    "outputs": "shows network outputs; set {run}.outputs to 1 or more",
    "every step": "needs the displacement at every step; set {run}.weights_stride to 1",
    "coordinates": "shows single weights; set {run}.coordinates to 1 or more",
    "a state per weight": "shows the state of single weights; use rmsprop",
    "speeds": "shows stationary states along the central flow; set {run}.stationary_every to 1 or more",
    "Hessian": "shows eigenvalues of the Hessian itself; set {run}.spectrum.hessian_every to 1 or more",
}

HELD_IN = {
    "state": ("state_total", "nu"),
    "outputs": ("outputs",),
    "coordinates": ("gradient_squared",),
    "a state per weight": ("state_coordinates", "nu"),
}
"""Variables of a discrete run that exist only if the need of this name is met."""

ONE = ("one step size",)

CATALOGUE: dict[str, Drawing] = {
    # -- quadratics
    "gd-quadratic-1d": Drawing(
        "On a parabola gradient descent converges while the sharpness is below 2/lr and diverges above it.",
        "quadratics:parabola",
        QUADRATICS,
        runs=0,
    ),
    "gd-quadratic-2d": Drawing(
        "On a quadratic it diverges along the eigenvectors that are sharper than 2/lr and converges along the others.",
        "quadratics:bowl",
        QUADRATICS,
        runs=0,
    ),
    "precond-quadratic": Drawing(
        "Preconditioned gradient descent diverges along the top eigenvector of the effective Hessian P^-1 H, not of H.",
        "quadratics:preconditioned",
        QUADRATICS,
        runs=0,
    ),
    # -- gradient descent, without flows
    "gd-progressive-sharpening": Drawing(
        "The sharpness rises along the trajectory until it passes 2/lr.",
        "edge_of_stability:progressive_sharpening",
        GD,
        needs=ONE,
    ),
    "gd-one-cycle": Drawing(
        "Past the edge the iterates oscillate ever more widely, which lowers the sharpness, and the oscillation dies out.",
        "edge_of_stability:one_cycle",
        GD,
        needs=ONE,
        film="valley",
    ),
    "gd-eos": Drawing(
        "The sharpness rises to 2/lr, where a quadratic would diverge, and stays near it while the loss goes on falling.",
        "edge_of_stability:edge_of_stability",
        GD,
        needs=ONE,
    ),
    "gd-eos-two-lrs": Drawing(
        "From one start the sharpness settles at the edge of each learning rate: twice as high at half the rate.",
        "edge_of_stability:learning_rates",
        GD,
        runs=2,
        needs=ONE,
    ),
    "gd-eos-zoo-vision": Drawing(
        "CNN, ResNet and ViT sharpen until 2/lr and go through cycles around it, at each of three learning rates.",
        "zoo:edge_of_stability",
        GD,
        runs=MANY,
        needs=ONE,
    ),
    "gd-eos-zoo-sequence": Drawing(
        "So do an LSTM, a transformer and Mamba, on sequences.",
        "zoo:edge_of_stability",
        GD,
        runs=MANY,
        needs=ONE,
    ),
    "gd-one-unstable": Drawing(
        "With one eigenvalue at the edge the sharpness goes through cycles around 2/lr.",
        "edge_of_stability:one_unstable",
        GD,
        needs=ONE,
    ),
    "gd-multi-unstable": Drawing(
        "Eigenvalues reach the edge one after the other, and all of them stay near it.",
        "edge_of_stability:several_unstable",
        GD,
        needs=ONE,
    ),
    # -- gradient descent and its central flow
    "gd-central-flow": Drawing(
        "Gradient descent leaves gradient flow at the edge of stability and stays near the central flow.",
        "central_flow_figures:tracking",
        GD,
        ("stable", "central", "analysis"),
        needs=("one step size", "outputs"),
        seeds=True,
        film="growing",
    ),
    "gd-sigma-one-unstable": Drawing(
        "With one eigenvalue at the edge the central flow predicts the variance of the oscillation.",
        "central_flow_figures:one_variance",
        GD,
        ("stable", "central", "analysis"),
        needs=("one step size", "every step"),
    ),
    "gd-central-flow-multi": Drawing(
        "Eigenvalues lock to the edge one after the other; the rank of the oscillations' covariance counts them.",
        "central_flow_figures:several_unstable",
        GD,
        ("stable", "central", "analysis"),
        needs=ONE,
        seeds=True,
        film="growing",
    ),
    "gd-predict-sigma": Drawing(
        "The central flow predicts the variance of the oscillations along each of their directions.",
        "central_flow_figures:variances",
        GD,
        ("central", "analysis"),
        needs=("every step",),
    ),
    "gd-network-predictions": Drawing(
        "The network's outputs oscillate around those of the central flow.",
        "central_flow_figures:network_outputs",
        GD,
        ("central", "analysis"),
        needs=("outputs",),
    ),
    "gd-loss-time-average": Drawing(
        "The central flow predicts the time average of the oscillating loss, and its own loss falls smoothly below it.",
        "central_flow_figures:loss",
        GD,
        ("central", "analysis"),
    ),
    "gd-gradnorm-time-average": Drawing(
        "It predicts the time average of the squared gradient norm, nearly all of which is oscillation.",
        "central_flow_figures:gradient_norm",
        GD,
        ("central", "analysis"),
    ),
    "gd-loss-zoo": Drawing(
        "It predicts the time-averaged loss of six networks at three learning rates each.",
        "zoo:predicted_losses",
        GD,
        ("central",),
        runs=MANY,
    ),
    # -- Scalar RMSProp
    "scalar-rmsprop-eff-sharpness": Drawing(
        "The effective sharpness, lr S/sqrt(nu), equilibrates at 2 although neither S nor nu stands still.",
        "scalar_rmsprop_figures:effective_sharpness",
        SCALAR,
        needs=("one step size", "state", "outputs"),
    ),
    "scalar-rmsprop-one-cycle": Drawing(
        "An oscillation ends by two mechanisms: the sharpness S falls, and the average nu of squared gradients grows.",
        "scalar_rmsprop_figures:one_cycle",
        SCALAR,
        needs=("one step size", "state"),
    ),
    "scalar-rmsprop-beta2-cycle": Drawing(
        "The longer the memory of nu, the more the cycle relies on the fall of the sharpness.",
        "scalar_rmsprop_figures:memories_cycle",
        SCALAR,
        runs=2,
        needs=("one step size", "state"),
    ),
    "scalar-rmsprop-beta2-central": Drawing(
        "The central flow follows loss, sharpness and nu at either memory.",
        "scalar_rmsprop_figures:memories",
        SCALAR,
        ("central",),
        runs=2,
        needs=("one step size", "state"),
    ),
    "scalar-rmsprop-multi-unstable": Drawing(
        "Eigenvalues of the effective Hessian reach 2 one after the other and stay, while those of the Hessian go on rising.",
        "scalar_rmsprop_figures:several_unstable",
        SCALAR,
        needs=ONE,
    ),
    "scalar-rmsprop-stable-flow": Drawing(
        "The stable flow describes Scalar RMSProp until it reaches the edge of stability, and no longer.",
        "scalar_rmsprop_figures:stable_flow",
        SCALAR,
        ("stable",),
        needs=ONE,
    ),
    "scalar-rmsprop-loss-zoo": Drawing(
        "The central flow predicts the time-averaged loss of six networks at three learning rates each.",
        "zoo:predicted_losses",
        SCALAR,
        ("central",),
        runs=MANY,
    ),
    "scalar-rmsprop-step-size": Drawing(
        "At the edge the effective step size is 2/S: the optimizer adapts to the curvature.",
        "scalar_rmsprop_figures:step_size",
        SCALAR,
        ("central",),
        needs=("one step size", "state"),
    ),
    "scalar-rmsprop-lr-sharpness": Drawing(
        "A larger learning rate ends at the same loss with a lower sharpness.",
        "scalar_rmsprop_figures:learning_rates",
        SCALAR,
        ("central",),
        runs=MANY,
        needs=ONE,
    ),
    "scalar-rmsprop-ablation": Drawing(
        "Without the curvature penalty the flow goes into sharper regions, takes smaller steps, and is slower.",
        "central_flow_figures:ablation",
        SCALAR,
        ("central", "ablated"),
        needs=ONE,
        seeds=True,
    ),
    "scalar-rmsprop-lr-acceleration": Drawing(
        "So it does at a lower learning rate: larger ones steer to flatter regions, where the steps are larger.",
        "scalar_rmsprop_figures:acceleration",
        SCALAR,
        ("central",),
        runs=2,
        needs=ONE,
    ),
    # -- RMSProp
    "rmsprop-eos": Drawing(
        "The loss falls calmly while the top eigenvalues of the effective Hessian stay at 2.",
        "rmsprop_figures:edge_of_stability",
        RMSPROP,
    ),
    "rmsprop-nu-oscillation": Drawing(
        "Squared gradients of single weights oscillate fast; their averages nu follow slowly.",
        "rmsprop_figures:oscillation",
        RMSPROP,
        needs=("coordinates", "a state per weight"),
    ),
    "rmsprop-central-flow": Drawing(
        "RMSProp leaves the stable flow at the edge of stability and stays near its central flow.",
        "rmsprop_figures:tracking",
        RMSPROP,
        ("stable", "central"),
        seeds=True,
    ),
    "rmsprop-predict-sigma": Drawing(
        "The central flow predicts the variance of the oscillations along each of their directions.",
        "central_flow_figures:variances",
        RMSPROP,
        ("central", "analysis"),
        needs=("every step",),
    ),
    "rmsprop-gradsq-prediction": Drawing(
        "It predicts the time average of the squared gradient of single weights, most of which is oscillation.",
        "rmsprop_figures:squared_gradients",
        RMSPROP,
        ("central", "analysis"),
        needs=("coordinates",),
    ),
    "rmsprop-nu-prediction": Drawing(
        "It predicts nu of single weights.",
        "rmsprop_figures:averages",
        RMSPROP,
        ("central", "analysis"),
        needs=("coordinates", "a state per weight"),
    ),
    "rmsprop-stationary-cosine": Drawing(
        "Along the central flow nu comes to point where its stationary value for the present weights does.",
        "rmsprop_figures:stationary_cosine",
        RMSPROP,
        ("central", "speeds"),
        needs=("speeds",),
    ),
    "rmsprop-stationary-coords": Drawing(
        "nu of single weights comes to equal its stationary value.",
        "rmsprop_figures:stationary_coordinates",
        RMSPROP,
        ("central", "speeds"),
        needs=("speeds", "coordinates", "a state per weight"),
    ),
    "rmsprop-precond-speed": Drawing(
        "The preconditioner that knows of curvature alone beats gradient descent at its edge; RMSProp's own is slower.",
        "rmsprop_figures:speeds",
        RMSPROP,
        ("central", "speeds"),
        runs=MANY,
        needs=("speeds",),
    ),
    "rmsprop-ablation": Drawing(
        "Without the curvature penalty RMSProp's flow goes into sharper regions, takes smaller steps, and is slower.",
        "central_flow_figures:ablation",
        RMSPROP,
        ("central", "ablated"),
        needs=("Hessian",),
    ),
    "rmsprop-stationary-flow": Drawing(
        "The flow of the weights alone, with nu at its stationary value, follows RMSProp; without the penalty it does not.",
        "rmsprop_figures:stationary_flow",
        RMSPROP,
        ("stationary", "stationary-ablated"),
        needs=("state", "outputs"),
    ),
    # -- beside the paper's own points
    "gd-central-flow-published": Drawing(
        "In units of its own onset and edge, gradient descent leaves gradient flow as in the paper.",
        "published_figures:tracking",
        BESIDE,
        ("stable", "central"),
        needs=ONE,
    ),
    "gd-central-flow-multi-published": Drawing(
        "Further eigenvalues arrive at the edge one after the other, as in the paper.",
        "published_figures:several_unstable",
        BESIDE,
        ("central",),
        needs=ONE,
    ),
    "scalar-rmsprop-ablation-published": Drawing(
        "Without the curvature penalty the sharpness rises further and the loss falls less, as in the paper.",
        "published_figures:ablation",
        BESIDE,
        ("central", "ablated"),
        needs=ONE,
    ),
    "rmsprop-central-flow-published": Drawing(
        "In units of its own onset, RMSProp leaves its stable flow and not its central flow, as in the paper.",
        "published_figures:rmsprop_tracking",
        BESIDE,
        ("stable", "central"),
    ),
    # -- beyond the paper
    "gd-edge-offset": Drawing(
        "The plain mean of the sharpness lies above 2/lr, less so at smaller rates; weighted by the oscillation it is 2/lr.",
        "edge_of_stability:offset",
        BEYOND,
        ("central",),
        runs=MANY,
        needs=ONE,
    ),
}
"""The figures by slug."""
