"""Whatever the images, the network and the settings: inside the ball and the box, finite, no exception."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agkd_tf.attacks import parse_attack
from agkd_tf.data.pixels import as_float

# K stands for a number of steps that is drawn.
NAMES = ("clean", "fgsm", "fgsm-rs", "bim-K", "pgd-Kx2", "cw-K", "mim-K", "pgd-K@mc", "cw-K@least", "fgsm@random")
NAMES += ("bim-K~1/3", "pgd-K~1")
NAMES += (
    "apgd-ce",
    "apgd-dlr",
    "apgd-t",
    "fab-t",
    "square",
    "autoattack-rand",
    "apgd-pm",
    "malt",
    "cr",
    "fmn-K",
    "ddn-K",
)
CASES = [(norm, name) for norm in ("linf", "l2") for name in NAMES if (norm, name) != ("linf", "ddn-K")]
FEW = 6
IMAGES = ("random", "constant", "saturated", "black")
NETWORKS = ("linear", "steep", "flat", "blind", "equal")


def pixels(kind, shape, random):
    if kind == "random":
        return random.integers(0, 256, shape).astype(np.uint8)
    if kind == "saturated":
        return (255 * random.integers(0, 2, shape)).astype(np.uint8)
    return np.full(shape, 0 if kind == "black" else random.integers(0, 256), np.uint8)


def network(kind, shape, classes, random):
    """Returns logits: of a linear map, very steep or flat; the same for every image; equal for every class."""
    size = int(np.prod(shape))
    scale = {"linear": 1.0, "steep": 1e6, "flat": 1e-20, "blind": 0.0, "equal": 1.0}[kind]
    weights = scale * random.standard_normal((size, 1 if kind == "equal" else classes)).astype(np.float32)
    bias = tf.zeros(classes) if kind in ("equal", "flat") else tf.constant(random.standard_normal(classes), tf.float32)

    def logits(images):
        return tf.reshape(images, [-1, size]) @ weights + bias

    return logits


def quick(part):
    """Returns the part with few iterations."""
    limits = {"queries": FEW, "steps": FEW, "passes": 2, "cycles": 1, "further": 0}
    few = {name: min(getattr(part, name), most) for name, most in limits.items() if hasattr(part, name)}
    return dataclasses.replace(part, **few)


@pytest.mark.parametrize(("norm", "name"), CASES)
@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(
    batch=st.integers(1, 4),
    height=st.integers(1, 6),
    width=st.integers(1, 6),
    channels=st.sampled_from([1, 3]),
    classes=st.integers(2, 5),
    steps=st.integers(1, FEW),
    eps=st.sampled_from([0.0, 1e-6, 1 / 255, 8 / 255, 0.5, 1.0]),
    as_bytes=st.booleans(),
    image=st.sampled_from(IMAGES),
    kind=st.sampled_from(NETWORKS),
    seed=st.integers(0, 2**31 - 1),
)
def test_adversaries_are_finite_and_within_ball_and_box(
    name, norm, batch, height, width, channels, classes, steps, eps, as_bytes, image, kind, seed
):
    random = np.random.default_rng(seed)
    shape = (batch, height, width, channels)
    clean = as_float(tf.constant(pixels(image, shape, random)))
    if not as_bytes:  # any float, not only the 256 values
        clean = tf.clip_by_value(clean * tf.constant(random.uniform(0.9, 1.1, shape), tf.float32), 0.0, 1.0)
    logits = network(kind, shape[1:], classes, random)
    labels = tf.constant(random.integers(0, classes, batch), tf.int32)
    indices = tf.range(batch) + int(random.integers(0, 1000))
    attack = parse_attack(name.replace("K", str(steps)), eps=eps, norm=norm, num_classes=classes)
    for part in attack.attacks:
        part = quick(part)
        for variant in range(min(part.variants, 2)):
            keys = {"indices": indices, "seed": tf.constant([seed % 1000, 0]), "variant": variant}
            adv = part.perturb(logits, clean, labels, ball=attack.ball, **keys).numpy()
            assert adv.shape == shape
            assert np.isfinite(adv).all()
            assert adv.min() >= 0
            assert adv.max() <= 1
            moved = (adv - clean.numpy()).reshape(batch, -1)
            length = np.abs(moved).max(1) if norm == "linf" else np.linalg.norm(moved, axis=1)
            assert length.max() <= eps * (1 + 1e-5) + 1e-6
