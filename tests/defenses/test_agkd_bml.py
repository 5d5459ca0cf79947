"""AGKD-BML: its adversaries, its teacher, its compilation."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import AGKDBML, ClassPool, InputError
from agkd_tf.data.batches import evaluation_batches, training_batches
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


def test_attention_is_zero_when_the_student_is_the_teacher_and_nothing_is_attacked(digits):
    defense = AGKDBML(network(), pool=pool_of(digits), eps=0.0, random_start=False)
    tensors, labels = crafted(defense, digits)
    # In inference mode, as the teacher sees its images.
    outputs = defense.classifier(tf.concat([tensors["forward"], tensors["clean"], tensors["backward"]], 0))
    joint = Joint(*(Outputs(*parts) for parts in zip(*(tf.split(tensor, 3) for tensor in outputs), strict=True)))
    assert float(defense.joint_terms(joint, tensors, labels)["attention"]) == pytest.approx(0, abs=1e-4)


@pytest.mark.slow
def test_a_step_with_xla_agrees_with_one_without(bench, digits):
    results = []
    for jit in (False, True):
        defense = bench.defense("agkd_bml", jit_compile=jit)
        images, labels = a_batch(digits)
        gradients, scalars, _ = defense.training_step.gradients(images, labels, step_seed(0, 0), {})
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


def test_fit_takes_plain_arrays(digits):
    defense = defense_of(digits)
    images = digits.train.images[:32] / np.float32(255)
    history = defense.fit(images, digits.train.labels[:32], batch_size=16, verbose=0).history
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][0] > 0


@pytest.mark.parametrize(
    ("dtype", "jit_compile"),
    [
        ("mixed_bfloat16", False),
        pytest.param("float32", True, marks=pytest.mark.slow),
        pytest.param("mixed_float16", True, marks=pytest.mark.slow),
    ],
)
def test_a_training_of_any_precision_compiles_once_and_has_float32_losses(bench, monkeypatch, dtype, jit_compile):
    traces, loss_terms = [], AGKDBML.loss_terms

    def traced(*arguments):
        terms, logits = loss_terms(*arguments)
        traces.append({tensor.dtype for tensor in (*terms.values(), logits)})
        return terms, logits

    monkeypatch.setattr(AGKDBML, "loss_terms", traced)
    defense = bench.defense("agkd_bml", dtype=dtype, jit_compile=jit_compile, validation_attack_steps=1)
    batches = training_batches(bench.data.train, batch_size=16, seed=0)
    validation = {"validation_data": evaluation_batches(bench.data.validation, batch_size=16), "validation_steps": 2}
    history = defense.fit(batches, epochs=2, steps_per_epoch=2, verbose=0, **validation).history
    assert traces == [{tf.float32}]
    assert np.isfinite([value for values in history.values() for value in values]).all()
    assert len(history["val_robust_accuracy"]) == 2


def test_xla_compiles_the_whole_step_or_says_what_it_cannot(bench, monkeypatch):
    """So that no step above can have left XLA unseen: it must compile, there is no warning to look for."""
    craft = AGKDBML.craft

    def craft_on_the_host(self, clean, labels, seed):
        clean = tf.ensure_shape(tf.numpy_function(lambda images: images, [clean], tf.float32), clean.shape)
        return craft(self, clean, labels, seed)

    monkeypatch.setattr(AGKDBML, "craft", craft_on_the_host)
    bench.gradients(bench.defense("agkd_bml"))
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"unsupported operations.*PyFunc"):
        bench.gradients(bench.defense("agkd_bml", jit_compile=True))


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
