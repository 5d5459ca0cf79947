"""The report's page, laid out by Chromium."""

import html
import io
import json
import re
import shutil
import subprocess

import matplotlib.pyplot as plt
import pytest

from agkd_tf.report import TABLES, Run, comparison, filled_table, html_page
from agkd_tf.training import Recipe

# Added to a copy of the page: writes what the browser made of it where --dump-dom shows it. The page is in a frame:
# Chromium's own window has at least 500 pixels.
MEASURE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)), true);
addEventListener("load", () => {
  const box = element => element.getBoundingClientRect();
  top.document.documentElement.dataset.seen = JSON.stringify({
    errors,
    window: innerWidth,
    page: document.documentElement.scrollWidth,
    open: [...document.querySelectorAll("table, pre")].map(each => each.checkVisibility()),
    order: [...document.querySelectorAll("table, figure, details, nav")].map(each => each.localName),
    linked: [...document.querySelectorAll("nav a")].map(
      link => document.getElementById(link.hash.slice(1))?.localName ?? "nowhere"),
    tables: [...document.querySelectorAll("table")].map(table => ({
      rows: table.tBodies[0].rows.length,
      widths: [...new Set([...table.rows].map(row => box(row).width))],
      inside: box(table).width <= box(table.parentElement).width
        || getComputedStyle(table.parentElement).overflowX == "auto",
    })),
    images: [...document.images].map(image => [image.naturalWidth, box(image).width]),
    requests: performance.getEntriesByType("resource").filter(entry => !entry.name.startsWith("data:")).length,
  });
});
</script>
"""


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Returns seen(text, width): what Chromium makes of a page's text in a window of that width."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")

    def seen(text, width):
        path = tmp_path_factory.mktemp("page") / "page.html"
        frame = f'<iframe width="{width}" height="900" style="border: 0" srcdoc="{html.escape(text)}"></iframe>'
        path.write_text(f"<!doctype html>{frame}", encoding="utf-8")
        flags = ("--headless", "--no-sandbox", "--disable-gpu", "--window-size=1600,1000", "--dump-dom")
        command = [program, *flags, "--virtual-time-budget=10000", path.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        return json.loads(html.unescape(re.search(r'data-seen="([^"]*)"', shown).group(1)))

    return seen


def figure():
    """Returns a PNG file's bytes, wider than the page."""
    file = io.BytesIO()
    drawn = plt.figure(figsize=(20, 2), dpi=100)
    drawn.savefig(file, format="png")
    plt.close(drawn)
    return file.getvalue()


@pytest.mark.parametrize("width", [1400, 390])
def test_tables_and_figures_are_laid_out_within_the_window(browser, width):
    result = {"accuracy": 0.5, "num_examples": 400, "confidence_interval_95": [0.45, 0.55]}
    attacks = {name: result for name in ("clean", "fgsm", "bim-10", "pgd-10", "pgd-20", "cw-20", "mim-40")}
    settings = Recipe(dataset="tiny_imagenet", defense="at", image_size=64).settings()
    groups = [[Run("runs/at", settings, attacks)]]
    tables = [comparison(groups), *(filled_table(table, groups) for table in TABLES[:2])]
    text = html_page("A page", tables, {"a figure": figure(), "another": figure()})
    seen = browser(text.replace("<title>", f"{MEASURE}<title>"), width)
    assert seen["errors"] == []
    assert seen["window"] == width
    assert seen["page"] <= width, "the page itself scrolls sideways"
    # Measured and published of the run's row; a line for each of the other rows, and for each of the other table.
    assert [table["rows"] for table in seen["tables"]] == [1, 2, len(TABLES[0].rows) - 1, len(TABLES[1].rows)]
    # Its own table, the first one's row; not what folds away: commands, rows and a table without a run.
    assert seen["open"] == [True, True, False, False, False, False]
    assert seen["order"][:6] == ["nav", "table", "details", "figure", "figure", "table"]
    assert seen["linked"] == ["h2", "h2", "h3", "h3"]
    assert all(table["inside"] and len(table["widths"]) == 1 for table in seen["tables"])
    assert [natural for natural, _ in seen["images"]] == [2000, 2000]
    assert all(0 < shown <= width for _, shown in seen["images"])
    assert seen["requests"] == 0
