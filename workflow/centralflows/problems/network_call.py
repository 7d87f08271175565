"""How a network takes its inputs: as one argument, or as several."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from torch import nn


class NetworkCall:
    """The arguments of a network's `forward`, by its signature."""

    def __init__(self, network: nn.Module):
        parameters = list(inspect.signature(network.forward).parameters.values())
        self._keywords = any(each.kind is each.VAR_KEYWORD for each in parameters)
        self._any_number = any(each.kind is each.VAR_POSITIONAL for each in parameters)
        self._positional = [
            each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
        ]
        self._named = {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        self._required = [each for each in self._positional if each.default is each.empty]

    def arguments(self, inputs: Any) -> tuple[tuple, dict[str, Any]]:
        """Return the inputs as positional and keyword arguments.

        A tuple or list is several arguments if `forward` takes as many, and a mapping is keyword arguments if `forward`
        has all of its keys. Anything else is one argument; None is none if `forward` needs none.
        """
        if inputs is None and not self._required:
            return (), {}
        if type(inputs) in (tuple, list):
            enough = len(self._required) <= len(inputs)
            if enough and (self._any_number or len(inputs) <= len(self._positional)):
                return tuple(inputs), {}
        if isinstance(inputs, Mapping):
            keys = set(inputs)
            complete = {each.name for each in self._required} <= keys
            if complete and (self._keywords or keys <= self._named):
                return (), dict(inputs)
        return (inputs,), {}
