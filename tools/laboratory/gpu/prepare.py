"""Prepares what `measure.py` runs on a machine with a GPU and without TensorFlow.

  python -m tools.laboratory.gpu.prepare --output=gpu --data_dir=DIR

See `tools/laboratory/gpu/__init__.py`. The wheel of simplejpeg is downloaded from the package index.
"""

import gzip
import hashlib
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow_datasets as tfds
from absl import flags

from agkd_tf.data import ImageDataset
from agkd_tf.errors import InputError
from agkd_tf.files import new_folder, write_text
from agkd_tf.optimization import OneCycle
from agkd_tf.training import Recipe, read_recipe
from tools import _app, _flags
from tools.laboratory.portable import run
from tools.laboratory.portable.export import export_portable, learning_rates
from tools.laboratory.stablehlo import Platform
from tools.laboratory.step_program import StepProgram

FLAGS = flags.FLAGS
ROOT = pathlib.Path(__file__).parents[3]
LIMIT = 60 * 2**20  # bytes that can travel in one piece
SPLITS = ("train", "validation", "test")
PYTHON = "3.12"

flags.DEFINE_string("output", None, "The folder to write.")
flags.DEFINE_bool("tiny", False, "Use small networks, few images and short trainings, for a rehearsal on a CPU.")
flags.DEFINE_string(
    "python", PYTHON, "Python version of the machine with the GPU; the decoder's wheel is downloaded for it."
)
_flags.define_data_place()


class Contents(NamedTuple):
    """What goes into a folder.

    Attributes:
        platform: kind of device that the programs are for.
        peer: flags with which `training_step.py` times the same step as the recipes in `timing`.
        timing: name -> flags of a recipe to time; those in which it differs from the published AGKD-BML on CIFAR-10.
        students: name -> such flags of a recipe; these are trained for equal time.
        last: name and such flags of the recipe that is trained in the time that is left.
        teacher_epochs, epochs: possible lengths of the trainings, increasing.
        evaluations: (attack, number of test images), in the order in which they are run.
        batch_size: test images per batch of an evaluation.
        matrix: number of rows of the matrices whose product is timed.
        rounds, repeat: turns that each timed program takes, and steps per turn.
    """

    platform: Platform
    peer: Sequence[str]
    timing: dict[str, Sequence[str]]
    students: dict[str, Sequence[str]]
    last: tuple[str, Sequence[str]]
    teacher_epochs: Sequence[int]
    epochs: Sequence[int]
    evaluations: Sequence[tuple[str, int]]
    batch_size: int
    matrix: int
    rounds: int
    repeat: int


AT = (f"--flagfile={ROOT / 'flags/cifar10/at.flags'}", "--init_from_teacher", "--attack_steps=10")
AGKD_BML_10 = ("--attack_steps=10", "--attack_step_size=2/255", "--mart", "--mart_beta=6")
BFLOAT16 = "--mixed_precision=bfloat16"


def full() -> Contents:
    """Returns the contents for the real measurements."""
    small = ("--model=preact-resnet-18", "--schedule=one_cycle", BFLOAT16)
    return Contents(
        platform="GPU",
        peer=("--depth=28", "--width=10", "--batch_size=128", "--attack_steps=2"),
        timing={
            precision: ("--train_examples=1280", f"--mixed_precision={precision}")
            for precision in ("float32", "bfloat16")
        },
        students={
            "preact-resnet-18, at, 10 steps": (*AT, *small),
            "preact-resnet-18, agkd_bml, 2 steps": small,
            "preact-resnet-18, agkd_bml, 10 steps, MART": (*small, *AGKD_BML_10),
        },
        last=("wrn-28-10, agkd_bml, 2 steps", ("--schedule=one_cycle", BFLOAT16)),
        teacher_epochs=(1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30),
        epochs=(*range(1, 21), *range(22, 41, 2), 45, 50, 55, 60),
        evaluations=(("clean", 10000), ("pgd-20", 10000), ("autoattack", 1000)),
        batch_size=250,
        matrix=8192,
        rounds=5,
        repeat=8,
    )


def tiny() -> Contents:
    """Returns the contents for the rehearsal."""
    # On a CPU, JAX 0.11 computes NaN for networks in bfloat16, so the rehearsal only times bfloat16.
    step = ("--model=wrn-10-1", "--train_examples=64", "--validation_examples=32", "--batch_size=16")
    small = (*step, "--schedule=one_cycle")
    return Contents(
        platform="CPU",
        peer=("--depth=10", "--width=1", "--batch_size=16", "--attack_steps=2", "--repeat=2"),
        timing={precision: (*step, f"--mixed_precision={precision}") for precision in ("float32", "bfloat16")},
        students={
            "wrn-10-1, at": (*AT, *small, "--attack_steps=2"),
            "wrn-10-1, agkd_bml": small,
            "wrn-10-1, agkd_bml, MART": (*small, *AGKD_BML_10, "--attack_steps=2"),
        },
        last=("the last, agkd_bml", small),
        teacher_epochs=(1, 2),
        epochs=(1, 2),
        evaluations=(("clean", 100), ("pgd-3", 100), ("cw-3", 40)),
        batch_size=20,
        matrix=512,
        rounds=3,
        repeat=2,
    )


def main(argv: list[str]) -> None:
    """Writes the folder and prints its size."""
    del argv
    if not FLAGS.output:
        raise InputError("`output`, the folder to write, is needed: --output=gpu")
    output = pathlib.Path(FLAGS.output)
    begun = time.monotonic()
    with new_folder("output", output) as folder:
        size = prepare(folder, tiny() if FLAGS.tiny else full(), python=FLAGS.python, **_flags.data_place())
    print(f"\n{output}: {size / 2**20:.1f} MiB of at most {LIMIT / 2**20:.0f}, in {time.monotonic() - begun:.0f} s")
    print(f"On the machine with the GPU: python -m tools.laboratory.gpu.measure {output} --output=found")


def prepare(output: pathlib.Path, contents: Contents, *, python: str = PYTHON, **place: Any) -> int:
    """Writes a folder for `measure.py`; returns its bytes.

    Args:
        output: the folder, which must be empty.
        contents: what goes into it.
        python: Python version of the machine with the GPU.
        **place: where CIFAR-10 is, as arguments of `load_dataset`.

    Raises:
        InputError: if the data or the wheel is not available, or the folder is too large to travel.
    """
    for name in ("programs", "arrays", "folders", "records", "decoder"):
        (output / name).mkdir(parents=True)
    shutil.copy(run.__file__, output / "run.py")
    preparation = _Preparation(output, contents, place)
    timing = [preparation.timing(name, more) for name, more in contents.timing.items()]
    students = [preparation.training(name, more) for name, more in contents.students.items()]
    last = preparation.training(*contents.last)
    _check_teachers(output, students)
    _fetch_decoder(output / "decoder", python)
    plan = {
        "platform": contents.platform,
        "python": python,
        "timing": timing,
        "peer": contents.peer,
        "matrix": contents.matrix,
        "rounds": contents.rounds,
        "repeat": contents.repeat,
        "students": students,
        "last": last,
        "evaluations": contents.evaluations,
        "records": preparation.records(),
        "images": preparation.images,
    }
    write_text(output / "plan.json", json.dumps(plan, indent=1) + "\n")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > LIMIT:
        raise InputError(
            f"`output` has {size / 2**20:.1f} MiB, at most {LIMIT / 2**20:.0f} are allowed: prepare fewer lengths"
        )
    return size


class _Preparation:
    """Exports recipes, and stores only once what several of them share."""

    def __init__(self, output: pathlib.Path, contents: Contents, place: dict[str, Any]) -> None:
        self._output, self._contents, self._place = output, contents, place
        self.images: dict[str, dict[str, Any]] = {}
        # Downloads the data if that is asked for.
        dataset = self._recipe(contents.timing["float32"]).load_dataset(**place)
        self._builder = tfds.builder("cifar10", data_dir=place["data_dir"])
        self._rows: dict[str, dict[bytes, int]] = {"train": {}, "test": _rows_of(np.asarray(dataset.test.images))}

    def timing(self, name: str, more: Sequence[str]) -> dict[str, Any]:
        """Exports a recipe whose step is timed; returns its entry in the plan."""
        recipe = self._recipe(more)
        dataset = recipe.load_dataset(**self._place)
        keras.utils.clear_session()
        counted = StepProgram(recipe, dataset)
        flops = counted.flops()
        entry = {
            "name": name,
            "folder": self._export(recipe, dataset, f"timing_{name}", attacks=()),
            "batch_size": recipe.batch_size,
            "model": recipe.model,
            "flops": flops,
            "minimum_flops": counted.minimum_flops(),
        }
        print(f"{name}: {flops / 1e9:,.1f} GFLOP per step, exported", flush=True)
        return entry

    def training(self, name: str, more: Sequence[str]) -> dict[str, Any]:
        """Exports a recipe that is trained, at its longest; returns its entry in the plan."""
        contents = self._contents
        longest = [f"--epochs={contents.epochs[-1]}", f"--teacher_epochs={contents.teacher_epochs[-1]}"]
        recipe = self._recipe((*more, *longest))
        dataset = recipe.load_dataset(**self._place)
        attacks = [attack for attack, _ in contents.evaluations]
        folder = self._export(recipe, dataset, name.replace(", ", "_").replace(" ", "_"), attacks=attacks)
        steps = recipe.steps_per_epoch(dataset)
        lengths = {"teacher": contents.teacher_epochs, "student": contents.epochs}
        print(f"{name}: exported", flush=True)
        return {
            "name": name,
            "folder": folder,
            "model": recipe.model,
            "precision": recipe.mixed_precision,
            "seed": recipe.seed,
            "rates": {stage: self._rates(recipe, steps, epochs) for stage, epochs in lengths.items()},
        }

    def records(self) -> dict[str, list[str]]:
        """Writes the data set's records, compressed; returns a dict of split -> file names, in order."""
        found: dict[str, list[str]] = {}
        for split in ("train", "test"):
            for path in map(pathlib.Path, self._builder.info.splits[split].filepaths):
                name = f"{path.name}.gz"
                (self._output / "records" / name).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
                found.setdefault(split, []).append(name)
        return found

    def _recipe(self, more: Sequence[str]) -> Recipe:
        first, *rest = more
        if first.startswith("--flagfile="):
            return read_recipe(first.partition("=")[2], rest)
        return read_recipe(ROOT / "flags/cifar10/agkd_bml.flags", more)

    def _export(self, recipe: Recipe, dataset: ImageDataset, name: str, *, attacks: Sequence[str]) -> str:
        """Exports a recipe, and moves what it may share with others; returns the folder's name."""
        keras.utils.clear_session()  # so that the same network's variables get the same names
        folder = self._output / "folders" / name
        export_portable(
            recipe,
            dataset,
            folder,
            attacks=attacks,
            batch_size=self._contents.batch_size,
            draw_weights=True,
            platform=self._contents.platform,
        )
        description = json.loads((folder / "portable.json").read_text())
        for split in SPLITS:
            self._take_images(folder, description["splits"][split]["images"]["sha256"], dataset, split)
        for path in (folder / "arrays").iterdir():
            path.replace(self._output / "arrays" / path.name)
        for program, digest in description["programs"].items():
            (folder / "programs" / f"{program}.mlir.gz").replace(self._output / "programs" / f"{digest}.mlir.gz")
        for part in ("arrays", "programs"):
            (folder / part).rmdir()
        (folder / "run.py").unlink()
        return name

    def _take_images(self, folder: pathlib.Path, digest: str, dataset: ImageDataset, split: str) -> None:
        """Removes an array of images, and notes the records from which it is made again."""
        (folder / "arrays" / digest).unlink(missing_ok=True)
        if digest in self.images:
            return
        source = "test" if split == "test" else "train"
        if not self._rows[source]:
            official = self._builder.as_dataset(
                split="train", shuffle_files=False, read_config=tfds.ReadConfig(interleave_cycle_length=1)
            )
            self._rows[source] = _rows_of(np.stack([each["image"] for each in tfds.as_numpy(official)]))
        images = np.asarray(dataset.split(split).images)
        rows = np.array([self._rows[source][image.tobytes()] for image in images], np.int32)
        self.images[digest] = {"split": source, "rows": _write_array(self._output, rows), "count": len(rows)}

    def _rates(self, recipe: Recipe, steps: int, lengths: Sequence[int]) -> dict[str, dict[str, Any]]:
        """Returns a dict of epochs -> entry of the learning rates of a training of that length.

        All have the shape of the longest training's rates, since the program takes that shape. The surplus repeats the
        last rate; no step reads it.
        """
        found = {}
        for epochs in lengths:
            schedule = OneCycle(recipe.learning_rate, steps * epochs)
            rates = learning_rates(keras.optimizers.SGD(schedule), steps * epochs)
            rates = np.pad(rates, (0, steps * (lengths[-1] - epochs)), mode="edge")
            digest = _write_array(self._output, rates)
            found[str(epochs)] = {"shape": list(rates.shape), "dtype": rates.dtype.name, "sha256": digest}
        return found


def _rows_of(images: np.ndarray) -> dict[bytes, int]:
    """Returns a dict of the bytes of each image -> its index; of identical images, the last index."""
    return {image.tobytes(): place for place, image in enumerate(images)}


def _write_array(output: pathlib.Path, array: np.ndarray) -> str:
    """Writes the bytes of an array to a file named by their digest; returns the digest."""
    content = np.ascontiguousarray(array).tobytes()
    digest = hashlib.sha256(content).hexdigest()
    (output / "arrays" / digest).write_bytes(content)
    return digest


def _check_teachers(output: pathlib.Path, students: Sequence[dict[str, Any]]) -> None:
    """Checks that the students have the same teacher, which is trained only once."""
    paths = [output / "folders" / student["folder"] for student in students]
    if len({run.Folder(path).digest_of("teacher") for path in paths}) > 1:
        raise InputError("the students' recipes train different teachers: make their teachers' settings the same")


def _fetch_decoder(output: pathlib.Path, python: str) -> None:
    """Downloads simplejpeg's wheel for the machine with the GPU, and unpacks it.

    simplejpeg can decode as TensorFlow does: with libjpeg-turbo and its fast integer transform.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
        command += [f"--python-version={python}", "--platform=manylinux_2_28_x86_64", "--dest", folder, "simplejpeg"]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(pathlib.Path(folder).glob("*.whl"))
        if done.returncode or not wheels:
            reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
            raise InputError(f"simplejpeg for Python {python} cannot be downloaded: {reason}")
        with zipfile.ZipFile(wheels[0]) as wheel:
            wheel.extractall(output)


if __name__ == "__main__":
    _app.run(main)
