"""Pages from templates, with what they share: escapes, and colours of verdicts."""

from __future__ import annotations

import re
from functools import cache
from importlib import resources
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined

FOLDER = resources.files(__package__) / "templates"


def rendered(template: str, **content: Any) -> str:
    """Return a page; what is not marked as markup is escaped in HTML."""
    return _environment().get_template(template).render(content)


def as_markdown(text: str) -> str:
    r"""Return plain text with the characters escaped that Markdown would read as markup.

    >>> as_markdown("|g|^2 <= 2*S")
    '\\|g\\|^2 &lt;= 2\\*S'
    """
    return re.sub(r"([\\`*_\[\]|~])", r"\\\1", text).replace("<", "&lt;").replace(">", "&gt;")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(lambda name: (FOLDER / name).read_text(encoding="utf-8")),
        autoescape=lambda name: name is not None and name.endswith(".html"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = as_markdown
    return environment
