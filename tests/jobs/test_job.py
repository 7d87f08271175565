"""What a job records of itself, and when it refuses to run."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from centralflows.common.hashing import source_digest
from centralflows.jobs.job import job
from centralflows.provenance import manifest
from centralflows.provenance.manifest import manifest_path, read_manifest, write_manifest


class Named(dict):
    """Inputs and outputs as Snakemake hands them to a script: by name, or by number."""

    def __missing__(self, number: int) -> str:
        return list(self.values())[number]


@pytest.fixture
def snakemake(tmp_path):
    """A job of the rule `scorecard` with one recorded input and one output."""
    store, output = tmp_path / "input.txt", tmp_path / "output.txt"
    store.write_text("numbers")
    write_manifest(manifest_path(store), [store], {"rule": "flow"})
    return SimpleNamespace(
        rule="scorecard",
        log=[str(tmp_path / "log")],
        input=Named(numbers=str(store)),
        output=Named(made=str(output), manifest=str(manifest_path(output))),
        params=SimpleNamespace(cfg='{"width": 4}', source=source_digest("workflow/scripts/scorecard.py")),
        wildcards=Named(run="wide"),
    )


def recorded(snakemake, **more) -> dict:
    """The record of the job, run to its end."""
    with job(snakemake) as this:
        this.input("numbers")
        this.output("made").write_text("result")
        this.record("manifest", "made", **more)
    return read_manifest(this.output("manifest")).made


def test_a_record_names_inputs_code_config_and_call(snakemake, monkeypatch):
    monkeypatch.setenv(manifest.CALL, '{"command": "snakemake --cores 1", "configfile": "mine.yaml"}')
    made = recorded(snakemake, threads=1, resumed=2)
    source = read_manifest(manifest_path(Path(snakemake.input["numbers"])))
    assert made["inputs"] == {
        "numbers": {"path": snakemake.input["numbers"], "digest": source.digest, "manifest": source.identity}
    }
    assert made["identifier"] == manifest.identifier({"width": 4}, made["source_digest"], {"numbers": source.digest})
    assert manifest.digest(made["modules"]) == made["source_digest"] == snakemake.params.source
    assert {"workflow/scripts/scorecard.py", "workflow/centralflows/analysis/time_series.py"} <= made["modules"].keys()
    assert 0 < made["processor_seconds"] <= time.process_time()
    assert 10 < made["memory"] < 1e5  # MB: more than Python alone, less than any machine of today
    assert made["command"] == "snakemake --cores 1" and made["configfile"] == "mine.yaml"
    assert made["wildcards"] == {"run": "wide"} and made["threads"] == 1 and made["resumed"] == 2


def test_without_a_call_of_snakemake_it_names_none(snakemake, monkeypatch):
    monkeypatch.delenv(manifest.CALL, raising=False)
    assert "command" not in recorded(snakemake)


def test_code_that_was_edited_since_planning_is_refused(snakemake, capsys):
    snakemake.params.source = "f00d"
    with pytest.raises(SystemExit), job(snakemake):
        raise AssertionError("the job must not begin")
    assert "CodeChanged: the code was edited after snakemake read it" in capsys.readouterr().err


def test_a_damaged_input_is_refused_before_it_is_read(snakemake, capsys):
    Path(snakemake.input["numbers"]).write_text("others")
    with pytest.raises(SystemExit):
        recorded(snakemake)
    assert "ManifestError" in capsys.readouterr().err
    assert not Path(snakemake.output["made"]).exists()


def test_a_file_that_nobody_recorded_is_recorded_by_its_digest(snakemake, tmp_path):
    raw = tmp_path / "raw.tsv"
    raw.write_bytes(b"abc")
    snakemake.input["train"] = str(raw)
    with job(snakemake) as this:
        this.output("made").write_bytes(this.file("train").read_bytes())
        this.record("manifest", "made")
    # the example of FIPS 180-2, appendix B.1
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert read_manifest(this.output("manifest")).made["files"] == {"train": {"path": str(raw), "sha256": digest}}
