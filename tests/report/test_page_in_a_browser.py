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

# Added to a copy of the page: writes what the browser made of it where --dump-dom shows it.
MEASURE = """
<script>
const errors = [];
addEventListener("error", event => errors.push(String(event.message)), true);
addEventListener("load", () => {
  const box = element => element.getBoundingClientRect();
  document.documentElement.dataset.seen = JSON.stringify({
    errors,
    window: innerWidth,
    page: document.documentElement.scrollWidth,
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
def browser():
    """Returns seen(page, width): what Chromium makes of a page in a window of that width."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on PATH: apt-get install chromium")

    def seen(path, width):
        flags = ("--headless", "--no-sandbox", "--disable-gpu", f"--window-size={width},900", "--dump-dom")
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


@pytest.mark.parametrize("width", [1400, 600])
def test_tables_and_figures_are_laid_out_within_the_window(browser, tmp_path, width):
    result = {"accuracy": 0.5, "num_examples": 400, "confidence_interval_95": [0.45, 0.55]}
    attacks = {name: result for name in ("clean", "fgsm", "bim-10", "pgd-10", "pgd-20", "cw-20", "mim-40")}
    settings = Recipe(dataset="tiny_imagenet", defense="at", image_size=64).settings()
    groups = [[Run("runs/at", settings, attacks)]]
    tables = [comparison(groups), filled_table(TABLES[0], groups)]
    page = tmp_path / "page.html"
    text = html_page("A page", tables, {"a figure": figure(), "another": figure()})
    page.write_text(text.replace("<title>", f"{MEASURE}<title>"), encoding="utf-8")
    seen = browser(page, width)
    assert seen["errors"] == []
    assert seen["window"] == width
    assert seen["page"] <= width, "the page itself scrolls sideways"
    assert [table["rows"] for table in seen["tables"]] == [1, 3 * len(TABLES[0].rows)]
    assert all(table["inside"] and len(table["widths"]) == 1 for table in seen["tables"])
    assert [natural for natural, _ in seen["images"]] == [2000, 2000]
    assert all(0 < shown <= width for _, shown in seen["images"])
    assert seen["requests"] == 0
