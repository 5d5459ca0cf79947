"""A run in a folder: resume, teacher, recipes."""

import csv
import dataclasses
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from agkd_tf import InputError
from agkd_tf.data import ClassPool
from agkd_tf.data.batches import evaluation_batches, training_batches
from agkd_tf.defenses import DEFENSES
from agkd_tf.losses import smoothed_cross_entropy
from agkd_tf.models.storage import load_classifier
from agkd_tf.training import NonFiniteLossError, Recipe, write_recipe
from agkd_tf.training.callbacks import ValidateAverage
from agkd_tf.training.checkpoints import SELECT_BEST, Checkpoints
from agkd_tf.workdir import Workdir
from tests.trainings import train

SETTINGS = {"eps": 0.15, "validation_attack_steps": 1}
SMALL = Recipe(
    dataset="digits",
    train_examples=96,
    validation_examples=20,
    model="tiny",
    defense="agkd_bml",
    hyperparameters=SETTINGS,
    batch_size=32,
    epochs=2,
    learning_rate=0.05,
    decay_epochs=(1,),
)


def like_small(defense, hyperparameters=None, **changes):
    """Returns `SMALL` of another defense, which starts its student as is its habit."""
    changes = {"init_from_teacher": None, **changes}
    return dataclasses.replace(SMALL, defense=defense, hyperparameters=SETTINGS | (hyperparameters or {}), **changes)


def undefended(hyperparameters=None, **changes):
    return like_small("undefended", hyperparameters, **changes)


def bml(**changes):
    return like_small("bml", **changes)


@pytest.fixture(scope="module")
def data():
    return SMALL.load_dataset()


def weights_of(run):
    return load_classifier("workdir", run.path).get_weights()


def test_a_resumed_run_equals_an_unbroken_one_and_writes_tensorboard(data, tmp_path):
    broken = Workdir(tmp_path / "broken")
    train(dataclasses.replace(SMALL, epochs=1), broken, data)
    # The teacher of a run that has begun is not trained any further.
    teacher = weights_of(broken.teacher)
    train(SMALL, broken, data)
    for a, b in zip(teacher, weights_of(broken.teacher), strict=True):
        np.testing.assert_array_equal(a, b)
    with open(broken.history, encoding="utf-8", newline="") as file:
        lines = list(csv.DictReader(file))
    assert [line["epoch"] for line in lines] == ["0", "1"]
    assert all(float(line["val_robust_accuracy"]) >= 0 and float(line["images_per_second"]) > 0 for line in lines)
    sittings = json.loads(broken.environment.read_text())
    assert [sitting["first_epoch"] for sitting in sittings] == [1, 2]
    assert all(sitting["tensorflow"] == tf.__version__ and sitting["cores"] >= 1 for sitting in sittings)
    other = dataclasses.replace(SMALL, teacher=str(broken.teacher.path))
    reference = Workdir(tmp_path / "reference")
    train(other, reference, data, panel_every=2)
    for a, b in zip(weights_of(reference), weights_of(broken), strict=True):
        np.testing.assert_array_equal(a, b)
    tags = set()
    for file in reference.tensorboard.rglob("events*"):
        for event in tf.compat.v1.train.summary_iterator(str(file)):
            tags |= {value.tag for value in event.summary.value}
    terms = ("total", "validation", "attention", "triplet", "embedding_norm", "cross_entropy")
    wanted = {"accuracy/clean", "accuracy/robust", "accuracy/training", *(f"loss/{term}" for term in terms)}
    wanted |= {"learning_rate", "step/images_per_second"}
    assert {f"epoch_{name}" for name in wanted} <= tags
    assert "attention" in tags


def test_nan_stops_training_and_names_the_term(data, tmp_path):
    recipe = undefended(learning_rate=1e30, decay_epochs=())
    with pytest.raises(NonFiniteLossError, match=r"regularization.* at step 2"):
        train(recipe, Workdir(tmp_path), data)


@pytest.mark.parametrize("xla", [False, True])
def test_a_gradient_that_is_not_finite_stops_training_before_the_loss_shows_it(data, tmp_path, monkeypatch, xla):
    def loss_terms(self, crafted, labels):
        logits = self.classifier(crafted["clean"], training=True).logits
        at_zero = tf.reduce_sum(logits) * 0.0
        # From the third step on; the square root's slope at zero is infinite, its value is not.
        broken = tf.sqrt(tf.where(self.step >= 2, at_zero, 1.0))
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, 0.0) + broken}, logits

    monkeypatch.setattr(DEFENSES["undefended"], "loss_terms", loss_terms)
    recipe = undefended(batch_size=48, epochs=3, decay_epochs=())
    run = Workdir(tmp_path)
    with pytest.raises(
        NonFiniteLossError, match=r"^gradient_norm became .* step 3: .*checkpoint .*ckpt-2 is from before"
    ):
        train(recipe, run, data, jit_compile=xla)


def test_float16_overflows_are_handled_by_loss_scaling(data, tmp_path):
    recipe = undefended(mixed_precision="float16", epochs=1, decay_epochs=())
    defense = recipe.build_defense(data)
    before = [weight.numpy() for weight in defense.student.trainable_weights]
    defense.optimizer.dynamic_scale.assign(1e38)  # every gradient overflows
    defense.fit(training_batches(data.train, batch_size=32, seed=0), steps_per_epoch=1, verbose=0)
    assert float(defense.optimizer.dynamic_scale) < 1e38
    for weight, old in zip(defense.student.trainable_weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)  # the step was left out
    assert "gradient_norm" not in defense.trackers


def test_a_gradient_that_no_scale_mends_stops_training_in_float16(data, tmp_path, monkeypatch):
    def loss_terms(self, crafted, labels):
        logits = self.classifier(crafted["clean"], training=True).logits
        return {"cross_entropy": smoothed_cross_entropy(logits, labels, 0.0) + tf.sqrt(0.0 * logits[0, 0])}, logits

    monkeypatch.setattr(DEFENSES["undefended"], "loss_terms", loss_terms)
    recipe = undefended(mixed_precision="float16", epochs=9, decay_epochs=())
    # From 2 ** 15 to below 1.
    with pytest.raises(NonFiniteLossError, match=r"^the gradient, at a loss scale below 1, became .* at step 16: "):
        train(recipe, Workdir(tmp_path), data)
    assert "loss_scale" in (tmp_path / "history.csv").read_text()


def test_one_cycle_is_over_all_epochs_which_cannot_grow(data, tmp_path):
    recipe = undefended(schedule="one_cycle", decay_epochs=(), epochs=2, learning_rate=0.2)
    defense = train(recipe, Workdir(tmp_path), data)
    assert float(defense.optimizer.learning_rate) < 1e-5
    with pytest.raises(
        InputError, match=r"`schedule='one_cycle'` is planned for 2 epochs, so that it cannot be extended"
    ):
        train(dataclasses.replace(recipe, epochs=3), Workdir(tmp_path), data)
    with pytest.raises(InputError, match=r"`decay_epochs` has no effect with `schedule='one_cycle'`: give `decay_epo"):
        undefended(schedule="one_cycle", decay_epochs=(1,))


@pytest.mark.parametrize(("on", "rank"), [("all", 0), ("kernels", 2)])
def test_weight_decay_adds_wd_times_w_to_the_gradients_that_it_is_on(data, on, rank):
    gradients = []
    for decay in (0.0, 0.1):
        defense = undefended({"weight_decay_on": on}, weight_decay=decay).build_defense(data)
        images, labels = tf.constant(data.train.images[:8]), tf.constant(data.train.labels[:8])
        gradients.append(defense.training_step.gradients(images, labels, tf.constant([0, 0]), {})[0])
    for plain, decayed, weight in zip(*gradients, defense.student.trainable_weights, strict=True):
        expected = 0.1 * weight.numpy() * (len(weight.shape) >= rank)
        np.testing.assert_allclose(decayed - plain, expected, atol=1e-5)


def test_contradictions_are_refused():
    with pytest.raises(InputError, match="does not apply to `defense='at'`"):
        Recipe(defense="at", hyperparameters={"mart": True})
    with pytest.raises(InputError, match="teacher"):
        Recipe(defense="at", teacher="x")
    with pytest.raises(InputError, match="mart_beta"):
        Recipe(hyperparameters={"mart_beta": 2.0})
    with pytest.raises(InputError, match="`init_from_teacher=False`"):
        Recipe(init_from="y", init_from_teacher=True)
    for epochs in ((3, 2), (0,), (2**31,)):
        with pytest.raises(InputError, match="decay_epochs"):
            Recipe(decay_epochs=epochs)


def test_the_student_starts_from_the_teacher_a_file_or_afresh(data, tmp_path):
    def first_weights(recipe, teacher=None):
        return recipe.build_student(data, teacher).get_weights()

    fresh = first_weights(SMALL)
    other = dataclasses.replace(SMALL, seed=5).build_student(data)
    assert np.any(fresh[0] != other.get_weights()[0])
    np.testing.assert_array_equal(first_weights(SMALL, other)[0], other.get_weights()[0])
    unguided = dataclasses.replace(SMALL, init_from_teacher=False)
    np.testing.assert_array_equal(first_weights(unguided, other)[0], fresh[0])
    assert unguided.build_defense(data, teacher=other).teacher is other
    other.save(tmp_path / "own.keras")
    started = dataclasses.replace(SMALL, init_from=str(tmp_path / "own.keras"), init_from_teacher=False)
    np.testing.assert_array_equal(first_weights(started)[0], other.get_weights()[0])
    wider = dataclasses.replace(started, model="wrn-10-2")
    with pytest.raises(InputError, match="init_from"):
        wider.build_student(data)


def cat(**changes):
    return like_small("cat_ce", {"smoothing_scale": 2.0, "attack_steps": 2}, **changes)


@pytest.mark.slow
def test_memory_and_moving_average_survive_a_resume(data, tmp_path):
    whole, broken = Workdir(tmp_path / "whole"), Workdir(tmp_path / "broken")
    unbroken = train(cat(ema=0.9), whole, data)
    train(cat(ema=0.9, epochs=1), broken, data)
    resumed = train(cat(ema=0.9), broken, data)
    np.testing.assert_array_equal(unbroken.example_eps.numpy(), resumed.example_eps.numpy())
    assert resumed.example_eps.numpy().max() > 0
    for a, b in zip(weights_of(whole), weights_of(broken), strict=True):
        np.testing.assert_array_equal(a, b)


def test_the_student_becomes_the_moving_average_of_its_weights(data):
    defense = undefended(ema=0.8, decay_epochs=()).build_defense(data)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append([w.numpy() for w in defense.student.trainable_weights])
    )
    batches = training_batches(data.train, batch_size=32, seed=0)
    defense.fit(batches, steps_per_epoch=4, verbose=0, shuffle=False, callbacks=[record])
    average = seen[0]
    for weights in seen[1:]:
        average = [0.8 * old + 0.2 * new for old, new in zip(average, weights, strict=True)]
    for expected, weight in zip(average, defense.student.trainable_weights, strict=True):
        np.testing.assert_allclose(weight.numpy(), expected, rtol=1e-5, atol=1e-6)
    with defense.averaged():
        np.testing.assert_allclose(defense.student.trainable_weights[0].numpy(), average[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("bn", ["copied", "estimated"])
def test_the_average_that_was_validated_is_the_one_in_the_file(tmp_path, data, bn):
    recipe = undefended(ema=0.9, ema_warmup=0.25, ema_bn=bn, sgd="pytorch", learning_rate=0.1, decay_epochs=())
    defense = train(recipe, Workdir(tmp_path), data)
    history = Workdir(tmp_path).history.read_text(encoding="utf-8").splitlines()
    validated = dict(zip(history[0].split(","), history[-1].split(","), strict=True))
    logits = load_classifier("workdir", tmp_path).predict(data.validation.images / np.float32(255), verbose=0)
    assert float(validated["val_accuracy"]) == pytest.approx(np.mean(logits.argmax(1) == data.validation.labels))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)(data.validation.labels, logits)
    assert float(validated["val_loss"]) == pytest.approx(float(loss), rel=1e-4)
    statistics = [each.numpy() for each in defense.student.variables if "moving" in each.path]
    if bn == "estimated":
        plain = train(dataclasses.replace(recipe, ema_bn="copied"), Workdir(tmp_path / "copied"), data)
        copied = [each.numpy() for each in plain.student.variables if "moving" in each.path]
        assert any(np.abs(a - b).max() > 1e-4 for a, b in zip(statistics, copied, strict=True))


def test_validation_sees_the_average_and_training_does_not(data):
    recipe = undefended(ema=0.5, decay_epochs=())
    defense = recipe.build_defense(data)
    weight = defense.student.trainable_weights[0]
    validated, restored, trained = [], [], []
    watch = keras.callbacks.LambdaCallback(
        on_test_batch_begin=lambda batch, logs: validated.append(weight.numpy()),
        on_test_end=lambda logs: restored.append(weight.numpy()),
        on_train_batch_end=lambda batch, logs: trained.append(weight.numpy()),
    )
    defense.fit(
        training_batches(data.train, batch_size=32, seed=0),
        steps_per_epoch=3,
        validation_data=evaluation_batches(data.validation, batch_size=20),
        callbacks=[ValidateAverage(), watch],
        verbose=0,
        shuffle=False,
    )
    average = trained[0]
    for value in trained[1:]:
        average = 0.5 * average + 0.5 * value
    np.testing.assert_allclose(validated[0], average, rtol=1e-5, atol=1e-6)
    assert np.any(validated[0] != trained[-1])
    np.testing.assert_array_equal(restored[0], trained[-1])


@pytest.mark.parametrize(("select_best", "chosen", "last"), [("robust", [0, 2], 3), ("last", [0, 1, 2, 3, 4], 5)])
def test_the_student_of_the_best_epoch_is_chosen_also_after_a_restart(data, tmp_path, select_best, chosen, last):
    epoch, chosen_epochs = -1, []

    def checkpoints():
        defense = undefended(decay_epochs=()).build_defense(data)
        settings = {"steps": 3, "epochs": 5, "select_best": select_best, "choose": lambda: chosen_epochs.append(epoch)}
        return Checkpoints(tmp_path, defense, origins={"images": data.train.digest()}, **settings)

    keeper = checkpoints()
    for epoch, score in enumerate([0.2, 0.1, 0.4, 0.4, 0.3]):
        if epoch == 3:
            keeper = checkpoints()
            assert keeper.restore() == []
            assert keeper.finished_epochs == 3
        keeper.set_params({"epochs": 5})
        keeper._defense.step.assign(3 * (epoch + 1))
        keeper.on_epoch_end(epoch, {"val_robust_accuracy": score})
    assert chosen_epochs == chosen
    assert keeper.chosen_epoch == last


@pytest.mark.parametrize(("sign", "best"), [(-1, 1), (1, 2)])
def test_a_lost_best_student_is_not_replaced_in_silence(data, tmp_path, monkeypatch, sign, best):
    monkeypatch.setitem(SELECT_BEST, "robust", lambda logs: sign * logs["epoch"])
    recipe, run = undefended(select_best="robust", epochs=2, decay_epochs=()), Workdir(tmp_path)
    train(recipe, run, data)
    chosen = weights_of(run)
    defense = train(recipe, run, data)
    np.testing.assert_array_equal(defense.student.get_weights()[0], chosen[0])
    run.student.unlink()
    if best == 1:
        with pytest.raises(InputError, match=r"of epoch 1, the most robust one, is missing"):
            train(recipe, run, data)
        return
    # The newest checkpoint has the student of the last epoch.
    train(recipe, run, data)
    for a, b in zip(weights_of(run), chosen, strict=True):
        np.testing.assert_array_equal(a, b)


def test_selection_and_averaging_that_make_no_sense_are_refused():
    with pytest.raises(InputError, match="validation_attack_steps"):
        Recipe(defense="at", select_best="robust", hyperparameters={"validation_attack_steps": 0})
    with pytest.raises(InputError, match="ema"):
        Recipe(defense="at", ema=1.5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ema_warmup": 0.1}, "`ema_warmup` has no effect without an average"),
        ({"ema_bn": "estimated"}, "`ema_bn` has no effect without an average"),
        ({"ema": 0.9, "ema_warmup": 0.1}, "`ema_warmup` needs `sgd='pytorch'`"),
        ({"cycle_momentum": True, "sgd": "pytorch"}, "one_cycle or cyclic alone. Received: 'step'"),
        ({"cycle_momentum": True, "schedule": "cyclic", "decay_epochs": ()}, "`cycle_momentum` needs `sgd='pytorch'`"),
        (
            {"cycle_momentum": True, "schedule": "cyclic", "decay_epochs": (), "sgd": "pytorch", "momentum": 0.8},
            "`momentum` has no effect with `cycle_momentum=True`",
        ),
        ({"warmup": 1.0}, "`warmup` must be below 1"),
        ({"warmup": 0.0, "schedule": "one_cycle", "decay_epochs": ()}, "warmup"),
    ],
)
def test_settings_of_the_optimizer_that_have_no_effect_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        Recipe(defense="at", **given)


def test_a_modern_optimizer_is_built_from_its_settings(data):
    given = {"schedule": "cyclic", "decay_epochs": (), "warmup": 0.4, "sgd": "pytorch", "nesterov": True}
    recipe = undefended(**given, cycle_momentum=True, ema=0.99, ema_warmup=0.5, epochs=4)
    steps = 4 * recipe.steps_per_epoch(data)
    optimizer = recipe.build_defense(data).optimizer
    assert (optimizer.nesterov, optimizer.ema_warmup) == (True, steps // 2)
    assert float(optimizer.momentum_schedule(round(0.4 * steps))) == pytest.approx(0.8, abs=0.02)
    assert recipe.planned_for == "schedule='cyclic'"
    assert undefended(warmup=0.2).planned_for == "warmup=0.2"
    assert undefended().planned_for is None


def test_bml_starts_from_a_teacher_that_is_trained_first(data, tmp_path):
    recipe = bml(epochs=1, decay_epochs=())
    assert recipe.init_from_teacher
    assert not recipe.has_teacher
    run = Workdir(tmp_path)
    # The teacher at a rate that moves it, the student at one that leaves it where it starts.
    train(recipe.for_teacher(), run.teacher, data)
    slow = dataclasses.replace(recipe, learning_rate=1e-9)
    write_recipe(run.teacher.flags, slow.for_teacher())  # so that it is taken for its teacher
    train(slow, run, data)
    kernels = [weights_of(where)[0] for where in (run, run.teacher)]
    np.testing.assert_allclose(*kernels, atol=1e-6)
    assert np.abs(kernels[1] - recipe.build_student(data).get_weights()[0]).max() > 1e-4


def test_a_run_refreshes_its_bounded_pool_each_epoch_also_after_a_restart(data, tmp_path, monkeypatch):
    refreshed, refresh = [], ClassPool.refresh
    monkeypatch.setattr(ClassPool, "refresh", lambda pool, epoch: refreshed.append(epoch) or refresh(pool, epoch))
    recipe, run = bml(init_from_teacher=False, pool_capacity=2, decay_epochs=()), Workdir(tmp_path)
    for epochs in (1, 2):
        defense = train(dataclasses.replace(recipe, epochs=epochs), run, data)
    assert refreshed == [0, 1]
    assert defense.pool.bounded


def test_the_recipes_seed_chooses_the_batches(data, tmp_path, monkeypatch):
    seeds = []

    def recorded(examples, *, seed, **settings):
        seeds.append(seed)
        return training_batches(examples, seed=seed, **settings)

    monkeypatch.setattr("agkd_tf.training.run.training_batches", recorded)
    train(undefended(seed=5, epochs=1, decay_epochs=()), Workdir(tmp_path), data)
    assert seeds == [5]


def test_a_recipes_settings_reach_the_optimizer_and_the_defense(data):
    recipe = undefended(momentum=0.7, mixed_precision="float16", augmentation="crop_flip", seed=5)
    defense = recipe.build_defense(data)
    inner = defense.optimizer.inner_optimizer
    assert (inner.momentum, defense.augmentation, defense.seed) == (0.7, "crop_flip", 5)
    for step, rate in ((0, 0.05), (2, 0.05), (3, 0.005)):  # 96 images in batches of 32: 3 steps an epoch
        inner.iterations.assign(step)
        assert float(inner.learning_rate) == pytest.approx(rate)


def test_a_recipes_network_has_its_activation_and_normalisation_and_so_has_its_teacher(data):
    recipe = Recipe(model="tiny", activation="silu", input_mean=(0.25,), input_std=(0.5,), defense="undefended")
    for each in (recipe, recipe.for_teacher()):
        student = each.build_student(data)
        assert [
            layer.activation.__name__ for layer in student.layers if isinstance(layer, keras.layers.Activation)
        ] == [
            "silu",
            "silu",
        ]
        np.testing.assert_allclose(student.get_layer("scaling")(np.float32([[0, 1]])), [[-0.5, 1.5]])


def test_a_teachers_schedule_may_differ(data):
    teacher = dataclasses.replace(SMALL, teacher_epochs=9, teacher_decay_epochs=(4, 6)).for_teacher()
    assert (teacher.epochs, teacher.decay_epochs, teacher.defense) == (9, (4, 6), "undefended")
    assert (SMALL.for_teacher().epochs, SMALL.for_teacher().decay_epochs) == (2, (1,))


def test_a_teacher_has_no_teacher_even_if_one_is_given(data):
    given = dataclasses.replace(SMALL, teacher="elsewhere")
    assert (given.trains_teacher, SMALL.trains_teacher) == (False, True)
    assert given.for_teacher() == SMALL.for_teacher()
    # Which a benchmark builds in place of the given one.
    assert given.build_teacher(data).count_params() == SMALL.build_teacher(data).count_params()


def test_a_teacher_has_the_runs_settings_and_its_own_label_smoothing():
    settings = SETTINGS | {"label_smoothing": 0.4, "weight_decay_on": "kernels"}
    teacher = dataclasses.replace(SMALL, hyperparameters=settings, teacher_label_smoothing=0.3).for_teacher()
    assert teacher.hyperparameters == settings | {
        "label_smoothing": 0.3,
        "norm": "linf",
        "awp_gamma": 0.0,
        "awp_start": 0,
    }


@pytest.mark.parametrize("defense", ["undefended", "bml"])
def test_images_on_the_device_train_the_same_student(tmp_path, data, defense):
    recipe = like_small(defense, epochs=1, init_from_teacher=False if defense == "bml" else None)
    students = []
    for resident in (False, True):
        trained = train(recipe, Workdir(tmp_path / str(resident)), data, resident=resident)
        assert (trained.resident is not None) == resident
        students.append(trained.student.get_weights())
    assert (trained.resident is trained.pool) == (defense == "bml")
    for one, other in zip(*students, strict=True):
        np.testing.assert_array_equal(one, other)


def test_batches_without_images_need_a_defense_that_has_them(data):
    defense = undefended().build_defense(data)
    with pytest.raises(InputError, match="`resident`"):
        defense.fit(training_batches(data.train, batch_size=32, seed=0, with_images=False), steps_per_epoch=1)
