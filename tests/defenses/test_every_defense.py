"""What holds for all defenses alike."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import ClassPool, InputError
from agkd_tf.attacks import parse_attack
from agkd_tf.attention import ATTENTION_MAPS
from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.defenses import DEFENSES, Defense, Undefended
from agkd_tf.evaluation import run_attack
from agkd_tf.randomness import step_seed
from agkd_tf.training import default_hyperparameters
from tests.matrices import ONE_OF_EACH_KIND, fast_for

# Settings under which every term and every setting of a defense has an effect.
FULL = {
    "undefended": {"weight_decay": 0.01},
    "at": {"weight_decay": 0.01},
    "alp": {"weight_decay": 0.01},
    "sml": {"weight_decay": 0.01, "pairing_weight": 0.5, "margin": 0.4},
    "bilateral": {"weight_decay": 0.01},
    "feature_scatter": {"weight_decay": 0.01, "transport_threshold": 0.0, "transport_iterations": 5},
    "trades": {"weight_decay": 0.01},
    "mart": {"weight_decay": 0.01},
    "fgsm_pgi": {"weight_decay": 0.01},
    "cat_ce": {"weight_decay": 0.01, "random_start": True},
    "cat_mix": {"weight_decay": 0.01, "random_start": True},
    "bml": {"weight_decay": 0.01, "mart": True, "margin": 0.5},
    "agkd": {"weight_decay": 0.01, "mart": True},
    "agkd_bml": {"weight_decay": 0.01, "mart": True, "margin": 0.5},
    "ard": {"weight_decay": 0.01, "adversarial_weight": 0.8},
    "rslad": {"weight_decay": 0.01},
    "adaad": {"weight_decay": 0.01, "adversarial_weight": 0.8},
    "igdm": {"weight_decay": 0.01, "adversarial_weight": 0.8},
}
# Steps of an attack, the most that a test takes where their number is not its claim: each costs a pass of the network.
for name, settings in FULL.items():
    if default_hyperparameters(name).get("attack_steps", 0) > 2:
        settings["attack_steps"] = 2
OTHER = {
    "adversarial_weight": 0.3,
    "attack_steps": 4,
    "attack_step_size": 0.01,
    "attention": "cam_avg",
    "attention_weight": 3.0,
    "awp_gamma": 0.05,
    "awp_start": 1,
    "backward_adversary": False,
    "candidates_per_image": 3,
    "clean_noise": 0.2,
    "clip_to_ball": False,
    "confidence": 3.0,
    "cutmix": True,
    "cutmix_copies": 3,
    "cutmix_window": 10,
    "eps": 0.136,
    "eps_increment": 0.01,
    "hinge_weight": 2.0,
    "igdm_base": "rslad",
    "igdm_weight": 2.0,
    "label_adversary": False,
    "label_gap": 0.5,
    "label_ratio": 3.0,
    "label_smoothing": 0.2,
    "margin": 0.7,
    "mart": False,
    "mart_beta": 2.0,
    "norm": "l2",
    "norm_weight": 0.5,
    "pairing": "embedding",
    "pairing_weight": 2.0,
    "prior_weight": 2.0,
    "random_start": False,
    "same_image_margin": 0.9,
    "smoothing_scale": 4.0,
    "start_radius": 0.05,
    "start_stddev": 0.05,
    "target": "random",
    "targeted": False,
    "trades_beta": 2.0,
    "temperature": 5.0,
    "transport_iterations": 1,
    "transport_regularization": 0.1,
    "transport_threshold": 0.5,
    "triplet_weight": 5.0,
    "weight_decay_on": "kernels",
}
REFUSED = {
    ("fgsm_pgi", "norm"),
    ("trades", "random_start"),
    ("bml", "backward_adversary"),
    ("agkd_bml", "backward_adversary"),
}
REFUSED |= {(name, "awp_start") for name in DEFENSES}  # without `awp_gamma`
REFUSED |= {(name, setting) for name in ("alp", "sml") for setting in OTHER if setting.startswith("cutmix")}
# Settings that have no effect without others.
WITH = {"cutmix_copies": {"cutmix": True}, "cutmix_window": {"cutmix": True}}
# They shape validation only, or what a defense remembers for a later epoch.
VALIDATION = {"validation_attack_steps"}
LATER = {"prior_decay", "prior_epochs"}


def settings_of(name):
    names = set(default_hyperparameters(name)) - VALIDATION - LATER
    return sorted(names - {"eps", "norm"} if name == "undefended" else names)


# Settings of the one training attack and step that all defenses share: the fast run looks at them with one defense.
SHARED = {"norm", "start_radius", "clip_to_ball", "awp_gamma", "awp_start"}


def cases():
    for name in DEFENSES:
        for setting in settings_of(name):
            again = name != "at" if setting in SHARED else name not in ONE_OF_EACH_KIND
            yield pytest.param(name, setting, marks=[pytest.mark.slow] if again else [])


def first_loss(bench, name, **settings):
    """Returns the loss of a defense's first batch."""
    defense = bench.defense(name, **{**FULL[name], **settings})
    crafted, labels = bench.craft(defense)
    return bench.total(defense, crafted, labels)


@pytest.fixture(scope="module")
def plain_losses():
    """The loss of each defense's first batch, filled in as it is asked for."""
    return {}


@pytest.fixture
def plain_loss(bench, plain_losses):
    """Returns plain_loss(name): the loss of a defense's first batch."""

    def find(name):
        if name not in plain_losses:
            plain_losses[name] = first_loss(bench, name)
        return plain_losses[name]

    return find


@pytest.mark.parametrize(("name", "setting"), cases())
def test_each_setting_changes_the_loss_or_is_refused(bench, plain_loss, name, setting):
    if (name, setting) in REFUSED:
        with pytest.raises(InputError, match=setting):
            bench.defense(name, **{setting: OTHER[setting]})
        return
    others = WITH.get(setting, {})
    before = first_loss(bench, name, **others) if others else plain_loss(name)
    assert first_loss(bench, name, **others, **{setting: OTHER[setting]}) != before


@pytest.mark.parametrize("name", fast_for(sorted(set(DEFENSES) - {"undefended"})))
def test_another_seed_gives_another_loss(bench, plain_loss, name):
    assert first_loss(bench, name, seed=3) != plain_loss(name)


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_the_first_loss_is_the_same_each_time(bench, plain_loss, name):
    assert first_loss(bench, name) == plain_loss(name)


def maps_of(name):
    return sorted(ATTENTION_MAPS) if "attention" in default_hyperparameters(name) else [None]


@pytest.mark.parametrize(("name", "attention"), [(name, kind) for name in DEFENSES for kind in maps_of(name)])
def test_every_term_reaches_the_student_and_nothing_else(bench, name, attention):
    defense = bench.defense(name, **FULL[name], **({"attention": attention} if attention else {}))
    teacher = getattr(defense, "teacher", None)
    frozen = [weight.value for weight in teacher.weights] if teacher else []
    with tf.GradientTape(persistent=True) as tape:
        # From the crafting on, where the teacher is asked; no tape watches its moving statistics of itself.
        tape.watch(frozen)
        crafted, labels = bench.craft(defense)
        terms, logits = defense.loss_terms(crafted, labels)
    assert set(terms) == set(defense.term_weights)
    assert logits.shape == (8, 10)
    first = defense.student.trainable_weights[0].value
    for term, value in terms.items():
        assert value.shape == (), term
        assert float(tf.norm(tape.gradient(value, first))) > 0, term
        for gradient in tape.gradient(value, frozen, unconnected_gradients="zero"):
            assert not np.any(gradient), term


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_moving_statistics_are_updated_once_a_training_pass_however_many_steps_attack(bench, name):
    updates = {"sml": 4, "trades": 2, "mart": 2, "fgsm_pgi": 2, "ard": 2, "rslad": 2, "adaad": 2, "igdm": 3}.get(
        name, 1
    )
    steps = {"attack_steps": 2} if "attack_steps" in default_hyperparameters(name) else {}
    defense = bench.defense(name, **FULL[name] | steps)
    layers = [layer for layer in defense.student.layers if isinstance(layer, keras.layers.BatchNormalization)]
    # Next to so much variance a batch's own is nothing, so that all an update does is to leave 0.9 of it.
    for layer in layers:
        layer.moving_variance.assign(tf.fill(layer.moving_variance.shape, 1e4))
    bench.gradients(defense)
    for layer in layers:
        found = np.log(layer.moving_variance.numpy() / 1e4) / np.log(0.9)
        np.testing.assert_allclose(found, updates, atol=0.1)


@pytest.mark.parametrize("name", sorted(set(DEFENSES) - {"undefended"}))
def test_adversaries_stay_in_the_ball_and_the_box_and_batch_statistics_alone(bench, name):
    defense = bench.defense(name, **FULL[name])
    before = [weight.copy() for weight in defense.get_weights()]
    crafted, _ = bench.craft(defense)
    for old, new in zip(before, defense.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)
    clean, _ = bench.batch()
    adv = crafted["forward"] if "forward" in crafted else crafted["adv"]
    assert 0 < np.abs(adv - clean).max() <= 0.15 + 1e-6
    for image in ("adv", "forward", "backward", "negative", "positive"):
        if image in crafted:
            assert 0 <= crafted[image].numpy().min() <= crafted[image].numpy().max() <= 1


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_a_defense_trains_and_its_file_restores_it(bench, name, tmp_path):
    defense = bench.defense(name, validation_attack_steps=1, **FULL[name])
    batches = training_batches(bench.data.train, batch_size=16, seed=0)
    before = [weight.numpy().copy() for weight in defense.student.trainable_weights]
    for batch in batches.take(2):
        # Eagerly: `fit` is what the recorded first steps are of.
        assert np.isfinite([float(value) for value in defense.train_step(batch).values()]).all()
    for old, weight in zip(before, defense.student.trainable_weights, strict=True):
        assert np.any(old != weight.numpy()), weight.path
    # What Keras finalises at the end of `fit` is what the optimizer was given.
    assert [id(v) for v in defense.trainable_weights] == [id(v) for v in defense.student.trainable_weights]
    defense.save(tmp_path / "defense.keras")
    loaded = keras.saving.load_model(tmp_path / "defense.keras")
    assert int(loaded.optimizer.iterations) == 2
    expected, received = defense.get_config(), loaded.get_config()
    assert {"augmentation", "seed", "weight_decay", *default_hyperparameters(name)} <= set(expected)
    for key in set(expected) - {"student", "teacher"}:
        assert expected[key] == received[key], key
    for old, new in zip(defense.get_weights(), loaded.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


def test_validation_measures_accuracy_on_the_images_and_under_pgd(fragile):
    network, examples = fragile
    defense = Undefended(network, eps=0.01, validation_attack_steps=3)
    defense.compile(keras.optimizers.SGD(0.1))
    # The last batch of 16 is filled up, which must not count.
    found = defense.evaluate(evaluation_batches(examples, batch_size=16), verbose=0, return_dict=True)
    robust = run_attack(network, examples, parse_attack("pgd-3", eps=0.01)).accuracy
    assert 0 < robust < 1
    clean = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    loss = float(clean(examples.labels, network(examples.images / np.float32(255))))
    assert found == pytest.approx({"loss": loss, "accuracy": 1.0, "robust_accuracy": robust}, rel=1e-5)


@pytest.mark.parametrize(
    "name",
    [
        "bilateral",
        *(
            pytest.param(name, marks=pytest.mark.slow)
            for name in ("alp", "sml", "feature_scatter", "cat_mix", "trades", "mart", "ard", "rslad", "adaad", "igdm")
        ),
    ],
)
def test_a_step_with_xla_agrees_with_one_without(bench, name):
    gradients, losses = [], []
    for jit in (False, True):
        found, scalars, _ = bench.gradients(bench.defense(name, jit_compile=jit, **FULL[name]))
        gradients.append(found)
        losses.append(float(scalars["loss"]))
    assert losses[0] == pytest.approx(losses[1], rel=1e-3)
    for plain, compiled in zip(*gradients, strict=True):
        assert float(tf.norm(plain - compiled)) <= 2e-2 * float(tf.norm(plain)) + 1e-4


@pytest.mark.parametrize("name", fast_for(DEFENSES))
def test_two_classes_work_or_are_refused_with_the_reason(bench, name):
    few = bench.data.train.labels < 2
    images, labels = bench.data.train.images[few][:16], bench.data.train.labels[few][:16]
    settings = {} if "label_smoothing" not in default_hyperparameters(name) else {"label_smoothing": 0.2}
    needs = DEFENSES[name].needs
    if "pool" in needs:
        settings["pool"] = ClassPool(images, labels, num_classes=2)
    if "num_examples" in needs:
        settings["num_examples"] = 16
    if name.startswith("cat"):
        settings["smoothing_scale"] = 2.0
    if "num_steps" in needs:
        settings["num_steps"] = 10
    if DEFENSES[name].teacher_is_robust:  # elsewhere it is a copy of the student
        settings["teacher"] = bench.network(seed=1, classes=2)
    defense = DEFENSES[name](bench.network(classes=2), eps=0.15, **settings)
    defense.compile(keras.optimizers.SGD(0.01))
    clean, labels = tf.constant(images / np.float32(255)), tf.constant(labels)
    _, scalars, _ = defense.training_step.gradients(clean, labels, step_seed(0, 0), bench.remembered(defense, 16))
    assert np.isfinite(float(scalars["loss"]))
    if "label_smoothing" in settings:
        with pytest.raises(InputError, match="2 classes"):
            DEFENSES[name](bench.network(classes=2), label_smoothing=0.5)


def test_other_settings_cover_every_hyperparameter():
    names = set().union(*map(default_hyperparameters, DEFENSES))
    assert names - VALIDATION - LATER == set(OTHER)
    for name in DEFENSES:
        for setting, default in default_hyperparameters(name).items():
            if setting in OTHER:
                assert OTHER[setting] != FULL[name].get(setting, default)


def test_a_defense_that_says_not_what_is_different_about_it_cannot_be_made(bench):
    class Silent(Defense):
        def craft(self, clean, labels, seed):
            return {}

    with pytest.raises(TypeError, match="loss_terms"):
        Silent(bench.network())
