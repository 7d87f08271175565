"""Whether an error means that memory ran out."""

from __future__ import annotations

import torch


def ran_out_of_memory(error: BaseException) -> bool:
    """Return whether an error of torch means that memory ran out."""
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)  # the text on a CPU
