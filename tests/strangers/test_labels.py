"""Labels of every kind, by every way into a defense, and pools and teachers of another size: understood or refused."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from agkd_tf import AGKDBML, ClassPool, InputError, Undefended
from agkd_tf.attacks import parse_attack
from agkd_tf.data import Examples
from agkd_tf.defenses import DEFENSES
from agkd_tf.evaluation import run_attack
from tests.matrices import crossed

COUNT, BATCH, CLASSES = 8, 4, 3
LABELS = np.arange(COUNT) % CLASSES
IMAGES = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 1)).astype(np.uint8)
KINDS = "labels must be integers [N], whole floats, or one-hot rows [N, 3]. Received: "

# name -> (labels, None where they are understood, else the words)
CASES = {
    "int64": (LABELS.astype(np.int64), None),
    "uint8": (LABELS.astype(np.uint8), None),
    "column": (LABELS[:, None].astype(np.int16), None),
    "whole floats": (LABELS.astype(np.float32), None),
    "whole floats, column": (LABELS[:, None].astype(np.float64), None),
    "half floats": (LABELS.astype(np.float16), None),
    "one-hot": (np.eye(CLASSES, dtype=np.float32)[LABELS], None),
    "one-hot, integers": (np.eye(CLASSES, dtype=np.int64)[LABELS], None),
    "one-hot, bool": (np.eye(CLASSES, dtype=bool)[LABELS], None),
    "1..3": (LABELS + 1, "labels must be in [0, 2]. Received: 1 to 3 (labels - 1?)"),
    "negative": (LABELS - 1, "labels must be in [0, 2]. Received: -1 to 1"),
    "large": (LABELS.astype(np.uint64) + 2**63, "labels must be in [0, 2]. Received: 9223372036854775808 to"),
    "text": (
        np.array(["cat", "dog", "fox"])[LABELS],
        f"{KINDS}text, such as 'cat' (np.unique(labels, return_inverse=True)[1] numbers them)",
    ),
    "soft": (np.full((COUNT, CLASSES), 1 / 3), f"{KINDS}float64 [8, 3], rows that are not one-hot (soft labels?)"),
    "two of three": (1 - np.eye(CLASSES, dtype=int)[LABELS], f"{KINDS}int64 [8, 3], rows that are not one-hot"),
    "one-hot of four": (np.eye(4)[LABELS], f"{KINDS}float64 [8, 4]"),
    "bool": (LABELS > 0, f"{KINDS}bool [8], for 3 classes"),
    "fractions": (LABELS + 0.5, f"{KINDS}a label of 0.5"),
    "NaN": (np.where(LABELS, LABELS, np.nan), f"{KINDS}a label of nan"),
}


class Batches(keras.utils.PyDataset):
    """A user's own."""

    def __init__(self, labels):
        super().__init__()
        self._labels = labels

    def __len__(self):
        return COUNT // BATCH

    def __getitem__(self, number):
        rows = slice(BATCH * number, BATCH * (number + 1))
        return IMAGES[rows], self._labels[rows]


def dataset(labels):
    return tf.data.Dataset.from_tensor_slices((IMAGES, labels)).batch(BATCH)


def generator(labels):
    yield from (Batches(labels)[number] for number in range(COUNT // BATCH))


@pytest.fixture(scope="module")
def network():
    """Returns network(classes, shape): a fresh one with the same weights each time."""

    def build(classes=CLASSES, shape=(8, 8, 1)):
        keras.utils.set_random_seed(1)
        head = [layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(classes)]
        images = x = keras.Input(shape)
        for layer in [layers.Conv2D(4, 3), *head]:
            x = layer(x)
        return keras.Model(images, x)

    return build


@pytest.fixture(scope="module")
def defense(network):
    defense = Undefended(network(), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    return defense


@pytest.fixture(scope="module")
def right(defense):
    """What Keras itself gives: (mean cross-entropy, accuracy)."""
    logits = defense.student.predict(IMAGES / np.float32(255), verbose=0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return float(loss(LABELS, logits)), float(np.mean(logits.argmax(1) == LABELS))


def clean(defense, labels):
    return run_attack(defense, Examples(IMAGES, labels), parse_attack("clean", eps=0.1)).accuracy


# name -> (a call, which of the right values it gives)
WAYS = {
    "fit": (lambda d, y: d.fit(IMAGES, y, batch_size=BATCH, verbose=0).history["loss"][0], 0),
    "fit, list": (lambda d, y: d.fit(list(IMAGES), y.tolist(), batch_size=BATCH, verbose=0).history["loss"][0], 0),
    "fit, tensor": (lambda d, y: d.fit(tf.constant(IMAGES), tf.constant(y), verbose=0).history["loss"][0], 0),
    "fit, dict": (lambda d, y: d.fit({"image": IMAGES, "label": y}, batch_size=4, verbose=0).history["loss"][0], 0),
    "fit, tf.data": (lambda d, y: d.fit(dataset(y), verbose=0).history["loss"][0], 0),
    "fit, PyDataset": (lambda d, y: d.fit(Batches(y), verbose=0).history["loss"][0], 0),
    "fit, generator": (lambda d, y: d.fit(generator(y), verbose=0, steps_per_epoch=2).history["loss"][0], 0),
    "validation_data": (
        lambda d, y: d.fit(IMAGES, LABELS, verbose=0, validation_data=(IMAGES, y)).history["val_loss"][0],
        0,
    ),
    "evaluate": (lambda d, y: d.evaluate(IMAGES, y, verbose=0, return_dict=True)["loss"], 0),
    "evaluate, tf.data": (lambda d, y: d.evaluate(dataset(y), verbose=0, return_dict=True)["accuracy"], 1),
    "train_on_batch": (lambda d, y: d.train_on_batch(IMAGES, y, return_dict=True)["loss"], 0),
    "test_on_batch": (lambda d, y: d.test_on_batch(IMAGES, y, return_dict=True)["loss"], 0),
    "evaluation.evaluate": (clean, 1),
    "ClassPool": (lambda d, y: len(ClassPool(IMAGES, y, num_classes=CLASSES)._members[2]) / COUNT, None),
}


@pytest.mark.parametrize(("way", "case"), crossed(WAYS, CASES))
def test_labels_by_every_way(defense, right, case, way):
    labels, words = CASES[case]
    if way == "evaluation.evaluate" and words and "[N, 3]" in words:
        # How many classes there are is not known yet when the examples are made.
        words = words.partition("[N, 3]")[0] if case not in ("one-hot of four", "bool") else None
        if words is None:
            return
    run, which = WAYS[way]
    if words is None:
        expected = np.mean(LABELS == 2) if which is None else right[which]
        assert run(defense, labels) == pytest.approx(expected, rel=1e-4)
        return
    if case == "large" and way == "evaluation.evaluate":
        words = "labels must fit into 32 bits. Received: 9223372036854775808 to"
    if way == "fit, list" and case in ("text", "large"):
        words = words.partition("such as")[0] if case == "text" else "labels must be in"
    with pytest.raises(InputError) as raised:
        run(defense, labels)
    assert "\n" not in str(raised.value)
    if "tf.data" in way or "Py" in way or "gen" in way:  # of a batch
        words = words.partition("Received")[0]
    assert words.removesuffix(" (labels - 1?)") in str(raised.value)


def test_the_remedy_for_text_works(defense, right):
    text = CASES["text"][0]
    numbered = np.unique(text, return_inverse=True)[1]
    assert WAYS["fit"][0](defense, numbered) == pytest.approx(right[0], rel=1e-4)


def test_bool_is_a_label_of_two_classes(network):
    defense = Undefended(network(2), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    found = [defense.evaluate(IMAGES, y, verbose=0)[0] for y in (LABELS > 0, (LABELS > 0).astype(int))]
    assert found[0] == found[1]


@pytest.mark.parametrize("name", DEFENSES)
@pytest.mark.parametrize("call", ["fit", "train_on_batch"])
def test_labels_out_of_range_never_reach_a_step(network, name, call):
    given, needs = {"validation_attack_steps": 0}, DEFENSES[name].needs
    if "pool" in needs:
        given["pool"] = ClassPool(IMAGES, LABELS, num_classes=CLASSES)
    if "num_examples" in needs:
        given["num_examples"] = COUNT
    if name.startswith("cat"):
        given["smoothing_scale"] = 1.0
    if "num_steps" in needs:
        given["num_steps"] = 10
    if DEFENSES[name].teacher_is_robust:
        given["teacher"] = network()
    defense = DEFENSES[name](network(), **given)
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    with pytest.raises(InputError, match=r"labels must be in \[0, 2\]. Received: 1 to 3 \(labels - 1\?\)"):
        getattr(defense, call)(IMAGES, LABELS + 1)
    if "num_examples" in needs:
        batch = {"image": IMAGES, "label": LABELS, "index": np.arange(COUNT) + 1}
        with pytest.raises(InputError, match=r"`index` must be in \[0, 7\], for 8 training images. Received: 1 to 8"):
            getattr(defense, call)(batch)
    if "pool" in needs:
        defense.pool = None
        with pytest.raises(
            InputError, match=r"needs `pool`.*defense.pool = ClassPool\(images, labels, num_classes=3\)"
        ):
            getattr(defense, call)(IMAGES, LABELS)


def pool(images=IMAGES, labels=LABELS, classes=CLASSES):
    return ClassPool(images, labels, num_classes=classes)


# name -> (what is done with `network`, the words)
UNFIT = {
    "a pool of fewer classes": (
        lambda network: AGKDBML(network(4), pool=pool()),
        "`pool` has 3 classes, the student 4",
    ),
    "a pool of another size": (
        lambda network: AGKDBML(network(), pool=pool(IMAGES[:, :6])),
        "`pool` has images (6, 8, 1), the student takes (8, 8, 1)",
    ),
    "a pool of three channels": (
        lambda network: AGKDBML(network(), pool=pool(np.repeat(IMAGES, 3, -1))),
        "`pool` has images (8, 8, 3), the student takes (8, 8, 1)",
    ),
    "arrays for a pool": (
        lambda network: AGKDBML(network(), pool=(IMAGES, LABELS)),
        "`pool` must be a ClassPool of the training images. Received: tuple",
    ),
    "a pool without a class": (lambda network: pool(labels=LABELS % 2), "no training image of class 2"),
    "a pool of images without channels": (
        lambda network: pool(IMAGES[..., 0]),
        "ClassPool: images must be [N, H, W, C]. Received: [8, 8, 8]",
    ),
    "a pool of fewer labels": (lambda network: pool(labels=LABELS[:5]), "ClassPool: 8 images but 5 labels"),
    "fewer labels": (
        lambda network: compiled(network).fit(IMAGES, LABELS[:5]),
        "8 images but 5 labels",
    ),
    "fewer labels, evaluated": (
        lambda network: clean(compiled(network), LABELS[:5]),
        "8 images but 5 labels",
    ),
    "no labels": (lambda network: compiled(network).fit(IMAGES), "(images, labels). Received: images alone"),
    "no labels in a dict": (
        lambda network: compiled(network).fit({"image": IMAGES, "labels": LABELS}),
        "a batch that is a dict must have the keys image, label, and may have index, valid. Received: image, labels",
    ),
    "labels beside a dataset": (
        lambda network: compiled(network).fit(dataset(LABELS), LABELS),
        "leave `y` out",
    ),
    "an iterator": (
        lambda network: compiled(network).fit(iter([(IMAGES, LABELS)])),
        "(batch for batch in x) makes a generator. Received: list_iterator",
    ),
    "a teacher of more classes": (
        lambda network: AGKDBML(network(), network(4)),
        "`teacher` has 4 classes, the student 3",
    ),
    "a teacher of another size": (
        lambda network: AGKDBML(network(), network(3, (10, 10, 1))),
        "`teacher` takes images (10, 10, 1), the student (8, 8, 1)",
    ),
    "a teacher of three channels": (
        lambda network: AGKDBML(network(), network(3, (8, 8, 3))),
        "`teacher` takes images (8, 8, 3), the student (8, 8, 1)",
    ),
}


def compiled(network):
    defense = Undefended(network(), validation_attack_steps=0)
    defense.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    return defense


@pytest.mark.parametrize("case", UNFIT)
def test_what_does_not_fit_is_refused_by_name(network, case):
    run, words = UNFIT[case]
    with pytest.raises(InputError) as raised:
        run(network)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_teacher_of_more_classes_is_one_line_on_the_command_line(network, small, tool, tmp_path):
    network(11, (16, 16, 1)).save(tmp_path / "teacher.keras")
    teacher = ("--defense=agkd", f"--teacher={tmp_path / 'teacher.keras'}", "--noinit_from_teacher")
    process = tool("train", *small, *teacher, f"--workdir={tmp_path / 'run'}")
    assert process.returncode == 2
    assert process.stderr.strip() == "error: `teacher` has 11 classes, the student 10"
