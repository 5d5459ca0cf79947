"""What a stranger needs to read a report: its terms, in plain words."""

import pathlib
import re
from collections.abc import Iterable, Sequence

from agkd_tf.report.tables import FilledTable

SOURCE = "the supplement of “AGKD-BML” (Wang et al., ICCV 2021)"
DURATION = "s/epoch"
FIRST = re.compile(r", first ([\d,]*\d)")
FIGURES = {
    "frontier": "Frontier: each number is a method, its lines the 95 % intervals; further right is better on images as "
    "they are, further up is better under attack. No other method beats the blue ones in both.",
    "attention": "Attention: each row is a test image, which is misclassified after the attack. From left to right: "
    "the image, the attacked image, what the attack changed, and where the networks look (yellow: most).",
    "eps_sweep": "Sweep over eps: accuracy against the size of the change that the attack may make.",
    "tsne": "t-SNE: images that a network finds alike lie close together. A color is a class; red circles are attacked "
    "images.",
}


def terms(tables: Iterable[FilledTable]) -> dict[str, str]:
    """Returns term -> meaning of the notation in the tables' measured cells."""
    shown = [table for table in tables if len(table.measured)]
    accuracies = [table.measured.drop(columns=DURATION, errors="ignore") for table in shown]
    cells = [str(cell) for frame in accuracies for cell in frame.to_numpy().ravel()]
    found = {}
    if any("(" in cell for cell in cells):
        found["62.50 (57.6-67.2)"] = (
            "62.5 % of the tested images are classified right. Had all images of their kind been tested, it would be "
            "between 57.6 and 67.2 %, with 95 % confidence: runs whose ranges overlap may be equally good."
        )
    if any("(" in cell for table in shown for cell in table.measured.get(DURATION, [])):
        found[DURATION] = (
            "Seconds an epoch; in parentheses, what it would take if each step were as fast as the fastest one, and as "
            "the slowest one. Another machine's time says nothing about a method, so times have no difference."
        )
    for count in dict.fromkeys(number for cell in cells for number in FIRST.findall(cell)):
        found[f"first {count}"] = (
            f"Tested on the first {count} test images alone; a figure without it is of all test images."
        )
    if any("±" in cell for cell in cells):
        found["62.50 ± 0.80 (60.5-64.5, 3 seeds)"] = (
            "Mean and standard deviation of three trainings that differ in their random numbers alone; in parentheses, "
            "the range in which the mean of many trainings would lie, with 95 % confidence."
        )
    if any("clean" in table.frame.columns for table in shown):
        found["clean"] = (
            "Accuracy on the test images as they are; in the other columns, on the same images after the attack of "
            "that name has changed them, by no more than eps."
        )
    return found


def terms_beside_published(tables: Iterable[FilledTable]) -> dict[str, str]:
    """Returns term -> meaning of the names of the tables' lines; {} where none has published figures."""
    if not any(table.has_published for table in tables):
        return {}
    return {
        "measured": "What your run reached; empty where it was not tested so.",
        "published": f"What {SOURCE} prints for this method.",
        "difference": "Measured minus published, in percentage points. It is given only where the two compare: the "
        "same data set, network, image size and eps, all training images, no fewer epochs, all test images. Where it "
        "is missing, the lines below the table say why.",
    }


def how_to_read(tables: Sequence[FilledTable]) -> str:
    """Returns the terms of some tables as Markdown; "" where they have none."""
    meanings = terms(tables) | terms_beside_published(tables)
    lines = [f"- {term}: {meaning}" for term, meaning in meanings.items()]
    return "\n".join(["## How to read these figures", "", *lines]) if lines else ""


def figures_shown(names: Iterable[str]) -> Sequence[str]:
    """Returns what the figures of these files show, a line a kind, as far as it is known."""
    stems = [pathlib.PurePath(name).name for name in names]
    return [text for kind, text in FIGURES.items() if any(stem.startswith(kind) for stem in stems)]
