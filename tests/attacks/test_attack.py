"""Attacks as objects: called on arrays and tensors, named by their settings, bound to a ball."""

import dataclasses
import functools
import logging

import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.attacks import (
    APGD,
    BIM,
    CW,
    FAB,
    FGSM,
    MIM,
    NORMS,
    PGD,
    AttackSequence,
    AutoAttack,
    Ball,
    Clean,
    SquareAttack,
    TransferAttack,
    attack_named,
    bound,
    check_names,
    rounded,
)
from agkd_tf.attacks.rounding import Rounded
from agkd_tf.data import Examples
from agkd_tf.evaluation import run_attack
from tests.networks import tiny

EPS = {"linf": 0.03, "l2": 0.4}
FAST = {
    "pgd": PGD(3, restarts=2),
    "clean": Clean(),
    "apgd": APGD(steps=3),
    "apgd-t": APGD("targeted_dlr", steps=2, targets=2),
    "fab": FAB(steps=2, targets=2),
    "square": SquareAttack(4),
}
QUICK = {("clean", "linf"), ("pgd", "l2")}


@pytest.fixture(scope="module")
def twelve(network):
    """Twelve images of 8 bits, as `Examples` that the network classifies as labelled."""
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    return Examples(images, network(images / np.float32(255)).numpy().argmax(1).astype(np.int32))


@pytest.mark.parametrize(
    ("name", "norm"),
    [
        (name, norm) if (name, norm) in QUICK else pytest.param(name, norm, marks=pytest.mark.slow)
        for name in FAST
        for norm in NORMS
    ],
)
def test_called_on_an_array_it_gives_the_adversaries_of_an_evaluation(network, twelve, name, norm):
    attack, ball = FAST[name], Ball(norm, EPS[norm])
    adv = attack(network, twelve.images, twelve.labels, eps=ball.eps, norm=norm, seed=3, batch_size=5)
    expected = np.empty(adv.shape, np.float32)
    run_attack(network, twelve, bound(attack, ball, 10), adversaries=expected, seed=3, batch_size=5)
    assert isinstance(adv, np.ndarray)
    assert adv.dtype == np.float32
    np.testing.assert_array_equal(adv, expected)
    assert np.all(ball.contains(adv - twelve.images / np.float32(255)))


def test_an_images_adversary_is_the_first_that_fools(network, twelve):
    attacks, ball = (Clean(), PGD(1), PGD(3)), Ball("linf", 0.02)
    sequence = AttackSequence("several", attacks, ball)
    advs = [attack(network, twelve.images, twelve.labels, eps=0.02) for attack in attacks]
    fooled = np.array([np.argmax(network(adv), 1) != twelve.labels for adv in advs])
    assert 0 < fooled[1].sum() < 12
    first = np.where(fooled.any(0), fooled.argmax(0), 2)
    expected = np.array(advs)[first, np.arange(12)]
    np.testing.assert_allclose(sequence(network, twelve.images, twelve.labels), expected, atol=1e-6)
    tensors = tf.constant(twelve.images), tf.constant(twelve.labels)
    np.testing.assert_allclose(sequence(network, *tensors), expected, atol=1e-6)


def test_a_tensor_is_attacked_in_the_graph_at_hand(network, twelve):
    attack = PGD(2)
    images, labels = tf.constant(twelve.images / np.float32(255)), tf.constant(twelve.labels, tf.int64)

    @tf.function
    def step(images, labels, seed):
        return attack(network, images, labels, eps=0.03, seed=seed)

    eager = attack(network, images, labels, eps=0.03, seed=5)
    assert isinstance(eager, tf.Tensor)
    np.testing.assert_allclose(step(images, labels, tf.constant(5)), eager, atol=1e-6)
    assert np.any(np.abs(step(images, labels, tf.constant(6)) - eager) > 1e-3)


def test_autoattack_breaks_what_its_first_part_leaves(network, twelve):
    adv = AutoAttack()(network, twelve.images[:4], twelve.labels[:4], eps=0.06)
    assert np.all(np.argmax(network(adv), 1) != twelve.labels[:4])
    with pytest.raises(InputError, match="number of classes"):
        bound(AutoAttack(), Ball("linf", 0.06))


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"x": np.full((2, 8, 8, 3), 3.0)}, "images must be uint8, or float in"),
        ({"x": np.zeros((2, 8, 8), np.uint8)}, r"images must be \[any, any, any, any\]"),
        ({"y": [1, 10]}, r"labels must be in \[0, 9\]. Received: 1 to 10"),
        ({"y": [1]}, "2 images but 1 labels"),
        ({"eps": 8}, "did you mean 8/255"),
        ({"norm": "l1"}, "`norm` must be one of linf, l2"),
        ({"batch_size": 0}, "`batch_size` must be in"),
        ({"model": 3}, "a callable that returns logits"),
        ({"model": lambda images: tf.reduce_mean(images, [1, 2])[:, :1], "y": [0, 0]}, "n of at least 2"),
        ({"model": lambda images: tf.nn.softmax(tf.reduce_mean(images, [1, 2]))}, "returns probabilities"),
    ],
)
def test_what_cannot_be_attacked_is_refused_in_one_line(network, change, line):
    given = {"model": network, "x": np.zeros((2, 8, 8, 3), np.uint8), "y": [0, 1], "eps": 0.1} | change
    with pytest.raises(InputError, match=line) as error:
        PGD(2)(**given)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: PGD(-1), "`steps` must be in"),
        (lambda: PGD(2.5), "`steps` must be an integer"),
        (lambda: PGD(5, step_size=-0.1), "`step_size` must be in"),
        (lambda: PGD(5, step_size=0.1, step_share=1.0), "`step_size` and `step_share` both set"),
        (lambda: PGD(5, objective="hinge"), "`objective` must be one of cross_entropy, margin"),
        (lambda: PGD(5, restarts=0), "`restarts` must be in"),
        (lambda: BIM(5, restarts=2), "`restarts` needs a random start"),
        (lambda: BIM(5, start_radius=0.1), "`start_radius` needs a random start"),
        (
            lambda: PGD(5, start_radius=0.1, start_stddev=0.1),
            "`start_radius` is for a uniform start, `start_stddev` for a Gaussian one",
        ),
        (lambda: PGD(0, random_start=False, target="mc"), "`target` needs steps"),
        (lambda: PGD(5, target="worst"), "`target` must be one of mc, least, random"),
        (lambda: PGD(5, momentum=float("nan")), "`momentum` must be a finite number"),
        (lambda: APGD("ratio"), "`objective` must be one of cross_entropy, dlr"),
        (lambda: APGD("targeted_dlr", restarts=2), "`restarts` is for objectives without a target"),
        (lambda: APGD(targets=3), "`targets` is for a targeted objective"),
        (lambda: FAB(targets=0), "`targets` must be in"),
        (lambda: SquareAttack(-1), "`queries` must be in"),
        (lambda: AutoAttack("plus"), "`version` must be one of standard, rand"),
        (lambda: TransferAttack(3), "a callable that returns logits"),
        (lambda: TransferAttack(tf.identity, "pgd-20"), "`attack` must be an attack"),
        (lambda: bound(PGD(5, step_size=2), Ball("linf", 0.1)), r"`step_size` is in units .*did you mean 2/255"),
        (lambda: bound(PGD(5, start_radius=16), Ball("linf", 0.1)), "`start_radius` is in units"),
        (lambda: bound("pgd-5~3", Ball("linf", 0.1)), "`attacks`: 'pgd-5~3': `step_size` is in units"),
        (lambda: bound(TransferAttack(tf.identity, PGD(5, step_size=2)), Ball("linf", 0.1)), "`step_size` is in units"),
        (lambda: bound(TransferAttack(tf.identity, AutoAttack()), Ball("linf", 0.1), 10), "one attack, not several"),
        (lambda: bound(Rounded(PGD(5)), Ball("linf", 0.001)), "steps of 1/255, and pgd-5 cannot take one"),
        (lambda: bound(5, Ball("linf", 0.1)), "`attacks` must be names, such as 'pgd-20', or attacks"),
        (
            lambda: bound(bound("fgsm", Ball("linf", 0.1)), Ball("l2", 0.1)),
            "fgsm is bound to linf 0.1, not to l2 0.1",
        ),
        (lambda: bound(PGD(1, clip_to_ball=False), Ball("linf", 0.1)), "pgd-1.* may leave the ball"),
        (lambda: bound(Rounded(PGD(1, clip_to_ball=False)), Ball("linf", 0.1)), "pgd-1.* may leave the ball"),
    ],
)
def test_settings_that_are_none_are_refused_in_one_line(make, line):
    with pytest.raises(InputError, match=line) as error:
        make()
    assert "\n" not in str(error.value)


def test_a_step_of_any_size_may_be_taken_in_l2():
    assert bound(PGD(5, step_size=2.0), Ball("l2", 5.0)).settings()[0]["step_size"] == 2.0


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (PGD(20), "pgd-20"),
        (PGD(20, step_size=1 / 255, restarts=5, target="mc"), "pgd-20~1/255x5@mc"),
        (Clean(), "clean"),
        (FGSM(), "fgsm"),
        (FGSM(random_start=True), "fgsm-rs"),
        (BIM(7), "bim-7"),
        (CW(7, restarts=2), "cw-7x2"),
        (MIM(7), "mim-7"),
        (PGD(1), "pgd-1"),
        (AutoAttack(), "autoattack"),
        (AutoAttack("rand"), "autoattack-rand"),
        (APGD(), "apgd-ce"),
        (APGD("dlr"), "apgd-dlr"),
        (APGD("targeted_dlr"), "apgd-t"),
        (FAB(), "fab-t"),
        (SquareAttack(), "square"),
    ],
)
def test_a_name_and_its_settings_are_one_attack(attack, name):
    assert attack.spelling == name
    assert attack_named(name) == attack
    of_name, of_attack = (bound(each, Ball("linf", 0.1), 10) for each in (name, attack))
    assert of_name == of_attack
    assert of_name.name == name


@pytest.mark.parametrize(
    ("attack", "name"),
    [
        (PGD(20, start_radius=16 / 255), "pgd-20(start_radius=16/255)"),
        (
            PGD(1, 8 / 255, start_radius=16 / 255, clip_to_ball=False),
            "pgd-1~8/255(start_radius=16/255,clip_to_ball=False)",
        ),
        (PGD(20, start_stddev=0.001, restarts=2), "pgd-20x2(start_stddev=0.001)"),
        (PGD(20, step_share=0.5), "pgd-20(step_share=0.5)"),
        (PGD(1, step_share=1.0, target="mc"), "fgsm-rs@mc"),
        (CW(5, random_start=False), "cw-5(random_start=False)"),
        (MIM(5, momentum=0.9), "mim-5(momentum=0.9)"),
        (PGD(5, momentum=1.0), "mim-5(random_start=True)"),
        (APGD(steps=50), "apgd-ce(steps=50)"),
        (APGD(restarts=5), "apgd-cex5"),
        (FAB(targets=4), "fab-t(targets=4)"),
        (SquareAttack(1000), "square(queries=1000)"),
        (PGD(20, named="mine", restarts=2), "minex2"),
        (TransferAttack(tf.identity), "transfer"),
        (TransferAttack(tf.identity, APGD()), "transfer by apgd-ce"),
        (Rounded(PGD(3)), "pgd-3"),
    ],
)
def test_other_settings_have_other_names(attack, name):
    assert attack.spelling == name


def test_every_setting_of_pgd_but_restarts_changes_its_name_and_its_record():
    """The name keys the random numbers, of which restarts have their own."""
    ball, plain = Ball("linf", 0.1), PGD(20)
    other = {"steps": 10, "step_size": 0.01, "step_share": 0.5, "objective": "margin", "random_start": False}
    other |= {"start_radius": 0.2, "start_stddev": 0.01, "clip_to_ball": False, "momentum": 0.9, "target": "mc"}
    other |= {"named": "mine", "restarts": 3}
    assert other.keys() == {field.name for field in dataclasses.fields(PGD)}
    for setting, value in other.items():
        changed = dataclasses.replace(plain, **{setting: value})
        assert (changed.name == plain.name) == (setting == "restarts"), setting
        assert changed.spelling != plain.spelling
        assert changed.settings(ball) != plain.settings(ball)


def test_a_text_that_says_the_same_as_another_keeps_its_own_random_numbers():
    assert attack_named("pgd-5~2/510").name == "pgd-5~2/510"
    assert attack_named("pgd-5~2/510").step_size == attack_named("pgd-5~1/255").step_size


def test_two_attacks_of_one_name_are_refused():
    ball, line = Ball("linf", 0.1), "two different attacks are called 'pgd-5': give one another name, `named=...`"
    check_names("`attacks`", [bound("pgd-5", ball), bound(PGD(5), ball), bound(PGD(6), ball)])
    with pytest.raises(InputError, match=line):
        check_names("`attacks`", [bound("pgd-5", ball), bound(BIM(5, named="pgd-5"), ball)])
    with pytest.raises(InputError, match=line):
        AttackSequence("both", (PGD(5), BIM(5, named="pgd-5")), ball)


def test_a_transfer_is_crafted_on_its_source(network, twelve):
    def other(images):
        return -network(images)

    given = {"x": twelve.images, "y": twelve.labels, "eps": 0.03}
    crafted = TransferAttack(other, PGD(3))(network, **given)
    np.testing.assert_allclose(crafted, PGD(3)(other, **given), atol=1e-6)
    (settings,) = bound(TransferAttack(other, APGD(), "abc"), Ball("linf", 0.03), 10).settings()
    assert (settings["name"], settings["source_sha256"]) == ("transfer by apgd-ce", "abc")
    assert settings["attack"] == APGD().settings(Ball("linf", 0.03))


def test_rounded_attacks_give_images_of_8_bits(network, twelve):
    adv = Rounded(PGD(3))(network, twelve.images, twelve.labels, eps=8.5 / 255)
    np.testing.assert_allclose(adv * 255, np.round(adv * 255), atol=1e-4)
    assert np.abs(np.round(adv * 255) - twelve.images).max() == 8
    sequence = rounded(bound(PGD(3), Ball("linf", 8.5 / 255)))
    np.testing.assert_array_equal(sequence(network, twelve.images, twelve.labels), adv)


def test_no_images_have_no_adversaries(network):
    call = functools.partial(PGD(2), network, eps=0.1)
    assert call(np.zeros((0, 8, 8, 3), np.uint8), []).shape == (0, 8, 8, 3)


def test_a_transfer_from_a_network_of_other_classes_is_refused(network, twelve):
    other = tiny(image_shape=(8, 8, 3), num_classes=9)
    for attack in (TransferAttack(other, PGD(1)), Rounded(TransferAttack(other))):
        with pytest.raises(InputError, match="`source` has 9 classes, the attacked network 10"):
            attack(network, twelve.images, twelve.labels, eps=0.1)


def test_a_tensor_is_rounded_from_whole_pixel_values_alone(network, twelve):
    whole = tf.constant(twelve.images / np.float32(255))
    adv = Rounded(PGD(1))(network, whole, twelve.labels, eps=0.1)
    assert np.abs(adv - whole).max() <= 0.1 + 1e-6
    with pytest.raises(InputError, match="images must be uint8, or k / 255"):
        Rounded(PGD(1))(network, 0.999 * whole, twelve.labels, eps=0.1)


@pytest.mark.parametrize("attack", [PGD, APGD, FAB, SquareAttack, AutoAttack, TransferAttack, Rounded])
@pytest.mark.parametrize("method", ["check", "check_images", "resolve"])
def test_autograph_reads_what_runs_in_a_users_function(attack, method):
    assert callable(tf.autograph.to_graph(getattr(attack, method)))


def test_several_attacks_in_turn_are_not_warned_of_as_one_that_is_traced_too_often(network, twelve, monkeypatch):
    told = []
    monkeypatch.setattr(tf.get_logger(), "handle", lambda record: told.append(record.getMessage()))
    monkeypatch.setattr(tf.get_logger(), "level", logging.WARNING)  # as without the command lines
    for steps in range(1, 8):
        PGD(steps)(network, twelve.images, twelve.labels, eps=EPS["linf"])
    assert told == []
