"""Optimizers: one rule, one file, one interface."""

from .base import Optimizer
from .gd import GradientDescent

__all__ = ["GradientDescent", "Optimizer"]
