"""The attacks that are cheaper than AutoAttack: their objectives, their targets, and what they may not do."""

import numpy as np
import pytest
import scipy.special
import tensorflow as tf

from agkd_tf.attacks import APGD, CR, MALT, Ball, parse_attack
from agkd_tf.attacks.malt import nearest_classes
from agkd_tf.attacks.objectives import probability_margin

SEED = tf.constant([0, 0])
SHAPE, CLASSES = (4, 4, 1), 5


@pytest.fixture(scope="module")
def linear():
    """Returns (weights [16, 5], bias [5], logits of a linear network)."""
    random = np.random.default_rng(3)
    weights, bias = random.normal(size=(16, CLASSES)), random.normal(size=CLASSES)

    def logits(images):
        return tf.reshape(images, [-1, 16]) @ tf.constant(weights, tf.float32) + tf.constant(bias, tf.float32)

    return weights, bias, logits


@pytest.fixture(scope="module")
def gray(linear):
    """(20 images away from the ends of the box, their predicted classes, their indices)."""
    images = tf.constant(np.random.default_rng(4).uniform(0.3, 0.7, (20, *SHAPE)), tf.float32)
    return images, tf.argmax(linear[2](images), axis=1, output_type=tf.int32), tf.range(20)


def perturb(attack, logits, images, labels, indices, eps, *, variant=0):
    ball = Ball("linf", eps)
    return attack.perturb(logits, images, labels, ball=ball, indices=indices, seed=SEED, variant=variant)


def fooled(attack, logits, images, labels, indices, eps):
    found = np.zeros(len(images), bool)
    for variant in range(attack.variants):
        adv = perturb(attack, logits, images, labels, indices, eps, variant=variant)
        found |= np.argmax(logits(adv), 1) != labels.numpy()
    return found


def test_the_probability_margin_is_that_of_the_softmax():
    random = np.random.default_rng(0)
    logits, labels = random.normal(size=(30, 6)) * 4, random.integers(0, 6, 30)
    chances = scipy.special.softmax(logits, axis=1)
    others = np.where(np.arange(6) == labels[:, None], -1, chances).max(1)
    found = probability_margin(tf.constant(logits, tf.float32), tf.constant(labels, tf.int32))
    np.testing.assert_allclose(found, others - chances[range(30), labels], atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_malts_distances_are_exact_for_a_linear_network(linear, gray, norm):
    weights, bias, logits = linear
    images, labels, _ = gray
    classes, distances = nearest_classes(logits, images, labels, norm=norm)
    scores = images.numpy().reshape(20, -1) @ weights + bias
    for row, label in enumerate(labels.numpy()):
        order = np.linalg.norm(weights.T - weights[:, label], ord=1 if norm == "linf" else 2, axis=1)
        expected = {k: (scores[row].max() - scores[row, k]) / order[k] for k in range(CLASSES) if k != label}
        assert classes[row].numpy().tolist() == sorted(expected, key=expected.get)
        np.testing.assert_allclose(distances[row], sorted(expected.values()), rtol=1e-4)


def test_malt_breaks_a_linear_network_exactly_where_its_nearest_boundary_lies_in_the_ball(linear, gray):
    images, labels, indices = gray
    _, distances = nearest_classes(linear[2], images, labels, norm="linf")
    nearest = distances.numpy()[:, 0]
    eps = float(np.median(nearest))
    found = fooled(MALT(steps=40, targets=1), linear[2], images, labels, indices, eps)
    clear = np.abs(nearest / eps - 1) > 0.02
    np.testing.assert_array_equal(found[clear], (nearest < eps)[clear])


def test_a_class_out_of_reach_is_not_approached(linear, gray):
    images, labels, _ = gray
    _, distances = nearest_classes(linear[2], images, labels, norm="linf")
    second, eps = distances.numpy()[:, 1], 0.01
    reach = float(np.median(second)) / eps
    start = Ball("linf", eps).project(images + 0.0, images)
    near, far = (
        perturb(MALT(steps=9, targets=2, reach=each, named="malt"), linear[2], *gray, eps, variant=1)
        for each in (reach, 1e9)
    )
    beyond = second > reach * eps
    assert 5 < beyond.sum() < 15
    np.testing.assert_array_equal(near[~beyond], far[~beyond])
    assert np.all(np.any(near[beyond] != far[beyond], axis=(1, 2, 3)))
    assert np.abs(near - start).max() <= eps * (1 + 1e-5)


@pytest.mark.parametrize("attack", [CR(targets=4, cycles=1, further=0), APGD("probability_margin", steps=40)])
def test_a_linear_network_breaks_where_a_boundary_lies_in_the_ball(linear, gray, attack):
    images, labels, indices = gray
    _, distances = nearest_classes(linear[2], images, labels, norm="linf")
    nearest = distances.numpy()[:, 0]
    eps = float(np.median(nearest))
    found = np.zeros(20, bool)
    found |= fooled(attack, linear[2], images, labels, indices, eps)
    assert not found[nearest > 1.001 * eps].any()
    assert found[nearest < 0.9 * eps].all()


def test_cr_equals_a_plain_transcription(linear, gray):
    images, labels, indices = (each[:6] for each in gray)
    weights, bias, logits = linear
    attack, eps = CR(targets=1, cycles=2, further=1, named="cr"), 0.05
    adv = perturb(attack, logits, images, labels, indices, eps).numpy()

    from agkd_tf.attacks.cr import FIRST
    from agkd_tf.randomness import fold_in, named_seed

    first = perturb(FIRST, logits, images, labels, indices, eps).numpy().astype(np.float64)
    seed, clean, matrix = named_seed(SEED, "cr"), images.numpy().astype(np.float64), weights

    def scores_of(x):
        return x.reshape(1, -1) @ matrix + bias

    def project(x, radius, center):
        return np.clip(np.clip(np.clip(x, 0, 1), center - radius, center + radius), 0, 1)

    for row in range(6):
        label, center = int(labels[row]), clean[row]
        ranked = np.argsort(-scores_of(first[row])[0])
        target = next(k for k in ranked if k != label)
        gradient = (matrix[:, target] - matrix[:, label]).reshape(SHAPE)
        result, broken, least = first[row], False, np.inf
        for run in range(2):
            if broken or (run and least > 0.05):
                break
            given_up = False
            for step in range(60):
                count = run * 60 + step
                size = max(0.05, 0.5 ** (1 + step // 30))

                def noise(radius, count=count, row=row):
                    ball = Ball("linf", float(radius))
                    drawn = ball.sample_per_example(indices[row : row + 1], SHAPE, fold_in(seed, count))
                    return drawn.numpy()[0]

                if step == 0:
                    x = project(center + noise(eps), eps, center)
                if step % 30 == 20:
                    x = project(project(x, (1 - size) * eps, center) + noise(size * eps), eps, center)
                radius = (1 + size) * eps if step % 30 < 10 else eps
                x = project(x + size * eps * np.sign(gradient), radius, center)
                tried = project(x, eps, center)
                found = scores_of(tried)[0]
                if given_up:
                    continue
                least = min(least, found[label] - found[target])
                if found.argmax() != label:
                    result, broken = tried, True
                    break
                given_up = step % 30 == 19 and found[label] - found[target] > size
        np.testing.assert_allclose(adv[row], result, atol=1e-5, err_msg=str(row))


def test_their_names_are_those_of_the_command_line_and_few_classes_take_the_margin():
    for name in ("apgd-pm", "malt", "cr"):
        assert parse_attack(name, eps=0.1, num_classes=10).name == name
    assert parse_attack("cr", eps=0.1, num_classes=10).attacks[1].variants == 3
    assert parse_attack("malt", eps=0.1, num_classes=3).attacks[1] == APGD("margin", restarts=2, named="malt")
    assert MALT(targets=2, reach=3).name == "malt(targets=2,reach=3)"
