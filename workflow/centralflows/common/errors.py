"""The base of every error that a user can mend."""


class UserError(Exception):
    """Shown as one message without a traceback. Says where, what, and the cure."""


class Diverged(UserError, ArithmeticError):
    """A quantity is no longer finite."""


class OutOfMemory(UserError, MemoryError):
    """A derivative does not fit into memory, however the examples are sliced."""


class UnusableData(UserError, ValueError):
    """Data that are missing, damaged, of another form, or too few."""


class Stopped(Exception):
    """A process ended before its last step, as it was told to; not an error. The message says when and why."""
