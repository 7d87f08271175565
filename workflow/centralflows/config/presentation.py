"""What the gallery says of figures beside their claims and captions. The module holds data only, like `catalogue`."""

from __future__ import annotations

HEADLINES: dict[str, str] = {
    "gd-central-flow": (
        "Gradient flow is the textbook model of gradient descent, and it fails once the sharpness reaches 2/lr: it goes "
        "on into regions where gradient descent cannot stay. The central flow is another differential equation, one that "
        "never crosses this edge. Two lines tell the story: the sharpness of the central flow, which turns horizontal at "
        "2/lr, and its distance to gradient descent beside that of gradient flow."
    ),
    "gd-central-flow-multi": (
        "The edge holds for several directions at once. Whenever another eigenvalue arrives at 2/lr, the iterates begin to "
        "oscillate along its eigenvector too, and one more direction of oscillation is exactly what keeps that eigenvalue "
        "from passing. The central flow knows how many directions oscillate at each time: the rank of their covariance is "
        "a staircase that one can count along with the eigenvalues."
    ),
    "scalar-rmsprop-ablation": (
        "An optimizer that adapts its step size does more than react to curvature. Its oscillations also push it towards "
        "flatter regions, and flatter regions allow larger steps. The central flow has this push as a term of its own, so "
        "it can be switched off, which no optimizer allows. What is left shows what the term is for."
    ),
    "rmsprop-central-flow": (
        "RMSProp has a step size for every weight, yet the same picture holds with P^-1 H in place of the Hessian: "
        "the effective eigenvalues stop at 2, and the central flow, whose weights and moving averages move together, goes "
        "where RMSProp goes."
    ),
}
"""Figures that open the gallery, each with its paragraph: what to look at, and why it matters."""

CLAIMS_OF: dict[str, tuple[str, ...]] = {
    "gd-eos": ("edge",),
    "gd-eos-two-lrs": ("edge", "larger-lr"),
    "gd-eos-zoo-vision": ("edge",),
    "gd-eos-zoo-sequence": ("edge",),
    "gd-one-unstable": ("edge",),
    "gd-multi-unstable": ("edge",),
    "gd-central-flow": ("distance",),
    "gd-sigma-one-unstable": ("variance",),
    "gd-central-flow-multi": ("critical", "distance"),
    "gd-predict-sigma": ("variance",),
    "gd-loss-time-average": ("loss", "monotone"),
    "gd-gradnorm-time-average": ("gradient-norm",),
    "gd-loss-zoo": ("loss",),
    "scalar-rmsprop-eff-sharpness": ("edge",),
    "scalar-rmsprop-beta2-central": ("loss", "critical", "state"),
    "scalar-rmsprop-multi-unstable": ("edge",),
    "scalar-rmsprop-loss-zoo": ("loss",),
    "scalar-rmsprop-step-size": ("step-size",),
    "scalar-rmsprop-lr-sharpness": ("larger-lr",),
    "scalar-rmsprop-ablation": ("ablated-sharper", "ablated-steps", "ablated-slower"),
    "scalar-rmsprop-lr-acceleration": ("larger-lr",),
    "rmsprop-eos": ("edge",),
    "rmsprop-central-flow": ("distance",),
    "rmsprop-predict-sigma": ("variance",),
    "rmsprop-gradsq-prediction": ("squared-gradients",),
    "rmsprop-nu-prediction": ("state",),
    "rmsprop-stationary-cosine": ("stationary-nu",),
    "rmsprop-precond-speed": ("curvature-faster", "stationary-slower"),
    "rmsprop-ablation": ("ablated-sharper", "ablated-steps", "ablated-slower"),
    "rmsprop-stationary-flow": ("stationary-penalty",),
}
"""Claims of the scorecard that a figure's statement makes. No claim decides the statement of a figure that is missing."""
