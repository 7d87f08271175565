"""Snakemake's report of a finished profile, as a reader sees it in a browser.

Needs Chromium (Debian: `apt-get install chromium`). Set CENTRALFLOWS_SCREENSHOTS to a folder to keep what was seen.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from calls import snakemake
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from centralflows.config.catalogue import CATALOGUE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian, apt-get install chromium")
CATEGORIES = sorted({drawing.category for drawing in CATALOGUE.values()} | {"Scorecard"})


@pytest.fixture(scope="module")
def report(built) -> Path:
    done = snakemake(built, "--report", "report.html")
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr  # captions that docutils misreads
    return built / "report.html"


@pytest.fixture
def page(report) -> Iterator[Page]:
    """The report's first page; it asks the network for nothing and has no errors."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 1000})
        requests, errors = [], []
        page.on("request", lambda request: requests.append(request.url))
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(report.as_uri())
        page.get_by_text("Workflow", exact=True).wait_for()
        yield page
        outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:", "about:"))]
        assert (outside, errors) == ([], [])
        browser.close()


def seen(page: Page, name: str, folder: Path) -> np.ndarray:
    """A screenshot, as grey pixels."""
    path = Path(os.environ.get("CENTRALFLOWS_SCREENSHOTS", folder)) / f"{name}.png"
    page.screenshot(path=path)
    return np.asarray(Image.open(path).convert("L"))


def test_every_figure_is_found_by_its_category(page):
    listed = {}
    for category in CATEGORIES:
        page.get_by_text(category, exact=True).click()
        page.locator("tbody tr").first.wait_for()
        rows = [row.locator("td").all_inner_texts()[:2] for row in page.locator("tbody tr").all()]
        listed |= {figure: (category, claim) for figure, claim in rows}
        page.get_by_text("Results", exact=True).click()
    assert listed.pop("scorecard")[0] == "Scorecard"
    assert listed == {slug: (drawing.category, drawing.claim) for slug, drawing in CATALOGUE.items()}


def test_a_figure_leads_to_its_picture_and_its_caption(page, tmp_path):
    page.get_by_text("Gradient descent", exact=True).click()
    row = page.locator("tbody tr", has=page.get_by_text("gd-eos", exact=True))
    row.locator("a[iconname=eye]").click()
    picture = page.locator('img[src*="filename=gd-eos.svg"]')
    picture.wait_for()
    assert picture.evaluate("image => image.complete && image.naturalWidth") > 400
    shown = picture.bounding_box()
    pixels = seen(page, "figure", tmp_path)[int(shown["y"]) : int(shown["y"] + shown["height"]), int(shown["x"]) :]
    assert (pixels > 250).mean() > 0.7 and (pixels < 200).mean() > 0.005  # white paper with lines on it
    row.locator("a[iconname=information-circle]").click()
    page.get_by_text("It would be falsified by a sharpness that levels off").wait_for()
    page.get_by_text("Run: mlp, mlp (width 16)").wait_for()
    seen(page, "caption", tmp_path)


def test_the_time_that_jobs_took_is_shown(page, tmp_path):
    page.get_by_text("Statistics", exact=True).click()
    charts = page.locator("canvas")  # pixels without text: runtimes by rule, and when outputs were made
    charts.first.wait_for()
    page.wait_for_function("document.querySelector('canvas').height > 400")
    page.wait_for_timeout(300)
    pixels = seen(page, "statistics", tmp_path)
    assert (pixels[:, 400:] < 200).mean() > 0.005  # names of rules, and points
