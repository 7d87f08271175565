"""A profile: runs, and figures drawn from them. It is checked as a whole, and all mistakes are reported at once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, ValidationError

from . import yaml_file
from .catalogue import CATALOGUE, MANY, NEEDS
from .messages import ConfigError, instead, messages, report, shown, shown_key
from .run import Process, RunConfig
from .strict import Count, Name, Natural, Strict

# -- figures and the whole ----------------------------------------------------------------------------------------


class FigureConfig(Strict):
    """The runs and steps that a figure shows. The figures are listed in figures/README.md."""

    draw: Name | None = None
    """name of the figure in the catalogue; the key itself if omitted"""
    run: Name | None = None
    """a key of `runs`"""
    runs: Annotated[tuple[Name, ...], Field(min_length=1, strict=False)] | None = None
    """several keys of `runs`, for figures that compare runs"""
    seeds: Annotated[tuple[Name, ...], Field(strict=False)] = ()
    """runs that differ from `run` in their seed (and start) alone; the range over all of them is drawn as a band"""
    start: Natural | None = None
    """first step shown; found from the data if omitted"""
    stop: Count | None = None
    """step before which the figure ends; found from the data if omitted"""

    @property
    def sources(self) -> tuple[str, ...]:
        """The runs that the figure is drawn from."""
        return self.runs or ((self.run, *self.seeds) if self.run else ())

    def mistakes(self) -> Iterator[str]:
        if self.stop is not None and self.stop <= (self.start or 0):
            yield f"stop: must be greater than start ({self.start or 0}) (got {self.stop})"
        if self.run and self.runs:
            yield "runs: give run or runs, not both"
        if self.seeds and not self.run:
            yield "seeds: belong to the run of a figure; name it as `run`"


def _lacks(run: RunConfig, need: str) -> bool:
    """Return whether a run lacks a need of a figure, a key of `catalogue.NEEDS`."""
    name, stateless = run.optimizer.name, run.optimizer.name == "gd"
    return {
        "one step size": name == "rmsprop",
        "state": stateless,
        "outputs": not run.outputs,
        "every step": run.weights_stride != 1,
        "coordinates": not run.coordinates,
        "a state per weight": stateless or name == "scalar-rmsprop",
        "speeds": not run.stationary_every,
        "Hessian": name == "rmsprop" and not run.spectrum.hessian_every,
    }[need]


def _unfit(figure: FigureConfig, slug: str, runs: Mapping[str, RunConfig]) -> Iterator[str]:
    """Yield the reasons why a figure of the catalogue cannot be drawn from the runs that it names."""
    drawing, sources = CATALOGUE[slug], figure.sources
    if drawing.runs == MANY:
        if figure.runs is None:
            yield "runs: compares runs; list them"
    elif drawing.runs > 1:
        if figure.runs is None or len(sources) != drawing.runs:
            yield f"runs: compares {drawing.runs} runs; list them"
    elif drawing.runs == 1 and figure.runs is not None:
        yield "runs: shows one run; name it as `run`"
    elif drawing.runs == 1 and figure.run is None:
        yield "run: is missing"
    elif drawing.runs == 0 and sources:
        yield "run: shows no run; leave it out"
    if figure.seeds and not drawing.seeds:
        able = ", ".join(slug for slug, other in CATALOGUE.items() if other.seeds)
        yield f"seeds: are shown by {able}; leave them out"
    for name in figure.seeds:
        first, other = runs.get(sources[0]), runs.get(name)
        same = {key: getattr(other, key) for key in ("seed", "start", "stationary_every")} if other else {}
        if first and other and first.model_copy(update=same) != other:
            yield f"seeds: {name!r} differs from {sources[0]!r} in more than its seed and its start"
    for name in sources:
        run = runs.get(name)
        if run is None:
            continue
        if (figure.start or 0) >= run.steps:
            yield f"start: must be below runs.{name}.steps ({run.steps}) (got {figure.start})"
        for process in drawing.stores:
            if process in get_args(Process) and process not in run.processes:
                yield f"run: shows the {process} flow; add it to runs.{name}.processes"
        for need in drawing.needs:
            if _lacks(run, need):
                yield f"run: {NEEDS[need].format(run=f'runs.{name}')}"


SCORECARD = "scorecard"
"""Name of the picture that every profile has besides its figures."""

TAKEN = {"profile": {"gallery", "benchmarks"}, "runs": {"datasets", "figures"}}
"""Names of folders that are used for something else."""


class ProfileConfig(Strict):
    """A profile: everything that one `snakemake` call makes."""

    profile: Name
    """its name, and that of its folders `results/<profile>/` and `figures/<profile>/`"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where trajectories are computed; auto uses a GPU if there is one"""
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    """threads per trajectory job; rounding, and therefore results, depend on it"""
    cifar10_path: Annotated[str, Field(min_length=1)] | None = None
    """path of the full CIFAR-10: the binary archive, a folder with its batches, or a file that the rule made"""
    runs: dict[Name, RunConfig] = Field(min_length=1)
    """experiments by name"""
    figures: dict[Name, FigureConfig] = Field(default={})
    """figures by name, which is also the name of their files"""

    def mistakes(self) -> Iterator[str]:
        yield from self._loose_starts()
        if self.profile in TAKEN["profile"]:
            yield f"profile: {self.profile!r} is a folder of something else; choose another"
        for name in self.runs.keys() & TAKEN["runs"]:
            yield f"runs.{name}: a folder of this name holds something else; choose another"
        if SCORECARD in self.figures:
            yield f"figures.{SCORECARD}: every profile has a picture of this name; choose another"
        for name, figure in self.figures.items():
            if (figure.draw or name) in CATALOGUE:
                for mistake in _unfit(figure, figure.draw or name, self.runs):
                    yield f"figures.{name}.{mistake}"

    def _loose_starts(self) -> Iterator[str]:
        """Yield starts from runs that do not fit or that wait for each other."""
        for name, run in self.runs.items():
            if run.start is None:
                continue
            where, source = f"runs.{name}.start", self.runs.get(run.start.run)
            if source is None:
                yield f"{where}.run: no run is called {shown(run.start.run)}{instead(run.start.run, self.runs)}"
                continue
            for key in ("dataset", "model", "criterion", "dtype"):
                if getattr(source, key) != getattr(run, key):
                    yield f"{where}.run: {run.start.run!r} has another {key}"
            if run.start.step is not None and run.start.step >= source.steps:
                yield f"{where}.step: must be below the steps of {run.start.run!r} ({source.steps}) (got {run.start.step})"
            seen = [name]
            while source is not None and source.start is not None and source.start.run not in seen:
                seen.append(source.start.run)
                source = self.runs.get(source.start.run)
            if source is not None and source.start is not None and source.start.run == name:
                yield f"{where}.run: {name!r} would wait for itself"


# -- loading ------------------------------------------------------------------------------------------------------


def load(raw: Mapping[str, Any] | Path | str, source: str | None = None) -> ProfileConfig:
    """Return a validated configuration from a mapping or a YAML file.

    `defaults`, a partial run, is first merged under every run.

    Raises:
        ConfigError: there are mistakes; the message lists each with its key.
    """
    if isinstance(raw, (str, Path)):
        source, raw = str(raw), yaml_file.read(raw)
    source = source or "the configuration"
    if not isinstance(raw, Mapping):
        raise ConfigError(f"ConfigError: {source} must be a mapping of keys, not {shown(raw)}")
    config, lines = None, list(_loose_ends(raw))
    try:
        config = ProfileConfig.model_validate(_with_defaults(raw))
    except ValidationError as error:
        lines += messages(error, ProfileConfig, also=("defaults",), origin=lambda path: _origin(path, raw))
    except RecursionError:
        lines.append("runs: nested too deeply")
    if config and not lines:
        return config
    raise report(source, list(dict.fromkeys(lines)))  # a mistake in the defaults appears once, not once in every run


def _with_defaults(raw: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(raw)
    defaults, runs = merged.pop("defaults", {}), raw.get("runs")
    if isinstance(runs, Mapping):
        merged["runs"] = {name: _merged(defaults, run) for name, run in runs.items()}
    return merged


def _merged(base: Any, over: Any) -> Any:
    """Return `over` merged on top of `base`."""
    if not _extends(over, base):
        return over
    return {**base, **{key: _merged(base.get(key), value) for key, value in over.items()}}


def _extends(over: Any, base: Any) -> bool:
    """Return whether `over` is merged into `base` instead of replacing it.

    Mappings are merged, but not those of different `name`s: the keys of `base` then belong to its own name.
    """
    if not (isinstance(base, Mapping) and isinstance(over, Mapping)):
        return False
    return "name" not in base or over.get("name", base["name"]) == base["name"]


def _origin(path: Sequence[int | str], raw: Mapping[str, Any]) -> Sequence[int | str]:
    """Return the path of a key in the file, which is in the defaults if the run inherits the key from there."""
    if path[:1] != ["runs"] or len(path) < 3:
        return path
    base, over = raw.get("defaults"), raw["runs"].get(path[1])
    for part in path[2:]:
        if not _extends(over, base) or (part not in over and part not in base):
            return path
        if part not in over:
            return ["defaults", *path[2:]]
        base, over = base.get(part), over[part]
    return path


def _loose_ends(raw: Mapping[str, Any]) -> Iterator[str]:
    """Yield mistakes of the raw mapping, to report with all others: malformed defaults, unknown runs or figures."""
    if not isinstance(raw.get("defaults", {}), Mapping):
        yield f"defaults: must be a mapping of keys (got {shown(raw['defaults'])})"
    figures, runs = raw.get("figures"), raw.get("runs")
    if not (isinstance(figures, Mapping) and isinstance(runs, Mapping)):
        return
    for name, figure in figures.items():
        if not isinstance(figure, Mapping):
            continue
        where, draw = f"figures.{shown_key(name)}", figure.get("draw")
        named = [("run", figure.get("run"))]
        for key in ("runs", "seeds"):
            several = figure.get(key)
            named += [(key, run) for run in several] if isinstance(several, (list, tuple)) else []
        for key, run in named:
            if isinstance(run, str) and runs and run not in runs:
                yield f"{where}.{key}: no run is called {shown(run)}{instead(run, runs)}"
        if draw is None and name not in CATALOGUE:
            yield f"{where}: no figure has this name; `draw` must say which of the catalogue it is"
        if isinstance(draw, str) and draw not in CATALOGUE:
            yield f"{where}.draw: no figure is called {shown(draw)}{instead(draw, CATALOGUE)}"
