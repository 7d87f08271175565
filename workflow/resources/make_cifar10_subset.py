"""Make the shipped subset of CIFAR-10 from the full dataset: the first images of four classes.

Usage: PYTHONPATH=workflow python workflow/resources/make_cifar10_subset.py FULL.npz [SUBSET.npz]
"""

import argparse
import hashlib
from pathlib import Path

from centralflows.problems.data.cifar10 import SUBSET, check_digests, first_of_each, load, save

parser = argparse.ArgumentParser(description="Make the shipped subset of CIFAR-10 from the full dataset.")
parser.add_argument("full", type=Path, help="npz of the full dataset, written by the rule cifar10")
parser.add_argument("subset", type=Path, nargs="?", default=SUBSET, help="npz to write (default: the shipped file)")
arguments = parser.parse_args()

full = check_digests(load(arguments.full), where=str(arguments.full))
save(arguments.subset, first_of_each(full, classes=4, train=250, test=100))
print(hashlib.sha256(arguments.subset.read_bytes()).hexdigest(), arguments.subset)
