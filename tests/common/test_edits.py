"""Which jobs of the smoke profile an edit of the code makes again, and which it leaves alone."""

from __future__ import annotations

import ast
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from calls import ROOT, SMOKE

from centralflows.common import hashing
from centralflows.config import job_settings
from centralflows.config.catalogue import CATALOGUE
from centralflows.config.profile import load

PROFILE = load(SMOKE)
PACKAGE = "workflow/centralflows"


def jobs() -> Iterator[tuple[str, str, dict]]:
    """Name, script and settings of every job of the profile."""
    for name, run in PROFILE.runs.items():
        yield f"dataset of {name}", "dataset", job_settings.dataset(run)
        yield f"discrete of {name}", "discrete", job_settings.trajectory(PROFILE, name, "discrete")
        for process in run.processes[1:]:
            yield f"{process} of {name}", "flow", job_settings.trajectory(PROFILE, name, process)
        if run.stationary_every:
            yield f"speeds of {name}", "speeds", job_settings.speeds(PROFILE, name)
    for slug in PROFILE.figures:
        yield f"figure {slug}", "figure", job_settings.figure(PROFILE, slug)
    yield "scorecard", "scorecard", job_settings.scorecard(PROFILE)
    yield "explorer", "explorer", job_settings.explorer(PROFILE)
    yield "gallery", "gallery", job_settings.gallery(PROFILE, "config/smoke.yaml")
    for script in ("crate", "benchmark", "agreement", "discretisation", "cifar10"):
        yield script, script, {}


JOBS = {name: (script, settings) for name, script, settings in jobs()}


class Digests:
    """Digests of the code of all jobs, as the Snakemake rules take them; files that did not change are read once."""

    def __init__(self, scanned):
        self._scanned, self.known = scanned, {}

    def scanned(self, file: Path) -> hashing.Scan:
        if file not in self.known:
            self.known[file] = self._scanned(file)
        return self.known[file]

    def __call__(self) -> dict[str, str]:
        return {
            name: hashing.source_digest(f"workflow/scripts/{script}.py", *settings.get("code", ()))
            for name, (script, settings) in JOBS.items()
        }


@pytest.fixture(scope="module")
def copied(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("edited")
    ignored = shutil.ignore_patterns("__pycache__", "*.npz", "*.egg-info")
    shutil.copytree(ROOT / "workflow", folder / "workflow", ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def digests() -> Digests:
    return Digests(hashing.scanned.__wrapped__)


@pytest.fixture
def repository(copied, digests, monkeypatch) -> Path:
    """A copy of the workflow to edit, which digests are taken of."""
    monkeypatch.setattr(hashing, "REPOSITORY", copied)
    monkeypatch.setattr(hashing, "PACKAGE", copied / PACKAGE)
    monkeypatch.setattr(hashing, "scanned", digests.scanned)
    return copied


@pytest.fixture
def made_again(repository, digests) -> Callable[[str, str, str], set[str]]:
    """The jobs whose digest an edit changes; the edit is taken back."""

    def edited(file: str, old: str, new: str) -> set[str]:
        path = repository / file
        text, before = path.read_text(), digests()
        assert old in text, f"{file} has no {old!r}"
        path.write_text(text.replace(old, new))
        kept = digests.known
        # Modules hold digests of the constants that they import from the configuration.
        digests.known = {} if "/config/" in file else {key: scan for key, scan in kept.items() if key != path}
        after = digests()
        path.write_text(text)
        digests.known = kept
        return {name for name in before if before[name] != after[name]}

    return edited


@pytest.fixture
def code_of(repository, made_again) -> Callable[[str], set[str]]:
    """The jobs that a new line of code in a file makes again."""

    def edited(file: str) -> set[str]:
        text = (repository / file).read_text()
        return made_again(file, text, text + "\nedited = 1\n")

    return edited


def of(*words: str) -> set[str]:
    """The jobs whose name begins with one of some words."""
    return {name for name in JOBS if name.startswith(words)}


TRAJECTORIES = of("discrete of", "stable of", "central of", "ablated of", "stationary of", "stationary-ablated of")
SPEEDS, FIGURES, BENCHMARKS = of("speeds of"), of("figure "), of("benchmark", "agreement", "discretisation")
ALONG = TRAJECTORIES | SPEEDS


def runs(*names: str) -> set[str]:
    """Trajectories and speeds of some runs."""
    return {job for job in ALONG if job.endswith(tuple(f" of {name}" for name in names))}


HARMLESS = [
    ("flows/flow.py", "from __future__", "# a comment\nfrom __future__"),
    (
        "flows/integrators.py",
        'class FixedStep(Integrator):\n    """',
        'class FixedStep(Integrator):\n    """Other words. ',
    ),
    ("flows/complementarity.py", "was not solved", "has no solution"),
    ("flows/experiment.py", "must be one vector", "has to be one vector"),
    ("problems/objective.py", "the network has no trainable parameter", "nothing can be trained"),
    ("jobs/lock.py", "is writing this output", "writes this output"),
    ("jobs/job.py", "start snakemake again", "call snakemake again"),
    ("jobs/trajectories.py", '"scipy", ', '"pandas", "scipy", '),
    ("jobs/checkpoint.py", "STEPS = 256", "STEPS = 128"),
    ("jobs/commands/status.py", "trajectories: ", "runs: "),
    ("common/progress.py", "s left", "s remain"),
    ("common/errors.py", "class OutOfMemory", "class Spare: ...\n\n\nclass OutOfMemory"),
    ("config/messages.py", "did you mean", "do you mean"),
    ("config/catalogue.py", "diverges above it", "grows above it"),
    ("config/presentation.py", "textbook model", "usual model"),
    ("config/networks.py", "channels: Count = 32", "channels: Count = 16"),
    ("config/processes.py", "= 100.0", "= 90.0"),
    ("config/run.py", "must contain 'discrete'", "needs 'discrete'"),
    ("provenance/lineage.py", "made again since", "replaced since"),
]


@pytest.mark.parametrize(("file", "old", "new"), HARMLESS, ids=lambda part: part[:30])
def test_an_edit_that_reaches_no_number_makes_nothing_again(made_again, file, old, new):
    assert made_again(f"{PACKAGE}/{file}", old, new) == set()


COUNTED = {
    "flows/experiment.py": ALONG | BENCHMARKS,
    "flows/device.py": ALONG | BENCHMARKS,
    "flows/discrete_loop.py": ALONG | BENCHMARKS,
    "flows/starts.py": ALONG | BENCHMARKS,
    "flows/stored_run.py": ALONG - of("speeds of"),
    "flows/complementarity.py": ALONG | BENCHMARKS,
    "derivatives/eigen_solver.py": ALONG | BENCHMARKS,
    "derivatives/derivative_check.py": ALONG | BENCHMARKS,
    "optimizers/optimizer.py": ALONG | BENCHMARKS,
    "problems/objective.py": ALONG | BENCHMARKS,
    "flows/stable_flow.py": of("stable of"),
    "flows/central_flow.py": of("central of", "ablated of") | {"discretisation"},
    "flows/stationary_flow.py": of("stationary of", "stationary-ablated of"),
    "flows/preconditioner_speeds.py": SPEEDS,
    "flows/stored_start.py": {"discrete of scalar-ablation"},
    "optimizers/gd.py": runs("mlp", "cnn", "transformer") | {"agreement"},
    "optimizers/scalar_rmsprop.py": runs("scalar", "scalar-ablation") | {"agreement"},
    "optimizers/rmsprop.py": runs("rmsprop") | {"agreement"},
    "problems/networks/cnn.py": runs("cnn"),
    "problems/networks/transformer.py": runs("transformer"),
    "problems/networks/mlp.py": runs("mlp", "scalar", "scalar-ablation", "rmsprop"),
    "problems/networks/lstm.py": set(),
    "problems/data/sorting.py": {"dataset of transformer"},
    "problems/data/point_clouds.py": {f"dataset of {run}" for run in ("scalar", "scalar-ablation", "rmsprop")},
    "problems/data/cifar10.py": {"dataset of mlp", "dataset of cnn", "cifar10"},
    "analysis/time_series.py": FIGURES | {"scorecard", "explorer", "gallery", "benchmark"},
    "analysis/claims.py": {"scorecard", "explorer", "gallery"},
    "figures/style.py": FIGURES | {"scorecard", "explorer", "benchmark"},
    "figures/heat_map.py": {"scorecard"},
    "figures/gallery_content.py": {"gallery"},
    "figures/explorer_data.py": {"explorer"},
    "figures/scorecard_tables.py": {"explorer", "gallery"},
    "provenance/crate/description.py": {"crate"},
    "jobs/benchmarks/cost.py": {"benchmark"},
    "jobs/benchmarks/agreement.py": {"agreement"},
    "jobs/lock.py": set(),
    "config/run.py": set(),
}


@pytest.mark.parametrize("file", COUNTED)
def test_code_makes_again_what_depends_on_it_and_nothing_else(code_of, file):
    assert code_of(f"{PACKAGE}/{file}") == COUNTED[file]


def test_a_constant_of_the_configuration_counts_where_it_is_used(made_again):
    margin = made_again(f"{PACKAGE}/config/processes.py", "MARGIN = 0.15", "MARGIN = 0.2")
    assert margin == of("central of", "ablated of") | {"discretisation"}


@pytest.mark.parametrize("script", sorted({script for script, _ in JOBS.values()}))
def test_a_script_makes_its_own_jobs_again(code_of, script):
    file = f"workflow/scripts/{script}.py"
    assert code_of(file) == {name for name, (own, _) in JOBS.items() if own == script}


@pytest.mark.parametrize("slug", CATALOGUE)
def test_a_drawing_makes_the_figures_that_it_draws_again_and_nothing_else(code_of, slug):
    module, _, _ = CATALOGUE[slug].function.partition(":")
    found = code_of(f"{PACKAGE}/figures/{module}.py")
    assert f"figure {slug}" in found and found <= FIGURES


def test_one_module_imports_by_name():
    """Digests follow what is written in the source. `references.load` imports what the configuration names, which digests
    follow too; `plugins` imports the user's own code, which has a digest of its own."""
    importing = {
        file.relative_to(ROOT / PACKAGE).as_posix()
        for file in (ROOT / PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Name | ast.Attribute | ast.alias)
        and {getattr(node, "id", None), getattr(node, "attr", None), getattr(node, "name", None)}
        & {
            "import_module",
            "__import__",
            "resolve_name",
            "exec",
            "eval",
            "run_path",
            "run_module",
            "spec_from_file_location",
        }
    }
    assert importing == {"common/references.py", "config/plugins.py"}


LOADED_BY = {
    "__init__.py": "public names, which neither scripts nor modules of the package use",
    "config/processes.py": "the flows of a process, in the settings of its job",
    "flows/experiment.py": "what saves a run of the library, which no job of the workflow does",
    "figures/__init__.py": "public names, likewise",
    "figures/drawing.py": "the drawing of a figure, likewise",
    "jobs/problem_size.py": "networks, whose size decides what a job asks of a machine and no number",
    "jobs/trajectories.py": "the start of a run, likewise",
    "optimizers/make_optimizer.py": "an optimizer and its schedule, likewise",
    "problems/data/make_dataset.py": "a dataset, likewise",
    "problems/networks/make_network.py": "a network, likewise",
}
"""Modules that load what a reference names, and how digests know of it."""


def test_digests_know_of_everything_that_is_loaded_by_a_reference():
    loading = {
        file.relative_to(ROOT / PACKAGE).as_posix()
        for file in (ROOT / PACKAGE).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("references")
    }
    assert loading == LOADED_BY.keys()


def test_constants_of_the_configuration_are_imported_by_name():
    """Else digests would not know of them. Of whole modules, two are imported: what a job uses of the catalogue is in its
    settings, and plugins hold no constant."""
    modules = {file.stem for file in (ROOT / PACKAGE / "config").glob("*.py")}
    imported = {
        alias.name
        for file in (ROOT / PACKAGE).rglob("*.py")
        if file.parent.name not in hashing.PLUMBING
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
        if alias.name in modules and (node.module or "").endswith("config")
    }
    assert imported == {"catalogue", "plugins"}


def test_nothing_is_imported_from_the_lazy_names_of_the_package():
    for file in [*(ROOT / PACKAGE).rglob("*.py"), *(ROOT / "workflow" / "scripts").glob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.module == "centralflows"), file
