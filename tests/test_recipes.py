"""Every flagfile parses into a recipe whose dry run passes, in one process."""

import dataclasses
import gc
import json
import pathlib
import re

import numpy as np
import pytest

from agkd_tf.data import Examples, ImageDataset
from agkd_tf.defenses import DEFENSES
from agkd_tf.models import MODELS, build_model
from agkd_tf.training import plan_training
from agkd_tf.training.recipe_file import differences, read_recipe, recipe_lines, write_recipe
from agkd_tf.workdir import Workdir

ROOT = pathlib.Path(__file__).resolve().parents[1]
RECORDED = json.loads((ROOT / "tests" / "golden" / "recorded_recipes.json").read_text(encoding="utf-8"))
RECIPES = sorted(path for path in (ROOT / "flags").rglob("*.flags") if path.parent.name != "base")
# Image shape, classes, augmentation of the data sets, whose pixels a dry run does not look at.
SHAPES = {
    "digits": ((16, 16, 1), 10, "none"),
    "cifar10": ((32, 32, 3), 10, "crop_flip"),
    "svhn_cropped": ((32, 32, 3), 10, "none"),
    "tiny_imagenet": ((64, 64, 3), 200, "crop_flip"),
}


def parse(path):
    return read_recipe(path)


def blank(name):
    """A data set of the right shape: three images of each class a split."""
    shape, classes, augmentation = SHAPES[name]
    examples = Examples(np.zeros((3 * classes, *shape), np.uint8), np.arange(3 * classes, dtype=np.int32) % classes)
    return ImageDataset(name, tuple(map(str, range(classes))), examples, examples, examples, augmentation)


def recipe_id(path):
    return f"{path.parent.name}-{path.stem}"


def dry_run(recipe, monkeypatch):
    """Returns the `Plan` of a recipe."""
    # The blank data set is smaller than a batch; nothing is trained.
    monkeypatch.setattr(type(recipe), "steps_per_epoch", lambda self, dataset: 390)
    return plan_training(recipe, blank(recipe.dataset), resident=False)


@pytest.mark.slow
@pytest.mark.parametrize("model", sorted({parse(path).model for path in RECIPES}))
def test_each_network_of_the_recipes_passes_a_dry_run(model, monkeypatch):
    # A robust teacher would have to be there.
    recipes = [recipe for recipe in map(parse, RECIPES) if not recipe.teacher]
    recipes = [recipe for recipe in recipes if not DEFENSES[recipe.defense].teacher_is_robust]
    recipe = next(recipe for recipe in recipes if recipe.model == model)
    assert dry_run(recipe, monkeypatch).memory_bytes > 0
    gc.collect()  # hundreds of MiB


@pytest.mark.parametrize("path", RECIPES, ids=recipe_id)
def test_a_recipe_passes_its_dry_run(path, monkeypatch, tmp_path):
    recipe, teacher = parse(path), ""
    assert any(re.fullmatch(pattern, recipe.model) for pattern in MODELS)
    if recipe.teacher or DEFENSES[recipe.defense].teacher_is_robust:
        teacher = "" if recipe.teacher else f" --teacher=runs/{path.parent.name}/trades"
        shape, classes, _ = SHAPES[recipe.dataset]
        build_model("tiny", image_shape=shape, num_classes=classes).save(tmp_path / "teacher.keras")
        recipe = dataclasses.replace(recipe, teacher=str(tmp_path / "teacher.keras"))
    plan = dry_run(dataclasses.replace(recipe, model="tiny"), monkeypatch)
    assert plan.trainable_parameters > 0
    assert plan.steps == 390 * recipe.epochs
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    run = f"--flagfile={path.relative_to(ROOT)}{teacher} --workdir=runs/{path.parent.name}/{path.stem}"
    assert header[1] == f"# run: python -m tools.train {run}"
    assert "# paper: " in header[2] or "# paper: " in header[3]
    assert any("measured here: " in line for line in header)
    missing = [flag for flag in unsettled(path, parse(path)) if flag not in "\n".join(header)]
    assert not missing, f"what the sources leave open is in the header, with its flag: {missing}"


def unsettled(path, recipe):
    """Returns the flags (and attacks) by which what the sources leave open about a recipe can be set otherwise."""
    settings, defense = recipe.hyperparameters, recipe.defense
    steps, attention = settings.get("attack_steps"), settings.get("attention", "agkd")
    found = {
        "--teacher_label_smoothing": recipe.trains_teacher,
        "--igdm_weight": defense == "igdm",
        "--attack_step_size=": (defense in ("agkd", "bml", "agkd_bml", "feature_scatter") and steps == 2)
        or defense in ("cat_ce", "cat_mix"),
        "--attack_step_size)": defense == "bilateral" and steps == 4,
        "--nobackward_adversary": defense == "agkd",
        "--notargeted": settings.get("mart"),
        "--attack_steps=7": settings.get("mart"),
        "--attention=cam_avg_raw": attention == "cam_avg",
        "--attention=gradcam_top": attention == "gradcam_false",
        "--pairing_weight": defense == "alp",
        "--pairing=embedding": defense == "alp",
        "--init_from=": defense == "sml",
        "--hinge_weight=4": defense == "cat_mix",
        "--learning_rate": recipe.dataset == "svhn_cropped",
        "--model=resnet-38": recipe.model == "resnet-50",
        "--batch_size, --epochs": recipe.dataset == "tiny_imagenet",
        "fgsm-rs": recipe.dataset == "tiny_imagenet",
        "bim-10~1/255": recipe.dataset == "tiny_imagenet",
        "--transfer_attack": path.stem.startswith("source_"),
        "--label_smoothing, --decay_epochs": path.parent.name == "cifar10" and path.stem == "teacher",
        "--neighbors_metric": "(Table 6" in path.read_text(encoding="utf-8"),
    }
    return [flag for flag, open_here in found.items() if open_here]


@pytest.mark.parametrize("name", RECORDED)
def test_what_an_earlier_version_recorded_of_a_run_is_still_its_recipe(name, tmp_path):
    """One of each defense: names, defaults and the way that values are written."""
    lines = RECORDED[name].split(" ")
    (tmp_path / "flags.txt").write_text("\n".join(["--workdir=runs/x", *lines]), encoding="utf-8")
    recorded = read_recipe(tmp_path)
    assert differences(recorded, parse(ROOT / "flags" / f"{name}.flags")) == []
    assert set(lines) <= set(recipe_lines(recorded).values())


def test_every_row_of_the_supplements_tables_has_its_recipe():
    """Tables 1 to 6: data set and rows; Tables 2 and 3 are variants, Table 5 adds sources and eps 4/255."""
    names = {(path.parent.name, path.stem) for path in RECIPES}
    rows = {
        "tiny_imagenet": "undefended bilateral feature_scatter at alp sml agkd_bml",
        "svhn": "at alp sml agkd_bml",
        "cifar10": "undefended teacher at alp sml bilateral bilateral_4 feature_scatter feature_scatter_2 trades mart "
        "cat_ce cat_mix bml agkd agkd_cam_avg agkd_gradcam_orig agkd_gradcam_false agkd_bml agkd_bml_eps4 source_vgg16 "
        "source_wrn agkd_bml_10 agkd_bml_10_decay150 agkd_bml_10_wrn34 agkd_bml_10_wrn34_decay150",
        "cifar10_small": "undefended at trades sml bilateral feature_scatter bml agkd agkd_bml agkd_bml_10",
    }
    assert {(dataset, row) for dataset in rows for row in rows[dataset].split()} <= names


def test_the_supplements_schedule_and_early_stop():
    recipe = parse(ROOT / "flags/cifar10/agkd_bml_10_wrn34_decay150.flags")
    assert (recipe.model, recipe.epochs, recipe.decay_epochs) == ("wrn-34-10", 155, (150,))
    assert (recipe.for_teacher().epochs, recipe.for_teacher().decay_epochs) == (200, (100, 150))
    recipe = parse(ROOT / "flags/cifar10/feature_scatter.flags")
    assert (recipe.batch_size, recipe.decay_epochs) == (60, (60, 90))


@pytest.mark.parametrize("name", ["agkd_bml_10", "cat_mix", "sml", "trades", "agkd_gradcam_false"])
def test_a_recorded_recipe_reads_back_equal(name, tmp_path):
    recipe = parse(ROOT / f"flags/cifar10/{name}.flags")
    write_recipe(tmp_path / "flags.txt", recipe, workdir=Workdir("x"))
    assert read_recipe(tmp_path / "flags.txt") == recipe
    assert differences(recipe, dataclasses.replace(recipe, epochs=recipe.epochs + 1)) == []
    assert recipe.hyperparameters["eps"] == (0.031 if name == "trades" else 8 / 255)
