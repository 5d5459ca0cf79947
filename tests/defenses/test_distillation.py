"""Robust distillation: its losses, its adversaries, its teacher."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import ARD, IGDM, RSLAD, AdaAD, InputError
from agkd_tf.defenses import DEFENSES
from agkd_tf.losses import kl_divergence
from agkd_tf.randomness import step_seed

NAMES = ("ard", "rslad", "adaad", "igdm")
EPS = 0.15


def logits_of(defense, crafted, *names):
    """Returns the student's training-mode and the teacher's logits of what was crafted, float64, in turn."""
    return [
        np.float64(found)
        for name in names
        for found in (defense.classifier(crafted[name], training=True).logits, defense.guide.logits(crafted[name]))
    ]


def test_ards_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("ard", attack_steps=2, adversarial_weight=0.7, temperature=3.0)
    crafted, labels = bench.craft(defense)
    clean, taught, adv, _ = logits_of(defense, crafted, "clean", "adv")
    expected = 0.7 * 9 * formulas.kl(taught / 3, adv / 3).mean() + 0.3 * formulas.cross_entropy(clean, labels.numpy())
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
    assert set(crafted) == {"clean", "adv", "taught_clean"}


def test_rslads_loss_equals_its_formula_in_numpy(bench, formulas):
    defense = bench.defense("rslad", attack_steps=2)
    crafted, labels = bench.craft(defense)
    clean, taught, adv, _ = logits_of(defense, crafted, "clean", "adv")
    expected = (5 * formulas.kl(taught, adv).mean() + formulas.kl(taught, clean).mean()) / 6
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("weight", [1.0, 0.4])
def test_adaads_loss_equals_its_formula_in_numpy(bench, formulas, weight):
    defense = bench.defense("adaad", attack_steps=2, adversarial_weight=weight)
    crafted, labels = bench.craft(defense)
    clean, taught, adv, taught_adv = logits_of(defense, crafted, "clean", "adv")
    expected = weight * formulas.kl(taught_adv, adv).mean() + (1 - weight) * formulas.kl(taught, clean).mean()
    assert bench.total(defense, crafted, labels) == pytest.approx(expected, rel=1e-4)
    assert ("taught_clean" in crafted) == (weight < 1)  # the teacher is asked for nothing else


@pytest.mark.parametrize(("base", "step"), [("ard", 0), ("rslad", 4), ("adaad", 9), ("adaad", 30)])
def test_igdms_loss_equals_its_formula_in_numpy(bench, formulas, base, step):
    defense = bench.defense("igdm", igdm_base=base, igdm_weight=2.0, attack_steps=2)  # in a training of 10 steps
    crafted, labels = bench.craft(defense)
    defense.step.assign(step)
    found = bench.losses(defense, crafted, labels)
    np.testing.assert_allclose(crafted["mirrored"] - crafted["clean"], crafted["clean"] - crafted["adv"], atol=1e-6)
    assert crafted["mirrored"].numpy().min() < -0.1  # not clipped
    adv, taught_adv, behind, taught_behind = logits_of(defense, crafted, "adv", "mirrored")
    term = formulas.kl(taught_adv - taught_behind, adv - behind).mean()
    assert found["gradient_matching"] == pytest.approx(min((step + 1) / 10, 1) * term, rel=1e-4)
    own = bench.defense(base)
    alone = bench.losses(own, crafted, labels)
    assert found["loss"] == pytest.approx(alone["loss"] + 2 * found["gradient_matching"], rel=1e-5)
    assert own.term_weights.items() <= defense.term_weights.items()


@pytest.mark.parametrize("base", ["rslad", "adaad"])
def test_igdm_attacks_as_its_base_does(bench, base):
    defenses = bench.defense("igdm", igdm_base=base, attack_steps=2), bench.defense(base, attack_steps=2)
    ours, theirs = (bench.craft(defense)[0]["adv"] for defense in defenses)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["rslad", "adaad", "igdm"])
def test_a_student_that_is_its_teacher_has_nothing_to_learn(bench, name):
    """In inference mode, as the teacher; at eps 0 and without a start IGDM's four passes are one."""
    given = {"num_steps": 10} if name == "igdm" else {}
    defense = DEFENSES[name](bench.network(), bench.network(), eps=0.0, random_start=False, **given)
    defense.compile(keras.optimizers.SGD(0.1))
    crafted, labels = bench.craft(defense)
    call = defense.classifier
    defense.classifier = type("Calm", (), {"__call__": lambda self, images, training: call(images)})()
    terms, _ = defense.loss_terms(crafted, labels)
    for term, value in terms.items():
        assert float(value) == pytest.approx(0, abs=1e-6), term


def grey(size=8):
    """Images that no step of an attack leads out of [0, 1]."""
    images = np.random.default_rng(0).uniform(0.3, 0.7, (size, 16, 16, 1))
    return tf.constant(images, tf.float32), tf.range(size) % 10


def moved(defense):
    clean, labels = grey()
    return np.abs(defense.craft(clean, labels, step_seed(0, 0))["adv"] - clean)


@pytest.mark.parametrize("name", NAMES)
def test_eps_is_the_radius_and_a_quarter_of_it_the_step(bench, name):
    """Public files for three of them have it the other way round, which leaves x' within a quarter of the ball."""
    defense = bench.defense(name)
    assert (defense.eps, defense.attack.steps, defense.attack.step_size) == (EPS, 10, EPS / 4)
    whole = moved(defense)
    assert whole.max() == pytest.approx(EPS, abs=1e-6)
    assert np.mean(whole > 0.99 * EPS) > 0.3
    for steps in (1, 3):
        walked = moved(bench.defense(name, attack_steps=steps, attack_step_size=0.01, random_start=False))
        assert walked.max() == pytest.approx(0.01 * steps, abs=1e-6)
        np.testing.assert_allclose(walked / 0.01, np.round(walked / 0.01), atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_the_start_is_that_of_the_source(bench, name):
    start = moved(bench.defense(name, attack_steps=0))
    if name == "ard":
        assert start.max() == pytest.approx(EPS, rel=0.02)
        assert start.mean() == pytest.approx(EPS / 2, rel=0.1)
    else:
        assert np.sqrt(np.mean(start**2)) == pytest.approx(0.001, rel=0.1)


def climbed(bench, name, measure):
    """Returns what the attack makes of a measure of (teacher's, student's logits, labels), per image: before, after."""
    defense = bench.defense(name)
    crafted, labels = bench.craft(defense)
    return [
        measure(
            defense.guide.logits(crafted["clean"]), defense.guide.logits(adv), defense.classifier.logits(adv), labels
        )
        for adv in (crafted["clean"], crafted["adv"])
    ]


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("ard", lambda fixed, taught, own, labels: keras.losses.sparse_categorical_crossentropy(labels, own, True)),
        ("rslad", lambda fixed, taught, own, labels: kl_divergence(fixed, own)),
        ("adaad", lambda fixed, taught, own, labels: kl_divergence(taught, own)),
    ],
)
def test_each_attack_raises_its_own_objective(bench, name, measure):
    before, after = climbed(bench, name, measure)
    assert np.all(after > before)


def test_adaads_attack_follows_the_gradient_through_both_networks(bench):
    defense = bench.defense("adaad", attack_steps=1, attack_step_size=0.01, random_start=False)
    clean, labels = grey()
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(clean)
        taught, own = defense.guide.logits(clean), defense.classifier.logits(clean)
        both = kl_divergence(taught, own)
        one = kl_divergence(tf.stop_gradient(taught), own)
    step = defense.craft(clean, labels, step_seed(0, 0))["adv"] - clean
    agrees, differs = (np.mean(np.sign(step) == np.sign(tape.gradient(value, clean))) for value in (both, one))
    assert agrees > 0.99
    assert differs < 0.9


def test_a_teacher_may_be_another_network_and_stays_as_it_was(bench):
    x = images = keras.Input((16, 16, 1))
    x = keras.layers.BatchNormalization()(keras.layers.Conv2D(4, 5, 4, activation="relu")(x))
    teacher = keras.Model(images, keras.layers.Dense(10)(keras.layers.Flatten()(x)))
    before = teacher.get_weights()
    defense = bench.defense("igdm", teacher=teacher, igdm_base="rslad", attack_steps=1)
    images, labels = bench.batch()
    assert np.isfinite(defense.train_on_batch(images, labels)).all()
    assert defense.trainable_weights
    assert {id(weight) for weight in teacher.weights}.isdisjoint({id(weight) for weight in defense.trainable_weights})
    for old, new in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


UNFIT = {
    "none": (lambda network: ARD(network(), None), r"`teacher` must be a keras.Model.* Received: None"),
    "of more classes": (
        lambda network: RSLAD(network(), network(classes=4)),
        "`teacher` has 4 classes, the student 10",
    ),
    "of other images": (
        lambda network: AdaAD(network(), network(shape=(8, 8, 1))),
        r"`teacher` takes images \(8, 8, 1\)",
    ),
    "at no temperature": (lambda network: ARD(network(), network(), temperature=0.0), "`temperature` must be"),
    "of no base": (
        lambda network: IGDM(network(), network(), igdm_base="trades"),
        "`igdm_base` must be one of ard, rslad",
    ),
    "of no steps": (lambda network: IGDM(network(), network(), num_steps=0), "`num_steps` must be"),
}


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_by_name(bench, case):
    make, message = UNFIT[case]
    with pytest.raises(InputError, match=message):
        make(bench.network)


def test_the_student_itself_is_no_teacher_and_igdm_needs_the_length_of_its_training(bench):
    student = bench.network()
    with pytest.raises(InputError, match="shares weights"):
        ARD(student, student)
    defense = IGDM(student, bench.network(seed=1))
    defense.compile(keras.optimizers.SGD(0.1))
    with pytest.raises(InputError, match="IGDM needs `num_steps`, the number of steps of its training"):
        defense.fit(*bench.batch(), verbose=0)
