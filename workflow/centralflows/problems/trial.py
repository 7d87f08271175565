"""A trial of an objective: one loss and gradient, with an explanation of what fails."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..common.errors import UserError
from .batches import Part
from .memory import ran_out_of_memory
from .network_copy import UnusableNetwork, dtype_name
from .objective import Objective
from .trees import moved, tensors


class OtherWeights(UserError, ValueError):
    """The loss depends on trainable parameters that are not weights of the objective."""


def try_loss(objective: Objective, w: Float[Tensor, " p"]) -> None:
    """Evaluate loss and gradient of the first microbatch once.

    Raises:
        UnusableNetwork: network or criterion fail on the data.
        OtherWeights: the loss depends on trainable parameters other than `w`.
        TypeError: the criterion does not return a loss.
    """
    w, part = w.detach().requires_grad_(), Part(*moved(objective.first_part, w.device))
    with torch.enable_grad():
        try:
            loss = objective.loss_of(w, part)
            if loss.requires_grad:
                torch.autograd.grad(loss, w, retain_graph=True, materialize_grads=True)
        except UserError:
            raise
        except Exception as error:
            if ran_out_of_memory(error):
                return  # smaller microbatches may do
            if isinstance(error, TypeError) and "criterion must return" in str(error):
                raise
            raise UnusableNetwork(_explained(error, part, w.dtype)) from error
    others = [x for x in _leaves(loss) if x is not w]
    if others:
        raise OtherWeights(
            f"the loss depends on {len(others)} trainable tensors that are not weights of the network, of shapes "
            f"{', '.join(str(list(x.shape)) for x in others[:3])}: the optimizer would not see their part of the "
            "gradient. The network is copied, so a criterion must not use the original; for an L2 penalty give "
            "Objective(..., l2=...), and parameters of a criterion must belong to the network"
        )


def _explained(error: Exception, part: Part, dtype: torch.dtype) -> str:
    """Return why network and criterion cannot be evaluated."""
    text = str(error)
    for name, data in (("inputs", part.inputs), ("targets", part.targets)):
        other = {x.dtype for x in tensors(data) if x.is_floating_point()} - {dtype}
        if other and ("dtype" in text or ("Expected" in text and "but found" in text)):
            return (
                f"the {name} are {dtype_name(other.pop())} and the network is {dtype_name(dtype)}; convert one of them, or "
                "give Experiment(..., dtype=torch.float64) or torch.float32, which converts both"
            )
    shapes = ", ".join(str(list(x.shape)) for x in tensors(part.inputs)) or type(part.inputs).__name__
    first = next(iter(text.splitlines()), "")
    hint = "; for a list of batches give Objective.from_batches" if isinstance(part.inputs, list) else ""
    return f"the network or the criterion fails on inputs of shape {shapes}: {type(error).__name__}: {first}{hint}"


def _leaves(loss: Tensor) -> list[Tensor]:
    """Return the leaves of an autograd graph that require a gradient."""
    pending, seen, found = [loss.grad_fn], set(), []
    while pending:
        node = pending.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        pending += [following for following, _ in node.next_functions]
    return found
