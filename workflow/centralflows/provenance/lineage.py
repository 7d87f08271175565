"""Lineage: the chain of manifests from an output through its inputs back to the data, each verified on the way.

A file that is missing, or was edited or replaced since the output was made, *breaks* the lineage. Later changes of
software, code or configuration do not; see `record_differences`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image

from ..common.errors import UserError
from ..common.hashing import digest, sha256
from ..common.paths import REPOSITORY
from .manifest import Manifest, ManifestError, identifier, manifest_path, read_manifest


class NoLineage(UserError):
    """A file of unknown origin."""


@dataclass
class Link:
    """One manifest in a lineage.

    Attributes:
        name: names of its outputs, for a reader.
        manifest: the manifest, or None if it cannot be read.
        breaks: deviations of the outputs and of their inputs from the record.
        inputs: links to the recorded inputs, by their names in the record.
    """

    name: str
    manifest: Manifest | None
    breaks: list[str] = field(default_factory=list)
    inputs: dict[str, Link] = field(default_factory=dict)

    @property
    def made(self) -> dict[str, Any]:
        return self.manifest.made if self.manifest else {}

    def walk(self) -> Iterator[Link]:
        """Yield this link and all links that it depends on, each once."""
        seen, pending = set(), [self]
        while pending:
            link = pending.pop(0)
            if id(link) not in seen:
                seen.add(id(link))
                yield link
                pending.extend(link.inputs.values())


class Tracer:
    """A reader of lineages, which reads and verifies each manifest once.

    Args:
        results: the folder `results`; the folder `figures` is beside it.
    """

    def __init__(self, results: Path):
        self.results = results
        self._links: dict[Path, Link] = {}

    def locate(self, path: str) -> Path:
        """Return the present location of a path in a record: in the results, beside them, or in the repository."""
        parts = Path(path).parts
        if parts[0] == "results":
            return self.results.joinpath(*parts[1:])
        here = self.results.parent / path
        return here if here.exists() else REPOSITORY / path

    def link(self, manifest: Path) -> Link:
        """Return the lineage that begins at a manifest."""
        if manifest not in self._links:
            self._links[manifest] = self._traced(manifest)
        return self._links[manifest]

    def _traced(self, path: Path) -> Link:
        try:
            manifest = read_manifest(path)
        except ManifestError as error:
            return Link(self._named(path).removesuffix(".manifest.json"), None, [str(error)])
        first, *rest = manifest.outputs
        link = Link(", ".join([self._named(path.with_name(first)), *rest]), manifest)
        link.breaks += manifest.findings()
        link.breaks += contradictions(manifest) if not link.breaks else []
        for name, pin in manifest.made.get("inputs", {}).items():
            link.inputs[name] = self.link(manifest_path(self.locate(pin["path"])))
            link.breaks += _replaced(pin, link.inputs[name].manifest)
        for pin in manifest.made.get("files", {}).values():
            link.breaks += _edited(pin, self.locate(pin["path"]))
        return link

    def _named(self, path: Path) -> str:
        if path.is_relative_to(self.results):
            return str("results" / path.relative_to(self.results))
        return str(path.relative_to(self.results.parent) if path.is_relative_to(self.results.parent) else path)


def _replaced(pin: dict[str, str], manifest: Manifest | None) -> list[str]:
    """Return a finding if an input was made again since it was used.

    A manifest that cannot be read breaks the link of the input instead.
    """
    if manifest is None or manifest.identity == pin["manifest"]:
        return []
    return [f"{pin['path']}: made again since" + ("" if manifest.digest == pin["digest"] else ", with other content")]


def _edited(pin: dict[str, str], path: Path) -> list[str]:
    if not path.is_file():
        return [f"{pin['path']}: missing"]
    return [] if sha256(path) == pin["sha256"] else [f"{pin['path']}: changed"]


def contradictions(manifest: Manifest) -> list[str]:
    """Return the contradictions between a record and the metadata inside its outputs.

    With any of them, the record does not belong to these outputs.
    """
    made = manifest.made
    found = []
    if "modules" in made and digest(made["modules"]) != made.get("source_digest"):
        found.append("the record's source digest is not that of its modules")
    for name in manifest.outputs:
        said = _said(manifest.path.with_name(name))
        found += [
            f"{name}: says otherwise than the record about its {key}" for key in said if said[key] != _of(made, key)
        ]
    return found


def _of(made: dict[str, Any], key: str) -> Any:
    digests = {name: pin["digest"] for name, pin in made.get("inputs", {}).items()}
    if key == "identifier":
        return identifier(made.get("config"), made.get("source_digest", ""), digests)
    return digests if key == "inputs" else made.get(key)


def _said(output: Path) -> dict[str, Any]:
    """Return the metadata inside an output about how it was made, if there are any."""
    if output.suffix == ".zarr":
        attrs = json.loads((output / "zarr.json").read_text())["attributes"]
        said = {key: json.loads(attrs[key]) for key in ("config", "inputs") if key in attrs}
        return said | {key: attrs[key] for key in ("source_digest",) if key in attrs}
    identifier = identifier_of(output)
    return {"identifier": identifier} if identifier else {}


def identifier_of(figure: Path) -> str | None:
    """Return the identifier in a figure's metadata, or None."""
    if figure.suffix == ".svg":
        found = re.search(r"<dc:identifier>(\w+)</dc:identifier>", figure.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else None
    if figure.suffix not in (".png", ".gif"):
        return None
    with Image.open(figure) as image:
        said = image.info.get("Identifier") or image.info.get("comment", b"").decode(errors="replace")
    return said or None


def manifest_of(artifact: Path, results: Path) -> Path:
    """Return the path of an output's manifest; for a copy of a figure, that of the figure with the same identifier.

    Raises:
        NoLineage: there is no such manifest.
    """
    for manifest in sorted(artifact.parent.glob("*.manifest.json")):
        if artifact.name in _outputs(manifest):
            return manifest
    figures = results.parent / "figures"
    made_here = artifact.is_relative_to(results) or artifact.is_relative_to(figures)
    if made_here and artifact.parent != figures / "gallery":  # it holds copies, without manifests
        return _expected(artifact)  # a damaged or missing manifest is a broken link
    identifier = _readable_identifier(artifact)
    if identifier is None:
        raise NoLineage(
            f"{artifact}: no manifest lies beside it, and it carries no identifier; is it an output of the workflow?"
        )
    for manifest in sorted(figures.glob("*/*.manifest.json")):
        if f'"identifier": "{identifier}"' in manifest.read_text(errors="replace"):
            return manifest
    raise NoLineage(
        f"{artifact}: no figure beside {results} has its identifier {identifier}; give the folder `results` of the"
        " workflow that made it, which has the folder `figures` beside it, as --results"
    )


def _expected(artifact: Path) -> Path:
    """Return the path that an output's manifest should have; the pictures of one figure share one."""
    return artifact.with_suffix(".manifest.json") if artifact.suffix in (".svg", ".png") else manifest_path(artifact)


def _outputs(manifest: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(manifest.read_text())["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _readable_identifier(artifact: Path) -> str | None:
    if not artifact.is_file():
        raise NoLineage(f"{artifact}: there is no such file, and no manifest of it")
    try:
        return identifier_of(artifact)
    except OSError as error:
        raise NoLineage(f"{artifact}: cannot be read ({error})") from None


def trace(artifact: Path, results: Path) -> Link:
    """Return the lineage of an output, or of a copy of a figure in another folder.

    Raises:
        NoLineage: its origin is unknown.
    """
    manifest = manifest_of(artifact, results)
    link = Tracer(results).link(manifest)
    elsewhere = artifact.parent != manifest.parent and link.manifest is not None
    if elsewhere and sha256(artifact) not in link.manifest.files.values():
        link.breaks.insert(0, f"{artifact}: is not what {manifest.name} manifests")
    return link


def trace_all(results: Path, profile: str) -> list[Link]:
    """Return the lineages of all outputs of a profile, which share links.

    Raises:
        NoLineage: the profile has no outputs.
    """
    folders = [results / profile, results.parent / "figures" / profile]
    manifests = [manifest for folder in folders for manifest in sorted(folder.rglob("*.manifest.json"))]
    if not manifests:
        raise NoLineage(f"there is nothing of profile {profile!r} in {results}; run snakemake first")
    tracer = Tracer(results)
    return [tracer.link(manifest) for manifest in manifests]


def intact(results: Path, manifests: Iterable[Path]) -> list[Link]:
    """Return the links of outputs and of everything that they depend on, each once, after a check that none is broken.

    Args:
        manifests: manifests of the outputs.

    Raises:
        ManifestError: there are breaks; the message lists all.
    """
    tracer = Tracer(results)
    links = list({id(link): link for manifest in manifests for link in tracer.link(manifest).walk()}.values())
    breaks = [f"  {link.name}: {finding}" for link in links for finding in link.breaks]
    if breaks:
        raise ManifestError("\n".join(["some outputs are not as they were made", *breaks, "Run snakemake again."]))
    return links
