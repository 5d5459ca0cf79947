import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.defenses import Bilateral
from agkd_tf.logits import nearest_boundary_class


def test_the_loss_is_the_cross_entropy_against_the_adversarial_label(bench, formulas):
    defense = bench.defense("bilateral")
    crafted, labels = bench.craft(defense)
    p = formulas.softmax(np.float64(defense.classifier.logits(crafted["adv"] * 0 + bench.batch()[0])))
    v, y = -np.log(p + 1e-8), labels.numpy()
    q = np.zeros_like(p)
    for row, label in enumerate(y):
        others = np.delete(np.arange(10), label)
        least, largest = v[row, others].min(), v[row, others].max()
        total = v[row, others].sum() - 9 * (least - 0.01)
        e = 1 / (1 + 9 * (largest - least + 0.01) / total)
        q[row, others] = e / total * (v[row, others] - least + 0.01)
        q[row, label] = 1 - e
    z = np.float64(defense.classifier(crafted["adv"], training=True).logits)
    assert bench.total(defense, crafted, labels) == pytest.approx(formulas.cross_entropy(z, q), rel=1e-4)


@pytest.mark.parametrize("target", ["mc", "mix", "mosa", "random"])
def test_one_step_approaches_the_target(bench, target):
    defense = bench.defense("bilateral", target=target, eps=0.05)
    clean, labels = bench.batch()
    logits = defense.classifier.logits(clean)
    targets = defense.choose_target(logits, labels, tf.constant([0, 0]))
    assert not np.any(targets.numpy() == labels.numpy())
    crafted, _ = bench.craft(defense)
    before, after = (cross_entropy(defense.classifier.logits(x), targets).numpy() for x in (clean, crafted["adv"]))
    assert np.mean(after < before) > 0.8


def test_mix_is_mosa_where_the_image_is_classified_correctly(bench):
    clean, labels = bench.batch(64)
    seed = tf.constant([0, 0])
    classifier = bench.defense("bilateral").classifier
    logits = classifier.logits(clean)
    chosen = {
        target: bench.defense("bilateral", target=target).choose_target(logits, labels, seed).numpy()
        for target in ("mc", "mosa", "mix")
    }
    correct = np.argmax(logits, 1) == labels.numpy()
    assert 0 < correct.sum() < 64
    np.testing.assert_array_equal(chosen["mosa"], nearest_boundary_class(logits, labels, classifier.head_kernel))
    assert np.any((chosen["mosa"] != chosen["mc"])[correct])
    np.testing.assert_array_equal(chosen["mix"], np.where(correct, chosen["mosa"], chosen["mc"]))


def test_hard_labels_are_plain_cross_entropy(bench, formulas):
    defense = bench.defense("bilateral", label_adversary=False)
    crafted, labels = bench.craft(defense)
    z = np.float64(defense.classifier(crafted["adv"], training=True).logits)
    assert bench.total(defense, crafted, labels) == pytest.approx(formulas.cross_entropy(z, labels.numpy()), rel=1e-4)


def test_a_head_that_nearest_boundaries_cannot_read_is_refused(bench):
    x = images = keras.Input((8, 8, 1))
    x = keras.layers.Flatten()(keras.layers.Conv2D(2, 3)(x))
    student = keras.Model(images, keras.layers.Dense(3)(x))
    with pytest.raises(InputError, match="head"):
        Bilateral(student, target="mosa")
    assert Bilateral(student).target == "mc"
