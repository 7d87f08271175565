"""Datasets as numpy arrays, with their sources and licences. It imports no torch."""
