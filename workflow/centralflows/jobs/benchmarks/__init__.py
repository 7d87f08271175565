"""Measurements of the cost and accuracy of the flows, and their tables in the manual."""
