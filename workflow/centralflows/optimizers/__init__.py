"""Optimizers, each a rule in its own file behind one interface."""
