"""The figures that AGKD-BML's supplement publishes, table by table.

Source: Wang et al., AGKD-BML, ICCV 2021, supplementary material, Tables 1-6 and section 4; accuracies in %.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class PublishedRow:
    """One row.

    Attributes:
        title: as the supplement has it.
        match: settings that a run of it has (see `Recipe.settings`).
        recipe: flagfile that trains it.
        figures: column -> figure as the supplement prints it; a column that has none is left out.
        trained: what its figures rest on, as its recipe has it: `model`, `image_size`, `epochs`, `eps`.
    """

    title: str
    match: Mapping[str, Any]
    recipe: str
    figures: Mapping[str, str]
    trained: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class PublishedTable:
    """One table.

    Attributes:
        number: the supplement's, with a letter where it is taken apart here.
        title: what it shows.
        dataset: the data set's name here; of a run on another, no difference is given.
        columns: column -> heading. A column is an attack's name, as evaluations have it; `ATTACK knn-K` for its
            nearest neighbors; `transfer SOURCE` for adversaries of a run whose folder is called that; `cost NAME`
            for what a training costs, as `agkd_tf.benchmark.Cost.record` names it, `cost attack_steps` or
            `cost platform`.
        rows: `PublishedRow`s.
        also: settings of runs that are shown below the rows although they match none of them; {} for all runs
            that have something to show, None for none.
        eps: radius of the l_inf ball of all its rows' attacks, whatever they were trained at; None for their own.
    """

    number: str
    title: str
    dataset: str
    columns: Mapping[str, str]
    rows: tuple[PublishedRow, ...]
    also: Mapping[str, Any] | None = None
    eps: float | None = None


UNDEFENDED = {"defense": "undefended", "label_smoothing": 0.0}
AT, ALP, SML = {"defense": "at"}, {"defense": "alp"}, {"defense": "sml"}
BILATERAL = {"defense": "bilateral", "target": "mc", "label_adversary": True, "attack_steps": 1}
FEATURE_SCATTER = {"defense": "feature_scatter", "attack_steps": 1}
TWO_STEPS = {"defense": "agkd_bml", "mart": False, "attack_steps": 2}
TEN_STEPS = {"defense": "agkd_bml", "mart": True, "attack_steps": 10}

# What the figures rest on, by the recipes' folder, and what single recipes have otherwise.
_WRN = {"model": "wrn-28-10", "image_size": 32, "epochs": 200, "eps": 8 / 255}
_TRAINED: Mapping[str, Mapping[str, Any]] = {
    "cifar10": _WRN,
    "svhn": _WRN,
    "tiny_imagenet": {"model": "resnet-50", "image_size": 64, "epochs": 40, "eps": 8 / 255},
}
_OTHERWISE: Mapping[tuple[str, str], Mapping[str, Any]] = {
    ("cifar10", "bilateral"): {"epochs": 201},
    ("cifar10", "bilateral_4"): {"epochs": 201},
    ("cifar10", "sml"): {"epochs": 55},
    ("svhn", "sml"): {"epochs": 55},
    ("cifar10", "cat_ce"): {"model": "wrn-34-10"},
    ("cifar10", "cat_mix"): {"model": "wrn-34-10"},
}


def _rows(
    folder: str, columns: Iterable[str], rows: Iterable[tuple[str, Mapping[str, Any], str, str]]
) -> tuple[PublishedRow, ...]:
    """Returns `PublishedRow`s of (title, match, recipe, line of the supplement's table; "-" where it has no figure)."""
    return tuple(
        PublishedRow(
            title, match, f"flags/{folder}/{recipe}.flags", _figures(columns, line), _trained(folder, recipe, match)
        )
        for title, match, recipe, line in rows
    )


def _trained(folder: str, recipe: str, match: Mapping[str, Any]) -> dict[str, Any]:
    usual = _TRAINED[folder]
    return {**usual, **_OTHERWISE.get((folder, recipe), {}), **{name: match[name] for name in usual.keys() & match}}


def _figures(columns: Iterable[str], line: str) -> dict[str, str]:
    return {column: figure for column, figure in zip(columns, line.split(), strict=True) if figure != "-"}


_ROBUSTNESS = {
    "clean": "clean",
    "fgsm": "FGSM",
    "bim-10": "BIM-10",
    "pgd-10": "PGD-10",
    "pgd-20": "PGD-20",
    "cw-10": "CW-10",
    "cw-20": "CW-20",
    "mim-40": "MIM-40",
}
_COST = {
    "cost attack_steps": "steps",
    "cost platform": "platform",
    "cost seconds_per_epoch": "s/epoch",
    "cost epochs": "epochs",
    "cost hours": "hours",
    "cost images_per_second": "images/s",
    "cost peak_memory_mib": "peak memory, MiB",
}
_EQUAL_TIME = {name: _COST[name] for name in ("cost attack_steps", "cost seconds_per_epoch")} | {"pgd-20": "PGD-20"}
_TRANSFER = {"clean": "clean", "pgd-20": "PGD", "cw-20": "CW", "transfer source_vgg16": "VGG-16"}
_TRANSFER |= {"transfer source_wrn": "Wide ResNet"}
_NEIGHBORS = {"clean knn-50": "clean, k-NN", "clean": "clean, softmax"}
_NEIGHBORS |= {"pgd-20 knn-50": "PGD-20, k-NN", "pgd-20": "PGD-20, softmax"}


def _neighbors(number: str, title: str, folder: str, dataset: str, *lines: str) -> PublishedTable:
    matches: tuple[tuple[str, Mapping[str, Any], str], ...] = (
        ("AT", AT, "at"),
        ("ALP", ALP, "alp"),
        ("SML", SML, "sml"),
        ("AGKD-BML", TWO_STEPS, "agkd_bml"),
    )
    rows = [(name, match, recipe, line) for (name, match, recipe), line in zip(matches, lines, strict=True)]
    title = f"k nearest neighbors (k = 50) beside the softmax, {title}"
    return PublishedTable(number, title, dataset, _NEIGHBORS, _rows(folder, _NEIGHBORS, rows))


TABLES = (
    PublishedTable(
        "1",
        "robustness, Tiny ImageNet",
        "tiny_imagenet",
        _ROBUSTNESS,
        _rows(
            "tiny_imagenet",
            _ROBUSTNESS,
            [
                ("UM", UNDEFENDED, "undefended", "64.62 3.93 0.17 0.10 0.07 0 0 0.57"),
                ("Bilateral", BILATERAL, "bilateral", "58.70 30.81 20.98 19.73 18.98 15.19 14.61 22.47"),
                ("FS", FEATURE_SCATTER, "feature_scatter", "53.81 30.06 20.59 19.46 18.52 15.53 14.68 22.40"),
                ("AT", AT, "at", "42.29 26.08 20.41 19.99 19.59 17.17 16.92 21.15"),
                ("ALP", ALP, "alp", "41.53 21.53 20.03 20.18 19.96 16.80 - 19.85"),
                ("SML", SML, "sml", "40.89 22.12 20.77 20.89 20.71 17.48 - 20.69"),
                ("AGKD-BML", TWO_STEPS, "agkd_bml", "53.21 31.39 23.55 22.68 21.78 18.8 18.03 24.71"),
            ],
        ),
    ),
    PublishedTable(
        "2",
        "AGKD-BML-10 under AutoAttack, CIFAR-10",
        "cifar10",
        {"autoattack": "AutoAttack"},
        _rows(
            "cifar10",
            ("autoattack",),
            [
                ("WRN-28-10, decay at 100", TEN_STEPS | {"model": "wrn-28-10", "epochs": 105}, "agkd_bml_10", "50.80"),
                (
                    "WRN-28-10, decay at 150",
                    TEN_STEPS | {"model": "wrn-28-10", "epochs": 155},
                    "agkd_bml_10_decay150",
                    "50.73",
                ),
                (
                    "WRN-34-10, decay at 100",
                    TEN_STEPS | {"model": "wrn-34-10", "epochs": 105},
                    "agkd_bml_10_wrn34",
                    "51.05",
                ),
                (
                    "WRN-34-10, decay at 150",
                    TEN_STEPS | {"model": "wrn-34-10", "epochs": 155},
                    "agkd_bml_10_wrn34_decay150",
                    "51.63",
                ),
            ],
        ),
        also=TEN_STEPS,
    ),
    PublishedTable(
        "3",
        "attention maps, CIFAR-10 (the attack is not stated; PGD-20 here)",
        "cifar10",
        {"pgd-20": "PGD-20"},
        _rows(
            "cifar10",
            ("pgd-20",),
            [
                (title, {"defense": "agkd", "attention": attention}, recipe, figure)
                for title, attention, recipe, figure in (
                    ("class-relevant, GC-orig", "gradcam_orig", "agkd_gradcam_orig", "59.06"),
                    ("class-relevant, GC-false", "gradcam_false", "agkd_gradcam_false", "58.86"),
                    ("class-irrelevant, CAM-avg", "cam_avg", "agkd_cam_avg", "66.55"),
                    ("class-irrelevant, AGKD", "agkd", "agkd", "65.93"),
                )
            ],
        ),
    ),
    PublishedTable(
        "4",
        "cost of training, CIFAR-10 (published: one V100; the networks of other rows may differ)",
        "cifar10",
        _COST,
        _rows(
            "cifar10",
            _COST,
            [
                ("Bilateral", BILATERAL, "bilateral", "1 TensorFlow 211 200 11.7 - -"),
                ("FS", FEATURE_SCATTER, "feature_scatter", "1 PyTorch 342 200 19.0 - -"),
                ("AT", AT, "at", "7 PyTorch 502 200 27.9 - -"),
                ("SML", SML, "sml", "7 TensorFlow 2234 55 34.1 - -"),
                ("AGKD-BML", TWO_STEPS, "agkd_bml", "2 PyTorch 528 200 29.3 - -"),
            ],
        ),
        also={},
    ),
    PublishedTable(
        "4b",
        "about equal running time, CIFAR-10 (the attack is not stated; PGD-20 here)",
        "cifar10",
        _EQUAL_TIME,
        _rows(
            "cifar10",
            _EQUAL_TIME,
            [
                ("FS, 2 steps", {"defense": "feature_scatter", "attack_steps": 2}, "feature_scatter_2", "2 470 70.51"),
                ("Bilateral, 4 steps", BILATERAL | {"attack_steps": 4}, "bilateral_4", "4 453 59.99"),
                ("AGKD-BML, 2 steps", TWO_STEPS, "agkd_bml", "2 528 71.02"),
            ],
        ),
    ),
    PublishedTable(
        "5",
        "adaptive eps, and adversaries of other networks, CIFAR-10 (not stated: steps of PGD and CW, 20 here; how the "
        "other networks were trained, undefended here; the attack on them, PGD-20 here)",
        "cifar10",
        _TRANSFER,
        _rows(
            "cifar10",
            _TRANSFER,
            [
                ("CAT-CE", {"defense": "cat_ce"}, "cat_ce", "93.48 73.38 61.88 86.58 88.66"),
                ("CAT-MIX", {"defense": "cat_mix"}, "cat_mix", "89.61 73.16 71.67 - -"),
                (
                    "AGKD-BML, eps 4/255",
                    TWO_STEPS | {"eps": 4 / 255},
                    "agkd_bml_eps4",
                    "95.04 77.45 69.06 89.12 91.98",
                ),
            ],
        ),
        also=TWO_STEPS,
        eps=8 / 255,
    ),
    _neighbors(
        "6a",
        "CIFAR-10",
        "cifar10",
        "cifar10",
        "87.1 86.2 47.5 45.6",
        "89.6 89.8 48.9 48.5",
        "86.3 86.2 51.7 51.6",
        "91.9 92.0 71.1 71.0",
    ),
    _neighbors(
        "6b",
        "SVHN",
        "svhn",
        "svhn_cropped",
        "91.5 91.6 45.8 45.6",
        "91.4 91.3 52.0 52.2",
        "84.3 84.0 52.0 51.9",
        "95.1 95.0 75.1 74.9",
    ),
    _neighbors(
        "6c",
        "Tiny ImageNet",
        "tiny_imagenet",
        "tiny_imagenet",
        "36.6 42.3 20.2 19.6",
        "35.2 41.5 20.3 20.0",
        "34.0 40.6 20.7 20.7",
        "51.8 53.2 21.0 22.7",
    ),
)
