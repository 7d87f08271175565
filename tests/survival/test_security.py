"""What no code here may do, whatever it is given: load pickles, unpack archives, or run what a configuration says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys

import pytest
import yaml
from calls import ROOT, SMOKE, snakemake

PYTHON = sorted(
    [*(ROOT / "workflow").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "profiles").rglob("*.py")]
)
RULES = sorted([ROOT / "Snakefile", *(ROOT / "workflow").rglob("*.smk")])
OWN = [file for file in PYTHON if ROOT / "workflow" in file.parents]

PICKLING = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
FORBIDDEN = {"eval", "exec", "compile", "torch.load", "torch.save", "yaml.load", "yaml.full_load", "yaml.unsafe_load",
             "os.system", "os.popen", "pandas.read_pickle", "pd.read_pickle"}  # fmt: skip
UNPACKING = {"extractall", "unpack_archive"}


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """All calls, with their dotted names."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def faults(text: str) -> list[str]:
    """Everything in a module that could run what it reads."""
    tree, found = ast.parse(text), []
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        found += [name for name in names if name.split(".")[0] in PICKLING]
    for name, call in calls(tree):
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        found += [name] if name in FORBIDDEN or name.split(".")[-1] in UNPACKING else []
        found += [name] if name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False" else []
        found += [f"{name} with {key}" for key in ("shell", "allow_pickle") if given.get(key, "False") != "False"]
    return found


@pytest.mark.parametrize(
    "text",
    ["import pickle", "from joblib import load", "torch.load(f)", "np.load(f)", "np.load(f, allow_pickle=True)", "eval(x)",
     "yaml.load(f, Loader=l)", "tar.extractall()", "subprocess.run(c, shell=True)", "shutil.unpack_archive(f)"],
)  # fmt: skip
def test_the_search_finds(text):
    assert faults(text)


@pytest.mark.parametrize("file", OWN, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_module_loads_pickles_or_runs_what_it_reads(file):
    assert faults(file.read_text()) == []


def test_code_is_imported_by_name_in_two_places():
    """References to functions of this package, and dotted paths of plugins."""
    found = {
        file.relative_to(ROOT / "workflow" / "centralflows").as_posix()
        for file in OWN
        if any("import_module" in name or name == "__import__" for name, _ in calls(ast.parse(file.read_text())))
    }
    assert found == {"common/references.py", "config/plugins.py"}


def test_no_file_of_the_repository_is_a_pickle():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    pickles = (".pkl", ".pickle", ".pt", ".pth", ".joblib")
    assert [name for name in listed.stdout.splitlines() if name.endswith(pickles)] == []


@pytest.mark.parametrize("file", RULES, ids=lambda file: file.name)
def test_what_rules_give_to_a_shell_is_quoted(file):
    text = file.read_text()
    for command in re.findall(r'^\s+shell:\s*((?:[rf]*"(?:[^"\\]|\\.)*"\s*)+)', text, flags=re.M):
        assert not re.search(r"\{(?![^}]*:q\})", command), command
    assert "shell(" not in text


HOSTILE = "a b'; touch ran; $(touch ran) `touch ran` \" & touch ran"


def test_paths_in_a_configuration_reach_no_shell(tmp_path):
    folder = tmp_path / HOSTILE
    folder.mkdir()
    for part in ("train", "dev"):
        (folder / f"{part}.tsv").write_text("sentence\tlabel\n" + "good\t1\nbad\t0\n" * 4)
    raw = yaml.safe_load(SMOKE.read_text())
    run = {
        "dataset": {"name": "sst2", "examples": 4, "test_examples": 4, "length": 4, "path": str(folder)},
        "model": {"name": "lstm", "layers": 1, "width": 4},
    }
    config = tmp_path / f"{HOSTILE}.yaml"
    config.write_text(yaml.safe_dump(raw | {"runs": {"sentences": run}, "figures": {}}))
    done = snakemake(tmp_path, "--until", "dataset", config=config)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.rglob("results/smoke/datasets/sst2-*.npz"))
    assert not list(tmp_path.rglob("ran")) and not (ROOT / "ran").exists()


@pytest.mark.network
def test_the_lock_has_no_known_vulnerability():
    """Asks the advisory source that pip-audit knows, once for the whole lock."""
    if subprocess.run([sys.executable, "-m", "pip_audit", "--version"], capture_output=True, check=False).returncode:
        pytest.skip("pip-audit is not installed: pip install pip-audit")
    command = [
        sys.executable,
        "-m",
        "pip_audit",
        "--no-deps",
        "--disable-pip",
        "-r",
        str(ROOT / "envs" / "requirements.lock"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "ConnectionError" in done.stderr or "Max retries" in done.stderr:
        pytest.skip("no advisory source is reachable")
    assert done.returncode == 0, done.stdout + done.stderr
