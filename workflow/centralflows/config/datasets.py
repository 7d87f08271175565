"""The settings of datasets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    Field,
)

from .messages import shown
from .strict import LARGEST, AlsoText, Count, Natural, PluginConfig, Positive, Strict, one_of

Kind = Literal["images", "points", "tokens"]


class DatasetConfig(Strict):
    kind: ClassVar[Kind | None]
    """kind of one example, which decides which networks can learn the dataset; None if it is not known beforehand"""
    needs_full: ClassVar[bool] = False
    """whether the full CIFAR-10 is needed"""

    @property
    def image_size(self) -> int | None:
        """Height and width of an image [pixels]; None if the examples are not images."""
        return None


class LabelledDatasetConfig(DatasetConfig):
    available: ClassVar[Mapping[str, int]] = {}  # available examples per class, if they are limited

    examples: Count = 1000
    """training examples, the same number of each class"""
    test_examples: Count = 400
    """test examples, the same number of each class"""
    binary: bool = False
    """one output unit instead of one per class; needs two classes"""

    def mistakes(self) -> Iterator[str]:
        for key in ("examples", "test_examples"):
            count, most = getattr(self, key), self.available.get(key, LARGEST) * self.classes
            if count % self.classes or count > most:
                limit = f" up to {most}" if key in self.available else ""
                yield f"{key}: must be a multiple of classes ({self.classes}){limit} (got {count})"
        if self.binary and self.classes != 2:
            yield f"binary: one output unit tells two classes apart; needs classes: 2 (got {self.classes})"


class Cifar10Config(LabelledDatasetConfig):
    """The first `classes` classes of CIFAR-10. The repository contains 250 training and 100 test images of each of the
    first 4 classes; more are taken from the full dataset, which a rule obtains."""

    kind: ClassVar[Kind] = "images"
    available: ClassVar[Mapping[str, int]] = {"examples": 5000, "test_examples": 1000}
    implementation: ClassVar[str] = "centralflows.problems.data.cifar10:cifar10"

    name: Literal["cifar10"]
    classes: Annotated[int, Field(ge=2, le=10)] = 4
    """number of classes; the first ones are taken"""
    pool: Literal[1, 2, 4] = 1
    """side of the squares of pixels that are averaged; images then have 32, 16 or 8 pixels per side"""

    @property
    def image_size(self) -> int:
        return 32 // self.pool

    @property
    def needs_full(self) -> bool:
        """Whether the subset in the repository is too small."""
        return self.classes > 4 or self.examples > 250 * self.classes or self.test_examples > 100 * self.classes


class DigitsConfig(LabelledDatasetConfig):
    """Handwritten digits of 8x8 pixels from scikit-learn: the digits 0 to `classes` - 1, at most 174 of each."""

    kind: ClassVar[Kind] = "images"
    implementation: ClassVar[str] = "centralflows.problems.data.digits:digits"

    name: Literal["digits"]
    classes: Annotated[int, Field(ge=2, le=10)] = 10
    """number of classes; the first ones are taken"""
    seed: Natural = 0
    """seed of the split into training and test examples"""

    @property
    def image_size(self) -> int:
        return 8

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        together, most = self.examples + self.test_examples, 174 * self.classes  # the rarest digit occurs 174 times
        if together > most:
            yield f"examples: with test_examples there can be {most}, 174 of each class (got {together})"


class MoonsConfig(LabelledDatasetConfig):
    """Two interleaved half circles of points, standardised."""

    kind: ClassVar[Kind] = "points"
    classes: ClassVar[int] = 2
    implementation: ClassVar[str] = "centralflows.problems.data.point_clouds:moons"

    name: Literal["moons"]
    noise: Annotated[float, Field(ge=0, le=100), AlsoText] = 0.1
    """standard deviation of Gaussian noise on each coordinate [radius of the half circles]"""
    seed: Natural = 0
    """seed of the noise and of the split into training and test examples"""


class CirclesConfig(LabelledDatasetConfig):
    """Two concentric circles of points, standardised."""

    kind: ClassVar[Kind] = "points"
    classes: ClassVar[int] = 2
    implementation: ClassVar[str] = "centralflows.problems.data.point_clouds:circles"

    name: Literal["circles"]
    noise: Annotated[float, Field(ge=0, le=100), AlsoText] = 0.1
    """standard deviation of Gaussian noise on each coordinate [radius of the outer circle]"""
    factor: Annotated[float, Field(ge=0, lt=1), AlsoText] = 0.5
    """radius of the inner circle [radius of the outer circle]"""
    seed: Natural = 0
    """seed of the noise and of the split into training and test examples"""


class ClassificationConfig(LabelledDatasetConfig):
    """Gaussian clusters of points at the corners of a hypercube, standardised."""

    kind: ClassVar[Kind] = "points"
    implementation: ClassVar[str] = "centralflows.problems.data.point_clouds:classification"

    name: Literal["classification"]
    classes: Annotated[int, Field(ge=2, le=1000)] = 2
    """number of classes"""
    dimensions: Annotated[int, Field(ge=1, le=1000)] = 10
    """dimension of the points"""
    informative: Annotated[int, Field(ge=1, le=1000)] = 5
    """dimensions in which the clusters lie; the others are noise"""
    clusters: Annotated[int, Field(ge=1, le=1000)] = 1
    """clusters per class, each at a different corner"""
    separation: Positive = 1.0
    """half the side of the hypercube [about the width of a cluster]"""
    seed: Natural = 0
    """seed of the clusters, the points, and the split into training and test examples"""

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        if self.informative > self.dimensions:
            yield f"informative: must be at most dimensions ({self.dimensions}) (got {self.informative})"
        if self.classes * self.clusters > 2**self.informative:
            corners = 2**self.informative
            yield f"clusters: with {self.classes} classes must fit on {corners} corners (2^informative) (got {self.clusters})"


class SequencesConfig(DatasetConfig):
    kind: ClassVar[Kind] = "tokens"

    examples: Count = 1000
    """training sequences"""
    test_examples: Count = 1000
    """test sequences"""
    symbols: Annotated[int, Field(ge=2, le=LARGEST)] = 4
    """size of the alphabet"""
    length: Annotated[int, Field(ge=2, le=LARGEST)] = 8
    """symbols per sequence; the network sees 2 * length - 1 tokens (15 by default, as in the paper)"""
    seed: Natural = 0
    """seed of the sequences"""

    def mistakes(self) -> Iterator[str]:
        sequences = self.symbols ** min(self.length, 63)
        if sequences >= 2**63:
            yield f"length: symbols^length ({self.symbols}^{self.length}) must be below 2^63"
        elif self.examples + self.test_examples > sequences:
            yield f"examples: all sequences differ, so with test_examples there can be {sequences} (symbols^length)"


class SortingConfig(SequencesConfig):
    """Sequences of symbols followed by the same symbols sorted; the network predicts the sorted half."""

    implementation: ClassVar[str] = "centralflows.problems.data.sorting:sorting"

    name: Literal["sorting"]


class CopyingConfig(SequencesConfig):
    """Sequences of symbols followed by themselves; the network predicts the second half."""

    implementation: ClassVar[str] = "centralflows.problems.data.copying:copying"

    name: Literal["copying"]


class Sst2Config(LabelledDatasetConfig):
    """Positive and negative sentences of film reviews (SST-2 of GLUE), with one token per byte, from files that you
    download; the network predicts one label, at the last byte."""

    kind: ClassVar[Kind] = "tokens"
    classes: ClassVar[int] = 2
    implementation: ClassVar[str] = "centralflows.problems.data.sst2:sst2"

    name: Literal["sst2"]
    length: Annotated[int, Field(ge=1, le=10_000)] = 64
    """bytes per sentence; longer sentences are cut, shorter ones are padded"""
    # Excluded from the settings of jobs: no result depends on the path, and the files themselves are inputs of the job.
    path: Annotated[str, Field(min_length=1, exclude=True)] = "data/SST-2"
    """folder with train.tsv and dev.tsv"""

    def arguments(self) -> dict[str, Any]:
        return super().arguments() | {"path": self.path}

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        if set(self.path) & set("{}"):
            yield f"path: must have no braces, which Snakemake takes for wildcards (got {shown(self.path)})"


class DatasetPluginConfig(DatasetConfig, PluginConfig):
    """A user-defined function, called with the remaining keys. It returns a `centralflows.Dataset`."""

    kind: ClassVar[None] = None


AnyDataset = one_of(
    Cifar10Config,
    DigitsConfig,
    MoonsConfig,
    CirclesConfig,
    ClassificationConfig,
    SortingConfig,
    CopyingConfig,
    Sst2Config,
    DatasetPluginConfig,
)
