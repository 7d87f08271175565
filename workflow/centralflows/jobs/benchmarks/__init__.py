"""Measured cost and accuracy of the flows, and the tables of them in the manual."""
