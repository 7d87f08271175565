"""A finished profile as a Workflow Run RO-Crate: every job as an action, with what it used and made."""
