import time

import pytest
import tensorflow as tf

import agkd_tf.benchmark.training
from agkd_tf.benchmark.untrained import untrained_defense
from agkd_tf.data.batches import training_batches
from agkd_tf.models import Classifier
from agkd_tf.training import Recipe
from tools.laboratory.breakdown import Breakdown, BreakdownBenchmark, compiled_with_number


@pytest.mark.parametrize("backward_adversary", [True, False])
def test_the_parts_see_the_images_that_a_step_does_and_give_one_number_each(digits, backward_adversary, monkeypatch):
    settings = {"backward_adversary": backward_adversary}
    recipe = Recipe(model="tiny", defense="agkd", batch_size=8, epochs=1, decay_epochs=(), hyperparameters=settings)
    defense = untrained_defense(recipe, digits, jit_compile=False)
    batch = next(iter(training_batches(digits.train, batch_size=8, seed=0)))
    seen, call = {defense.classifier: [], defense.guide: []}, Classifier.__call__

    def noting(network, images, *, training=False):
        seen[network].append((images.shape[0], training))
        return call(network, images, training=training)

    monkeypatch.setattr(Classifier, "__call__", noting)
    defense.train_step(batch)
    assert [images for images, training in seen[defense.classifier] if training] == [8 * defense.training_images]
    assert seen[defense.guide] == [(16 if backward_adversary else 8, False)]
    breakdown = Breakdown(defense, batch)
    assert seen[defense.guide] == 3 * seen[defense.guide][:1]  # also within the attack, and by itself
    assert set(breakdown.run(1)) == {"attack", "teacher", "student", "optimizer"}
    assert all(part().shape == () for part in breakdown._parts.values())


@pytest.mark.parametrize("jit_compile", [False, True])
@pytest.mark.parametrize("changed", range(3))
def test_a_parts_number_depends_on_each_result(changed, jit_compile):
    def function(scale):
        values = [tf.fill([2, 3], scale), tf.fill([4], scale), scale]
        values = [tf.zeros_like(value) + (value if place == changed else 0) for place, value in enumerate(values)]
        return values[0], {"a": values[1], "b": tf.cast(values[2], tf.int32)}

    results, number = compiled_with_number(function, jit_compile)(tf.constant(7.0))
    assert number == 7
    assert results[0].shape == (2, 3)


def test_waiting_for_slow_batches_is_found(digits, monkeypatch):
    pause = 0.3  # seconds a batch, far longer than a step

    def slowly(batch):
        def wait(number):
            time.sleep(pause)
            return number

        waited = tf.numpy_function(wait, [tf.constant(0, tf.int32)], tf.int32)
        return {**batch, "label": batch["label"] + tf.ensure_shape(waited, [])}

    batches = agkd_tf.benchmark.training.training_batches
    monkeypatch.setattr(
        agkd_tf.benchmark.training, "training_batches", lambda *given, **named: batches(*given, **named).map(slowly)
    )
    recipe = Recipe(model="tiny", defense="undefended", batch_size=16, epochs=1, decay_epochs=())
    waiting = BreakdownBenchmark(recipe, digits, jit_compile=False).breakdown(1)["waiting"]
    assert waiting > 0.6 * pause
