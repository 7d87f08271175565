"""Shared by all wings: errors, digests, progress, paths and references to code."""
