"""Adversaries as PNGs: in the ball, read back to the bit, and they fool as recorded."""

import dataclasses
import json

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from agkd_tf import InputError
from agkd_tf.attacks import (
    APGD,
    CR,
    FAB,
    MALT,
    PGD,
    AttackSequence,
    Ball,
    SquareAttack,
    TransferAttack,
    parse_attack,
    rounded,
)
from agkd_tf.attacks.rounding import towards
from agkd_tf.data import Examples
from agkd_tf.evaluation import AdversaryPNGs, Outcome, run_attack, write_pngs
from tests.matrices import crossed


@pytest.fixture(scope="module")
def colored(smooth_network):
    """(network, 12 color images of 8 bits, labelled as it sees them)."""
    network = smooth_network((8, 8, 3))
    images = np.random.default_rng(0).integers(0, 256, (12, 8, 8, 3)).astype(np.uint8)
    return network, Examples(images, network(images / np.float32(255)).numpy().argmax(1).astype(np.int32))


# Name -> (how the attack is made of eps and norm).
ATTACKS = {
    "clean": lambda eps, norm: parse_attack("clean", eps=eps, norm=norm),
    "fgsm": lambda eps, norm: parse_attack("fgsm", eps=eps, norm=norm),
    "pgd-5x2": lambda eps, norm: parse_attack("pgd-5x2", eps=eps, norm=norm),
    "malt": lambda eps, norm: AttackSequence("malt", (MALT(steps=8, targets=1),), Ball(norm, eps)),
    "cr": lambda eps, norm: AttackSequence("cr", (CR(targets=1, cycles=1, further=0),), Ball(norm, eps)),
    "apgd-ce": lambda eps, norm: AttackSequence("apgd-ce", (APGD(steps=8),), Ball(norm, eps)),
    "fab-t": lambda eps, norm: AttackSequence("fab-t", (FAB(steps=5, targets=2),), Ball(norm, eps)),
    "square": lambda eps, norm: AttackSequence("square", (SquareAttack(15),), Ball(norm, eps)),
}


BALLS = {"8/255": ("linf", 8 / 255), "0.05": ("linf", 0.05), "l2": ("l2", 0.8)}


def compiled():
    """Returns (ball, name, True) for each attack, as `parametrize` takes them."""
    balls = ("0.05", "l2")  # of two of l_inf, XLA's programs differ in a number
    return [pytest.param(balls[place % 2], name, True, marks=pytest.mark.slow) for place, name in enumerate(ATTACKS)]


@pytest.mark.parametrize(
    ("ball", "name", "jit_compile"),
    [*(pytest.param(*each.values, False, marks=each.marks) for each in crossed(BALLS, ATTACKS)), *compiled()],
)
def test_pngs_lie_in_the_ball_and_are_seen_as_recorded(ball, name, jit_compile, colored, tmp_path):
    (network, examples), (norm, eps) = colored, BALLS[ball]
    attack, outcome = rounded(ATTACKS[name](eps, norm)), Outcome.fresh(len(examples))
    adversaries = np.empty(examples.images.shape, np.float32)
    result = run_attack(network, examples, attack, adversaries=adversaries, outcome=outcome, jit_compile=jit_compile)
    write_pngs(tmp_path, adversaries, examples.labels, outcome.prediction, {})
    paths = sorted(tmp_path.glob("*.png"))
    assert len(paths) == len(examples)
    # What any other program makes of the files.
    pixels = np.stack([np.asarray(Image.open(path)) for path in paths])
    moved = (pixels.astype(np.float64) - examples.images).reshape(len(pixels), -1) / 255
    length = np.abs(moved).max(1) if norm == "linf" else np.linalg.norm(moved, axis=1)
    assert length.max() <= eps * (1 + 1e-6)
    seen = network.predict(pixels / np.float32(255), verbose=0).argmax(1)
    assert result.accuracy == np.mean(seen == examples.labels)
    for place, path in enumerate(paths):
        assert path.name == f"{place:05d}_label{examples.labels[place]}_seen{seen[place]}.png"
    if name == "clean":
        np.testing.assert_array_equal(pixels, examples.images)
    elif name != "fab-t":
        assert result.accuracy < 1
        assert length.max() > 0.5 * eps
        assert norm == "l2" or length.max() == pytest.approx(np.floor(eps * 255 + 1e-4) / 255)


def test_rounding_is_towards_the_clean_image():
    clean = np.array([100, 100, 100, 100, 0, 255, 100, 100], np.float32) / np.float32(255)
    points = clean + np.array([8, 7.9, -7.9, -8, 0.99, -0.99, 0, 0.5], np.float32) / np.float32(255)
    found = towards(*(tf.reshape(tf.constant(each, tf.float32), [1, 2, 2, 2]) for each in (points, clean)))
    expected = np.array([108, 107, 93, 92, 0, 255, 100, 100], np.float32) / np.float32(255)
    np.testing.assert_array_equal(np.ravel(found), expected)


def test_whole_steps_are_kept_at_every_brightness():
    """In float32, k / 255 + 8 / 255 is not (k + 8) / 255."""
    clean = np.arange(8, 248, dtype=np.uint8) / np.float32(255)
    for steps in (1, 3, 8):
        for sign in (-1, 1):
            points = clean + np.float32(sign * steps / 255)
            found = towards(*(tf.constant(each.reshape(1, 16, 15, 1)) for each in (points, clean)))
            np.testing.assert_array_equal(np.rint(np.ravel(found) * 255), np.arange(8, 248) + sign * steps)


def test_an_attack_that_knows_of_the_rounding_breaks_more_than_one_that_is_rounded_after(colored):
    network, examples = colored
    attack = AttackSequence("apgd-ce", (APGD(steps=20),), Ball("linf", 3 / 255))
    adversaries = np.empty(examples.images.shape, np.float32)
    run_attack(network, examples, attack, adversaries=adversaries)
    after = towards(tf.constant(adversaries), tf.constant(examples.images / np.float32(255)))
    left = np.mean(network(after).numpy().argmax(1) == examples.labels)
    assert run_attack(network, examples, rounded(attack)).accuracy <= left


# Name -> (attack, the line).
REFUSED = {
    "less than a step": (
        lambda network: parse_attack("pgd-2", eps=0.9 / 255),
        r"steps of 1/255, and pgd-2 cannot take one",
    ),
    "less than a step, of another network": (
        lambda network: AttackSequence("t", (TransferAttack(network, PGD(2)),), Ball("linf", 0.5 / 255)),
        r"steps of 1/255, and t cannot take one",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_rounding_would_leave_nothing_of_is_refused(name, colored):
    make, line = REFUSED[name]
    with pytest.raises(InputError, match=line):
        rounded(make(colored[0]))


def test_images_that_are_not_of_8_bits_are_refused(colored, tmp_path):
    network, examples = colored
    attack = rounded(parse_attack("fgsm", eps=8 / 255))
    floats = dataclasses.replace(examples, images=examples.images / np.float32(255))
    assert run_attack(network, floats, attack).accuracy == run_attack(network, examples, attack).accuracy
    with pytest.raises(InputError, match=r"images must be uint8, or k / 255"):
        run_attack(network, dataclasses.replace(floats, images=floats.images * np.float32(0.99)), attack)
    with pytest.raises(
        InputError, match=r"adversary 0 is not rounded to 8 bits: evaluate agkd_tf.attacks.rounded\(attack\)"
    ):
        write_pngs(tmp_path, np.full((1, 2, 2, 1), 0.5, np.float32), [0], [0], {})


@pytest.mark.parametrize("channels", [2, 4])
def test_other_channels_are_refused(channels, tmp_path):
    with pytest.raises(InputError, match=rf"PNGs need images with 1 or 3 channels. Received: {channels}"):
        write_pngs(tmp_path / "f", np.zeros((1, 2, 2, channels), np.float32), [0], [0], {})
    assert not (tmp_path / "f").exists()


SHAPE, OF = (2, 2, 1), {"attack": "a"}


@pytest.fixture
def folder(tmp_path):
    """Three grey images, with what a process that was killed left."""
    path = tmp_path / "pgd-2 [linf 0.1, 8 bits]"
    path.mkdir()
    (path / "adversaries.json").write_text(json.dumps(OF))
    (path / ".4711.00001_label1_seen2.png").write_bytes(b"half")
    (path / "00001_label1_seen7.png").write_bytes(b"of an earlier stage")
    write_pngs(path, np.arange(12, dtype=np.float32).reshape(3, *SHAPE) / 255, [0, 1, 2], [0, 2, 2], OF)
    return path


def opened(folder, described=OF, labels=(0, 1, 2), predictions=(0, 2, 2)):
    return AdversaryPNGs(folder, described, np.array(labels), SHAPE, predictions=np.array(predictions))


def test_no_half_png_is_left_and_all_are_read_back(folder):
    names = ["00000_label0_seen0.png", "00001_label1_seen2.png", "00002_label2_seen2.png", "adversaries.json"]
    assert sorted(path.name for path in folder.iterdir()) == names
    np.testing.assert_array_equal(opened(folder)[0:3], np.arange(12).reshape(3, *SHAPE))
    np.testing.assert_array_equal(opened(folder).seen, [0, 2, 2])


def test_only_missing_files_are_written_again(folder):
    names = sorted(folder.glob("*.png"))
    times = [path.stat().st_mtime_ns for path in names]
    content = names[1].read_bytes()
    names[1].unlink()
    images = np.arange(12, dtype=np.float32).reshape(3, *SHAPE) / 255
    write_pngs(folder, images, [0, 1, 2], [0, 2, 2], OF, missing_only=True)
    assert names[1].read_bytes() == content
    assert [names[place].stat().st_mtime_ns for place in (0, 2)] == [times[0], times[2]]


def test_a_folder_of_something_else_is_kept_aside(folder):
    write_pngs(folder, np.zeros((1, *SHAPE), np.float32), [0], [0], {"attack": "b"})
    assert len(list(folder.glob("*.png"))) == 1
    assert len(list(folder.with_name(f"{folder.name}.previous-1").glob("*.png"))) == 3


# Name -> (what is done to the folder, arguments of `opened`, the line).
SPOILED = {
    "missing": (lambda folder: (folder / "00001_label1_seen2.png").unlink(), {}, "Received: 0 for image 1$"),
    "twice": (
        lambda folder: (folder / "00001_label1_seen3.png").write_bytes(b""),
        {},
        "one PNG for each of 3 images is needed. Received: 2 for image 1$",
    ),
    "one too many": (
        lambda folder: (folder / "00003_label1_seen3.png").write_bytes(b""),
        {},
        "one PNG for each of 3 images is needed. Received: 1 for image 3$",
    ),
    "another label": (
        lambda folder: None,
        {"labels": (0, 3, 2)},
        r"label1_seen2.png is labelled 3 in the record, not as its name says$",
    ),
    "another class seen": (
        lambda folder: None,
        {"predictions": (0, 2, 1)},
        r"seen2.png is seen as 1 in the record, not as its name says$",
    ),
    "of another attack": (lambda folder: None, {"described": {}}, "belong to another model, data set or attack"),
    "damaged": (
        lambda folder: (folder / "00001_label1_seen2.png").write_bytes(b"\x89PNG\r\n"),
        {},
        "seen2.png cannot be read: ",
    ),
    "of another size": (
        lambda folder: Image.new("L", (3, 2)).save(folder / "00001_label1_seen2.png"),
        {},
        r"seen2.png must have shape \(2, 2, 1\) and 8 bits. Received: \(2, 3\), uint8$",
    ),
    "of colors": (
        lambda folder: Image.new("RGB", (2, 2)).save(folder / "00001_label1_seen2.png"),
        {},
        r"must have shape \(2, 2, 1\) and 8 bits. Received: \(2, 2, 3\), uint8$",
    ),
}


@pytest.mark.parametrize("name", SPOILED)
def test_files_that_were_touched_are_refused_in_one_line(name, folder):
    spoil, arguments, line = SPOILED[name]
    spoil(folder)
    with pytest.raises(InputError, match=line) as error:
        opened(folder, **arguments)[0:3]
    assert "\n" not in str(error.value)


@pytest.fixture
def command(tool, fragile, tmp_path):
    """Returns command(*flags): an evaluation of 18 digits."""
    fragile[0].save(tmp_path / "n.keras")

    def call(*flags):
        common = (f"--model_file={tmp_path}/n.keras", "--dataset=digits", f"--record={tmp_path}/r.json", "--eps=8/255")
        return tool("evaluate", *common, "--num_examples=18", *flags)

    return call


def test_the_command_line_records_the_accuracy_of_the_pngs_and_verifies_it_by_them_alone(command, tmp_path):
    flags = ("--attacks=clean,pgd-3", "--png", f"--adversaries={tmp_path}/adv")
    plain = command("--attacks=clean,pgd-3")
    found = command(*flags)
    assert (plain.returncode, found.returncode, found.stderr) == (0, 0, "")
    record = json.loads((tmp_path / "r.json").read_text())
    key = "pgd-3 [linf 8/255, 8 bits, first 18]"
    assert set(record["attacks"]) >= {key, "pgd-3 [linf 8/255, first 18]"}
    assert record["attacks"][key]["attack"][0]["rounded_to_bits"] == 8
    assert record["worst_case [linf 8/255, 8 bits, first 18]"]["over"] == sorted(
        name for name in record["attacks"] if "8 bits" in name
    )
    folder = tmp_path / "adv" / key.replace("/", "_")
    written = {path.name: path.read_bytes() for path in folder.glob("*.png")}
    assert len(written) == 18
    # What is lost is written again, without another attack.
    lost = folder / sorted(written)[5]
    lost.unlink()
    assert command(*flags).returncode == 0
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == written
    for path in (tmp_path / "adv").glob("*.npy"):
        path.unlink()
    verified = command(*flags, "--verify")
    assert verified.returncode == 0, verified.stderr
    assert f"{key}: {record['attacks'][key]['accuracy']:.2%}, as recorded" in verified.stdout
    pixels = np.array(Image.open(lost))
    Image.fromarray(np.clip(pixels.astype(int) + 20, 0, 255).astype(np.uint8)).save(lost)
    verified = command(*flags, "--verify")
    assert verified.returncode == 1
    assert "adversary 5 is not within linf" in verified.stderr


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--png"], "error: `png` needs --adversaries=FOLDER, the folder to save the images in"),
        (
            ["--png", "--adversaries=PATH", "--eps=0.003"],
            "error: images of 8 bits change in steps of 1/255, and pgd-20 ",
        ),
        (["--png", "--adversaries=PATH", "--verify"], "error: `verify`: "),
    ],
)
def test_other_command_lines_end_in_one_line(flags, line, command, tmp_path):
    found = command("--attacks=pgd-20", *(flag.replace("PATH", str(tmp_path / "adv")) for flag in flags))
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith(line)
