import numpy as np
import pytest
import tensorflow as tf

import agkd_tf.benchmark.inference
import agkd_tf.benchmark.training
from agkd_tf.benchmark import InferenceBenchmark, TrainingBenchmark
from agkd_tf.models import Classifier
from agkd_tf.training import NonFiniteLossError, Recipe


def test_a_step_is_a_step_of_training_and_nothing_is_counted_that_came_before(digits):
    recipe = Recipe(model="tiny", defense="agkd_bml", batch_size=32, epochs=7, decay_epochs=())
    benchmark = TrainingBenchmark(recipe, digits, jit_compile=False)
    defense = benchmark.defense
    begun, weights = int(defense.step), defense.student.get_weights()
    seconds = benchmark.run(2)
    assert len(seconds) == 2
    assert int(defense.step) == begun + 3
    assert any(np.any(old != new) for old, new in zip(weights, defense.student.get_weights(), strict=True))
    facts = benchmark.facts()
    assert facts["steps_per_epoch"] == len(digits.train) // 32
    assert (facts["epochs"], facts["batch_size"], facts["xla"]) == (7, 32, False)
    assert facts["first_step_seconds"] > 0


def test_a_step_has_the_look_at_each_term_that_training_has(digits):
    recipe = Recipe(model="tiny", defense="undefended", batch_size=16, epochs=1, decay_epochs=())
    benchmark = TrainingBenchmark(recipe, digits, jit_compile=False)
    kernel = benchmark.defense.student.trainable_variables[0]
    kernel.assign(np.full(kernel.shape, np.nan))
    with pytest.raises(NonFiniteLossError, match=r"loss.* at step 3: training stopped, there was no checkpoint"):
        benchmark.run(1)


def test_inference_is_timed_on_whole_batches(tiny_model):
    sizes = []

    def logits(images):
        sizes.append(images.shape)
        return Classifier(tiny_model).logits(images)

    benchmark = InferenceBenchmark(logits, (16, 16, 1), batch_size=8)
    assert len(benchmark.run(3)) == 3
    assert sizes == [(8, 16, 16, 1)]  # traced once
    assert benchmark.facts()["batch_size"] == 8


@pytest.mark.parametrize("of", ["training", "inference"])
def test_the_peak_of_memory_begins_before_the_first_step(of, digits, monkeypatch):
    steps, begun_at = [], []
    module = getattr(agkd_tf.benchmark, of)
    monkeypatch.setattr(module, "reset_peak_memory", lambda: begun_at.append(len(steps)))

    def logits(images):
        tf.py_function(lambda: steps.append(1), [], [])
        return images[:, 0, 0, :]

    if of == "inference":
        InferenceBenchmark(logits, (4, 4, 1), batch_size=2)
    else:
        fit = TrainingBenchmark._fit
        monkeypatch.setattr(TrainingBenchmark, "_fit", lambda self, *given: steps.append(given[0]) or fit(self, *given))
        recipe = Recipe(model="tiny", defense="undefended", batch_size=16, epochs=1, decay_epochs=())
        TrainingBenchmark(recipe, digits, jit_compile=False)
    assert begun_at == [0]
    assert steps
