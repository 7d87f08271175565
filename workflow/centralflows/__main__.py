"""`python -m centralflows <command>`: questions about what the workflow has made, or would make."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from .common.errors import UserError
from .jobs.commands import audit, check, diff, status, verify

COMMANDS = {"audit": audit, "check": check, "diff": diff, "status": status, "verify": verify}
"""Each has `arguments(parser)` and `main(options)`, which returns the exit status."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status. An error that a user can mend is one message, and status 1."""
    parser = argparse.ArgumentParser(prog="python -m centralflows", description=__doc__)
    parsers = parser.add_subparsers(dest="command", required=True, metavar="command")
    for name, command in COMMANDS.items():
        text = command.__doc__.partition("\n")[0]
        own = parsers.add_parser(name, help=text, description=text)
        command.arguments(own)
        own.set_defaults(main=command.main)
    options = parser.parse_args(arguments)
    try:
        return options.main(options)
    except BrokenPipeError:  # the reader, `head` for example, has closed the pipe; Python would complain again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (UserError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
