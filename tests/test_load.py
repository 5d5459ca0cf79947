"""Much work at once: memory that stays, and callers who do not disturb each other. Measured in fresh processes."""

import concurrent.futures
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import parse_attack
from agkd_tf.data import Examples, ImageDataset
from agkd_tf.evaluation import Outcome, run_attack
from agkd_tf.export import export_saved_model
from agkd_tf.models import Classifier, build_model
from agkd_tf.training import Recipe
from agkd_tf.training import run as run_module
from agkd_tf.workdir import Workdir
from tests.processes import fresh_process
from tests.trainings import train

IMAGES, SHAPE, CALLERS = 100_000, (8, 8, 1), 8


def resident_bytes():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def examples(count):
    random = np.random.default_rng(0)
    return Examples(
        random.integers(0, 256, (count, *SHAPE)).astype(np.uint8), random.integers(0, 10, count).astype(np.int32)
    )


def growth_of_an_evaluation():
    """Returns resident bytes after 20,000 images and at the end."""
    classifier, seen = Classifier(build_model("tiny", image_shape=SHAPE, num_classes=10)), {}
    outcome = Outcome.fresh(IMAGES)

    def look(part, variant, done, total):
        seen[done] = resident_bytes()

    attack = parse_attack("fgsm", eps=0.1)
    run_attack(classifier.logits, examples(IMAGES), attack, batch_size=1000, outcome=outcome, progress=look)
    return seen[20_000], seen[IMAGES]


def growth_of_predict():
    """Returns resident bytes after 20,000 images and at the end."""
    model, given = build_model("tiny", image_shape=SHAPE, num_classes=10), examples(IMAGES)
    images, first = given.images / np.float32(255), 0
    for begin in range(0, IMAGES, 10_000):
        model.predict(images[begin : begin + 10_000], batch_size=1000, verbose=0)
        first = resident_bytes() if begin == 10_000 else first
    return first, resident_bytes()


def growth_of_a_training(folder):
    """Returns resident bytes after 200 steps, and after 2,000 more, of a run with all that it writes."""
    splits = {"train": examples(1600), "validation": examples(100), "test": examples(100)}
    dataset, seen = ImageDataset("noise", tuple("0123456789"), **splits, augmentation="none"), []

    class Looking(run_module.Throughput):
        def on_epoch_begin(self, epoch, logs=None):
            super().on_epoch_begin(epoch, logs)
            seen.append(resident_bytes())

    run_module.Throughput = Looking
    small = {"attack_steps": 1, "validation_attack_steps": 0}
    recipe = Recipe(
        model="tiny",
        dataset="noise",
        defense="at",
        batch_size=8,
        epochs=12,
        decay_epochs=(),
        ema=0.9,
        hyperparameters=small,
    )
    train(recipe, Workdir(folder), dataset)
    return seen[1], seen[11]


def in_a_fresh_process(function, *arguments):
    with fresh_process() as executor:
        return executor.submit(function, *arguments).result(timeout=600)


@pytest.mark.parametrize("work", [growth_of_an_evaluation, growth_of_predict])
def test_a_hundred_thousand_images_take_no_more_memory_than_the_first_twenty(work):
    early, late = in_a_fresh_process(work)
    print(f"{early / 2**20:.0f} MiB after 20,000 images, {late / 2**20:.0f} after {IMAGES:,}")
    assert late <= 1.05 * early


@pytest.mark.slow
def test_two_thousand_steps_take_no_more_memory_than_the_first_two_hundred(tmp_path):
    early, late = in_a_fresh_process(growth_of_a_training, tmp_path)
    print(f"{early / 2**20:.0f} MiB after 200 steps, {late / 2**20:.0f} after 2,200")
    assert late <= early + 24 * 2**20


def test_callers_at_the_same_time_get_the_answers_of_one(tmp_path):
    model = build_model("tiny", image_shape=SHAPE, num_classes=10)
    export_saved_model(model, tmp_path / "model")
    serve = tf.saved_model.load(str(tmp_path / "model")).signatures["serving_default"]
    (name,) = serve.structured_input_signature[1]
    images = tf.constant(examples(CALLERS * 64).images / np.float32(255))

    def answers(caller):
        found = []
        for size in (1, 7, 16, 40):
            part = images[caller * 64 : caller * 64 + size]
            found.append({key: value.numpy() for key, value in serve(**{name: part}).items()})
        return found

    alone = [answers(caller) for caller in range(CALLERS)]
    with concurrent.futures.ThreadPoolExecutor(CALLERS) as executor:
        for _ in range(5):
            for ours, its in zip(executor.map(answers, range(CALLERS)), alone, strict=True):
                for one, other in zip(ours, its, strict=True):
                    assert one.keys() == other.keys()
                    for key in one:
                        np.testing.assert_array_equal(one[key], other[key])
