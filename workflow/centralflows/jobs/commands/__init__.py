"""What `python -m centralflows` can do: one module, one command."""
