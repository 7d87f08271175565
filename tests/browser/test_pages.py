"""Gallery and explorer of a finished profile, as a reader sees them in a browser, on a wide and on a narrow screen.

Needs Chromium (Debian: `apt-get install chromium`). Set CENTRALFLOWS_SCREENSHOTS to a folder to keep what was seen.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from centralflows.config.catalogue import CATALOGUE
from centralflows.figures.explorer import PANELS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian, apt-get install chromium")

WIDTHS = (1280, 390)
MODEL = "Bokeh.documents[0].get_model_by_name"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield launched
        launched.close()


@pytest.fixture(params=WIDTHS)
def open_page(request, browser, built, tmp_path) -> Iterator[Callable[[str], Page]]:
    """Opens a page of the smoke profile; it asks the network for nothing, has no errors, and fits the screen."""
    page = browser.new_page(viewport={"width": request.param, "height": 1000})
    requests, errors = [], []
    page.on("request", lambda asked: requests.append(asked.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)

    def opened(address: str) -> Page:
        page.goto((built / "figures" / "smoke").as_uri() + f"/{address}")
        return page

    yield opened
    assert page.evaluate("document.documentElement.scrollWidth") <= request.param
    folder = Path(os.environ.get("CENTRALFLOWS_SCREENSHOTS", tmp_path))
    page.screenshot(path=folder / f"{request.node.name}.png")
    outside = [url for url in requests if not url.startswith(("file:", "data:", "blob:", "about:"))]
    assert (outside, errors) == ([], [])
    page.close()


def drawn(page: Page, *names: str) -> None:
    """Wait until the explorer shows some runs."""
    page.wait_for_function("names => document.body.dataset.shown === names", arg=",".join(names))


def curves(page: Page, panel: str) -> list[list[float]]:
    """The values that a panel draws."""
    return page.evaluate(f"{MODEL}('{panel} curves').data.ys.map(values => Array.from(values))")


def visible(page: Page) -> list[str]:
    return [name for name in PANELS if page.locator(f"#box-{name}").is_visible()]


def test_the_gallery_shows_every_figure(open_page):
    page = open_page("index.html")
    for slug in CATALOGUE:
        picture = page.locator(f"#{slug} img").first  # a film may follow
        assert picture.evaluate("image => image.complete && image.naturalWidth") > 400
        width = page.evaluate("document.querySelector('main').clientWidth")
        assert picture.bounding_box()["width"] > 0.85 * width  # the whole column, without its margins


def test_lines_of_prose_are_short_enough_to_read(open_page):
    page = open_page("index.html")
    text, width = page.locator("#gd-central-flow p").nth(1), "range => range.getBoundingClientRect().width"
    size = text.evaluate("p => parseFloat(getComputedStyle(p).fontSize)")
    # A letter of running text is about half as wide as the type is high: 75 letters are 37.5 times its size.
    assert text.evaluate(width) <= 38.5 * size


def test_a_verdict_leads_to_its_row(open_page):
    page = open_page("index.html")
    link = page.locator("#gd-eos .verdict")
    link.click()
    row = page.locator(link.get_attribute("href"))
    assert "The effective sharpness equilibrates at 2." in row.inner_text()
    page.wait_for_timeout(100)
    assert row.bounding_box()["y"] >= -1 and row.bounding_box()["y"] < 1000


def test_a_cell_of_the_scorecard_opens_its_run(open_page):
    page = open_page("index.html")
    page.locator('.runs td a[href="explorer.html#run=scalar"]').first.click()
    page.wait_for_url("**/explorer.html#run=scalar")
    drawn(page, "scalar")


def test_the_address_chooses_runs(open_page, built):
    page = open_page("explorer.html#run=mlp")
    drawn(page, "mlp")
    assert visible(page) == list(PANELS)
    described = json.loads((built / "results" / "smoke" / "runs.json").read_text())["mlp"]
    assert all(text in page.locator("#words").inner_text() for text in described.values())
    card = json.loads((built / "results" / "smoke" / "scorecard.json").read_text())["runs"]["mlp"]
    assert page.locator("#card tr").count() == 1 + len(card)
    assert f"{card['edge']['verdict']}, {card['edge']['value']:.3g}" in page.locator("#card").inner_text()


def test_a_click_draws_another_run(open_page):
    page = open_page("explorer.html")
    page.wait_for_function("document.body.dataset.shown")
    before = curves(page, "loss")
    page.locator("#runs a", has_text="scalar-ablation").click()
    drawn(page, "scalar-ablation")
    assert page.url.endswith("#run=scalar-ablation") and curves(page, "loss") != before
    assert page.evaluate(f"{MODEL}('steps').end") == len(curves(page, "loss")[0]) - 1


def test_several_runs_are_compared(open_page):
    page = open_page("explorer.html#run=scalar")
    drawn(page, "scalar")
    alone = len(curves(page, "loss"))
    page.get_by_label("compare rmsprop").check()
    drawn(page, "scalar", "rmsprop")
    assert len(curves(page, "loss")) > alone
    colors = page.evaluate(f"{MODEL}('loss curves').data.color")
    assert len(set(colors)) == 2  # one for each run
    page.get_by_label("compare scalar", exact=True).uncheck()
    drawn(page, "rmsprop")


def test_unknown_runs_are_left_out(open_page):
    page = open_page("explorer.html#run=nothing,scalar")
    drawn(page, "scalar")


def test_the_cursor_is_in_all_panels_and_reads_values(open_page):
    page = open_page("explorer.html#run=mlp")
    drawn(page, "mlp")
    panel = page.locator("#panel-spectrum")
    panel.scroll_into_view_if_needed()
    box = panel.bounding_box()
    page.mouse.move(box["x"] + 0.5 * box["width"], box["y"] + 0.5 * box["height"])
    page.wait_for_function("document.getElementById('step').textContent")
    step = page.evaluate(f"{MODEL}('cursor').location")
    shown = page.evaluate(
        """names => names.map(name => {
             const panel = Bokeh.documents[0].get_model_by_name(name);
             return panel.toolbar.tools.map(tool => tool.overlay).flat().some(span => span?.name === "cursor");
           })""",
        list(PANELS),
    )
    assert shown == [True] * len(PANELS)
    for name in PANELS:
        read = page.locator(f"#legend-{name} output").all_inner_texts()
        expected = [values[round(step)] for values in curves(page, name)]
        for text, value in zip(read, expected, strict=True):
            assert text == "–" if value is None or value != value else float(text) == pytest.approx(value, rel=6e-3)
    # 6e-3: three digits are off by half a unit of the third, at most 5e-3 of the value, and values by 2^-14 of it.


def test_enlarged_steps_are_those_of_all_panels(open_page):
    page = open_page("explorer.html#run=mlp")
    drawn(page, "mlp")
    box = page.locator("#panel-loss").bounding_box()
    y = box["y"] + 0.5 * box["height"]
    page.mouse.move(box["x"] + 0.4 * box["width"], y)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * box["width"], y + 60, steps=5)
    page.mouse.up()
    page.wait_for_function(f"{MODEL}('steps').start > 1")
    ranges = page.evaluate(
        f"{json.dumps(list(PANELS))}.map(name => {{ const range = {MODEL}(name).x_range; return [range.start, range.end]; }})"
    )
    assert all(each == ranges[0] for each in ranges)


def test_a_finger_scrolls_the_page(browser, built):
    page = browser.new_page(viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.goto((built / "figures" / "smoke" / "explorer.html").as_uri() + "#run=mlp")
    drawn(page, "mlp")
    touch = page.locator("#panel-loss .bk-events").evaluate("layer => getComputedStyle(layer).touchAction")
    assert touch == "auto"
    page.close()


def test_the_list_is_searched(open_page):
    page = open_page("explorer.html")
    page.locator("#search").fill("transformer")
    assert page.locator("#runs li:visible").count() == 1
    assert page.locator("#runs section:visible").count() == 1
