"""AutoAttack's parts: what must hold of each, whatever the network."""

import functools
import itertools
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.attacks import APGD, FAB, Ball, SquareAttack, parse_attack
from agkd_tf.attacks.apgd import auto_pgd, checkpoints
from agkd_tf.attacks.fab import fast_adaptive_boundary
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.attacks.square import bump_canvases, window_sides
from agkd_tf.logits import difference_of_logits_ratio

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden" / "auto_attack.json"
SEED = (0, 0)
EPS = {"linf": 0.03, "l2": 0.4}


# Each of AutoAttack's parts, with fewer iterations, and the random numbers of the whole.
PARTS = {
    "apgd-ce": APGD(steps=20, named="apgd-ce"),
    "apgd-dlr": APGD("dlr", steps=20, named="apgd-dlr"),
    "apgd-t": APGD("targeted_dlr", steps=20, named="apgd-t"),
    "fab-t": FAB(steps=20),
    "square": SquareAttack(60, named="square"),
}


def attacked(attack, network, images, labels, indices, *, norm="linf", eps=None, variant=0):
    ball = Ball(norm, EPS[norm] if eps is None else eps)
    return attack.perturb(network, images, labels, ball=ball, indices=indices, seed=SEED, variant=variant)


# The first, one between and the last of the nine wrong classes; the others, too, with --all.
VARIANTS = [each if each in (0, 4, 8) else pytest.param(each, marks=pytest.mark.slow) for each in range(9)]
CASES = [(norm, name) for norm in EPS for name in PARTS]


@pytest.fixture
def correct(network, images):
    """Images that the network classifies as labelled: its own predictions are the labels."""
    return images, tf.argmax(network(images), axis=1, output_type=tf.int32), tf.range(len(images))


def length(displacement, norm):
    flat = np.reshape(displacement, (len(displacement), -1))
    return np.abs(flat).max(1) if norm == "linf" else np.linalg.norm(flat, axis=1)


@pytest.fixture(scope="module")
def crafted(network, images):
    """Returns crafted(norm, name): the part's adversaries of the `correct` images, made once."""
    labels = tf.argmax(network(images), axis=1, output_type=tf.int32)

    @functools.cache
    def craft(norm, name):
        return attacked(PARTS[name], network, images, labels, tf.range(len(images)), norm=norm).numpy()

    return craft


@pytest.mark.parametrize(("norm", "name"), CASES)
def test_adversaries_stay_in_the_ball_and_the_box(correct, crafted, norm, name):
    images, adv = correct[0], crafted(norm, name)
    assert length(adv - images, norm).max() <= EPS[norm] * (1 + 1e-5)
    assert adv.min() >= 0
    assert adv.max() <= 1


@pytest.mark.parametrize(("norm", "name"), CASES)
def test_an_images_adversary_does_not_depend_on_its_batch(network, correct, crafted, norm, name):
    picked = tf.constant([4, 1])
    part = attacked(PARTS[name], network, *(tf.gather(each, picked) for each in correct), norm=norm)
    np.testing.assert_allclose(part, tf.gather(crafted(norm, name), picked), atol=1e-4)


@pytest.mark.parametrize(("norm", "name"), CASES)
def test_a_large_ball_fools_the_network(network, correct, norm, name):
    large = {"linf": 0.5, "l2": 20.0}[norm]
    attack = SquareAttack(600, named="square") if name == "square" else PARTS[name]
    fooled = np.argmax(network(attacked(attack, network, *correct, norm=norm, eps=large)), 1) != correct[1]
    assert np.mean(fooled) >= 0.8


@pytest.mark.parametrize("norm", EPS)
@pytest.mark.parametrize("objective", [cross_entropy, difference_of_logits_ratio])
def test_apgds_best_value_never_falls_below_its_start_and_grows_with_the_steps(network, correct, norm, objective):
    images, labels, indices = correct
    ball = Ball(norm, EPS[norm])
    start = ball.edge_per_example(indices, images.shape[1:], (1, 2))

    def judge(adv, rows):
        scores = network(adv)
        return objective(scores, labels), tf.zeros(len(images), tf.bool)

    values = []
    for steps in (0, 1, 5, 30):
        adv, value = auto_pgd(judge, images, steps=steps, ball=ball, start=start)
        np.testing.assert_allclose(judge(adv, None)[0], value, rtol=1e-4, atol=1e-5)
        values.append(value.numpy())
    assert all(np.all(after >= before - 1e-6) for before, after in itertools.pairwise(values))
    assert np.all(values[3] > values[0])


def test_apgds_intervals_shrink_from_22_by_3_to_6():
    lengths = checkpoints(100)
    assert [length for length in lengths if length] == [22, 19, 16, 13, 10, 7, 6, 6]
    assert np.flatnonzero(lengths)[:3].tolist() == [21, 40, 56]


def test_apgd_equals_a_plain_transcription_of_its_algorithm(network, correct):
    images, labels, indices = correct
    eps, steps, clean = 0.1, 40, images.numpy().astype(np.float32)
    start = Ball("linf", eps).edge_per_example(indices, images.shape[1:], (1, 2))

    def judge(adv, rows):
        return cross_entropy(network(adv), labels), tf.zeros(6, tf.bool)

    def look(x):
        with tf.GradientTape() as tape:
            x = tf.constant(x)
            tape.watch(x)
            value = judge(x, None)[0]
        return value.numpy(), tape.gradient(value, x).numpy()

    def project(x):
        return np.clip(np.clip(x, clean - eps, clean + eps), 0, 1)

    x = previous = project(clean + start.numpy())
    value, gradient = look(x)
    best, best_gradient, best_value = x.copy(), gradient.copy(), value.copy()
    size, checked, halved = np.full(6, 2 * eps, np.float32), value.copy(), np.ones(6, bool)
    interval, since, raised = 8, 0, np.zeros(6)
    for step in range(steps):
        plain = project(x + size[:, None, None, None] * np.sign(gradient))
        a = 0.75 if step else 1.0
        x, previous = project(x + a * (plain - x) + (1 - a) * (x - previous)).astype(np.float32), x
        new, gradient = look(x)
        raised += new > value
        value = new
        for i in range(6):
            if new[i] > best_value[i]:
                best[i], best_gradient[i], best_value[i] = x[i], gradient[i], new[i]
        since += 1
        if since == interval:
            for i in range(6):
                halve = raised[i] <= 0.75 * interval or (not halved[i] and checked[i] >= best_value[i])
                if halve:
                    size[i] /= 2
                    x[i], gradient[i] = best[i], best_gradient[i]
                halved[i], checked[i] = halve, best_value[i]
            since, interval, raised = 0, max(interval - 1, 2), np.zeros(6)
    _, found = auto_pgd(judge, images, ball=Ball("linf", eps), steps=steps, start=start)
    np.testing.assert_allclose(found, best_value, rtol=1e-3)


@pytest.mark.parametrize("norm", EPS)
def test_fab_finds_the_boundary_of_a_linear_classifier(norm):
    rng = np.random.default_rng(0)
    weight = tf.constant(rng.normal(size=(12, 2)), tf.float32)
    images = tf.constant(rng.uniform(0.4, 0.6, (5, 2, 2, 3)), tf.float32)

    def linear(x):
        return tf.matmul(tf.reshape(x, [-1, 12]) - 0.5, weight)

    labels = tf.argmax(linear(images), axis=1, output_type=tf.int32)
    found, distance = fast_adaptive_boundary(linear, images, labels, 1 - labels, steps=50, ball=Ball(norm, 0.0))
    difference = (weight[:, 0] - weight[:, 1]).numpy()
    dual = np.abs(difference).sum() if norm == "linf" else np.linalg.norm(difference)
    shortest = np.abs(np.reshape(images - 0.5, (5, 12)) @ difference) / dual
    assert np.all(np.argmax(linear(found), 1) != labels)
    np.testing.assert_allclose(distance, shortest, rtol=0.12)
    assert np.all(distance >= shortest - 1e-6)


@pytest.fixture
def channels():
    """(classifier, images, their logits, classes from the largest logit down): each class is its own channel."""
    rng = np.random.default_rng(0)
    means = np.stack([rng.permutation(10) for _ in range(5)]) * 0.03 + 0.35
    images = tf.constant(means[:, None, None, :] + rng.uniform(-0.005, 0.005, (5, 6, 6, 10)), tf.float32)

    def logits(x):
        return tf.reduce_mean(x, [1, 2])

    scores = logits(images).numpy()
    return logits, images, scores, np.argsort(-scores, 1)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.01), ("l2", 0.1)])
def test_the_kth_run_of_apgd_t_approaches_the_kth_wrong_class(channels, norm, eps, variant):
    logits, images, before, order = channels
    given = (logits, images, tf.constant(order[:, 0], tf.int32), tf.range(5))
    adv = attacked(APGD("targeted_dlr", steps=10), *given, norm=norm, eps=eps, variant=variant)
    rise = logits(adv).numpy() - before
    rise[np.arange(5), order[:, 0]] = -np.inf
    np.testing.assert_array_equal(rise.argmax(1), order[:, variant + 1])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("norm", "eps"), [("linf", 0.6), ("l2", 20.0)])
def test_the_kth_run_of_fab_t_goes_to_the_boundary_of_the_kth_wrong_class(channels, norm, eps, variant):
    logits, images, _, order = channels
    given = (logits, images, tf.constant(order[:, 0], tf.int32), tf.range(5))
    adv = attacked(FAB(steps=20), *given, norm=norm, eps=eps, variant=variant)
    changed = np.abs(adv - images).max(axis=(1, 2)) > 1e-4
    for row, classes in zip(changed, order, strict=True):
        assert set(np.flatnonzero(row)) == {classes[0], classes[variant + 1]}


def test_fab_gives_the_clean_image_where_nothing_is_found(correct):
    images, labels, indices = correct

    def constant(x):
        return tf.one_hot(labels, 10) + 0.0 * tf.reduce_sum(x, [1, 2, 3])[:, None]

    np.testing.assert_array_equal(attacked(PARTS["fab-t"], constant, images, labels, indices), images)


def test_square_uses_no_gradient_and_its_windows_shrink_as_published(correct):
    images, labels, indices = correct

    @tf.custom_gradient
    def opaque(x):
        def backward(upstream):
            raise AssertionError("Square asked for a gradient")

        return tf.reduce_mean(x, [1, 2])[:, :2], backward

    for norm in EPS:
        attacked(PARTS["square"], opaque, images, labels % 2, indices, norm=norm)
    sides = window_sides(5000, 32, 32)
    shares = {0: 0.8, 10: 0.8, 11: 0.4, 51: 0.2, 201: 0.1, 501: 0.05, 1001: 0.025, 2001: 0.0125, 4001: 0.00625}
    for query, share in shares.items():
        assert sides[query] == max(1, round((share * 1024) ** 0.5))


def test_square_keeps_a_point_only_where_the_margin_falls(network, correct):
    images, labels, indices = correct
    margins = []
    for queries in (0, 10, 100):
        adv = attacked(SquareAttack(queries, named="square"), network, images, labels, indices, eps=0.02)
        scores = network(adv).numpy()
        own = scores[np.arange(6), labels]
        scores[np.arange(6), labels] = -np.inf
        margins.append(own - scores.max(1))
    assert np.all(margins[1] <= margins[0])
    assert np.all(margins[2] <= margins[1])
    assert np.any(margins[2] < margins[1])


@pytest.mark.parametrize("side", [3, 5, 8, 13])
def test_squares_l2_bump_has_two_halves_of_opposite_sign_and_unit_length(side):
    bump, turned = (canvas[:side, :side] for canvas in bump_canvases(side, 16, 16))
    assert np.linalg.norm(bump) == pytest.approx(1)
    assert np.all(bump[: side // 2] > 0)
    assert np.all(bump[side // 2 :] < 0)
    np.testing.assert_array_equal(turned, bump.T)


def test_passes_over_a_network_without_chance_change_nothing(network, correct):
    attacks = (APGD(steps=10, passes=passes, named="apgd-ce") for passes in (1, 4))
    one, four = (attacked(attack, network, *correct) for attack in attacks)
    np.testing.assert_allclose(four, one, atol=1e-5)


def test_many_passes_see_through_a_networks_chance():
    # Both classes' scores rise with the brightness of half of the pixels; noise hides which.
    images, labels, half = tf.fill([4, 8, 8, 1], 0.5), tf.zeros([4], tf.int32), np.arange(64).reshape(8, 8, 1) < 32

    def lead(x):
        return tf.reduce_sum(tf.where(half, x, -x), [1, 2, 3])

    def noisy(x):
        noise = tf.random.normal(tf.shape(x), stddev=3.0)
        scores = tf.reduce_sum(tf.where(half, 1.0 + noise, -1.0 + noise) * x, [1, 2, 3])
        return tf.stack([scores, tf.zeros_like(scores)], 1)

    tf.random.set_seed(0)
    once, often = (APGD(steps=5, passes=passes, named="apgd-ce") for passes in (1, 20))
    leads = [np.mean(lead(attacked(attack, noisy, images, labels, tf.range(4), eps=0.1))) for attack in (once, often)]
    assert leads[1] < leads[0] - 0.5


@pytest.mark.parametrize("classes", [2, 3])
def test_few_classes_work(images, classes):
    def few(x):
        return tf.reduce_mean(x, [1, 2])[:, :classes]

    labels = tf.argmax(few(images), axis=1, output_type=tf.int32)
    attack = parse_attack("autoattack", eps=0.2, num_classes=classes)
    for part in (*attack.attacks[1:-1], SquareAttack(200)):
        assert np.all(np.argmax(few(attacked(part, few, images, labels, tf.range(6), eps=0.2)), 1) != labels), part.name


@pytest.mark.parametrize(
    "name", ["apgd-t", *(pytest.param(name, marks=pytest.mark.slow) for name in PARTS if name != "apgd-t")]
)
@pytest.mark.slow
def test_it_is_the_same_under_xla(network, correct, name):
    compiled = tf.function(lambda *batch: attacked(PARTS[name], network, *batch), jit_compile=True)
    np.testing.assert_allclose(compiled(*correct), attacked(PARTS[name], network, *correct), atol=2e-3)


def test_recorded_values_stay(network, correct, crafted, request):
    """What the parts reach on the small network: distance, and margin, of each image."""
    labels, found = correct[1], {}
    for norm, name in CASES:
        scores = network(crafted(norm, name)).numpy()
        own = scores[np.arange(6), labels]
        scores[np.arange(6), labels] = -np.inf
        found[f"{norm}/{name}"] = [round(float(value), 4) for value in own - scores.max(1)]
    if request.config.getoption("--update-golden"):
        GOLDEN.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    recorded = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert found.keys() == recorded.keys()
    for name, values in found.items():
        np.testing.assert_allclose(values, recorded[name], atol=5e-3, err_msg=name)
