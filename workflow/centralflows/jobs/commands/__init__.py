"""The commands of `python -m centralflows`."""
