"""Trajectories in memory and as Zarr stores. It contains no physics and imports no torch."""
