"""The metadata of a crate: the profile, the workflow, the actions of its jobs, and the engine that started them."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rocrate.model import Entity
from rocrate.rocrate import ROCrate

from ...common.hashing import digest
from ..lineage import Link
from ..manifest import script_of
from . import entities
from .copies import SOURCE, is_drawn
from .entities import add

_PROFILES = {
    "Process Run Crate": "https://w3id.org/ro/wfrun/process/0.5",
    "Workflow Run Crate": "https://w3id.org/ro/wfrun/workflow/0.5",
    "Provenance Run Crate": "https://w3id.org/ro/wfrun/provenance/0.5",
    "Workflow RO-Crate": "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
}
_TERMS = {"sha256": "https://w3id.org/ro/terms/workflow-run#sha256"}  # not in the context of RO-Crate 1.1
_LICENCE = "https://spdx.org/licenses/MIT"
_RESULTS = ("scorecard", "speeds")  # rules whose outputs are results of the profile, like the figures


def metadata(profile: str, links: Sequence[Link], configfile: str) -> dict[str, Any]:
    """Return the crate's JSON-LD.

    Args:
        links: intact links of all records of the profile.
        configfile: name of the configuration file, of which the crate has a copy.
    """
    crate = ROCrate(version="1.1", gen_preview=False)
    crate.metadata.extra_terms.update(_TERMS)
    outputs = {
        id(link): [entities.output(crate, link, name, profile) for name in link.manifest.outputs] for link in links
    }
    tools, steps = _steps(crate, links)
    jobs = list(_jobs(links).items())
    actions = [_job(crate, f"#job-{key}", members, tools, outputs) for key, members in jobs]
    run = add(
        crate,
        "#run",
        "CreateAction",
        name=f"Run of the {profile} profile",
        description=links[0].made.get("command", "snakemake"),
        instrument=_workflow(crate, links, tools, steps),
        object=entities.add_file(crate, f"{SOURCE}/config/{configfile}"),
        result=[entity for link in links if _is_result(link) for entity in outputs[id(link)]],
        **_when(links),
    )
    started = [steps[script_of(members[0].made["rule"])] for _, members in jobs]
    engine = _engine(crate, links, run, list(zip(started, actions, strict=True)))
    _root(crate, profile, links, mentions=[run, engine, *actions])
    return crate.metadata.generate()


def _root(crate: ROCrate, profile: str, links: Sequence[Link], mentions: list[Entity]) -> None:
    root = crate.root_dataset
    root["name"] = f"Central flows: the {profile} profile"
    root["description"] = (
        "Trajectories of optimizers and of their central flows, figures of them, and a scorecard of claims."
    )
    root["datePublished"] = _when(links)["endTime"]
    root["license"] = add(crate, _LICENCE, "CreativeWork", name="MIT License", url=_LICENCE)
    root["conformsTo"] = [
        add(crate, url, "CreativeWork", name=name, version=url.rpartition("/")[2]) for name, url in _PROFILES.items()
    ]
    root["citation"] = entities.citations(crate)
    root["mentions"] = mentions


def _workflow(crate: ROCrate, links: Sequence[Link], tools: dict[str, Entity], steps: dict[str, Entity]) -> Entity:
    about = {"name": "Central flows", "version": links[0].made["commit"] or "unknown"}
    workflow = crate.add_workflow(dest_path=f"{SOURCE}/Snakefile", main=True, lang="snakemake", properties=about)
    workflow._jsonld["@type"] = ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]
    workflow["hasPart"], workflow["step"] = list(tools.values()), list(steps.values())
    lock = entities.add_file(crate, f"{SOURCE}/envs/requirements.lock", sha256=links[0].made["lock"])
    used = sorted({item for link in links for item in link.made["software"].items() if item[0] != "python"})
    workflow["softwareRequirements"] = [lock, *(entities.package(crate, *item) for item in used)]
    return workflow


def _steps(crate: ROCrate, links: Sequence[Link]) -> tuple[dict[str, Entity], dict[str, Entity]]:
    """Return the scripts, and the steps of the workflow that run them, by path of the script."""
    digests = {script_of(link.made["rule"]): link.made["source_digest"] for link in links}
    tools = {path: entities.script(crate, path, digest) for path, digest in sorted(digests.items())}
    steps = {}
    for position, (path, tool) in enumerate(tools.items(), start=1):
        name = Path(path).stem
        steps[path] = add(crate, f"#step-{name}", "HowToStep", name=name, position=str(position), workExample=tool)
    return tools, steps


def _jobs(links: Sequence[Link]) -> dict[str, list[Link]]:
    """Return the links of each job, which may have written several manifests, by a digest of the job."""
    jobs: dict[str, list[Link]] = {}
    for link in links:
        job = [link.made[key] for key in ("rule", "wildcards", "started")]
        jobs.setdefault(digest(job)[:16], []).append(link)
    return jobs


def _job(
    crate: ROCrate,
    identifier: str,
    members: Sequence[Link],
    tools: dict[str, Entity],
    outputs: Mapping[int, list[Entity]],
) -> Entity:
    made = members[0].made
    machine, changed = made["machine"], ", with uncommitted changes" if made["dirty"] else ""
    inputs = [entity for link in members[0].inputs.values() for entity in outputs[id(link)]]
    return add(
        crate,
        identifier,
        "CreateAction",
        name=" ".join([made["rule"], *made["wildcards"].values()]),
        description=f"On {machine['host']}, {machine['system']}, {machine['processor']}; commit {made['commit']}{changed}",
        instrument=tools[script_of(made["rule"])],
        object=[
            *inputs,
            *(entities.source_file(crate, pin) for pin in made["files"].values()),
            entities.settings(crate, made["config"]),
        ],
        result=[entity for link in members for entity in outputs[id(link)]],
        **_when(members),
    )


def _engine(crate: ROCrate, links: Sequence[Link], run: Entity, started: Sequence[tuple[Entity, Entity]]) -> Entity:
    """Add Snakemake, which started the jobs, and return its action."""
    controls = [
        add(
            crate,
            f"#control-{action.id.removeprefix('#job-')}",
            "ControlAction",
            name="job",
            instrument=step,
            object=action,
        )
        for step, action in started
    ]
    snakemake = entities.package(crate, "snakemake", links[0].made["software"]["snakemake"])
    return add(
        crate,
        "#engine",
        "OrganizeAction",
        name="Snakemake",
        instrument=snakemake,
        object=controls,
        result=run,
        **_when(links),
    )


def _when(links: Sequence[Link]) -> dict[str, str]:
    return {
        "startTime": min(link.made["started"] for link in links),
        "endTime": max(map(_ended, links)),
        "actionStatus": "http://schema.org/CompletedActionStatus",
    }


def _ended(link: Link) -> str:
    began, lasted = (
        datetime.datetime.fromisoformat(link.made["started"]),
        datetime.timedelta(seconds=link.made["seconds"]),
    )
    return (began + lasted).isoformat(timespec="seconds")


def _is_result(link: Link) -> bool:
    return is_drawn(link) or link.made["rule"] in _RESULTS
