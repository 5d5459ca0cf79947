"""Other people's models: SavedModels, and outputs that are probabilities."""

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.evaluation import check_images, logits_of_probabilities, run_attack, saved_model_logits
from agkd_tf.export import export_saved_model
from agkd_tf.models import Classifier


def test_a_saved_model_falls_to_an_attack_as_its_classifier_does(fragile, tmp_path):
    network, examples = fragile
    export_saved_model(network, tmp_path / "saved")
    logits, classes, _ = saved_model_logits(tmp_path / "saved")
    assert classes == 10
    attack = parse_attack("pgd-3", eps=0.01)
    found = run_attack(logits, examples, attack, batch_size=8)
    expected = run_attack(network, examples, attack, batch_size=8)
    assert 0 < found.correct.sum() < 30
    np.testing.assert_array_equal(found.correct, expected.correct)


class Plain(tf.Module):
    """Somebody's own: one output, called as they like."""

    def __init__(self, outputs):
        super().__init__()
        self.weight, self._outputs = tf.Variable(tf.ones([16 * 16, 3])), outputs

    @tf.function(input_signature=[tf.TensorSpec([None, 16, 16, 1], tf.float32)])
    def predict(self, pictures):
        scores = tf.matmul(tf.reshape(pictures, [-1, 16 * 16]), self.weight)
        return {name: number * scores for number, name in enumerate(self._outputs, start=1)}


def save(folder, *outputs):
    module = Plain(outputs)
    tf.saved_model.save(module, str(folder), signatures={"serving_default": module.predict})
    return folder


def test_a_damaged_saved_model_is_refused(tmp_path):
    random = np.random.default_rng(0)
    expected = 16 * 16 * np.ones((1, 3))
    for name in ("saved_model.pb", "variables/variables.index", "variables/variables.data-00000-of-00001"):
        refused = []
        folder = save(tmp_path / name.replace("/", "_"), "scores")
        content = (folder / name).read_bytes()
        for place in random.integers(len(content), size=10):
            damaged = content[:place] + bytes([content[place] ^ 1 << random.integers(8)]) + content[place + 1 :]
            (folder / name).write_bytes(damaged)
            try:
                logits, *_ = saved_model_logits(folder)
                found = logits(tf.ones([1, 16, 16, 1]))
            except InputError as error:
                refused.append(str(error))
            else:
                if name != "saved_model.pb":  # a program has no checksum: what is damaged may be another one
                    np.testing.assert_array_equal(found, expected)
        assert all(message.startswith("`saved_model`") and "\n" not in message for message in refused)
        assert refused or name == "saved_model.pb"


def test_a_single_output_is_found_and_of_several_one_must_be_named(tmp_path):
    logits, classes, _ = saved_model_logits(save(tmp_path / "one", "scores"))
    assert classes == 3
    images = tf.ones([2, 16, 16, 1])
    np.testing.assert_allclose(logits(images), np.full((2, 3), 256.0))
    two = save(tmp_path / "two", "a", "b")
    with pytest.raises(InputError, match=r"`output`, .* the logits, must be one of .*\. Received: None"):
        saved_model_logits(two)
    logits, classes, _ = saved_model_logits(two, output="b")
    assert classes == 3
    np.testing.assert_allclose(logits(images), np.full((2, 3), 2 * 256.0))
    with pytest.raises(InputError, match=r"no signature 'x'. It has: serving_default"):
        saved_model_logits(two, signature="x")
    with pytest.raises(InputError, match="cannot be read"):
        saved_model_logits(tmp_path / "nowhere")


def test_logarithms_of_probabilities_are_the_logits_but_for_a_constant(digits, tiny_model):
    classifier = Classifier(tiny_model)
    images = tf.constant(digits.test.images[:8] / 255, tf.float32)
    adapted = logits_of_probabilities(lambda x: tf.nn.softmax(classifier.logits(x)))
    np.testing.assert_allclose(adapted(images), tf.nn.log_softmax(classifier.logits(images)), atol=1e-4)
    assert np.all(np.isfinite(logits_of_probabilities(lambda x: tf.one_hot([0, 1], 3))(images)))


@pytest.mark.parametrize("outputs", [[[3.0, -1.0, 4.0]], [[0.2, 0.2, 0.2]], [[2.0, -1.0, 0.0]], [[np.nan, 0.5, 0.5]]])
def test_outputs_that_are_no_probabilities_are_refused(fragile, outputs):
    logits = logits_of_probabilities(lambda images: tf.repeat(outputs, len(images), axis=0))
    with pytest.raises(InputError, match=r"`probabilities` must be in \[0, 1\] and sum to 1.*Received"):
        run_attack(logits, fragile[1], parse_attack("clean", eps=0.1))


@pytest.mark.parametrize(("shape", "dtype"), [([None, 16, 16, 1], tf.uint8), ([None, 256], tf.float32)])
def test_a_saved_model_that_takes_something_else_is_refused_when_it_is_loaded(tmp_path, shape, dtype):
    module = tf.Module()
    module.weight = tf.Variable(tf.ones([256, 3]))

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype)])
    def predict(pictures):
        return {"logits": tf.cast(tf.reshape(pictures, [-1, 256]), tf.float32) @ module.weight}

    tf.saved_model.save(module, str(tmp_path / "saved"), signatures={"serving_default": predict})
    with pytest.raises(InputError, match=rf"must take float32 images \[B, H, W, C\]. It takes: {dtype.name} \(None"):
        saved_model_logits(tmp_path / "saved")


def test_images_out_of_range_and_labels_beyond_the_logits_are_refused():
    images, labels = np.full((2, 4, 4, 1), 0.5, np.float32), np.array([0, 2])
    check_images(images, labels, 3)
    with pytest.raises(InputError, match=r"divide by 255.*0 to 255"):
        check_images(np.array([0.0, 255.0]).reshape(2, 1, 1, 1), labels, 3)
    with pytest.raises(InputError, match=r"must be uint8, or float in \[0, 1\]"):
        check_images(images * np.nan, labels, 3)
    with pytest.raises(InputError, match=r"labels must be in \[0, 1\]. Received: 0 to 2"):
        check_images(images, labels, 2)
