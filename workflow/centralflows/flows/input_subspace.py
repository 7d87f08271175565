r"""The subspace in which the weights move, if few examples make it smaller than weight space.

A linear first layer depends on the examples $X$ `[n, d]` through $X W'$ alone. If $n < d$, only the component of $W$ in
the span of the examples matters, and gradients lie in that span. With $Q$ `[d, r]` an
orthonormal basis of the span, $W = W_\perp + Z Q'$ and $X W' = (X Q) Z'$. The loss is thus that of the same network
with inputs $X Q$ and the smaller matrix $Z$. The map keeps lengths and angles. An isotropic optimizer
(`Optimizer.isotropic`) therefore moves $Z$ just as it moves $W$: flows, spectra and third derivatives are the same, in
vectors that can be ten times shorter.

Source: derived here.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ..common.errors import UserError
from ..derivatives.point import Function, value_and_gradient
from ..optimizers.optimizer import Optimizer
from ..problems.network_copy import copied
from ..problems.objective import Objective

WORTHWHILE = 0.5  # largest ratio of examples to inputs at which the conversion between coordinates pays off


class Subspace:
    """A subspace in which the weights move, with its coordinates.

    This class is all of weight space, with the weights as coordinates.

    Attributes:
        objective: the loss as a function of the coordinates `[c]`.
    """

    def __init__(self, objective: Function):
        self.objective = objective

    def coordinates(self, w: Float[Tensor, " p"]) -> Float[Tensor, " c"]:
        """Return the coordinates of weights or of a direction in weight space; this map is linear."""
        return w

    def directions(self, z: Float[Tensor, " c"]) -> Float[Tensor, " p"]:
        """Return the direction in weight space with the given coordinates: the transposed map, which keeps lengths."""
        return z

    def weights(self, z: Float[Tensor, " c"]) -> Float[Tensor, " p"]:
        """Return the weights with the given coordinates."""
        return z


class InputSubspace(Subspace):
    """The weights whose first layer differs from that of a given point within the span of its inputs.

    Args:
        objective: of all weights.
        first: index of the first layer in its network.
        rows: inputs of that layer `[..., d]`, not all of them zero.
        w: the point `[p]`.
    """

    def __init__(self, objective: Objective, first: int, rows: Float[Tensor, "... d"], w: Float[Tensor, " p"]):
        # In float64, so that the basis is orthonormal to the last bit of the weights; on the host, as this runs once
        # per trajectory.
        inputs = rows.flatten(0, -2).double().cpu()
        basis = _basis(inputs)
        self._basis = basis.to(w)
        network = copied(objective.network)
        layer = network[first]
        self._shape = layer.weight.shape
        layer.in_features = basis.shape[1]
        layer.weight = nn.Parameter(layer.weight.detach() @ self._basis)
        smaller = Objective(
            network,
            (inputs @ basis).to(w).reshape(*rows.shape[:-1], -1),
            objective.targets,
            objective.criterion,
            microbatch_size="auto" if objective.adapts else objective.microbatch_size,
            batched=objective.batched,
        )
        if objective.adapts:
            smaller.set_microbatch_size(objective.microbatch_size)
        super().__init__(smaller)
        self._rest = torch.zeros_like(w)
        self._rest = w - self.weights(self.coordinates(w))

    def coordinates(self, w):
        outputs, inputs = self._shape
        first, others = w.split([outputs * inputs, len(w) - outputs * inputs])
        return torch.cat([(first.view(outputs, inputs) @ self._basis).flatten(), others])

    def directions(self, z):
        size = self._shape[0] * self._basis.shape[1]
        first, others = z.split([size, len(z) - size])
        return torch.cat([(first.view(self._shape[0], -1) @ self._basis.T).flatten(), others])

    def weights(self, z):
        return self._rest + self.directions(z)


def subspace_of(objective: Objective, optimizer: Optimizer, w: Float[Tensor, " p"]) -> Subspace:
    """Return the smallest known subspace in which an optimizer moves from a point `w` on.

    It is the input subspace if the network begins with a linear layer that has at least twice as many inputs as there
    are examples, and all of weight space otherwise.
    """
    # A subclass may add terms to the loss, and an L2 term moves the weights outside of the span.
    known = type(objective) is Objective and optimizer.isotropic and not objective.l2 and len(objective.batches) == 1
    found = _first_layer(objective) if known else None
    if found is None:
        return Subspace(objective)
    smaller = InputSubspace(objective, *found, w)
    return smaller if _agree(objective, smaller, w) else Subspace(objective)


def _first_layer(objective: Objective) -> tuple[int, Tensor] | None:
    """Return the index and the inputs of a linear first layer with few examples for its inputs, or None."""
    network, rows = objective.network, objective.inputs
    if type(network) is not nn.Sequential or not len(network) or not _is_vectors(rows):
        return None
    first = int(type(network[0]) is nn.Flatten and (network[0].start_dim, network[0].end_dim) == (1, -1))
    if len(network) == first or type(network[first]) is not nn.Linear or not network[first].weight.requires_grad:
        return None
    uses = [name for name, value in network.named_parameters(remove_duplicate=False) if value is network[first].weight]
    rows = rows.flatten(1) if first else rows
    fewer = rows.shape[:-1].numel() <= WORTHWHILE * rows.shape[-1]
    return (first, rows) if fewer and len(uses) == 1 and rows.any() else None


def _is_vectors(rows: object) -> bool:
    return isinstance(rows, Tensor) and rows.is_floating_point() and rows.ndim > 1


def _basis(rows: Float[Tensor, "n d"]) -> Float[Tensor, "d r"]:
    """Return an orthonormal basis of the span of some rows.

    Rows that depend linearly on earlier rows are left out: rounding alone would determine their direction, which would
    then differ between machines.
    """
    basis, triangle = torch.linalg.qr(rows.T)
    scales = triangle.diagonal().abs()
    independent = scales > 1e-10 * scales.max()
    return basis if independent.all() else torch.linalg.qr(rows[independent].T)[0]


def _agree(objective: Objective, smaller: InputSubspace, w: Tensor) -> bool:
    """Return whether loss and gradient are the same in the smaller subspace.

    They can differ because a network may do more than its layers do. The comparison is made at a distance from `w`, as
    weights that start at zero could hide a difference. The tolerances lie far above rounding and far below actual
    differences.
    """
    z = smaller.coordinates(w)
    shift = torch.randn(z.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(z)
    z = z + 0.1 * z.norm() / shift.norm() * shift
    try:
        loss, gradient = value_and_gradient(objective, smaller.weights(z))
        own_loss, own_gradient = value_and_gradient(smaller.objective, z)
    except UserError:
        raise
    except Exception:  # any error of a network that does not work with a smaller layer
        return False
    inside = smaller.coordinates(gradient)
    apart = torch.stack([(inside - own_gradient).norm(), (gradient - smaller.directions(inside)).norm()])
    return bool((loss - own_loss).abs() <= 1e-3 * loss.abs() and apart.max() <= 0.05 * gradient.norm())
