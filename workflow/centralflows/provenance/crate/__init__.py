"""A finished profile as a Workflow Run RO-Crate: every job is an action, with its inputs and outputs."""
