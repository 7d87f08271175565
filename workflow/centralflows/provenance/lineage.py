"""Lineage: from the manifest of a thing through the manifests of its inputs, back to the data, everything verified on the way.

What was made stays as it was made, so whatever is missing, edited or replaced since *breaks* the lineage. That software,
code or configuration have moved on since does not; see `changes`.
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
    """Nothing says where a file comes from."""


@dataclass
class Link:
    """One manifest in a lineage.

    Attributes:
        name: its outputs, as a reader would name them.
        manifest: None where it cannot be read.
        breaks: what is not as it was made, of the outputs themselves and of how they hang on their inputs.
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
        """This link and all that it was made from, each once."""
        seen, pending = set(), [self]
        while pending:
            link = pending.pop(0)
            if id(link) not in seen:
                seen.add(id(link))
                yield link
                pending.extend(link.inputs.values())


class Tracer:
    """Follows manifests; each is read and verified once.

    Args:
        results: the folder `results`; figures lie beside it.
    """

    def __init__(self, results: Path):
        self.results = results
        self._links: dict[Path, Link] = {}

    def locate(self, path: str) -> Path:
        """Where a path of a record is now: in the results, beside them, or in the repository."""
        parts = Path(path).parts
        if parts[0] == "results":
            return self.results.joinpath(*parts[1:])
        here = self.results.parent / path
        return here if here.exists() else REPOSITORY / path

    def link(self, manifest: Path) -> Link:
        """The lineage that begins at a manifest."""
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
    """Whether an input is another one than was used; one that cannot be read is a break of its own link."""
    if manifest is None or manifest.identity == pin["manifest"]:
        return []
    return [f"{pin['path']}: made again since" + ("" if manifest.digest == pin["digest"] else ", with other content")]


def _edited(pin: dict[str, str], path: Path) -> list[str]:
    if not path.is_file():
        return [f"{pin['path']}: missing"]
    return [] if sha256(path) == pin["sha256"] else [f"{pin['path']}: changed"]


def contradictions(manifest: Manifest) -> list[str]:
    """How a record differs from what its outputs say of themselves: it is not the record of how these were made."""
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
    """What an output says of how it was made, as far as it does."""
    if output.suffix == ".zarr":
        attrs = json.loads((output / "zarr.json").read_text())["attributes"]
        said = {key: json.loads(attrs[key]) for key in ("config", "inputs") if key in attrs}
        return said | {key: attrs[key] for key in ("source_digest",) if key in attrs}
    identifier = identifier_of(output)
    return {"identifier": identifier} if identifier else {}


def identifier_of(figure: Path) -> str | None:
    """The identifier in a figure's metadata."""
    if figure.suffix == ".svg":
        found = re.search(r"<dc:identifier>(\w+)</dc:identifier>", figure.read_text(encoding="utf-8", errors="replace"))
        return found[1] if found else None
    if figure.suffix not in (".png", ".gif"):
        return None
    with Image.open(figure) as image:
        said = image.info.get("Identifier") or image.info.get("comment", b"").decode(errors="replace")
    return said or None


def manifest_of(artifact: Path, results: Path) -> Path:
    """The manifest of an output; of a figure that lies elsewhere, that of the figure with its identifier.

    Raises:
        NoLineage: there is none.
    """
    for manifest in sorted(artifact.parent.glob("*.manifest.json")):
        if artifact.name in _outputs(manifest):
            return manifest
    figures = results.parent / "figures"
    made_here = artifact.is_relative_to(results) or artifact.is_relative_to(figures)
    if made_here and artifact.parent != figures / "gallery":  # where copies are, without manifests
        return _expected(artifact)  # damaged or gone: a broken link
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
    """Where its manifest should be; the pictures of one figure share one."""
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
    """The lineage of an output, or of a copy of a figure that lies elsewhere.

    Raises:
        NoLineage: nothing says where it comes from.
    """
    manifest = manifest_of(artifact, results)
    link = Tracer(results).link(manifest)
    elsewhere = artifact.parent != manifest.parent and link.manifest is not None
    if elsewhere and sha256(artifact) not in link.manifest.files.values():
        link.breaks.insert(0, f"{artifact}: is not what {manifest.name} manifests")
    return link


def trace_all(results: Path, profile: str) -> list[Link]:
    """The lineages of everything of a profile, sharing their links.

    Raises:
        NoLineage: nothing of it was made.
    """
    folders = [results / profile, results.parent / "figures" / profile]
    manifests = [manifest for folder in folders for manifest in sorted(folder.rglob("*.manifest.json"))]
    if not manifests:
        raise NoLineage(f"there is nothing of profile {profile!r} in {results}; run snakemake first")
    tracer = Tracer(results)
    return [tracer.link(manifest) for manifest in manifests]


def intact(results: Path, manifests: Iterable[Path]) -> list[Link]:
    """Everything that things were made from, and these themselves, each once; all of it is whole.

    Args:
        manifests: of the things.

    Raises:
        ManifestError: lists every break.
    """
    tracer = Tracer(results)
    links = list({id(link): link for manifest in manifests for link in tracer.link(manifest).walk()}.values())
    breaks = [f"  {link.name}: {finding}" for link in links for finding in link.breaks]
    if breaks:
        raise ManifestError("\n".join(["not everything is as it was made", *breaks, "Run snakemake again."]))
    return links
