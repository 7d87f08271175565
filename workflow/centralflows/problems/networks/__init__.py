"""The networks that a configuration can choose."""
