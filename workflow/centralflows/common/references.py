"""References to code, `package.module:name`, and the only function that imports the objects that they name.

The configuration refers to code by reference. It therefore imports no torch, and the digest of a job covers only the
network, dataset and flow that the job uses (`hashing.module_digests`).
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
