"""Records of how outputs were made: manifests, lineage, and differences between outputs. Imports no torch."""
