"""Errors that a user can fix."""


class UserError(Exception):
    """An error shown as one message without a traceback; it says where it is, what it is, and how to fix it."""


class Diverged(UserError, ArithmeticError):
    """A quantity that is no longer finite."""


class OutOfMemory(UserError, MemoryError):
    """A derivative that does not fit into memory, however small the microbatches."""


class UnusableData(UserError, ValueError):
    """Data that are missing, damaged, of another form, or too few."""


class Stopped(Exception):
    """The requested end of a process before its last step, not an error; the message says when and why."""
