"""A small network, real images, and any defense on them."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import ClassPool
from agkd_tf.defenses import DEFENSES
from agkd_tf.randomness import step_seed

EPS, BATCH = 0.15, 8


def small_network(seed=0, classes=10, shape=(16, 16, 1), dtype="float32"):
    """A network of two convolutions: seconds become tenths of them. Its head is always float32."""
    he = [keras.initializers.HeNormal(seed=10 * seed + number) for number in range(3)]
    x = images = keras.Input(shape)
    for number, filters in enumerate((8, 16)):
        x = layers.Conv2D(filters, 3, 2, "same", use_bias=False, kernel_initializer=he[number], dtype=dtype)(x)
        x = layers.ReLU(dtype=dtype)(layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype)(x))
    return keras.Model(images, layers.Dense(classes, kernel_initializer=he[2])(layers.GlobalAveragePooling2D()(x)))


class Bench:
    """Builds defenses, and runs parts of their steps, on the first images of the digits."""

    def __init__(self, data):
        self.data = data
        self.network = small_network

    def defense(self, name, *, jit_compile=False, dtype="float32", optimizer=None, **settings):
        """Returns the compiled defense called `name`, with random weights for student (of `dtype`) and teacher."""
        needs = DEFENSES[name].needs
        given = {"eps": EPS, "validation_attack_steps": 0}
        if "teacher" in needs:
            given["teacher"] = small_network(seed=1)
        if "pool" in needs:
            given["pool"] = ClassPool(self.data.train.images, self.data.train.labels, num_classes=10)
        if "num_steps" in needs:
            given["num_steps"] = 10
        if "num_examples" in needs:
            given["num_examples"] = len(self.data.train)
        if name.startswith("cat"):
            given["smoothing_scale"] = 2.0
        defense = DEFENSES[name](small_network(dtype=dtype), **{**given, **settings})
        optimizer = optimizer or keras.optimizers.SGD(0.05, momentum=0.9)
        if dtype == "mixed_float16" and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        defense.compile(optimizer, jit_compile=jit_compile)
        return defense

    def batch(self, size=BATCH):
        """Returns (clean float32 images, labels)."""
        images = self.data.train.images[:size] / np.float32(255)
        return tf.constant(images), tf.constant(self.data.train.labels[:size])

    def remembered(self, defense, size=BATCH):
        """Returns the batch's rows of what the defense remembers: sizes near their upper end, images never seen."""
        return {
            name: tf.fill([size, *rows.shape[1:]], np.float32(0.0 if name == "times_seen" else 0.9 * EPS))
            for name, rows in defense.memory.items()
        }

    def craft(self, defense, size=BATCH):
        """Returns (what the defense crafts of the batch, labels)."""
        clean, labels = self.batch(size)
        return defense.craft(clean, labels, step_seed(defense.seed, 0), **self.remembered(defense, size)), labels

    def gradients(self, defense, size=BATCH):
        """Returns (gradients, scalars, memory) of one step."""
        images, labels = self.batch(size)
        memory = self.remembered(defense, size)
        return defense.training_step.gradients(images, labels, step_seed(defense.seed, 0), memory)

    def losses(self, defense, crafted, labels):
        """Returns the loss of a step, and its terms before weighting, as floats by name."""
        _, scalars = defense.training_step.differentiate(crafted, labels)
        return {name: float(scalars[name]) for name in ("loss", *defense.term_weights)}

    def total(self, defense, crafted, labels):
        """Returns the loss of a step."""
        return self.losses(defense, crafted, labels)["loss"]


@pytest.fixture
def bench(digits):
    return Bench(digits)


class Numpy:
    """What the formulas are made of, in float64 NumPy."""

    @staticmethod
    def softmax(z):
        e = np.exp(z - z.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)

    @staticmethod
    def cross_entropy(z, y, smoothing=0.0):
        """Mean label-smoothed cross-entropy of logits; `y` are labels, or soft labels."""
        n = z.shape[1]
        if np.ndim(y) == 1:
            q = np.full(z.shape, smoothing / (n - 1))
            q[np.arange(len(y)), y] = 1 - smoothing
        else:
            q = y
        return -(q * np.log(Numpy.softmax(z))).sum(1).mean()

    @staticmethod
    def kl(a, b):
        p, q = Numpy.softmax(a), Numpy.softmax(b)
        return (p * np.log(p / q)).sum(1)

    @staticmethod
    def distance(a, b):
        return 1 - np.abs((a * b).sum(1)) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)

    @staticmethod
    def best_other(z, y):
        z = z.copy()
        z[np.arange(len(y)), y] = -np.inf
        return z.max(1)

    @staticmethod
    def boosted_margin(z, y):
        """MART's second term."""
        return -np.log(1.0001 - Numpy.best_other(Numpy.softmax(z), y)).mean()

    @staticmethod
    def weighted_divergence(clean, adv, y):
        """MART's third term."""
        return ((1.0000001 - Numpy.softmax(clean)[np.arange(len(y)), y]) * Numpy.kl(clean, adv)).mean()

    @staticmethod
    def normalised(m):
        """Maps [B, h, w], each scaled to [0, 1]."""
        low, high = m.min((1, 2), keepdims=True), m.max((1, 2), keepdims=True)
        return (m - low) / np.maximum(high - low, 1e-8)


@pytest.fixture
def formulas():
    return Numpy
