"""Trains and evaluates what a portable folder holds, with only JAX and NumPy.

  python -m tools.laboratory.portable run DIR
  python DIR/run.py DIR

Both commands do the same: the folder has a copy of this file, for machines without this project. Training resumes after
the last epoch in DIR/results, and an evaluation where it was interrupted. --time=N times N steps and writes nothing.
"""

import argparse
import collections
import contextlib
import functools
import gzip
import hashlib
import json
import math
import os
import pathlib
import platform
import statistics
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

FORMAT = 1
SHUFFLE_KEY, SHUFFLE_ROUNDS, SHUFFLE_BITS = 498247692, 4, 16
AHEAD = 8  # steps that are queued before the results of the first one are read
SHOWN_EVERY, SAVED_EVERY = 10.0, 60.0  # seconds
WARM_UP = 3
SHOWN = ("loss", "val_loss", "val_accuracy", "val_robust_accuracy")
PROGRAMS = ("step", "validation")  # of a stage

Entry = Mapping[str, Any]  # of the description
Arrays = Sequence[Any]  # NumPy's, or the device's


class PortableError(Exception):
    """An error that a user can fix, told in one line."""


# Reading and writing a folder.


def digest_of(content: Any) -> str:
    """Returns the SHA-256 of a value that JSON can hold."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


class Folder:
    """A portable folder. Everything read from it is checked against its digest in the description.

    Args:
        path: the folder.

    Attributes:
        description: the content of `portable.json`.

    Raises:
        PortableError: if the path is not a portable folder, or has another format.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = pathlib.Path(path)
        place = self.path / "portable.json"
        try:
            content = place.read_bytes()
        except OSError as error:
            raise PortableError(
                f"{self.path} is not a portable folder: {place.name}: {error.strerror}; "
                "`python -m tools.laboratory.portable export` makes one"
            ) from error
        try:
            self.description = json.loads(content)
            found = self.description["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise PortableError(f"{place} is damaged: {error!r}; export the recipe again") from error
        if found != FORMAT:
            raise PortableError(
                f"{self.path} has format {found}, but this program reads {FORMAT}: run {self.path}/run.py"
            )

    def array(self, entry: Entry) -> np.ndarray:
        """Returns the array that an entry of the description describes."""
        shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
        if "fill" in entry:
            return np.full(shape, entry["fill"], dtype)
        if "std" in entry:
            drawn = np.random.default_rng(entry["seed"]).standard_normal(shape, np.float32)
            return (entry["mean"] + entry["std"] * drawn).astype(dtype)
        path = self.path / "arrays" / entry["sha256"]
        try:
            content = path.read_bytes()
        except OSError as error:
            raise PortableError(f"{path}: {error.strerror}; copy the whole folder again") from error
        self._check(path, content, entry["sha256"])
        return np.frombuffer(content, dtype).reshape(shape)

    def program(self, name: str) -> str:
        """Returns the text of a program."""
        path = self.path / "programs" / f"{name}.mlir.gz"
        try:
            content = gzip.decompress(path.read_bytes())
        except (OSError, EOFError, ValueError) as error:
            raise PortableError(f"{path}: {error}; copy the whole folder again") from error
        self._check(path, content, self.description["programs"][name])
        return content.decode()

    def digest_of(self, stage: str) -> str:
        """Returns the SHA-256 of everything that determines what a stage trains, including the stages before it.

        Two folders with the same digest can exchange their results.
        """
        names = [each["name"] for each in self.description["stages"]]
        stages = self.description["stages"][: names.index(stage) + 1]
        programs = [self.description["programs"][each[part]["program"]] for each in stages for part in PROGRAMS]
        splits = [self.description["splits"][name] for name in ("train", "validation")]
        return digest_of([stages, programs, splits])

    def digest_of_attack(self, name: str, count: int, student: Arrays) -> str:
        """Returns the SHA-256 of everything that determines an attack's outcome on the first `count` test images."""
        own = self.description["evaluation"]
        stages = [[own["parts"][part], variant] for part, variant in own["attacks"][name]]
        programs = [self.description["programs"][part["program"]] for part, _ in stages]
        weights = [hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() for array in student]
        settings = {key: own[key] for key in ("eps", "norm", "seed")}
        return digest_of([settings, stages, programs, weights, self.description["splits"]["test"], count])

    @staticmethod
    def _check(path: pathlib.Path, content: bytes, digest: str) -> None:
        if hashlib.sha256(content).hexdigest() != digest:
            raise PortableError(f"{path} is damaged: copy the whole folder again")


class Results:
    """The folder `results` of a portable folder. Its files are written atomically, and record what made them.

    Args:
        path: the folder.
    """

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def read(self, name: str, of: str) -> tuple[dict[str, np.ndarray], dict[str, Any]] | None:
        """Returns (arrays, notes) of a file, or None if there is no such file.

        Args:
            name: name of the file, without its suffix.
            of: digest of what should have made it.

        Raises:
            PortableError: if the file is damaged, or was made by something else.
        """
        path = self.path / f"{name}.npz"
        if not path.exists():
            return None
        try:
            with np.load(path, allow_pickle=False) as content:
                arrays = dict(content)
            notes = json.loads(arrays.pop("notes").tobytes())
            found = notes.pop("of")
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise PortableError(f"{path} is damaged: {error}; remove it to redo that part") from error
        if found != of:
            raise PortableError(f"{path} comes from another export: remove it, or export into another folder")
        return arrays, notes

    def write(self, name: str, of: str, arrays: Mapping[str, np.ndarray], notes: Mapping[str, Any]) -> None:
        """Writes a file, in place of an earlier one of that name."""
        self.path.mkdir(exist_ok=True)
        text = np.frombuffer(json.dumps({**notes, "of": of}).encode(), np.uint8)
        handle, draft = tempfile.mkstemp(dir=self.path, prefix=f".{name}-")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **{"notes": text, **arrays})  # type: ignore[arg-type]  # NumPy's own arguments have names
            os.replace(draft, self.path / f"{name}.npz")
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise


def packed_pixels(images: np.ndarray) -> np.ndarray:
    """Returns uint8 images [N, H, W, C] as int64 [N, H W C / 8, rounded up], as the programs take them."""
    size = math.prod(images.shape[1:])
    pixels = np.zeros((len(images), 8 * -(-size // 8)), np.uint8)
    pixels[:, :size] = images.reshape(len(images), size)
    return pixels.view(np.int64)


def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Returns the order of an epoch's images, int64 [count], equal to `tf.random.experimental.index_shuffle`.

    This is the block cipher SIMON with few rounds, on as many bits as the indices need. A result beyond the last index
    is enciphered again. Source: Beaulieu et al., The SIMON and SPECK Families of Lightweight Block Ciphers, 2013,
    section 3.

    Args:
        seed, epoch: integers.
        count: number of images.
    """
    last = count - 1
    if not last:
        return np.zeros(1, np.int64)
    bits = math.ceil(math.log2(last))
    word = max(bits + bits % 2, SHUFFLE_BITS) // 2
    mask = (1 << word) - 1

    def left(value: Any, places: int) -> Any:
        places %= word
        return ((value << places) | (value >> (word - places))) & mask

    def right(value: Any, places: int) -> Any:
        return left(value, word - places % word)

    def mixed(value: Any) -> Any:
        return (left(value, 1) & left(value, 8)) ^ left(value, 2)

    keys = [number & mask for number in (SHUFFLE_KEY, seed, epoch)]
    sequence = 0x7369F885192C0EF5 & mask
    while len(keys) < SHUFFLE_ROUNDS:
        keys.append((0xFFFFFFFC & mask) ^ (sequence & 1) ^ keys[-3] ^ right(keys[-1], 3) ^ right(keys[-1], 4))
        sequence >>= 1
    order = np.arange(count, dtype=np.int64)
    walking = np.arange(count)
    while len(walking):
        value = order[walking]
        high, low = (value >> word) & mask, value & mask
        for first, second in zip(keys[::2], keys[1::2], strict=True):
            high ^= mixed(low) ^ first
            low ^= mixed(high) ^ second
        order[walking] = (high << word) | low
        walking = walking[order[walking] > last]
    return order


# Running it.


class Device:
    """The accelerator that JAX finds, or the CPU."""

    def __init__(self) -> None:
        import jax
        from jax.extend import backend

        jax.config.update("jax_enable_x64", True)  # keeps int64 as it is
        self._jax, self._client = jax, backend.get_backend()
        self._device = self._client.local_devices()[0]

    def put(self, array: Any) -> Any:
        """Returns an array on the device."""
        return self._jax.device_put(array, self._device)

    def ready(self, arrays: Arrays) -> Arrays:
        """Waits until all arrays are computed; returns them."""
        return self._jax.block_until_ready(arrays)

    def compiled(self, text: str) -> Callable[[list], list]:
        """Compiles a program; returns a function, list of arrays -> list of arrays."""
        return self._client.compile_and_load(text, [self._device]).execute

    def described(self) -> dict[str, Any]:
        """Returns, for JSON, the machine and versions that results come from."""
        processor = platform.processor() or platform.machine()
        with contextlib.suppress(OSError):
            lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
            processor = next(line.partition(": ")[2] for line in lines if line.startswith("model name"))
        return {
            "processor": processor,
            "accelerators": [] if self._device.platform == "cpu" else [self._device.device_kind],
            "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
            "python": platform.python_version(),
            "jax": self._jax.__version__,
            "numpy": np.__version__,
        }

    def peak_bytes(self) -> int | None:
        """Returns the peak memory in bytes, or None if the device does not report it."""
        return (self._device.memory_stats() or {}).get("peak_bytes_in_use")


class Progress:
    """Shows progress: on a terminal, one line that is overwritten; elsewhere, a new line now and then."""

    def __init__(self) -> None:
        self._over, self._shown = sys.stdout.isatty(), time.monotonic()

    def show(self, text: str) -> None:
        """Shows the state of the work; the next line may overwrite it."""
        if self._over or time.monotonic() - self._shown >= SHOWN_EVERY:
            print(f"\r{text}\033[K" if self._over else text, end="" if self._over else "\n", flush=True)
            self._shown = time.monotonic()

    def say(self, text: str) -> None:
        """Shows a line that stays."""
        print(f"\r{text}\033[K" if self._over else text, flush=True)
        self._shown = time.monotonic()


def clock(seconds: float) -> str:
    """Returns a duration as 1:05 or 2:01:05."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


class TimeLeft:
    """Estimates the time that is left.

    Args:
        whole: total amount of work, in any unit.
    """

    def __init__(self, whole: float) -> None:
        self._whole, self._begun = whole, time.monotonic()

    def after(self, done: float) -> str:
        """Returns the time left when the amount `done` of the work is done."""
        return clock((time.monotonic() - self._begun) / done * (self._whole - done))


def named(name: str, arrays: Arrays) -> dict[str, np.ndarray]:
    """Copies arrays to the host; returns a dict of numbered name -> array."""
    return {f"{name}_{place}": np.asarray(array) for place, array in enumerate(arrays)}


def in_order(name: str, arrays: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Returns the arrays of a dict made by `named`, in order."""
    return [arrays[f"{name}_{place}"] for place in range(len(arrays))]


class Training:
    """A stage's training: the teacher's or the student's.

    Args:
        folder: `Folder`.
        stage: its entry in the description.
        device: `Device`.
        teacher: the weights that the previous stage trained; empty if there is none.
    """

    def __init__(self, folder: Folder, stage: Entry, device: Device, teacher: Arrays = ()) -> None:
        self._folder, self._stage, self._device, self._teacher = folder, stage, device, teacher
        self.name, self.epochs, self.steps = stage["name"], stage["epochs"], stage["steps_per_epoch"]
        self._labels = folder.array(folder.description["splits"]["train"]["labels"])
        self._of = folder.digest_of(self.name)

    @functools.cached_property
    def _program(self) -> Callable[[list], list]:
        return self._device.compiled(self._folder.program(self._stage["step"]["program"]))

    @functools.cached_property
    def _fixed(self) -> tuple[list, list]:
        """The arguments that are the same in all steps, on the device: those before the batch, and those after it."""
        folder, stage, put = self._folder, self._stage, self._device.put
        pixels = put(packed_pixels(folder.array(folder.description["splits"]["train"]["images"])))
        frozen = []
        for entry in stage["frozen"]:
            if "images" in entry:
                frozen.append(pixels)
            elif "teacher" in entry:
                frozen.append(put(self._teacher[entry["teacher"]]))
            else:
                frozen.append(put(folder.array(entry)))
        rates = put(folder.array(stage["learning_rates"]))
        return [*frozen, rates], [put(folder.array(entry)) for entry in stage["step"]["constants"]]

    def initial(self) -> list:
        """Returns the state before the first step, as arrays on the host."""
        own = [self._folder.array(entry) for entry in self._stage["state"]]
        return [*self._teacher, *own[len(self._teacher) :]] if self._stage["from_teacher"] else own

    def step(self, state: Arrays, places: np.ndarray) -> tuple[list, list]:
        """Runs a step on the images at `places`; returns (state, scalars), both on the device."""
        before, after = self._fixed
        batch = [self._device.put(array) for array in (places.astype(np.int32), self._labels[places])]
        found = self._program([*state, *before, *batch, *after])
        return found[: len(state)], found[len(state) :]

    def student(self, state: Arrays) -> list:
        """Returns the weights of a state that are validated and kept: the student's, or their moving average if any."""
        return [state[place] for place in self._stage["student"]]

    def run(self, results: Results, progress: Progress) -> list:
        """Trains the epochs that are left; returns the chosen student's weights, as arrays on the host."""
        state, weights, notes = self._begun(results)
        first = len(notes["history"])
        if first == self.epochs:
            return weights
        begun = time.monotonic()
        progress.say(f"{self.name}: compiling ...")
        _, validation = self._program, Validation(self._folder, self._stage, self._device)
        state = [self._device.put(array) for array in state]
        progress.say(f"{self.name}: compiled in {clock(time.monotonic() - begun)}")
        left = TimeLeft(self.epochs - first)
        for epoch in range(first, self.epochs):
            state, logs = self._epoch(epoch, state, first, progress, left)
            student = self.student(state)
            logs |= validation.run(student)
            score = logs["val_robust_accuracy"] if self._stage["select_best"] == "robust" else epoch
            if notes["best"] is None or score > notes["best"]:
                weights = [np.asarray(array) for array in student]
                # Before the state that refers to them: after a kill in between, the epoch is trained again.
                results.write(f"{self.name}_chosen", self._of, named("weight", weights), {})
                notes |= {"best": score, "chosen_epoch": epoch + 1}
            notes["history"].append(logs)
            notes["machine"] = self._device.described()
            results.write(self.name, self._of, named("state", state), notes)
            shown = ", ".join(
                f"{name} {value:.4g}" for name, value in logs.items() if name.startswith(("loss", "val_"))
            )
            progress.say(
                f"{self.name}: epoch {epoch + 1} of {self.epochs}, {shown}, {logs['images_per_second']:,.0f} images/s, "
                f"{left.after(epoch + 1 - first)} left"
            )
        return weights

    def _begun(self, results: Results) -> tuple[list, list, dict[str, Any]]:
        """Returns (state, the chosen student's weights, notes) to resume from."""
        found, chosen = (results.read(name, self._of) for name in (self.name, f"{self.name}_chosen"))
        if found is None:
            return self.initial(), [], {"history": [], "chosen_epoch": 0, "best": None}
        if chosen is None:
            raise PortableError(
                f"{results.path / self.name}_chosen.npz is missing: put it back, or remove {self.name}.npz, too, to "
                "train from the start"
            )
        return in_order("state", found[0]), in_order("weight", chosen[0]), found[1]

    def _epoch(
        self, epoch: int, state: Arrays, first: int, progress: Progress, left: TimeLeft
    ) -> tuple[list, dict[str, float]]:
        """Trains an epoch; returns (state, a dict of name -> mean of that scalar)."""
        names, size = self._stage["step"]["scalars"], self._stage["batch_size"]
        order = epoch_order(self._stage["seed"], epoch, len(self._labels))
        sums, waiting, begun = np.zeros(len(names)), collections.deque[list](), time.monotonic()

        def look() -> None:
            number = epoch * self.steps + step - len(waiting) + 2  # of the step, counted from 1
            values = np.array([float(value) for value in waiting.popleft()])
            bad = [name for name, value in zip(names, values, strict=True) if not math.isfinite(value)]
            if bad:
                raise PortableError(
                    f"{', '.join(bad)} became NaN or infinite at step {number}: training stopped; {epoch} epochs are "
                    "saved. The usual remedies are a lower `learning_rate`, or `mixed_precision` of float32"
                )
            sums[:] += values

        for step in range(self.steps):
            state, scalars = self.step(state, order[step * size : (step + 1) * size])
            waiting.append(scalars)
            if len(waiting) > AHEAD:
                look()
                progress.show(
                    f"{self.name}: epoch {epoch + 1} of {self.epochs}, step {step + 1} of {self.steps}, "
                    f"{left.after(epoch - first + (step + 1) / self.steps)} left"
                )
        while waiting:
            look()
        logs = {name: value / self.steps for name, value in zip(names, sums, strict=True)}
        return list(state), logs | {"images_per_second": self.steps * size / (time.monotonic() - begun)}


class Validation:
    """Measures a student on the validation split."""

    def __init__(self, folder: Folder, stage: Entry, device: Device) -> None:
        split, own = folder.description["splits"]["validation"], stage["validation"]
        self._device, self._names, size = device, own["names"], own["batch_size"]
        images, labels = folder.array(split["images"]), folder.array(split["labels"])
        self._count, self._batches = len(labels), []
        for begin in range(0, self._count, size):
            places = np.arange(begin, begin + size)
            valid = (places < self._count).astype(np.float32)
            places = np.where(places < self._count, places, begin).astype(np.int32)
            batch = images[places], labels[places], places, valid
            self._batches.append([device.put(array) for array in batch])
        self._constants = [device.put(folder.array(entry)) for entry in own["constants"]]
        self._judge = device.compiled(folder.program(own["program"]))

    def run(self, student: Arrays) -> dict[str, float]:
        """Returns a dict of `val_<name>` -> mean over the images."""
        sums = np.zeros(len(self._names))
        for batch in self._batches:
            sums += [float(value) for value in self._judge([*student, *batch, *self._constants])]
        return {f"val_{name}": value / self._count for name, value in zip(self._names, sums, strict=True)}


class Evaluation:
    """Attacks the chosen student. Each stage of an attack gets only the images that withstood the stages before.

    Args:
        folder: `Folder`.
        device: `Device`.
        student: its weights, a list of arrays.
        results: `Results`.
    """

    def __init__(self, folder: Folder, device: Device, student: Arrays, results: Results) -> None:
        self._folder, self._device, self._results = folder, device, results
        self._weights, self._student = student, [device.put(array) for array in student]
        self._settings = folder.description["evaluation"]
        split = folder.description["splits"]["test"]
        self._images, self._labels = folder.array(split["images"]), folder.array(split["labels"])
        self._programs: dict[int, tuple[Callable[[list], list], list]] = {}

    def run(self, name: str, count: int, progress: Progress) -> None:
        """Evaluates one attack on the first `count` test images and records it, unless that is done already."""
        stages, parts = self._settings["attacks"][name], self._settings["parts"]
        file, of = f"attack_{name}_{count}", self._folder.digest_of_attack(name, count, self._weights)
        found = self._results.read(file, of)
        if found is None:
            state, prediction, seconds = np.zeros(count, np.int16), np.full(count, -1, np.int16), 0.0
        else:
            state, prediction, seconds = found[0]["state"], found[0]["prediction"], found[1]["seconds"]

        def save() -> None:
            notes = {"attack": name, "seconds": seconds, "machine": self._device.described()}
            self._results.write(file, of, {"state": state, "prediction": prediction}, notes)

        saved, size = time.monotonic(), self._settings["batch_size"]
        for number, (part, variant) in enumerate(stages):
            places = np.flatnonzero(state == number)
            for begin in range(0, len(places), size):
                started, chosen = time.monotonic(), places[begin : begin + size]
                padded = np.concatenate([chosen, np.full(size - len(chosen), chosen[0])])
                classes, finite = self._attacked(part, variant, padded)
                classes, finite = classes[: len(chosen)], finite[: len(chosen)]
                if not finite.all():
                    raise PortableError(
                        f"the logits of test image {chosen[~finite][0]} under {parts[part]['name']} are NaN or infinite"
                    )
                prediction[chosen] = classes
                state[chosen] = np.where(classes == self._labels[chosen], number + 1, -(number + 1))
                seconds += time.monotonic() - started
                progress.show(
                    f"{name}: {parts[part]['name']} {variant + 1}, stage {number + 1} of {len(stages)}, image "
                    f"{begin + len(chosen)} of {len(places)}, {np.mean(state >= 0):.2%} standing, {clock(seconds)}"
                )
                if time.monotonic() - saved > SAVED_EVERY:
                    save()
                    saved = time.monotonic()
        save()
        progress.say(f"{name}: {np.mean(state >= 0):.2%} of {count} images in {clock(seconds)}")

    def _attacked(self, part: int, variant: int, places: np.ndarray) -> list[np.ndarray]:
        if part not in self._programs:
            own, device = self._settings["parts"][part], self._device
            constants = [device.put(self._folder.array(entry)) for entry in own["constants"]]
            # Only one is kept, since an attack does not return to an earlier part.
            self._programs = {part: (device.compiled(self._folder.program(own["program"])), constants)}
        program, constants = self._programs[part]
        batch = self._images[places], self._labels[places], places.astype(np.int32), np.int32(variant)
        found = program([*self._student, *[self._device.put(array) for array in batch], *constants])
        return [np.asarray(array) for array in found]


def train(folder: Folder, device: Device, results: Results, progress: Progress) -> list:
    """Trains what is left of all stages; returns the chosen student's weights, as arrays on the host."""
    student: list = []
    for stage in folder.description["stages"]:
        student = Training(folder, stage, device, student).run(results, progress)
    return student


def measure(folder: Folder, device: Device, steps: int) -> None:
    """Prints the median time of the last stage's steps; random weights take as long as trained ones."""
    *before, stage = folder.description["stages"]
    teacher = [folder.array(before[0]["state"][place]) for place in before[0]["student"]] if before else []
    training, seconds, size = Training(folder, stage, device, teacher), [], stage["batch_size"]
    state, begun = [device.put(array) for array in training.initial()], time.perf_counter()
    places = np.arange(size)
    for number in range(WARM_UP + steps):
        started = time.perf_counter()
        state, scalars = training.step(state, places)
        device.ready([*state, *scalars])
        if number == 0:
            compiled = time.perf_counter() - begun
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    median, peak = statistics.median(seconds), device.peak_bytes()
    described = device.described()
    print(
        f"jax {described['jax']}, {(described['accelerators'] or [described['processor']])[0]}: median {median:.7f} s, "
        f"{size / median:.1f} images/s, compiled in {compiled:.1f} s"
        + (f", peak memory {peak / 2**20:.0f} MiB" if peak else "")
    )


def count_of(text: str) -> int:
    """Returns a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1. Received: {number}")
    return number


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", metavar="DIR", help="the portable folder")
    parser.add_argument("--attacks", help="exported attacks to evaluate, separated by commas (default: all)")
    parser.add_argument("--num_examples", type=count_of, help="evaluate on the first N test images (default: all)")
    parser.add_argument("--time", type=count_of, metavar="N", help="time N steps of the last stage, and write nothing")
    given = parser.parse_args(arguments)
    try:
        folder = Folder(given.folder)
        known = folder.description["evaluation"]["attacks"]
        attacks = list(known) if given.attacks is None else [name for name in given.attacks.split(",") if name]
        for name in attacks:
            if name not in known:
                raise PortableError(f"--attacks must be among {', '.join(known) or 'none'}. Received: {name}")
        total = folder.description["splits"]["test"]["labels"]["shape"][0]
        count = given.num_examples or total
        if count > total:
            raise PortableError(f"--num_examples must be at most {total}. Received: {count}")
        try:
            device = Device()
        except ImportError as error:
            raise PortableError(f"JAX is needed: {error}. `pip install jax` installs it") from error
        if given.time:
            measure(folder, device, given.time)
            return 0
        progress, results = Progress(), Results(folder.path / "results")
        student = train(folder, device, results, progress)
        if attacks:
            evaluation = Evaluation(folder, device, student, results)
            for name in attacks:
                evaluation.run(name, count, progress)
        progress.say(
            f"Results are in {results.path}; python -m tools.laboratory.portable collect turns them into a run"
        )
    except PortableError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
