"""Lineage: from the seal of a thing through the seals of its inputs, back to the data, everything verified on the way.

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

from . import provenance
from .errors import UserError
from .provenance import Seal, SealError, read_seal, seal_path


class NoLineage(UserError):
    """Nothing says where a file comes from."""


@dataclass
class Link:
    """One seal in a lineage.

    Attributes:
        name: its outputs, as a reader would name them.
        seal: None where it cannot be read.
        breaks: what is not as it was made, of the outputs themselves and of how they hang on their inputs.
        inputs: links to the sealed inputs, by their names in the record.
    """

    name: str
    seal: Seal | None
    breaks: list[str] = field(default_factory=list)
    inputs: dict[str, Link] = field(default_factory=dict)

    @property
    def made(self) -> dict[str, Any]:
        return self.seal.made if self.seal else {}

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
    """Follows seals; each is read and verified once.

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
        return here if here.exists() else provenance.ROOT / path

    def link(self, seal: Path) -> Link:
        """The lineage that begins at a seal."""
        if seal not in self._links:
            self._links[seal] = self._traced(seal)
        return self._links[seal]

    def _traced(self, path: Path) -> Link:
        try:
            seal = read_seal(path)
        except SealError as error:
            return Link(self._named(path).removesuffix(".seal.json"), None, [str(error)])
        first, *rest = seal.outputs
        link = Link(", ".join([self._named(path.with_name(first)), *rest]), seal)
        link.breaks += seal.findings()
        link.breaks += contradictions(seal) if not link.breaks else []
        for name, pin in seal.made.get("inputs", {}).items():
            link.inputs[name] = self.link(seal_path(self.locate(pin["path"])))
            link.breaks += _replaced(pin, link.inputs[name].seal)
        for pin in seal.made.get("files", {}).values():
            link.breaks += _edited(pin, self.locate(pin["path"]))
        return link

    def _named(self, path: Path) -> str:
        if path.is_relative_to(self.results):
            return str("results" / path.relative_to(self.results))
        return str(path.relative_to(self.results.parent) if path.is_relative_to(self.results.parent) else path)


def _replaced(pin: dict[str, str], seal: Seal | None) -> list[str]:
    """Whether an input is another one than was used; one that cannot be read is a break of its own link."""
    if seal is None or seal.identity == pin["seal"]:
        return []
    return [f"{pin['path']}: made again since" + ("" if seal.digest == pin["digest"] else ", with other content")]


def _edited(pin: dict[str, str], path: Path) -> list[str]:
    if not path.is_file():
        return [f"{pin['path']}: missing"]
    return [] if provenance.sha256(path) == pin["sha256"] else [f"{pin['path']}: changed"]


def contradictions(seal: Seal) -> list[str]:
    """How a record differs from what its outputs say of themselves: it is not the record of how these were made."""
    made = seal.made
    found = []
    if "modules" in made and provenance.digest(made["modules"]) != made.get("source_digest"):
        found.append("the record's source digest is not that of its modules")
    for name in seal.outputs:
        said = _said(seal.path.with_name(name))
        found += [
            f"{name}: says otherwise than the record about its {key}" for key in said if said[key] != _of(made, key)
        ]
    return found


def _of(made: dict[str, Any], key: str) -> Any:
    digests = {name: pin["digest"] for name, pin in made.get("inputs", {}).items()}
    if key == "identifier":
        return provenance.identifier(made.get("config"), made.get("source_digest", ""), digests)
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


def seal_of(artifact: Path, results: Path) -> Path:
    """The seal of an output; of a figure that lies elsewhere, that of the figure with its identifier.

    Raises:
        NoLineage: there is none.
    """
    for seal in sorted(artifact.parent.glob("*.seal.json")):
        if artifact.name in _outputs(seal):
            return seal
    figures = results.parent / "figures"
    made_here = artifact.is_relative_to(results) or artifact.is_relative_to(figures)
    if made_here and artifact.parent != figures / "gallery":  # where copies are, without seals
        return _expected(artifact)  # damaged or gone: a broken link
    identifier = _readable_identifier(artifact)
    if identifier is None:
        raise NoLineage(
            f"{artifact}: no seal lies beside it, and it carries no identifier; is it an output of the workflow?"
        )
    for seal in sorted(figures.glob("*/*.seal.json")):
        if f'"identifier": "{identifier}"' in seal.read_text(errors="replace"):
            return seal
    raise NoLineage(
        f"{artifact}: no figure beside {results} has its identifier {identifier}; give the folder `results` of the"
        " workflow that made it, which has the folder `figures` beside it, as --results"
    )


def _expected(artifact: Path) -> Path:
    """Where its seal should be; the pictures of one figure share one."""
    return artifact.with_suffix(".seal.json") if artifact.suffix in (".svg", ".png") else seal_path(artifact)


def _outputs(seal: Path) -> list[str]:
    try:
        return [str(name) for name in json.loads(seal.read_text())["outputs"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _readable_identifier(artifact: Path) -> str | None:
    if not artifact.is_file():
        raise NoLineage(f"{artifact}: there is no such file, and no seal of it")
    try:
        return identifier_of(artifact)
    except OSError as error:
        raise NoLineage(f"{artifact}: cannot be read ({error})") from None


def trace(artifact: Path, results: Path) -> Link:
    """The lineage of an output, or of a copy of a figure that lies elsewhere.

    Raises:
        NoLineage: nothing says where it comes from.
    """
    seal = seal_of(artifact, results)
    link = Tracer(results).link(seal)
    elsewhere = artifact.parent != seal.parent and link.seal is not None
    if elsewhere and provenance.sha256(artifact) not in link.seal.files.values():
        link.breaks.insert(0, f"{artifact}: is not what {seal.name} seals")
    return link


def trace_all(results: Path, profile: str) -> list[Link]:
    """The lineages of everything of a profile, sharing their links.

    Raises:
        NoLineage: nothing of it was made.
    """
    folders = [results / profile, results.parent / "figures" / profile]
    seals = [seal for folder in folders for seal in sorted(folder.rglob("*.seal.json"))]
    if not seals:
        raise NoLineage(f"there is nothing of profile {profile!r} in {results}; run snakemake first")
    tracer = Tracer(results)
    return [tracer.link(seal) for seal in seals]


def intact(results: Path, seals: Iterable[Path]) -> list[Link]:
    """Everything that things were made from, and these themselves, each once; all of it is whole.

    Args:
        seals: of the things.

    Raises:
        SealError: lists every break.
    """
    tracer = Tracer(results)
    links = list({id(link): link for seal in seals for link in tracer.link(seal).walk()}.values())
    breaks = [f"  {link.name}: {finding}" for link in links for finding in link.breaks]
    if breaks:
        raise SealError("\n".join(["not everything is as it was made", *breaks, "Run snakemake again."]))
    return links
