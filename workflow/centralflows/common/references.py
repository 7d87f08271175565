"""References to code, `package.module:name`, and the one place that imports what they name.

The configuration names what it configures by reference: it stays free of torch, and the digest of a job covers the network,
dataset and flow that the job uses and no other (`hashing.module_digests`).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any


def load(reference: str) -> Any:
    """Return the object that a reference names.

    Args:
        reference: `package.module:name`.

    Raises:
        ModuleNotFoundError, AttributeError: there is no such module, or no such name in it.
    """
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
