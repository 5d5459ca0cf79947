import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import SML, InputError
from agkd_tf.models import Outputs


def test_the_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense(
        "sml", triplet_weight=1.5, margin=0.4, same_image_margin=0.9, norm_weight=0.2, pairing_weight=0.3
    )
    crafted, labels = bench.craft(defense)
    passes = {name: defense.classifier(crafted[name], training=True) for name in crafted}
    a, p, p1, n = (np.float64(passes[name].embedding) for name in ("adv", "clean", "positive", "negative"))

    def triplet(positive, margin):
        hinge = np.maximum(0, margin + formulas.distance(a, positive) - formulas.distance(a, n)).mean()
        return hinge + 0.2 * sum((part**2).mean() for part in (a, positive, n))

    expected = formulas.cross_entropy(np.float64(passes["adv"].logits), labels.numpy())
    expected += 1.5 * (triplet(p, 0.9) + triplet(p1, 0.4)) + 0.3 * ((p - a) ** 2).sum(1).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


def member_labels(bench, images):
    """The labels of training images, found by their pixels."""
    known = {
        image.tobytes(): label for image, label in zip(bench.data.train.images, bench.data.train.labels, strict=True)
    }
    return [known[np.round(image * 255).astype(np.uint8).tobytes()] for image in images.numpy()]


@pytest.mark.parametrize("candidates", [1, 10])
def test_a_negative_is_of_another_class_and_a_positive_of_the_same(bench, candidates):
    defense = bench.defense("sml", candidates_per_image=candidates)
    crafted, labels = bench.craft(defense, 32)
    assert not np.any(np.array(member_labels(bench, crafted["negative"])) == labels.numpy())
    np.testing.assert_array_equal(member_labels(bench, crafted["positive"]), labels)


def test_a_batch_of_one_class_still_finds_negatives(bench):
    defense = bench.defense("sml", candidates_per_image=1)
    clean, _ = bench.batch()
    labels = tf.fill([8], 3)
    negatives = defense.mine_negatives(clean, labels, tf.constant([0, 0]))
    assert 3 not in member_labels(bench, negatives)


def test_a_negative_is_of_another_class_where_all_others_point_away(bench, monkeypatch):
    """Where cosines may be negative, a candidate of the same class must not win by being masked with zero."""
    defense = bench.defense("sml", candidates_per_image=10)
    clean, labels = bench.batch(32)

    class Opposite:
        """Embeds the adversaries, which it sees first, one way, and all candidates the other."""

        num_classes, sign = 10, -1.0

        def __call__(self, images):
            self.sign = -self.sign
            return Outputs(None, self.sign * tf.ones([len(images), 4]), None)

    monkeypatch.setattr(defense, "classifier", Opposite())
    negatives = defense.mine_negatives(clean, labels, tf.constant([0, 0]))
    assert not np.any(np.array(member_labels(bench, negatives)) == labels.numpy())


def test_more_candidates_find_closer_negatives(bench, formulas):
    found = []
    for candidates in (1, 20):
        defense = bench.defense("sml", candidates_per_image=candidates)
        crafted, _ = bench.craft(defense, 32)
        adv, negative = (np.float64(defense.classifier(crafted[k]).embedding) for k in ("adv", "negative"))
        found.append(formulas.distance(adv, negative).mean())
    assert found[1] < 0.9 * found[0]


def test_the_clean_image_gets_rounded_noise(bench):
    crafted, _ = bench.craft(bench.defense("sml"), 32)
    clean, _ = bench.batch(32)
    pixels = crafted["clean"].numpy() * 255
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-4)
    moved = np.abs(pixels - clean.numpy() * 255)
    assert 6 < moved.max() <= 8.01


def test_training_without_a_pool_is_refused(bench):
    with pytest.raises(InputError, match="pool"):
        SML(bench.network()).craft(*bench.batch(), tf.constant([0, 0]))
