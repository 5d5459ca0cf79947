"""AGKD-BML: frozen teacher, bi-directional adversaries, the loss and its terms."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import AGKDBML, ClassPool, InputError
from agkd_tf.data.batches import training_batches
from agkd_tf.defenses.bidirectional import Joint
from agkd_tf.models import Outputs, build_model
from agkd_tf.randomness import step_seed

EPS = 0.15


def network(seed=0, classes=10):
    return build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=classes, seed=seed)


def pool_of(digits):
    return ClassPool(digits.train.images, digits.train.labels, num_classes=10)


def defense_of(digits, **settings):
    settings = {"eps": EPS, "validation_attack_steps": 0, **settings}
    defense = AGKDBML(network(), network(seed=1), pool=pool_of(digits), **settings)
    defense.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    return defense


def a_batch(digits, size=8):
    return tf.constant(digits.train.images[:size]), tf.constant(digits.train.labels[:size])


def crafted(defense, digits):
    images, labels = a_batch(digits)
    return defense.craft(tf.cast(images, tf.float32) / 255, labels, step_seed(0, 0)), labels


def test_the_teacher_is_bit_identical_after_training(digits):
    defense = defense_of(digits)
    before = [weight.copy() for weight in defense.teacher.get_weights()]
    defense.fit(training_batches(digits.train, batch_size=16, seed=0), steps_per_epoch=3, verbose=0)
    for old, new in zip(before, defense.teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_forward_approaches_the_confusing_class_and_backward_the_label(digits):
    defense = defense_of(digits, attack_steps=10)
    images, labels = a_batch(digits, 32)
    clean = tf.cast(images, tf.float32) / 255
    result = defense.craft(clean, labels, step_seed(0, 0))
    log_p = tf.nn.log_softmax
    logits = defense.classifier.logits
    confusing = np.where(np.eye(10)[labels], -np.inf, logits(clean)).argmax(1)
    toward = [log_p(logits(x)).numpy()[np.arange(32), confusing] for x in (clean, result["forward"])]
    assert np.all(toward[1] > toward[0])
    # The backward adversary lies in the ball of an image of the confusing class.
    for image, label in zip(result["backward"].numpy(), confusing, strict=True):
        members = digits.train.images[digits.train.labels == label] / 255.0
        assert np.abs(members - image).max(axis=(1, 2, 3)).min() <= EPS + 1e-5
    # The same weights give the backward adversary's label more mass than its own clean class pool does.
    pool = [digits.train.images[digits.train.labels == label] / np.float32(255) for label in confusing]
    before = [log_p(logits(members)).numpy()[:, label].max() for members, label in zip(pool, labels, strict=True)]
    after = log_p(logits(result["backward"])).numpy()[np.arange(32), labels]
    assert np.mean(after > np.array(before)) > 0.9


@pytest.mark.parametrize("mart", [False, True])
def test_the_loss_equals_its_formula_in_numpy(digits, mart):
    defense = defense_of(digits, mart=mart, attention_weight=1.5, triplet_weight=0.7, margin=0.4, norm_weight=0.2)
    tensors, labels = crafted(defense, digits)
    joint = tf.concat([tensors["forward"], tensors["clean"], tensors["backward"]], 0)
    f, h, z = (np.float64(t) for t in defense.classifier(joint, training=True))
    b, y = len(labels), labels.numpy()
    fwd, clean, back = slice(0, b), slice(b, 2 * b), slice(2 * b, 3 * b)

    def softmax(x):
        e = np.exp(x - x.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    def attention(x):
        m = x.sum(-1)
        low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
        return (m - low) / np.maximum(high - low, 1e-8)

    def distance(a, c):
        return 1 - np.abs((a * c).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(c, axis=1)

    p, rows = softmax(z), np.arange(b)
    q = np.full((b, 10), 0.5 / 9)
    q[rows, y] = 0.5
    expected = -(q * np.log(p[fwd])).sum(1).mean()
    maps = attention(np.float64(tensors["teacher_features"]))
    expected += 1.5 * np.abs(attention(f[fwd]) - maps[:b]).mean()
    expected += 1.5 * np.abs(attention(f[back]) - maps[b:]).mean()
    triplet = np.maximum(0, 0.4 + distance(h[fwd], h[clean]) - distance(h[fwd], h[back])).mean()
    norms = (h[fwd] ** 2).mean() + (h[clean] ** 2).mean() + (h[back] ** 2).mean()
    expected += 0.7 * (triplet + 0.2 * norms)
    if mart:
        others = p[fwd].copy()
        others[rows, y] = -1
        expected += -np.log(1.0001 - others.max(1)).mean()
        kl = (p[clean] * np.log(p[clean] / p[fwd])).sum(1)
        expected += 6 * ((1.0000001 - p[clean][rows, y]) * kl).mean()
    terms, _ = defense.loss_terms(tensors, labels)
    total = sum(weight * float(terms[name]) for name, weight in defense.term_weights.items())
    assert total == pytest.approx(expected, rel=1e-4)


def test_attention_is_zero_when_the_student_is_the_teacher_and_nothing_is_attacked(digits):
    defense = AGKDBML(network(), pool=pool_of(digits), eps=0.0, random_start=False)
    tensors, labels = crafted(defense, digits)
    # In inference mode, as the teacher sees its images.
    outputs = defense.classifier(tf.concat([tensors["forward"], tensors["clean"], tensors["backward"]], 0))
    joint = Joint(*(Outputs(*parts) for parts in zip(*(tf.split(tensor, 3) for tensor in outputs), strict=True)))
    assert float(defense.joint_terms(joint, tensors, labels)["attention"]) == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_a_step_with_xla_agrees_with_one_without(digits):
    results = []
    for jit in (False, True):
        defense = defense_of(digits)
        defense.compile(keras.optimizers.SGD(0.05), jit_compile=jit)
        images, labels = a_batch(digits)
        gradients, scalars, _ = defense._compiled_gradients(images, labels, step_seed(0, 0), {})
        craft = tf.function(defense.craft, jit_compile=jit)
        adv = craft(tf.cast(images, tf.float32) / 255, labels, step_seed(0, 0))
        results.append((gradients, float(scalars["loss"]), adv))
    (plain, loss, adv), (xla, xla_loss, xla_adv) = results
    assert loss == pytest.approx(xla_loss, rel=1e-4)
    for name in ("forward", "backward"):
        differs = np.abs(adv[name].numpy() - xla_adv[name].numpy()) > 1e-4
        assert differs.mean() < 1e-3  # a gradient of nearly zero may change its sign
    for a, b in zip(plain, xla, strict=True):
        assert float(tf.norm(a - b)) <= 1e-2 * float(tf.norm(a)) + 1e-5


def test_the_second_batch_does_not_retrace(digits, monkeypatch):
    traces, craft = [], AGKDBML.craft
    monkeypatch.setattr(AGKDBML, "craft", lambda *arguments: traces.append(1) or craft(*arguments))
    defense = defense_of(digits)
    batches = training_batches(digits.train, batch_size=16, seed=0)
    defense.fit(batches, steps_per_epoch=1, verbose=0)
    defense.fit(batches, steps_per_epoch=3, verbose=0)
    assert len(traces) == 1


def test_fit_takes_plain_arrays(digits):
    defense = defense_of(digits)
    images = digits.train.images[:32] / np.float32(255)
    history = defense.fit(images, digits.train.labels[:32], batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][0] > 0


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_trains_with_float32_losses(digits, policy):
    student = build_model("wrn-10-1", image_shape=(16, 16, 1), num_classes=10, dtype=policy)
    defense = AGKDBML(student, pool=pool_of(digits), eps=EPS, validation_attack_steps=0)
    optimizer = keras.optimizers.SGD(0.01)
    if policy == "mixed_float16":
        optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
    defense.compile(optimizer)
    tensors, labels = crafted(defense, digits)
    terms, logits = defense.loss_terms(tensors, labels)
    assert {value.dtype for value in terms.values()} == {tf.float32}
    assert logits.dtype == tf.float32
    history = defense.fit(training_batches(digits.train, batch_size=16, seed=0), steps_per_epoch=2, verbose=0).history
    assert np.isfinite(history["loss"]).all()


def test_a_teacher_that_does_not_fit_is_refused(digits):
    student = network()
    with pytest.raises(InputError, match="shares weights"):
        AGKDBML(student, student)
    with pytest.raises(InputError, match="4 classes"):
        AGKDBML(student, network(classes=4))
    larger = build_model("wrn-10-1", image_shape=(32, 32, 1), num_classes=10)
    with pytest.raises(InputError, match="images"):
        AGKDBML(student, larger)


def test_training_without_a_pool_is_refused(digits):
    defense = AGKDBML(network())
    defense.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match="pool"):
        defense.fit(digits.train.images[:8], digits.train.labels[:8], verbose=0)
