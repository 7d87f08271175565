"""The gallery of a profile, one content in two renderings: Markdown for GitHub, and a page for a browser.

The figures' files are beside both pages. `gallery_content` prepares the content.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .templating import rendered


def as_markdown_page(content: Mapping[str, Any]) -> str:
    """Return the gallery in Markdown, for the content that `gallery_content.content` returns."""
    return rendered("gallery.md", **content)


def as_html_page(content: Mapping[str, Any]) -> str:
    """Return the gallery in HTML, which links to the explorer beside it."""
    return rendered("gallery.html", **content)
