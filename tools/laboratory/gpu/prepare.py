"""Prepares what `measure.py` runs on a machine with a GPU and without TensorFlow.

  python -m tools.laboratory.gpu.prepare --output=gpu --data_dir=DIR

See `tools/laboratory/gpu/__init__.py`. The wheel of simplejpeg is downloaded from the package index.
"""

import dataclasses
import gzip
import hashlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Sequence
from typing import Any

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
from tools.laboratory.gpu.contents import ROOT, STUDY, Contents, Student, full, tiny
from tools.laboratory.portable import run
from tools.laboratory.portable.export import export_portable, learning_rates
from tools.laboratory.step_program import StepProgram

FLAGS = flags.FLAGS
LIMIT = 60 * 2**20  # bytes that can travel in one piece
SPLITS = ("train", "validation", "test")
PYTHON = "3.12"
ATTACKED = ("dataset", "model", "activation", "input_mean", "input_std", "mixed_precision", "norm", "eps")

flags.DEFINE_string("output", None, "The folder to write.")
flags.DEFINE_bool("tiny", False, "Use small networks, few images and short trainings, for a rehearsal on a CPU.")
flags.DEFINE_bool("study", True, "Prepare part d, the study, whose robust teachers have to be there.")
flags.DEFINE_string(
    "python", PYTHON, "Python version of the machine with the GPU; the decoder's wheel is downloaded for it."
)
_flags.define_data_place()


def main(argv: list[str]) -> None:
    """Writes the folder and prints its size."""
    del argv
    if not FLAGS.output:
        raise InputError("`output`, the folder to write, is needed: --output=gpu")
    output, contents = pathlib.Path(FLAGS.output), tiny() if FLAGS.tiny else full()
    if not FLAGS.study:
        contents = contents._replace(study={})
    begun = time.monotonic()
    with new_folder("output", output) as folder:
        size = prepare(folder, contents, python=FLAGS.python, **_flags.data_place())
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
        InputError: if the data, the wheel or a robust teacher of the study is not available, or the folder is too
            large to travel.
    """
    _check_given(contents)
    for name in ("programs", "arrays", "folders", "records", "decoder"):
        (output / name).mkdir(parents=True)
    shutil.copy(run.__file__, output / "run.py")
    preparation = _Preparation(output, contents, place)
    timing = [preparation.timing(name, more) for name, more in contents.timing.items()]
    students = [preparation.training(name, student) for name, student in contents.students.items()]
    name, more = contents.last
    last = preparation.training(name, Student(more))
    _check_teachers(output, students)
    study = [preparation.as_it_is(name, more) for name, more in contents.study.items()]
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
        "study": study,
        "study_evaluations": contents.study_evaluations,
        "records": preparation.records(),
        "images": preparation.images,
    }
    write_text(output / "plan.json", json.dumps(plan, indent=1) + "\n")
    size = sum(path.stat().st_size for path in output.rglob("*") if path.is_file())
    if size > LIMIT:
        raise InputError(
            f"`output` has {size / 2**20:.1f} MiB, at most {LIMIT / 2**20:.0f} are allowed: prepare fewer trainings"
        )
    return size


class _Preparation:
    """Exports recipes, and stores only once what several of them share."""

    def __init__(self, output: pathlib.Path, contents: Contents, place: dict[str, Any]) -> None:
        self._output, self._contents, self._place = output, contents, place
        self.images: dict[str, dict[str, Any]] = {}
        self._evaluations: dict[tuple, tuple[dict[str, Any], dict[str, str]]] = {}
        # Downloads the data if that is asked for.
        dataset = _recipe(contents.timing["float32"]).load_dataset(**place)
        self._builder = tfds.builder("cifar10", data_dir=place["data_dir"])
        self._rows: dict[str, dict[bytes, int]] = {"train": {}, "test": _rows_of(np.asarray(dataset.test.images))}

    def timing(self, name: str, more: Sequence[str]) -> dict[str, Any]:
        """Exports a recipe whose step is timed; returns its entry in the plan."""
        recipe = _recipe(more)
        dataset = recipe.load_dataset(**self._place)
        keras.utils.clear_session()
        counted = StepProgram(recipe, dataset)
        flops = counted.flops()
        entry = {
            "name": name,
            "folder": self._export(recipe, dataset, f"timing_{name}", evaluations=()),
            "batch_size": recipe.batch_size,
            "model": recipe.model,
            "flops": flops,
            "minimum_flops": counted.minimum_flops(),
        }
        print(f"{name}: {flops / 1e9:,.1f} GFLOP per step, exported", flush=True)
        return entry

    def training(self, name: str, student: Student) -> dict[str, Any]:
        """Exports a recipe that is trained, at its longest; returns its entry in the plan."""
        contents = self._contents
        recipe = _recipe((*student.flags, f"--epochs={contents.epochs[-1]}"))
        if recipe.trains_teacher:
            recipe = dataclasses.replace(recipe, teacher_epochs=contents.teacher_epochs[-1])
        dataset = recipe.load_dataset(**self._place)
        folder = self._export(recipe, dataset, re.sub("[^a-z0-9-]+", "_", name), evaluations=contents.evaluations)
        steps = recipe.steps_per_epoch(dataset)
        lengths = {"student": contents.epochs}
        if recipe.trains_teacher:
            lengths["teacher"] = contents.teacher_epochs
        print(f"{name}: exported", flush=True)
        return {
            "name": name,
            "folder": folder,
            "teacher": student.teacher,
            "share": student.share,
            "model": recipe.model,
            "precision": recipe.mixed_precision,
            "seed": recipe.seed,
            "rates": {stage: self._rates(recipe, steps, epochs) for stage, epochs in lengths.items()},
        }

    def as_it_is(self, name: str, more: Sequence[str]) -> dict[str, Any]:
        """Exports a recipe of the study; returns its entry in the plan."""
        recipe = _recipe(more)
        dataset = recipe.load_dataset(**self._place)
        evaluations = self._contents.study_evaluations
        folder = self._export(recipe, dataset, f"study_{name}", evaluations=evaluations, draw_weights=False)
        print(f"{name}: exported", flush=True)
        return {"name": name, "folder": folder}

    def records(self) -> dict[str, list[str]]:
        """Writes the data set's records, compressed; returns a dict of split -> file names, in order."""
        found: dict[str, list[str]] = {}
        for split in ("train", "test"):
            for path in map(pathlib.Path, self._builder.info.splits[split].filepaths):
                name = f"{path.name}.gz"
                (self._output / "records" / name).write_bytes(gzip.compress(path.read_bytes(), mtime=0))
                found.setdefault(split, []).append(name)
        return found

    def _export(
        self,
        recipe: Recipe,
        dataset: ImageDataset,
        name: str,
        *,
        evaluations: Sequence[tuple[str, int]],
        draw_weights: bool = True,
    ) -> str:
        """Exports a recipe, and moves what it may share with others; returns the folder's name.

        The programs of the evaluations take the weights as arguments, so that recipes of one network and ball share
        them.
        """
        keras.utils.clear_session()  # so that the same network's variables get the same names
        folder = self._output / "folders" / name
        settings = recipe.settings()
        shared = (*(str(settings[key]) for key in ATTACKED), *evaluations)
        export_portable(
            recipe,
            dataset,
            folder,
            attacks=[] if shared in self._evaluations else [attack for attack, _ in evaluations],
            batch_size=self._contents.batch_size,
            draw_weights=draw_weights,
            platform=self._contents.platform,
        )
        place = folder / "portable.json"
        description = json.loads(place.read_text())
        for split in SPLITS:
            self._take_images(folder, description["splits"][split]["images"]["sha256"], dataset, split)
        for path in (folder / "arrays").iterdir():
            path.replace(self._output / "arrays" / path.name)
        for program, digest in description["programs"].items():
            (folder / "programs" / f"{program}.mlir.gz").replace(self._output / "programs" / f"{digest}.mlir.gz")
        for part in ("arrays", "programs"):
            (folder / part).rmdir()
        (folder / "run.py").unlink()
        if shared not in self._evaluations:
            attacks = {part["program"] for part in description["evaluation"]["parts"]}
            programs = {key: digest for key, digest in description["programs"].items() if key in attacks}
            self._evaluations[shared] = description["evaluation"], programs
        description["evaluation"], programs = self._evaluations[shared]
        description["programs"] |= programs
        write_text(place, json.dumps(description, indent=1) + "\n")
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


def _recipe(more: Sequence[str]) -> Recipe:
    """Returns the recipe of flags that may begin with a flagfile; without one, they change the published AGKD-BML."""
    first, *rest = more
    if first.startswith("--flagfile="):
        return read_recipe(first.partition("=")[2], rest)
    return read_recipe(ROOT / "flags/cifar10/agkd_bml.flags", more)


def _check_given(contents: Contents) -> None:
    """Checks that the networks which the study starts from have been trained."""
    recipes = [_recipe(more) for more in contents.study.values()]
    given = {path for recipe in recipes for path in (recipe.teacher, recipe.init_from) if path}
    missing = sorted(path for path in given if not pathlib.Path(path).exists())
    if missing:
        raise InputError(
            f"the study starts from {', '.join(missing)}: train them as {STUDY.name} says, or leave the study out: "
            "--nostudy"
        )


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
    paths = [output / "folders" / student["folder"] for student in students if student["teacher"] is None]
    folders = [folder for folder in map(run.Folder, paths) if len(folder.description["stages"]) == 2]
    if len({folder.digest_of("teacher") for folder in folders}) > 1:
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
