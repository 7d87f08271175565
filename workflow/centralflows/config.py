"""The configuration: the only truth on options, their defaults and their limits. Imports no torch."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

NAME = r"^[a-z0-9][a-z0-9-]*$"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1)]


class ConfigError(ValueError):
    """The configuration is wrong; the message lists every mistake, one line each."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


# -- data ---------------------------------------------------------------------------------------------------------


class Cifar10(Strict):
    """The first `classes` classes of CIFAR-10. Up to 4 classes of 250 training and 100 test images come with the
    repository; more are taken from the full dataset, which a rule obtains."""

    name: Literal["cifar10"]
    classes: Annotated[int, Field(ge=2, le=10)] = 4
    """number of classes, the first ones"""
    examples: Count = 1000
    """training examples, the same number of each class"""
    test_examples: Count = 400
    """test examples, the same number of each class"""

    @model_validator(mode="after")
    def _balanced(self) -> Cifar10:
        for key, limit in (("examples", 5000), ("test_examples", 1000)):
            count = getattr(self, key)
            if count % self.classes or count > limit * self.classes:
                raise ValueError(
                    f"{key} must be a multiple of classes ({self.classes}) up to {limit * self.classes} (got {count})"
                )
        return self

    @property
    def needs_full(self) -> bool:
        """Whether the subset in the repository is not enough."""
        return self.classes > 4 or self.examples > 250 * self.classes or self.test_examples > 100 * self.classes


class Sorting(Strict):
    """Sequences of symbols followed by the same symbols sorted; the network predicts the sorted half."""

    name: Literal["sorting"]
    examples: Count = 1000
    """training sequences"""
    test_examples: Count = 1000
    """test sequences"""
    symbols: Annotated[int, Field(ge=2)] = 4
    """size of the alphabet"""
    length: Annotated[int, Field(ge=2)] = 8
    """symbols to sort; the network sees 2 * length - 1 tokens"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the sequences"""


Dataset = Annotated[Cifar10 | Sorting, Field(discriminator="name")]

# -- networks -----------------------------------------------------------------------------------------------------


class Mlp(Strict):
    """Fully connected network with GELU."""

    name: Literal["mlp"]
    width: Count = 256
    """units per hidden layer"""
    depth: Count = 2
    """hidden layers"""


class Cnn(Strict):
    """Two 3x3 convolutions with average pooling, one dense layer, GELU."""

    name: Literal["cnn"]
    channels: Count = 32
    """channels of the first stage; the second has twice as many"""
    dense: Count = 128
    """units of the dense layer"""


class Transformer(Strict):
    """Decoder on sequences of symbols: causal self-attention, attention to the embedded input, feed-forward."""

    name: Literal["transformer"]
    layers: Count = 4
    """decoder layers"""
    width: Count = 32
    """model dimension d"""
    heads: Count = 4
    """attention heads; divides the width"""

    @model_validator(mode="after")
    def _divides(self) -> Transformer:
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of twice the heads ({2 * self.heads}) (got {self.width})")
        return self


Model = Annotated[Mlp | Cnn | Transformer, Field(discriminator="name")]

# -- optimizers ---------------------------------------------------------------------------------------------------


class GradientDescent(Strict):
    """Gradient descent."""

    name: Literal["gd"]
    lr: Positive
    """learning rate [weight^2 / loss]; the edge of stability is at sharpness 2 / lr"""


OptimizerConfig = Annotated[GradientDescent, Field()]

# -- processes ----------------------------------------------------------------------------------------------------


class Spectrum(Strict):
    """Which eigenvalues of the effective Hessian are tracked."""

    threshold: Positive = 1.5
    """all above it are tracked, and one below (the stable flow tracks `minimum` only)"""
    minimum: Count = 1
    """least number tracked"""
    maximum: Annotated[int, Field(ge=1, le=64)] = 8
    """most that can be tracked"""
    tolerance: Annotated[float, Field(gt=0, le=1e-2)] = 3e-5
    """on the residual relative to the largest eigenvalue"""


class Integration(Strict):
    """How a unit of time (one optimizer step) is integrated."""

    method: Literal["euler", "midpoint", "heun2", "heun3", "rk4"] = "euler"
    """fixed-step method of torchdiffeq"""
    substeps: Count = 4
    """equal steps per unit of time"""


class Central(Integration):
    """The central flow. Its relaxation time is one substep."""

    critical_threshold: Annotated[float, Field(gt=0, le=2)] = 1.95
    """modes with a larger effective eigenvalue enter the complementarity problem"""
    held_slack: Literal["rayleigh", "full"] = "rayleigh"
    """what is kept of the slack between two solves of the spectrum; rayleigh is the published discretisation"""


class Stable(Integration):
    """The stable flow (for gradient descent: gradient flow)."""

    substeps_per_sharpness: Annotated[float, Field(ge=0.5)] = 2.0
    """further substeps as the flow grows stiff: the least number per unit of effective sharpness"""
    stop_at_sharpness: Positive = 100.0
    """effective sharpness at which the flow is given up"""


Process = Literal["discrete", "stable", "central"]


class Run(Strict):
    """One experiment: a network, a dataset, an optimizer, and the processes that start from the same weights."""

    dataset: Dataset
    model: Model
    optimizer: OptimizerConfig
    criterion: Literal["mse"] = "mse"
    """mean squared error: half the squared distance to the one-hot target, averaged over examples"""
    steps: Count
    """optimizer steps recorded; the flows cover the same time"""
    warm_start: Annotated[int, Field(ge=0)] = 0
    """steps of the optimizer itself before step 0, where all processes start"""
    processes: tuple[Process, ...] = ("discrete", "stable", "central")
    """what to run; the discrete run (with its midpoints) comes first and is always needed"""
    seed: Annotated[int, Field(ge=0)] = 0
    """of the initial weights"""
    dtype: Literal["float32", "float64"] = "float32"
    """of weights and data"""
    weights_stride: Annotated[int, Field(ge=0)] = 1
    """weights are stored every so many steps (0: never); distances to the discrete run exist where they are"""
    outputs: Annotated[int, Field(ge=0)] = 3
    """test examples on which the network's outputs are recorded"""
    average_width: Positive = 12.0
    """standard deviation of the Gaussian time averages [optimizer steps]"""
    spectrum: Spectrum = Spectrum()
    central: Central = Central()
    stable: Stable = Stable()

    @model_validator(mode="after")
    def _consistent(self) -> Run:
        if "discrete" not in self.processes:
            raise ValueError("processes must contain 'discrete'")
        if len(set(self.processes)) < len(self.processes):
            raise ValueError("processes must not repeat")
        images = self.dataset.name == "cifar10"
        if images == (self.model.name == "transformer"):
            raise ValueError(f"model {self.model.name!r} does not fit dataset {self.dataset.name!r}")
        return self


class Trajectory(Strict):
    """What the trajectories of one run depend on: the parameter of their jobs."""

    run: Run
    device: Literal["auto", "cpu", "cuda"]
    threads: int


# -- figures and the whole ----------------------------------------------------------------------------------------


class Figure(Strict):
    """Which run a figure is drawn from, and what of it."""

    draw: Annotated[str, Field(pattern=NAME)] | None = None
    """slug of the figure in the catalogue; the figure's own key when left out"""
    run: Annotated[str, Field(pattern=NAME)]
    """a key of `runs`"""
    start: Annotated[int, Field(ge=0)] | None = None
    """first step shown; found from the data when left out"""
    stop: Count | None = None
    """step before which the figure ends; found from the data when left out"""


class Config(Strict):
    """A profile: everything that one `snakemake` call makes."""

    profile: Annotated[str, Field(pattern=NAME)]
    """name of the profile: results/<profile>/ and figures/<profile>/"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where trajectories are computed; auto takes a GPU if there is one"""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """threads of each trajectory job; rounding, and so results, depend on it"""
    cifar10_path: str | None = None
    """full CIFAR-10 on this machine: the binary archive, a folder of its batches, or a file that the rule made"""
    runs: dict[Annotated[str, Field(pattern=NAME)], Run] = Field(min_length=1)
    """experiments by name"""
    figures: dict[Annotated[str, Field(pattern=NAME)], Figure] = {}
    """figures by slug"""

    @model_validator(mode="after")
    def _figures_have_runs(self) -> Config:
        for slug, figure in self.figures.items():
            if figure.run not in self.runs:
                raise ValueError(f"figures.{slug}.run: no run is called {figure.run!r}; there are {', '.join(self.runs)}")
        return self


# -- loading ------------------------------------------------------------------------------------------------------


def load(raw: Mapping[str, Any] | Path | str, source: str | None = None) -> Config:
    """A validated configuration from a mapping or a YAML file.

    `defaults`, a partial run, is merged under every run first.

    Raises:
        ConfigError: lists every mistake with its key.
    """
    if isinstance(raw, (str, Path)):
        source = str(raw)
        try:
            raw = yaml.safe_load(Path(raw).read_text())
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ConfigError(f"ConfigError: {source} cannot be read: {' '.join(str(error).split())}") from None
    source = source or "the configuration"
    if not isinstance(raw, Mapping):
        raise ConfigError(f"ConfigError: {source} must be a mapping of keys, not {type(raw).__name__}")
    try:
        return Config.model_validate(_with_defaults(dict(raw)))
    except ValidationError as error:
        lines = list(_messages(error))
    except RecursionError:
        lines = ["nested too deeply"]
    plural = "s" if len(lines) > 1 else ""
    raise ConfigError(
        "\n".join(
            [f"ConfigError: {source} has {len(lines)} error{plural}"]
            + [f"  {line}" for line in lines]
            + ["Every key is described in config/README.md."]
        )
    )


def _with_defaults(raw: dict[str, Any]) -> dict[str, Any]:
    defaults, runs = raw.pop("defaults", None), raw.get("runs")
    if isinstance(defaults, Mapping) and isinstance(runs, Mapping):
        raw["runs"] = {name: _merged(defaults, run) for name, run in runs.items()}
    return raw


def _merged(base: Any, over: Any) -> Any:
    """`over` on top of `base`; mappings of another `name` replace, as their keys belong to that name."""
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return over
    if "name" in base and over.get("name", base["name"]) != base["name"]:
        return over
    return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}


def _messages(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        where = _path(item["loc"])
        message, value = item["msg"], item["input"]
        if item["type"] == "extra_forbidden":
            nearest = difflib.get_close_matches(str(item["loc"][-1]), _ALL_KEYS, n=1)
            message = "unknown key" + (f"; did you mean {nearest[0]!r}?" if nearest else "")
        elif item["type"] == "missing":
            message = "is missing"
        elif item["type"] == "union_tag_invalid":
            message = f"unknown name {value.get('name')!r}; choose one of {item['ctx']['expected_tags']}"
        elif item["type"] == "union_tag_not_found":
            message = "needs a `name`"
        elif item["type"] == "value_error":
            message = str(item["ctx"]["error"])
        else:
            message = re.sub("^Input should be ", "must be ", message)
            if isinstance(value, (str, int, float, bool, type(None))):
                message += f" (got {str(value)[:60]!r})" if isinstance(value, str) else f" (got {value})"
        yield f"{where}: {message}" if where else message


def _path(location: tuple[int | str, ...]) -> str:
    """The dotted key, without the tags that discriminated unions put into it."""
    parts: list[str] = []
    for i, part in enumerate(location):
        tagged = i and location[i - 1] in _TAGS and part in _TAGS[location[i - 1]]
        if not tagged and part != "[key]":
            parts.append(str(part))
    return ".".join(parts)


def _names(union: Any) -> set[str]:
    members = get_args(get_args(union)[0]) or (get_args(union)[0],)
    return {get_args(member.model_fields["name"].annotation)[0] for member in members}


_TAGS = {"dataset": _names(Dataset), "model": _names(Model), "optimizer": _names(OptimizerConfig)}


def _subclasses(cls: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for sub in cls.__subclasses__():
        yield sub
        yield from _subclasses(sub)


_ALL_KEYS = sorted({key for model in _subclasses(Strict) for key in model.model_fields} | {"defaults"})
