"""Measurements in stored trajectories: time averages, windows, claims and the scorecard. It imports no torch."""
