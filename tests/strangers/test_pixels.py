"""Images of every scale and type, by every way into a defense: in [0, 1] they learn, all else is refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import ClassPool, InputError, Undefended
from agkd_tf.attacks import parse_attack
from agkd_tf.data import DeviceImages, Examples
from agkd_tf.evaluation import run_attack
from tests.matrices import crossed

COUNT, BATCH = 8, 4
LABELS = np.arange(COUNT) % 3
BYTES = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1)).astype(np.uint8)
UNIT = (BYTES / 255).astype(np.float32)

# name -> (images, None where they are taken, else the words)
RANGE = "images must be uint8, or float in [0, 1]"
PIXELS = {
    "uint8": (BYTES, None),
    "float32 in [0, 1]": (UNIT, None),
    "float64 in [0, 1]": (UNIT.astype(np.float64), None),
    "float16 in [0, 1]": (UNIT.astype(np.float16), None),
    "float 0..255": (BYTES.astype(np.float32), f"{RANGE} (divide by 255?). Received: 0 to 255"),
    "float -1..1": (2 * UNIT - 1, f"{RANGE} ((images + 1) / 2?). Received: -1 to 1"),
    "NaN": (np.where(UNIT == 1, np.nan, UNIT).astype(np.float32), f"{RANGE}. Received: nan to nan"),
    "int64": (BYTES.astype(np.int64), f'{RANGE} (np.asarray(images, "uint8")?). Received: int64'),
    "bool": (BYTES > 127, f"{RANGE}. Received: bool"),
}


class Batches(keras.utils.PyDataset):
    """A user's own."""

    def __init__(self, images, **settings):
        super().__init__(**settings)
        self._images = images

    def __len__(self):
        return COUNT // BATCH

    def __getitem__(self, number):
        rows = slice(BATCH * number, BATCH * (number + 1))
        return self._images[rows], LABELS[rows]


def generator(images):
    while True:
        for number in range(COUNT // BATCH):
            yield Batches(images)[number]


def dataset(images):
    return tf.data.Dataset.from_tensor_slices((images, LABELS)).batch(BATCH)


def dict_dataset(images):
    parts = {"image": images, "label": LABELS, "index": np.arange(COUNT)}
    return tf.data.Dataset.from_tensor_slices(parts).batch(BATCH)


# name -> images -> (x, y)
WAYS = {
    "array": lambda images: (images, LABELS),
    "list": lambda images: (list(images), list(LABELS)),
    "tensor": lambda images: (tf.constant(images), tf.constant(LABELS)),
    "dict": lambda images: ({"image": images, "label": LABELS}, None),
    "tf.data": lambda images: (dataset(images), None),
    "tf.data of dicts": lambda images: (dict_dataset(images), None),
    "generator": lambda images: (generator(images), None),
    "PyDataset": lambda images: (Batches(images), None),
    "PyDataset, 2 workers": lambda images: (Batches(images, workers=2), None),
}
STEPS = {"generator": COUNT // BATCH}


@pytest.fixture(scope="module")
def defense():
    """A defense that does not move, so that what it gives is what Keras gives of the student."""
    keras.utils.set_random_seed(0)
    network = [keras.Input((8, 8, 1)), layers.Conv2D(4, 3), layers.GlobalAveragePooling2D(), layers.Dense(3)]
    defense = Undefended(keras.Sequential(network), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    return defense


@pytest.fixture(scope="module")
def right(defense):
    """What Keras itself gives of images in [0, 1]: logits, and their mean cross-entropy."""
    logits = defense.student.predict(UNIT, verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return logits, float(loss(LABELS, logits))


def calls(defense, way, images):
    """Returns name -> a call whose result is a loss or logits."""
    (x, y), steps = WAYS[way](images), STEPS.get(way)

    def validated():
        # A distinct first batch, lest anything but the validation data be at fault.
        validation = x if y is None else (x, y)
        history = defense.fit(
            BYTES, LABELS, batch_size=BATCH, verbose=0, validation_data=validation, validation_steps=steps
        )
        return history.history["val_loss"][0]

    return {
        "fit": lambda: defense.fit(
            x, y, batch_size=None if y is None else BATCH, verbose=0, shuffle=False, steps_per_epoch=steps
        ).history["loss"][0],
        "validation_data": validated,
        "evaluate": lambda: defense.evaluate(x, y, verbose=0, steps=steps, return_dict=True)["loss"],
        "predict": lambda: defense.predict(x, verbose=0, steps=steps),
    }


# All images by all ways for `fit`; what is told apart by type and by value by all ways for the others.
TABLE = {f"fit of {pixels}": ("fit", pixels) for pixels in PIXELS}
TABLE |= {
    f"{call} of {pixels}": (call, pixels)
    for call in ("validation_data", "evaluate", "predict")
    for pixels in ("uint8", "float 0..255")
}


@pytest.mark.parametrize(("way", "call_of_pixels"), crossed(WAYS, TABLE))
def test_pixels_by_every_way(defense, right, way, call_of_pixels):
    call, pixels = TABLE[call_of_pixels]
    images, words = PIXELS[pixels]
    # Batches begin with images that are right: what is wrong in the second one is found, too.
    if words and images.dtype == np.float32:
        images = np.concatenate([UNIT[:BATCH], images[BATCH:]])
        images[-1, 0, 0] = PIXELS[pixels][0].reshape(-1)[np.argmax(PIXELS[pixels][0].reshape(-1) != 0)]
    run = calls(defense, way, images)[call]
    if words is None:
        expected = right[0] if call == "predict" else right[1]
        np.testing.assert_allclose(run(), expected, rtol=2e-3 if "float16" in pixels else 1e-4, atol=1e-5)
        return
    with pytest.raises(InputError) as raised:
        run()
    assert "\n" not in str(raised.value)
    assert str(raised.value).startswith(words.partition("Received")[0])


DIRECT = {
    "call": lambda defense, images: defense(images),
    "call of a tensor": lambda defense, images: defense(tf.constant(images)),
    "call of a list": lambda defense, images: defense(list(images)),
    "predict_on_batch": lambda defense, images: defense.predict_on_batch(images),
    "train_on_batch": lambda defense, images: defense.train_on_batch(images, LABELS, return_dict=True)["loss"],
    "test_on_batch": lambda defense, images: defense.test_on_batch(images, LABELS, return_dict=True)["loss"],
    "validation_split": lambda defense, images: defense.fit(
        np.concatenate([images, images]), np.tile(LABELS, 2), batch_size=BATCH, validation_split=0.5, verbose=0
    ).history["val_loss"][0],
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("way", DIRECT)
def test_pixels_given_directly(defense, right, way, pixels):
    images, words = PIXELS[pixels]
    if words is None:
        found = np.asarray(DIRECT[way](defense, images))
        np.testing.assert_allclose(found, right[0] if found.ndim else right[1], rtol=2e-3, atol=2e-4)
        return
    with pytest.raises(InputError) as raised:
        DIRECT[way](defense, images)
    assert str(raised.value) == words


STORES = {
    "ClassPool": lambda images: ClassPool(images, LABELS, num_classes=3).take(np.arange(COUNT)),
    "ClassPool of a list": lambda images: ClassPool(list(images), LABELS, num_classes=3).take(np.arange(COUNT)),
    "DeviceImages": lambda images: DeviceImages(images).take(np.arange(COUNT)),
    "DeviceImages of a tensor": lambda images: DeviceImages(tf.constant(images)).take(np.arange(COUNT)),
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("store", STORES)
def test_pixels_that_stay_on_the_device(store, pixels):
    images, words = PIXELS[pixels]
    if words is None:
        np.testing.assert_allclose(STORES[store](images), UNIT, atol=1e-3)
        return
    with pytest.raises(InputError) as raised:
        STORES[store](images)
    assert str(raised.value) == words


@pytest.mark.parametrize("pixels", PIXELS)
def test_pixels_that_are_evaluated(defense, right, pixels):
    images, words = PIXELS[pixels]
    examples = Examples(images, LABELS)
    if words is None:
        found = run_attack(defense, examples, parse_attack("clean", eps=0.1)).accuracy
        assert found == pytest.approx(np.mean(right[0].argmax(1) == LABELS))
        return
    with pytest.raises(InputError) as raised:
        run_attack(defense, examples, parse_attack("clean", eps=0.1))
    assert str(raised.value) == words


SHAPES = {
    "no channel": (BYTES[..., 0], "images must be [any, 8, 8, 1], as the network takes them (images[..., None]?)"),
    "another size": (BYTES[:, :4], "images must be [any, 8, 8, 1], as the network takes them. Received: [8, 4, 8, 1]"),
    "three channels": (np.repeat(BYTES, 3, -1), "images must be [any, 8, 8, 1], as the network takes them. Received"),
    "one image": (BYTES[0], "(dataset.batch(32), or images[None]?). Received: [8, 8, 1]"),
    "none": (BYTES[:0], "there are no images"),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_images_of_other_shapes(defense, shape):
    images, words = SHAPES[shape]
    for run in (lambda: defense.fit(images, LABELS, verbose=0), lambda: defense.predict(images, verbose=0)):
        with pytest.raises(InputError) as raised:
            run()
        assert words in str(raised.value)
    if shape == "no channel":
        assert defense.predict(images[..., None], verbose=0).shape == (COUNT, 3)
    if shape == "one image":
        with pytest.raises(InputError, match="not in batches"):
            defense.fit(tf.data.Dataset.from_tensor_slices((BYTES, LABELS)), verbose=0)


def test_the_remedies_that_messages_name_work(defense, right):
    for images in (PIXELS["float 0..255"][0] / 255, (PIXELS["float -1..1"][0] + 1) / 2, np.asarray(BYTES, "uint8")):
        np.testing.assert_allclose(defense(images), right[0], atol=1e-5)


def test_a_student_in_float32_sees_whole_pixels_under_a_policy_of_float16(defense, right):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        half = Undefended(defense.student, validation_attack_steps=0)
    finally:
        keras.config.set_dtype_policy("float32")
    np.testing.assert_allclose(half(UNIT), right[0], atol=1e-6)
