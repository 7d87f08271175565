"""Entities of a crate: files and stores, scripts, software, cited works."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from rocrate.model import ContextEntity, Entity
from rocrate.rocrate import ROCrate

from ...common.hashing import digest
from ...common.paths import REPOSITORY
from ..lineage import Link
from .copies import SOURCE, place

_FORMATS = {
    ".gif": "image/gif",
    ".json": "application/json",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".npz": "application/zip",
    ".png": "image/png",
    ".py": "text/x-python",
    ".svg": "image/svg+xml",
    ".yaml": "application/yaml",
}


def add(crate: ROCrate, identifier: str, kind: str, **properties: Any) -> Entity:
    """Add and return an entity that is not a file.

    It replaces an entity with the same identifier. A list of one value becomes that value.
    """
    plain = {
        key: value[0] if isinstance(value, list) and len(value) == 1 else value for key, value in properties.items()
    }
    return crate.add(ContextEntity(crate, identifier, properties={"@type": kind, **plain}))


def add_file(crate: ROCrate, path: str, **properties: Any) -> Entity:
    """Add a file of the crate and return its entity."""
    if known := _FORMATS.get(Path(path).suffix):
        properties["encodingFormat"] = known
    return crate.add_file(dest_path=path, properties={"name": path, **properties})


def output(crate: ROCrate, link: Link, name: str, profile: str) -> Entity:
    """Add and return a store, dataset or figure; a dataset includes its source."""
    path, about = place(link, name, profile), {}
    if data := link.made.get("dataset"):
        about = {"description": data["description"], "license": data["licence"], "isBasedOn": data["source"]}
    if name in link.manifest.files:
        return add_file(crate, path, sha256=link.manifest.files[name], **about)
    return crate.add_directory(dest_path=path, properties={"name": path, "identifier": link.manifest.digest, **about})


def source_file(crate: ROCrate, pin: Mapping[str, str]) -> Entity:
    """Add and return a file that data were made from: part of the workflow, or outside of the crate."""
    if Path(pin["path"]).parts[0] == "workflow":
        return add_file(crate, f"{SOURCE}/{pin['path']}", sha256=pin["sha256"])
    return add(crate, f"#file-{pin['sha256'][:16]}", "CreativeWork", name=pin["path"], sha256=pin["sha256"])


def settings(crate: ROCrate, config: Any) -> Entity:
    """Add and return a resolved configuration."""
    value = json.dumps(config, sort_keys=True)
    return add(crate, f"#config-{digest(config)[:16]}", "PropertyValue", name="config", value=value)


def script(crate: ROCrate, path: str, digest: str) -> Entity:
    """Add and return a script of the workflow; its version is the digest of its code and imports."""
    entity = add_file(crate, f"{SOURCE}/{path}", version=digest)
    entity._jsonld["@type"] = ["File", "SoftwareSourceCode"]
    return entity


def package(crate: ROCrate, name: str, version: str) -> Entity:
    """Add and return an installed package."""
    address = f"pkg:pypi/{name}@{version}"  # a package URL, which names no server
    return add(crate, address, "SoftwareApplication", name=name, softwareVersion=version)


def citations(crate: ROCrate) -> list[Entity]:
    """Add and return the works that CITATION.cff lists."""
    cited = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    return [_work(crate, work) for work in (cited["preferred-citation"], *cited["references"])]


def _work(crate: ROCrate, work: Mapping[str, Any]) -> Entity:
    address = f"https://doi.org/{work['doi']}" if "doi" in work else work["url"]
    kind = "SoftwareSourceCode" if work["type"] == "software" else "ScholarlyArticle"
    about = {"name": work["title"], "author": _names(work["authors"]), "datePublished": str(work["year"])}
    return add(crate, address, kind, url=address, **about)


def _names(authors: Sequence[Mapping[str, str]]) -> str:
    return ", ".join(author.get("name") or f"{author['given-names']} {author['family-names']}" for author in authors)
