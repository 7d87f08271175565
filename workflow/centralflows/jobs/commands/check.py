"""Check a configuration file from somebody else without running its code.

Snakemake reads a file before this project can. A template could then run code, and nested aliases could
exhaust the memory.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ...config.messages import ConfigError
from ...config.profile import load


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", type=Path, help="a configuration, as for --configfile")


def main(options: argparse.Namespace) -> int:
    try:
        config = load(options.file)
    except ConfigError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"{options.file}: {_counted(len(config.runs), 'run')} and {_counted(len(config.figures), 'figure')}")
    own = sorted({plugin.name for run in config.runs.values() for plugin in run.plugins.values()})
    if own:
        print(f"It runs your own code: {', '.join(own)}")
    return 0


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("s" if number != 1 else "")
