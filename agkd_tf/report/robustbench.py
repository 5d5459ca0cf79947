"""RobustBench's published figures for networks that can be imported, beside what was measured here.

Source: RobustBench (Croce et al., NeurIPS 2021), the files model_info/cifar10/Linf/NAME.json of its repository, read on
2026-11-28; accuracies in % on all 10,000 test images of CIFAR-10, `autoattack_acc` for AutoAttack. The architectures,
pixels and entries of checkpoints are those of its model_zoo/cifar10.py.
"""

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any

import pandas

from agkd_tf.errors import InputError
from agkd_tf.evaluation import Key, read_evaluation
from agkd_tf.perturbation_size import format_size
from agkd_tf.report.tables import FilledTable
from agkd_tf.types import PathLike

COLUMNS = {"clean": "clean", "autoattack": "AutoAttack"}
WHOLE = 10_000  # images in CIFAR-10's test split


@dataclasses.dataclass(frozen=True)
class Entry:
    """One entry of RobustBench, l_inf on CIFAR-10.

    Attributes:
        architecture: its network, as `agkd_tf.import_weights` calls it.
        clean, autoattack: published accuracies in %, as RobustBench prints them.
        eps: radius of the ball.
    """

    architecture: str
    clean: str
    autoattack: str
    eps: float = 8 / 255


ENTRIES: Mapping[str, Entry] = {
    "Andriushchenko2020Understanding": Entry("preact-resnet-raw-nobn-18", "79.84", "43.93"),
    "Carmon2019Unlabeled": Entry("wrn-28-10", "89.69", "59.53"),
    "Gowal2020Uncovering_28_10_extra": Entry("wrn-deepmind-28-10", "89.48", "62.76"),
    "Hendrycks2019Using": Entry("wrn-28-10", "87.11", "54.92"),
    "Rebuffi2021Fixing_28_10_cutmix_ddpm": Entry("wrn-deepmind-28-10", "87.33", "60.75"),
    "Rebuffi2021Fixing_R18_ddpm": Entry("preact-resnet-deepmind-18", "83.53", "56.66"),
    "Rice2020Overfitting": Entry("wrn-34-20", "85.34", "53.42"),
    "Sehwag2021Proxy_R18": Entry("resnet-18", "84.38", "54.43"),
    "Wang2020Improving": Entry("wrn-28-10", "87.50", "56.29"),
    "Wang2023Better_WRN-28-10": Entry("wrn-deepmind-28-10", "92.44", "67.31"),
    "Wong2020Fast": Entry("preact-resnet-raw-nobn-18", "83.34", "43.21"),
    "Wu2020Adversarial": Entry("wrn-34-10", "85.36", "56.17"),
    "Wu2020Adversarial_extra": Entry("wrn-28-10", "88.25", "60.04"),
    "Zhang2019Theoretically": Entry("wrn-34-10", "84.92", "53.08", eps=0.031),
}


def robustbench_table(records: Mapping[str, PathLike]) -> FilledTable:
    """Returns the `FilledTable` of RobustBench's entries and the evaluations of their imported networks.

    A difference is given for accuracies on all test images, under the published ball.

    Args:
        records: entry of RobustBench -> record of an evaluation (`tools.evaluate --record`).

    Raises:
        InputError: for an unknown entry, or a record that cannot be read.
    """
    lines, index, notes = [], [], []
    for name, path in records.items():
        if name not in ENTRIES:
            raise InputError(f"`robustbench` must be of {', '.join(ENTRIES)}. Received: {name}")
        entry = ENTRIES[name]
        found: dict[str, Mapping[str, Any]] = {}
        for text, record in read_evaluation(pathlib.Path(path))["attacks"].items():
            key = Key.read(text)
            is_plain = dataclasses.replace(key, attack="", norm=None, eps=None, count=None) == Key("")
            in_ball = key.attack == "clean" or (key.norm, key.eps) == ("linf", entry.eps)
            # The result on the most images counts.
            if is_plain and in_ball and key.attack in COLUMNS:
                found[key.attack] = max(found.get(key.attack, record), record, key=lambda each: each["num_examples"])
        published = {"clean": entry.clean, "autoattack": entry.autoattack}
        rows = {
            "measured": {column: _measured(record) for column, record in found.items()},
            "published": published,
            "difference": {
                column: f"{100 * record['accuracy'] - float(published[column]):+.2f}"
                for column, record in found.items()
                if record["num_examples"] == WHOLE
            },
        }
        for source, figures in rows.items():
            if source == "measured" or figures:
                index.append((name, source))
                lines.append([figures.get(column, "") for column in COLUMNS])
        notes.append(f"{name}: {entry.architecture}, linf {format_size(entry.eps)}, RobustBench as of 2026-11-28")
    frame = pandas.DataFrame(lines, index=pandas.MultiIndex.from_tuples(index), columns=list(COLUMNS.values()))
    return FilledTable("RobustBench: imported networks, CIFAR-10", frame, [], notes)


def _measured(record: Mapping[str, Any]) -> str:
    low, high = record["confidence_interval_95"]
    part = "" if record["num_examples"] == WHOLE else f", first {record['num_examples']}"
    return f"{100 * record['accuracy']:.2f} ({100 * low:.1f}-{100 * high:.1f}{part})"
