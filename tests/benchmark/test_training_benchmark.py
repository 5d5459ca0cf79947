import numpy as np

from agkd_tf.benchmark import InferenceBenchmark, TrainingBenchmark
from agkd_tf.models import Classifier
from agkd_tf.training import Recipe


def test_a_step_is_a_step_of_training_and_nothing_is_counted_that_came_before(digits):
    recipe = Recipe(model="wrn-10-1", defense="agkd_bml", batch_size=32, epochs=7, decay_epochs=())
    benchmark = TrainingBenchmark(recipe, digits, jit_compile=False)
    defense = benchmark._defense
    begun, weights = int(defense.step), defense.student.get_weights()
    seconds = benchmark.run(2)
    assert len(seconds) == 2
    assert int(defense.step) == begun + 3
    assert any(np.any(old != new) for old, new in zip(weights, defense.student.get_weights(), strict=True))
    facts = benchmark.facts()
    assert facts["steps_per_epoch"] == len(digits.train) // 32
    assert (facts["epochs"], facts["batch_size"], facts["xla"]) == (7, 32, False)
    assert facts["first_step_seconds"] > 0


def test_inference_is_timed_on_whole_batches(tiny_model):
    sizes = []

    def logits(images):
        sizes.append(images.shape)
        return Classifier(tiny_model).logits(images)

    benchmark = InferenceBenchmark(logits, (16, 16, 1), batch_size=8)
    assert len(benchmark.run(3)) == 3
    assert sizes == [(8, 16, 16, 1)]  # traced once
    assert benchmark.facts()["batch_size"] == 8
