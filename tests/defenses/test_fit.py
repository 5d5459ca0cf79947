"""What `fit` takes from a user's own arrays."""

import keras
import numpy as np
import pytest

from agkd_tf import InputError, Undefended


@pytest.fixture
def defense(tiny_model):
    defense = Undefended(tiny_model, validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.0))
    return defense


def test_epoch_means_weigh_a_small_last_batch_by_its_images(defense, digits):
    images, labels = digits.train.images[:9], np.append(np.full(8, 3), 5)
    losses = []
    watch = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: losses.append(logs["loss"]))
    history = defense.fit(images, labels, batch_size=8, epochs=1, shuffle=False, verbose=0, callbacks=watch)
    # Keras logs running means: the second one is the epoch's.
    alone = defense.fit(images[8:], labels[8:], batch_size=8, epochs=1, verbose=0).history["loss"][0]
    assert history.history["loss"][0] == pytest.approx((8 * losses[0] + alone) / 9, rel=1e-5)
    assert abs(losses[0] - alone) > 1e-3


@pytest.mark.parametrize("argument", [{"sample_weight": np.ones(16)}, {"class_weight": {0: 2.0}}])
def test_weights_that_no_loss_would_heed_are_refused(defense, digits, argument):
    with pytest.raises(InputError, match="`sample_weight` and `class_weight` cannot be given"):
        defense.fit(digits.train.images[:16], digits.train.labels[:16], verbose=0, **argument)


def test_arguments_may_be_given_by_place_as_keras_takes_them(defense, digits):
    history = defense.fit(digits.train.images[:32], digits.train.labels[:32], 16, 2, 0)
    assert history.params == {"verbose": 0, "epochs": 2, "steps": 2}


def test_images_from_0_to_255_in_floats_are_refused(defense, digits):
    with pytest.raises(InputError, match=r"divide by 255"):
        defense.fit(digits.train.images[:16].astype(np.float32), digits.train.labels[:16], verbose=0)


@pytest.mark.parametrize("method", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
def test_a_defense_without_an_optimizer_is_refused(tiny_model, digits, method):
    with pytest.raises(InputError, match=rf"`{method}` needs an optimizer: first call `defense\.compile\("):
        getattr(Undefended(tiny_model), method)(digits.train.images[:4], digits.train.labels[:4])


class Penalized(keras.layers.Layer):
    """Adds a loss of its own when it is called."""

    def call(self, images):
        self.add_loss(keras.ops.mean(images))
        return images


@pytest.mark.parametrize("layer", [lambda: keras.layers.ActivityRegularization(l2=1.0), Penalized])
def test_losses_that_a_student_adds_itself_are_refused_and_not_left_out(digits, layer):
    images = keras.Input((16, 16, 1))
    student = keras.Model(images, keras.layers.Dense(10)(keras.layers.Flatten()(layer()(images))))
    defense = Undefended(student, validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    with pytest.raises(InputError, match="adds losses of its own when it is called"):
        defense.fit(digits.train.images[:8], digits.train.labels[:8], verbose=0)
