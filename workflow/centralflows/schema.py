"""The settings of a run: the only truth on options, their defaults and their limits. Imports no torch.

All models stand in this one file, as it is read from top to bottom like a form. It holds what trajectories depend on, and no
more: a change of it makes them again.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from functools import reduce
from operator import or_
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    model_validator,
)

from .config_messages import BUILT_IN, DOTTED, DOTTED_PATH, NUMBER, PLUGIN, models_in, shown

LARGEST = 2**31 - 1  # a size beyond it is a slip of the keyboard


def _number(value: Any) -> Any:
    """YAML 1.1 takes 1e-3, without a point, for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


AlsoText = BeforeValidator(_number)
Positive = Annotated[float, Field(gt=0), AlsoText]
Count = Annotated[int, Field(ge=1, le=LARGEST)]
Natural = Annotated[int, Field(ge=0, le=LARGEST)]
Name = Annotated[
    str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$", max_length=100)
]  # file systems take 255 bytes, with endings


class Strict(BaseModel):
    """Unknown keys are mistakes, and so are values of another type."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    def mistakes(self) -> Iterator[str]:
        """What is wrong between keys that are right one by one, as `key: message`."""
        yield from ()

    @model_validator(mode="after")
    def _no_mistakes(self) -> Strict:
        if found := list(self.mistakes()):
            raise ValueError("\n".join(found))
        return self


def _tag(value: Any) -> str | None:
    """Which member of a union of named models a value is: by its `name`, a dotted path being that of a plugin."""
    name = value.get("name") if isinstance(value, Mapping) else getattr(value, "name", None)
    if not isinstance(name, str):
        return None if name is None else ""  # nothing is called so
    return PLUGIN if ":" in name else name


def one_of(*models: type[Strict]) -> Any:
    """The union of models that their `name` tells apart."""
    names = [(get_args(model.model_fields["name"].annotation) or (PLUGIN,))[0] for model in models]
    tagged = tuple(Annotated[model, Tag(name)] for model, name in zip(models, names, strict=True))
    return Annotated[reduce(or_, tagged), Discriminator(_tag)]


DottedPath = Annotated[str, Field(pattern=DOTTED_PATH)]


class Plugin(Strict):
    """Your own: the keys that follow are its arguments."""

    model_config = ConfigDict(extra="allow")

    name: DottedPath
    """package.module:Name"""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments, as a copy that the plugin may change."""
        return copy.deepcopy(self.model_extra or {})

    def mistakes(self) -> Iterator[str]:
        for key, value in self.options.items():
            if not _is_plain(value):
                yield f"{key}: must be made of numbers, text, lists and mappings (got {shown(value)})"


def _is_plain(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, (bool, int, str)) or (isinstance(value, float) and math.isfinite(value))


# -- data ---------------------------------------------------------------------------------------------------------

Kind = Literal["images", "points", "tokens"]


class Examples(Strict):
    kind: ClassVar[Kind | None]
    """what one example is, and so which networks can learn them; None where that is seen when they are made"""
    needs_full: ClassVar[bool] = False
    """whether the full CIFAR-10 is needed"""

    @property
    def image_size(self) -> int | None:
        """Height and width of an image [pixels]; None for what is none."""
        return None


class Classes(Examples):
    available: ClassVar[Mapping[str, int]] = {}  # examples of each class that there are, where they are limited

    examples: Count = 1000
    """training examples, the same number of each class"""
    test_examples: Count = 400
    """test examples, the same number of each class"""
    binary: bool = False
    """one output unit instead of one for each class; needs two classes"""

    def mistakes(self) -> Iterator[str]:
        for key in ("examples", "test_examples"):
            count, most = getattr(self, key), self.available.get(key, LARGEST) * self.classes
            if count % self.classes or count > most:
                limit = f" up to {most}" if key in self.available else ""
                yield f"{key}: must be a multiple of classes ({self.classes}){limit} (got {count})"
        if self.binary and self.classes != 2:
            yield f"binary: one output unit tells two classes apart; needs classes: 2 (got {self.classes})"


class Cifar10(Classes):
    """The first `classes` classes of CIFAR-10. Up to 4 classes of 250 training and 100 test images come with the
    repository; more are taken from the full dataset, which a rule obtains."""

    kind: ClassVar[Kind] = "images"
    available: ClassVar[Mapping[str, int]] = {"examples": 5000, "test_examples": 1000}

    name: Literal["cifar10"]
    classes: Annotated[int, Field(ge=2, le=10)] = 4
    """number of classes, the first ones"""
    pool: Literal[1, 2, 4] = 1
    """side of the squares of pixels that are averaged: images have 32, 16 or 8 pixels a side"""

    @property
    def image_size(self) -> int:
        return 32 // self.pool

    @property
    def needs_full(self) -> bool:
        """Whether the subset in the repository is not enough."""
        return self.classes > 4 or self.examples > 250 * self.classes or self.test_examples > 100 * self.classes


class Digits(Classes):
    """Handwritten digits of 8x8 pixels, which come with scikit-learn; those from 0 to `classes` - 1, 174 of each."""

    kind: ClassVar[Kind] = "images"

    name: Literal["digits"]
    classes: Annotated[int, Field(ge=2, le=10)] = 10
    """number of classes, the first ones"""
    seed: Natural = 0
    """of the split into training and test examples"""

    @property
    def image_size(self) -> int:
        return 8

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        together, most = self.examples + self.test_examples, 174 * self.classes  # of the rarest digit there are 174
        if together > most:
            yield f"examples: with test_examples there can be {most}, 174 of each class (got {together})"


class Moons(Classes):
    """Two interleaved half circles of points, standardised."""

    kind: ClassVar[Kind] = "points"
    classes: ClassVar[int] = 2

    name: Literal["moons"]
    noise: Annotated[float, Field(ge=0, le=100), AlsoText] = 0.1
    """standard deviation of Gaussian noise on each coordinate [radius of the half circles]"""
    seed: Natural = 0
    """of the noise and of the split into training and test examples"""


class Circles(Classes):
    """Two concentric circles of points, standardised."""

    kind: ClassVar[Kind] = "points"
    classes: ClassVar[int] = 2

    name: Literal["circles"]
    noise: Annotated[float, Field(ge=0, le=100), AlsoText] = 0.1
    """standard deviation of Gaussian noise on each coordinate [radius of the outer circle]"""
    factor: Annotated[float, Field(ge=0, lt=1), AlsoText] = 0.5
    """radius of the inner circle [radius of the outer circle]"""
    seed: Natural = 0
    """of the noise and of the split into training and test examples"""


class Classification(Classes):
    """Gaussian clusters of points at the corners of a hypercube, standardised."""

    kind: ClassVar[Kind] = "points"

    name: Literal["classification"]
    classes: Annotated[int, Field(ge=2, le=1000)] = 2
    """number of classes"""
    dimensions: Annotated[int, Field(ge=1, le=1000)] = 10
    """of the points"""
    informative: Annotated[int, Field(ge=1, le=1000)] = 5
    """dimensions in which the clusters lie; the others are noise"""
    clusters: Annotated[int, Field(ge=1, le=1000)] = 1
    """of each class; every cluster has a corner of its own"""
    separation: Positive = 1.0
    """half the side of the hypercube [about the width of a cluster]"""
    seed: Natural = 0
    """of the clusters, the points, and the split into training and test examples"""

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        if self.informative > self.dimensions:
            yield f"informative: must be at most dimensions ({self.dimensions}) (got {self.informative})"
        if self.classes * self.clusters > 2**self.informative:
            corners = 2**self.informative
            yield f"clusters: with {self.classes} classes must fit on {corners} corners (2^informative) (got {self.clusters})"


class Sequences(Examples):
    kind: ClassVar[Kind] = "tokens"

    examples: Count = 1000
    """training sequences"""
    test_examples: Count = 1000
    """test sequences"""
    symbols: Annotated[int, Field(ge=2, le=LARGEST)] = 4
    """size of the alphabet"""
    length: Annotated[int, Field(ge=2, le=LARGEST)] = 8
    """symbols of a sequence; the network sees 2 * length - 1 tokens: 15 in the paper, as by default"""
    seed: Natural = 0
    """of the sequences"""

    def mistakes(self) -> Iterator[str]:
        sequences = self.symbols ** min(self.length, 63)
        if sequences >= 2**63:
            yield f"length: symbols^length ({self.symbols}^{self.length}) must be below 2^63"
        elif self.examples + self.test_examples > sequences:
            yield f"examples: all sequences differ, so with test_examples there can be {sequences} (symbols^length)"


class Sorting(Sequences):
    """Sequences of symbols followed by the same symbols sorted; the network predicts the sorted half."""

    name: Literal["sorting"]


class Copying(Sequences):
    """Sequences of symbols followed by themselves; the network predicts the second half."""

    name: Literal["copying"]


class Sst2(Classes):
    """Sentences of film reviews that are positive or negative (SST-2 of GLUE), byte by byte, from files that you download;
    the network has its one label at the last byte."""

    kind: ClassVar[Kind] = "tokens"
    classes: ClassVar[int] = 2

    name: Literal["sst2"]
    length: Annotated[int, Field(ge=1, le=10_000)] = 64
    """bytes of a sentence; what is longer is cut, what is shorter is padded"""
    # Left out of what jobs are given: no result depends on where the files lie, and they are inputs of their own.
    path: Annotated[str, Field(min_length=1, exclude=True)] = "data/SST-2"
    """folder with train.tsv and dev.tsv"""

    def mistakes(self) -> Iterator[str]:
        yield from super().mistakes()
        if set(self.path) & set("{}"):
            yield f"path: must have no braces, which Snakemake takes for wildcards (got {shown(self.path)})"


class DatasetPlugin(Examples, Plugin):
    """A function of your own, called with the keys that follow. It returns a `centralflows.Dataset`."""

    kind: ClassVar[None] = None


Dataset = one_of(Cifar10, Digits, Moons, Circles, Classification, Sorting, Copying, Sst2, DatasetPlugin)

# -- networks -----------------------------------------------------------------------------------------------------


class Network(Strict):
    takes: ClassVar[tuple[Kind, ...]]
    """kinds of examples that it can be built for"""
    batched: ClassVar[bool] = False
    """whether derivatives along several vectors are faster in one pass, as measured"""

    def refuses(self, size: int) -> str | None:
        """Why images of this height and width [pixels] do not fit, if they do not."""


Activation = Literal["gelu", "silu", "relu", "tanh"]


class Mlp(Network):
    """Fully connected network. It takes images, which it flattens, and points."""

    takes: ClassVar[tuple[Kind, ...]] = ("images", "points")
    batched: ClassVar[bool] = True

    name: Literal["mlp"]
    width: Count = 256
    """units per hidden layer"""
    depth: Count = 2
    """hidden layers"""
    activation: Activation = "gelu"
    """of the hidden layers; relu is not smooth, and warned of"""


class Cnn(Network):
    """Two 3x3 convolutions with average pooling, one dense layer. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["cnn"]
    channels: Count = 32
    """channels of the first stage; the second has twice as many"""
    dense: Count = 128
    """units of the dense layer"""
    activation: Activation = "gelu"
    """of convolutions and dense layer; relu is not smooth, and warned of"""

    def refuses(self, size):
        return f"images must be at least 4x4 (are {size}x{size})" if size < 4 else None


class ResNet(Network):
    """Residual network with group norm. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["resnet"]
    blocks: Annotated[tuple[Count, ...], Field(min_length=1, max_length=8, strict=False)] = (3, 3, 3)
    """residual blocks of each stage; every stage after the first halves the image and doubles the channels"""
    width: Count = 16
    """channels of the first stage, and groups of every norm"""
    activation: Activation = "gelu"
    """of the convolutions; relu is not smooth, and warned of"""

    def refuses(self, size):
        least = 2 ** max(1, len(self.blocks) - 1)
        return f"images must be at least {least}x{least} (are {size}x{size})" if size < least else None


class Vit(Network):
    """Simple vision transformer: square patches, fixed positions, encoder layers, mean over patches. It takes images."""

    takes: ClassVar[tuple[Kind, ...]] = ("images",)

    name: Literal["vit"]
    patch: Count = 4
    """side of a patch [pixels]; it divides that of the images"""
    width: Count = 64
    """model dimension d, a multiple of 4"""
    layers: Count = 4
    """encoder layers"""
    heads: Count = 8
    """attention heads"""
    head_width: Count = 64
    """dimension of a head"""
    hidden: Count = 256
    """units between the two linear maps of a feed-forward part"""
    activation: Activation = "gelu"
    """of the feed-forward parts; relu is not smooth, and warned of"""

    def mistakes(self) -> Iterator[str]:
        if self.width % 4:
            yield f"width: must be a multiple of 4 (got {self.width})"

    def refuses(self, size):
        return f"patches of {self.patch}x{self.patch} do not tile {size}x{size}" if size % self.patch else None


class Transformer(Network):
    """Decoder on sequences of symbols: causal self-attention, attention to the embedded input, feed-forward."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    batched: ClassVar[bool] = True

    name: Literal["transformer"]
    layers: Count = 4
    """decoder layers"""
    width: Count = 32
    """model dimension d"""
    heads: Count = 4
    """attention heads; the width is a multiple of twice as many"""
    activation: Activation = "gelu"
    """of the feed-forward parts; relu is not smooth, and warned of"""

    def mistakes(self) -> Iterator[str]:
        if self.width % (2 * self.heads):
            yield f"width: must be a multiple of twice the heads ({2 * self.heads}) (got {self.width})"


class Lstm(Network):
    """Long short-term memory on sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)
    batched: ClassVar[bool] = True

    name: Literal["lstm"]
    layers: Count = 2
    """memory layers"""
    width: Count = 48
    """units of the embedding and of every layer"""


class Mamba(Network):
    """Selective state-space network on sequences of symbols."""

    takes: ClassVar[tuple[Kind, ...]] = ("tokens",)

    name: Literal["mamba"]
    layers: Count = 2
    """state-space layers"""
    width: Count = 64
    """model dimension d"""
    state: Count = 16
    """states of each channel"""
    expansion: Count = 2
    """channels of a layer, in widths"""
    taps: Count = 4
    """tokens that the convolution of a layer sees"""
    activation: Activation = "silu"
    """after the convolution and in the gate; relu is not smooth, and warned of"""


class ModelPlugin(Network, Plugin):
    """A class or function of your own that makes a `torch.nn.Module`, called with the keys that follow and with what it
    takes of `shape` (of one example), `outputs` (units), and for sequences `symbols` and `length`."""

    takes: ClassVar[tuple[Kind, ...]] = get_args(Kind)


Model = one_of(Mlp, Cnn, ResNet, Vit, Transformer, Lstm, Mamba, ModelPlugin)


def networks_for(kind: Kind) -> list[str]:
    """Names of the networks of this package that take such examples."""
    networks = [network for network in models_in(Model) if kind in network.takes]
    return [name for network in networks for name in get_args(network.model_fields["name"].annotation)]


# -- losses -------------------------------------------------------------------------------------------------------


class CriterionPlugin(Plugin):
    """A function of your own `(outputs, labels) -> loss`, called with the keys that follow too; or a class, which is made
    with them, and its instance called."""


def _criterion_tag(value: Any) -> str:
    if isinstance(value, (Mapping, Plugin)):
        return PLUGIN
    return DOTTED if isinstance(value, str) and ":" in value else BUILT_IN


Criterion = Annotated[
    Annotated[Literal["mse", "cross-entropy"], Tag(BUILT_IN)]
    | Annotated[DottedPath, AfterValidator(lambda path: CriterionPlugin(name=path)), Tag(DOTTED)]
    | Annotated[CriterionPlugin, Tag(PLUGIN)],
    Discriminator(_criterion_tag),
]

# -- optimizers ---------------------------------------------------------------------------------------------------


class Warmup(Strict):
    """Rises linearly from 0, and stays."""

    name: Literal["warmup"]
    steps: Count
    """step at which it reaches the learning rate"""


class Cosine(Strict):
    """Falls along half a cosine, and stays."""

    name: Literal["cosine"]
    steps: Count
    """step at which it ends"""
    final: Annotated[float, Field(ge=0, le=1), AlsoText] = 0.0
    """what is left then, as a factor of the learning rate"""


class Piecewise(Strict):
    """Constant between given steps."""

    name: Literal["piecewise"]
    steps: tuple[Count, ...] = Field(min_length=1, strict=False)
    """steps at which it changes, increasing"""
    factors: tuple[Positive, ...] = Field(min_length=1, strict=False)
    """factors of the learning rate from each of them on"""

    def mistakes(self) -> Iterator[str]:
        if len(self.steps) != len(self.factors):
            yield f"factors: must be as many as steps ({len(self.steps)}) (got {len(self.factors)})"
        if list(self.steps) != sorted(set(self.steps)):
            yield "steps: must increase"


Schedule = Annotated[Warmup | Cosine | Piecewise, Field(discriminator="name")]


class Optimizer(Strict):
    lr: Positive
    """learning rate"""
    schedule: Schedule | None = None
    """how the learning rate changes with the optimizer's step counter, which is 1 at its first step; constant when left out"""


class GradientDescent(Optimizer):
    """Gradient descent. Its edge of stability is at sharpness 2 / lr."""

    name: Literal["gd"]


class SquaredGradientAverage(Optimizer):
    beta2: Annotated[float, Field(gt=0, lt=1), AlsoText] = 0.99
    """how much of the average of squared gradients is kept at each step"""
    eps: Annotated[float, Field(ge=0), AlsoText] = 0.0
    """added to the root of the average"""
    bias_correction: bool = False
    """whether the average is divided by its total weight so far"""


class ScalarRMSProp(SquaredGradientAverage):
    """Scalar RMSProp: one step size, from an average of the squared norm of the gradient."""

    name: Literal["scalar-rmsprop"]


class RMSProp(SquaredGradientAverage):
    """RMSProp: a step size for each weight, from an average of its squared gradient."""

    name: Literal["rmsprop"]


class OptimizerPlugin(Optimizer, Plugin):
    """A subclass of `centralflows.Optimizer` of your own, called with `lr` (a number, or a schedule's function of the step
    counter) and the keys that follow."""


OptimizerConfig = one_of(GradientDescent, ScalarRMSProp, RMSProp, OptimizerPlugin)

# -- processes ----------------------------------------------------------------------------------------------------


class Spectrum(Strict):
    """Which eigenvalues of the effective Hessian are tracked."""

    threshold: Positive = 1.5
    """all above it are tracked, and one below (the stable flow tracks `minimum` only)"""
    minimum: Count = 1
    """least number tracked"""
    maximum: Annotated[int, Field(ge=1, le=64)] = 16
    """most that can be tracked"""
    tolerance: Annotated[float, Field(gt=0, le=1e-2), AlsoText] = 8e-5
    """on the residual of eigenpairs above the threshold, relative to the largest eigenvalue; ten times as much for those below
    it and along the stable flow, which act on nothing, and whose values are right to a ten thousandth all the same, most of
    them to a hundred thousandth"""
    hessian_every: Natural = 0
    """steps between solves for the eigenvalues of the Hessian itself, where each weight has a step size of its own (0:
    never; with one step size for all they come for free)"""

    def mistakes(self) -> Iterator[str]:
        if self.minimum > self.maximum:
            yield f"minimum: must be at most maximum ({self.maximum}) (got {self.minimum})"


MARGIN = 0.15
"""Distance of a mode below the critical threshold from which on the central flow looks at it; such modes are tracked."""
SETTLED = 1.5
"""Effective eigenvalue above which modes take part in a stationary state."""

FixedStep = Literal["euler", "midpoint", "heun2", "heun3", "jameson3", "rk4"]


class Integration(Strict):
    """How a unit of time (one optimizer step) is integrated."""

    method: FixedStep = "euler"
    """fixed-step method of torchdiffeq, or jameson3, of three stages and second order"""
    substeps: Count = 4
    """equal steps per unit of time"""


class Central(Integration):
    """The central flow, and the ablated one. The relaxation time is 1/substeps, or half of that for heun3, jameson3 and rk4,
    which are stable for it; with followed third derivatives, it and the steps are a third of that while the effective
    sharpness exceeds 2.02. The published discretisation is `{method: euler, substeps: 4, third_derivatives: fresh}`."""

    method: FixedStep = "jameson3"
    """fixed-step method of torchdiffeq, or jameson3, of three stages and second order, as accurate as two steps of heun2; with
    followed third derivatives, it gives way to a step of heun2 far below the edge"""
    substeps: Count = 1
    """equal steps per unit of time at the edge of stability; with followed third derivatives fewer below it and more above, in
    proportion to the sharpness"""
    critical_threshold: Annotated[float, Field(gt=0, le=2), AlsoText] = 1.95
    """modes with a larger effective eigenvalue enter the complementarity problem; at least 0.15 above spectrum.threshold"""
    third_derivatives: Literal["followed", "fresh"] = "followed"
    """followed: evaluated at most once per unit of time, and extrapolated while that is accurate; fresh: at every evaluation of
    the velocity, as in the published discretisation"""
    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 3e-2
    """on the relative error of third derivatives that are followed"""
    held_slack: Literal["rayleigh", "full"] = "rayleigh"
    """what is kept of the slack between two solves of the spectrum where third derivatives are fresh; rayleigh is the published
    discretisation"""

    @property
    def relaxation_time(self) -> float:
        """Time in which the slack of a critical mode may be used up [optimizer steps]; see `flows.CentralFlow`."""
        return (0.5 if self.method in ("heun3", "jameson3", "rk4") else 1.0) / self.substeps


PUBLISHED = Central(method="euler", substeps=4, third_derivatives="fresh")
"""The discretisation of the published implementation."""


class Stable(Integration):
    """The stable flow (for gradient descent: gradient flow)."""

    method: FixedStep | Literal["rkc2", "bosh3", "dopri5"] = "rkc2"
    """rkc2: stabilised steps of second order; or a method of torchdiffeq, of which bosh3 and dopri5 choose their steps
    themselves"""
    substeps: Count = 3
    """equal steps per unit of time, and the fewest; bosh3 and dopri5 begin with one of them, rkc2 chooses its own"""
    substeps_per_sharpness: Annotated[float, Field(ge=0.5), AlsoText] = 0.6
    """further substeps as the flow grows stiff: the least number per unit of effective sharpness; rkc2 takes more stages
    instead, until it is stable as far"""
    tolerance: Annotated[float, Field(ge=1e-3, le=0.1), AlsoText] = 3e-2
    """on the error of each step of rkc2 in the weights, relative to how far it goes; where it is larger, the step is halved"""
    rtol: Positive = 1e-5
    """relative error of each step of bosh3 and dopri5"""
    atol: Positive = 1e-7
    """absolute error of each step of bosh3 and dopri5 [weight]"""
    stop_at_sharpness: Positive = 100.0
    """effective sharpness at which the flow is given up"""
    stop_at_evaluations: Count = 10_000
    """evaluations of the gradient in one unit of time at which the flow is given up"""


PUBLISHED_STABLE = Stable(method="euler", substeps=4, substeps_per_sharpness=2)
"""That of its stable flow."""


class Stationary(Integration):
    """The stationary flow, with and without its curvature penalty."""

    tolerance: Annotated[float, Field(gt=0, le=0.1), AlsoText] = 1e-4
    """on what is left of the drift of the optimizer's state, relative to the state"""


class Start(Strict):
    """Start from the stored state of another run, at a step that is given or found from the data."""

    run: Name
    """a key of `runs`, with the same dataset, model, criterion and dtype"""
    step: Natural | None = None
    """the step itself"""
    crossing: Count | None = None
    """which upward crossing of 2 by the effective sharpness at the midpoints, 1 for the first"""
    loss: Positive | None = None
    """the first step whose loss is not above this"""
    keep: Literal["state", "preconditioner"] = "state"
    """keep the optimizer's state, or the step sizes: then the state becomes the one that has them"""

    def mistakes(self) -> Iterator[str]:
        given = [key for key in ("step", "crossing", "loss") if getattr(self, key) is not None]
        if len(given) != 1:
            yield f"run: give one of step, crossing and loss (got {' and '.join(given) or 'none'})"


Process = Literal["discrete", "stable", "central", "ablated", "stationary", "stationary-ablated"]


ChunkSize = Annotated[
    Annotated[Count, Tag(NUMBER)] | Annotated[Literal["auto"], Tag(BUILT_IN)],
    Discriminator(lambda value: BUILT_IN if isinstance(value, str) else NUMBER),
]


class Run(Strict):
    """One experiment: a network, a dataset, an optimizer, and the processes that start from the same weights."""

    dataset: Dataset
    """what is learnt"""
    model: Model
    """the network that learns it"""
    optimizer: OptimizerConfig
    """how it learns"""
    criterion: Criterion = "mse"
    """mse: half the squared distance to the target, which is one-hot (-1 or 1 where two classes share one output unit);
    cross-entropy: the negative log-likelihood of the label; either averaged over the labels that count; or your own"""
    steps: Count
    """optimizer steps recorded; the flows cover the same time"""
    warm_start: Natural = 0
    """steps of the optimizer itself before step 0, where all processes start"""
    start: Start | None = None
    """start from another run instead of the initial weights"""
    stop_at_loss: Positive | None = None
    """each process ends after the first step whose loss is not above this"""
    on_divergence: Literal["fail", "truncate"] = "fail"
    """when something is no longer finite: the job fails, and what was finite is kept beside its output; or its trajectory ends
    there, and figures and scorecard say so"""
    processes: Annotated[tuple[Process, ...], Field(strict=False)] = ("discrete", "stable", "central")
    """what to run; the discrete run (with its midpoints) comes first and is always needed"""
    seed: Natural = 0
    """of the initial weights"""
    dtype: Literal["float32", "float64"] = "float32"
    """of weights and data"""
    weights_stride: Natural = 1
    """weights and optimizer state are stored every so many steps (0: at step 0 only); distances to the discrete run exist
    where they are"""
    chunk_size: ChunkSize = "auto"
    """examples per slice: the loss and its derivatives are summed over slices, and memory falls with their size; "auto" takes
    all at once, and halves slices where memory runs out"""
    outputs: Natural = 3
    """test examples on which the network's outputs are recorded"""
    accuracy_every: Natural = 10
    """steps between measurements of the accuracy on training and test examples, where labels are classes (0: never)"""
    coordinates: Natural = 0
    """number of weights that are followed one by one, drawn by the seed: squared gradient, its prediction, optimizer state"""
    stationary_every: Natural = 0
    """steps between points of the central flow at which the stationary state and preconditioners are found (0: never)"""
    average_width: Annotated[float, Field(gt=0, le=1e5), AlsoText] = 12.0
    """standard deviation of the Gaussian time averages [optimizer steps]"""
    spectrum: Spectrum = Spectrum()
    """which eigenvalues are tracked"""
    central: Central = Central()
    """how the central flow is integrated"""
    stable: Stable = Stable()
    """how the stable flow is integrated"""
    stationary: Stationary = Stationary()
    """how the stationary flows are integrated"""

    def mistakes(self) -> Iterator[str]:
        if self.optimizer.name == "gd":
            for process in ("stationary", "stationary-ablated"):
                if process in self.processes:
                    yield f"processes: gradient descent has no state that could settle; leave {process!r} out"
            if self.stationary_every:
                yield "stationary_every: gradient descent has no state that could settle; leave it out"
        if self.stationary_every and "central" not in self.processes:
            yield "stationary_every: follows the central flow; add it to processes"
        threshold, critical = self.spectrum.threshold, self.central.critical_threshold
        if {"central", "ablated"} & set(self.processes) and critical < threshold + MARGIN:
            yield f"central: critical_threshold must be {MARGIN:g} above spectrum.threshold ({threshold:g}) (got {critical:g})"
        if (
            self.stationary_every or any("stationary" in process for process in self.processes)
        ) and threshold > SETTLED:
            yield f"spectrum: threshold must be at most {SETTLED:g} for stationary states (got {threshold:g})"
        every, stride = self.stationary_every, self.weights_stride
        if every and stride and every % stride:
            yield f"stationary_every: must be a multiple of weights_stride ({stride}) (got {every})"
        if self.stationary_every and not self.weights_stride:
            yield "stationary_every: needs stored weights; set weights_stride to 1 or more"
        if "discrete" not in self.processes:
            yield "processes: must contain 'discrete'"
        if len(set(self.processes)) < len(self.processes):
            yield "processes: must not repeat"
        if self.dataset.kind is None:  # your own: what it is, and how many there are, is seen when it is made
            return
        if self.dataset.kind not in self.model.takes:
            yield (
                f"model: {self.model.name!r} takes {' or '.join(self.model.takes)}, and dataset {self.dataset.name!r} has "
                f"{self.dataset.kind}; use {', '.join(networks_for(self.dataset.kind))}"
            )
        elif self.dataset.image_size and (reason := self.model.refuses(self.dataset.image_size)):
            yield f"model: does not fit dataset {self.dataset.name!r}: {reason}"
        if self.outputs > self.dataset.test_examples:
            yield f"outputs: must be at most dataset.test_examples ({self.dataset.test_examples}) (got {self.outputs})"

    @property
    def plugins(self) -> dict[str, Plugin]:
        """The parts that the user brings, by their keys."""
        parts = {key: getattr(self, key) for key in ("dataset", "model", "criterion", "optimizer")}
        return {key: part for key, part in parts.items() if isinstance(part, Plugin)}


class Trajectory(Strict):
    """What the trajectories of one run depend on: the parameter of their jobs."""

    run: Run
    threads: int
    source: Run | None = None
    """the run that `run.start` names"""
    plugins: dict[str, str] = {}
    """digests of the code of the run's plugins"""
