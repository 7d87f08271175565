"""The configuration: settings with their defaults and limits, and the part that each job receives. Imports no torch."""
