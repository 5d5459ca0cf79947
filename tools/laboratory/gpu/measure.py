"""Measures on a machine with a GPU what `prepare` prepared, with JAX, NumPy and, where it is there, PyTorch.

  python tools/laboratory/gpu/measure.py gpu --output=found --parts=a,b,c --minutes=9

See `tools/laboratory/gpu/__init__.py`. What is measured first is written first; a piece begins only if it fits what is
left of the minutes, one that fails is told of, and the next goes on. Trainings and decoded images are kept in --work,
from where the same command goes on.
"""

import argparse
import concurrent.futures
import contextlib
import gzip
import hashlib
import importlib.util
import io
import json
import math
import os
import pathlib
import queue
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

HERE = pathlib.Path(__file__).resolve()
PEER = HERE.parents[1] / "peers" / "training_step.py"
PARTS = ("a", "b", "c")
WARM_UP = 3  # steps
MINUTES_EACH = 2.5  # of training, a student in part b
SHARES = {"ready": 0.75, "teacher": 0.2, "students": 0.7, "last": 0.75}  # of what is left of the time
GUESSES = {"clean": 10.0, "autoattack": 60.0}  # seconds, before the first was timed; of other attacks OTHER
OTHER = 25.0
READY = 240.0  # seconds until a contestant is ready, at most
CLOSING = 10.0  # seconds that are kept for writing
EPOCH = 50_000  # images
GOALS = {"plain": 2.0, "tuned": 1.2, "epoch": 40.0}
LARGEST_FILE, LARGEST, MOST_FILES = 15 * 2**20, 60 * 2**20, 8  # of what is written
VALIDATION = ("val_accuracy", "val_robust_accuracy")
Entry = dict[str, Any]


class MeasureError(Exception):
    """What a user can mend, in one line."""


class OutOfTimeError(Exception):
    """A piece that took longer than there was time for."""


# Records of tensorflow-datasets, without TensorFlow.


def records(content: bytes) -> Iterator[bytes]:
    """Yields the records of a TFRecord file's content: each has its length, 8 bytes, and checksums of 4 around it."""
    place = 0
    while place < len(content):
        (length,) = struct.unpack_from("<Q", content, place)
        if place + 16 + length > len(content):
            raise MeasureError("a file of records is cut off: copy the folder once more")
        yield content[place + 12 : place + 12 + length]
        place += 16 + length


def fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yields (number, value) of the fields of a protocol buffer: whole numbers, and bytes, which may be messages."""
    place = 0

    def whole_number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = message[place]
            place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
            if byte < 128:
                return value

    while place < len(message):
        number, kind = divmod(whole_number(), 8)
        if kind == 0:
            yield number, whole_number()
        elif kind == 2:
            length = whole_number()
            yield number, message[place : place + length]
            place += length
        else:
            raise MeasureError(f"a record has a field of kind {kind}, which no example has")


def features(record: bytes) -> dict[str, bytes]:
    """Returns name -> value of those features of a `tf.train.Example` that are one string of bytes."""
    found = {}
    for _, every in fields(record):
        for _, entry in fields(_bytes(every)):
            pair = dict(fields(_bytes(entry)))
            for kind, values in fields(_bytes(pair[2])):
                if kind == 1:  # bytes; 2 and 3 are floats and integers
                    found[_bytes(pair[1]).decode()] = next(_bytes(value) for _, value in fields(_bytes(values)))
    return found


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise MeasureError("a record is no example: it has a number where a message belongs")
    return value


def decode(pictures: Sequence[bytes], decoder: pathlib.Path) -> np.ndarray:
    """Returns JPEG files as uint8 [N, H, W, 3], decoded as TensorFlow does.

    Args:
        pictures: the files' contents.
        decoder: folder of simplejpeg, where it is not installed.
    """
    sys.path.append(str(decoder))
    try:
        simplejpeg = importlib.import_module("simplejpeg")
    except ImportError as error:
        wanted = ", ".join(path.name for path in decoder.glob("simplejpeg/*.so"))
        raise MeasureError(
            f"simplejpeg cannot be imported: {error}. The folder has {wanted or 'none'}, this is Python "
            f"{sys.version_info[0]}.{sys.version_info[1]}: prepare with --python of that version"
        ) from error
    return np.stack([simplejpeg.decode_jpeg(each, "RGB", fastdct=True, fastupsample=False) for each in pictures])


# What travels.


class Prepared:
    """The folder that `prepare` wrote, and what is made of it here.

    Args:
        path: the folder.
        work: folder for what is made: images, portable folders, their results.

    Attributes:
        plan: what is to be measured.
        run: the module `run` of the export.
    """

    def __init__(self, path: pathlib.Path, work: pathlib.Path) -> None:
        self.path, self._work = path.resolve(), work.resolve()
        try:
            self.plan: Entry = json.loads((self.path / "plan.json").read_text())
        except (OSError, ValueError) as error:
            raise MeasureError(
                f"{path} has no readable plan.json: `python -m tools.laboratory.gpu.prepare --output={path}` makes one"
            ) from error
        spec = importlib.util.spec_from_file_location("portable_run", self.path / "run.py")
        if spec is None or spec.loader is None:
            raise MeasureError(f"{self.path / 'run.py'} is no Python file")
        self.run: Any = importlib.util.module_from_spec(spec)
        sys.modules["portable_run"] = self.run
        spec.loader.exec_module(self.run)

    def make_arrays(self) -> None:
        """Makes the arrays of images from the records, and puts the others beside them."""
        arrays = self._work / "arrays"
        arrays.mkdir(parents=True, exist_ok=True)
        for source in (self.path / "arrays").iterdir():
            if not (arrays / source.name).exists():
                shutil.copy(source, arrays / source.name)
        missing = {digest: entry for digest, entry in self.plan["images"].items() if not (arrays / digest).exists()}
        for split in sorted({entry["split"] for entry in missing.values()}):
            pictures = [
                features(record)["image"]
                for name in self.plan["records"][split]
                for record in records(gzip.decompress((self.path / "records" / name).read_bytes()))
            ]
            images = decode(pictures, self.path / "decoder")
            for digest, entry in missing.items():
                if entry["split"] == split:
                    rows = np.frombuffer((self.path / "arrays" / entry["rows"]).read_bytes(), np.int32)
                    content = images[rows].tobytes()
                    if hashlib.sha256(content).hexdigest() != digest:
                        raise MeasureError(f"images of the {split} split are decoded otherwise here than by TensorFlow")
                    draft = arrays / f".{digest}"
                    draft.write_bytes(content)
                    draft.replace(arrays / digest)

    def folder(self, name: str, *, lengths: tuple[int, int] | None = None, rates: Entry | None = None) -> Any:
        """Returns a portable `Folder` that is made here.

        Args:
            name: of the exported one.
            lengths: epochs of the teacher and of the student; the exported ones if not given.
            rates: stage -> epochs -> entry of the learning rates.
        """
        source = self.path / "folders" / name
        made = self._work / (name if lengths is None else f"{name}_{lengths[0]}_{lengths[1]}")
        (made / "programs").mkdir(parents=True, exist_ok=True)
        description = json.loads((source / "portable.json").read_text())
        text = (source / "recipe.flags").read_text()
        if lengths is not None and rates is not None:
            text = with_lengths(description, text, lengths, rates)
        (made / "recipe.flags").write_text(text)
        (made / "portable.json").write_text(json.dumps(description, indent=1) + "\n")
        for program, digest in description["programs"].items():
            _link(self.path / "programs" / f"{digest}.mlir.gz", made / "programs" / f"{program}.mlir.gz")
        _link(self._work / "arrays", made / "arrays")
        return self.run.Folder(made)


def _link(target: pathlib.Path, place: pathlib.Path) -> None:
    place.unlink(missing_ok=True)
    place.symlink_to(target)


def with_lengths(description: Entry, text: str, lengths: tuple[int, int], rates: Mapping[str, Entry]) -> str:
    """Gives a description other numbers of epochs; returns the text of its recipe with them.

    Args:
        description: of a portable folder; is changed.
        text: its recipe.
        lengths: epochs of the teacher and of the student.
        rates: stage -> epochs -> entry of the learning rates.
    """
    for stage, epochs in zip(description["stages"], lengths, strict=True):
        stage["epochs"], stage["learning_rates"] = epochs, rates[stage["name"]][str(epochs)]
    for name, epochs in zip(("teacher_epochs", "epochs"), lengths, strict=True):
        text, count = re.subn(rf"(?m)^--{name}=\d+$", f"--{name}={epochs}", text)
        assert count == 1, f"the recipe says --{name} {count} times"
    description["recipe_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return text


# Time, and what is told.


class Budget:
    """Seconds that are left.

    Args:
        seconds: of the whole.
        clock: returns the time, in seconds.
    """

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._begun, self.seconds = clock, clock(), seconds

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return self._clock() - self._begun

    @property
    def left(self) -> float:
        """Seconds until the closing."""
        return self.seconds - CLOSING - self.spent

    def fits(self, seconds: float) -> bool:
        """Returns whether there is so much time."""
        return seconds <= self.left


def longest(lengths: Sequence[int], seconds_an_epoch: float, available: float) -> int | None:
    """Returns the greatest number of epochs that takes no more than the available seconds; None if none does."""
    return max((epochs for epochs in lengths if epochs * seconds_an_epoch <= available), default=None)


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns (low, high), Wilson's 95 % interval of a share."""
    z = 1.959963984540054
    share, square = successes / trials, z * z / trials
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, ["---"] * len(heading), *rows))


class Report:
    """What was found, written anew after each piece.

    Args:
        output: folder to write into.
        plan: what is to be measured.
        budget: `Budget`.
    """

    def __init__(self, output: pathlib.Path, plan: Entry, budget: Budget) -> None:
        self._output, self._plan, self._budget = output, plan, budget
        self.machine: Entry = {}
        self.steps: list[Entry] = []
        self.goals: list[Entry] = []
        self.kernels: list[Entry] = []
        self.networks: list[Entry] = []
        self.notes: dict[str, list[str]] = {}  # by part
        self.part = ""
        self.weights: str | None = None
        output.mkdir(parents=True, exist_ok=True)
        # A second command goes on with what the first one found.
        with contextlib.suppress(OSError, ValueError):
            for name, value in json.loads((output / "results.json").read_text()).items():
                setattr(self, name, value)

    def say(self, text: str) -> None:
        """Prints a line with the time that was spent."""
        print(f"[{self._budget.spent:5.0f} s] {text}", flush=True)

    def note(self, text: str) -> None:
        """Says and keeps what was left out, or failed."""
        self.say(text)
        self.notes.setdefault(self.part, []).append(text)
        self.write()

    def begin(self, part: str) -> None:
        """Forgets what a part left out when it was measured before."""
        self.part = part
        self.notes.pop(part, None)
        self.say(f"part {part}, {self._budget.left:.0f} s are left")

    def network(self, name: str, **found: Any) -> Entry:
        """Returns the entry of a network, which `found` is added to."""
        entry = next((each for each in self.networks if each["name"] == name), None)
        if entry is None:
            entry = {"name": name, "attacks": {}}
            self.networks.append(entry)
        entry.update(found)
        return entry

    def write(self) -> None:
        """Writes `results.json` and `summary.md`."""
        names = ("machine", "steps", "goals", "kernels", "networks", "notes", "weights")
        content = {name: getattr(self, name) for name in names}
        _replace(self._output / "results.json", (json.dumps(content, indent=1) + "\n").encode())
        _replace(self._output / "summary.md", self.text().encode())

    def text(self) -> str:
        """Returns the summary, in Markdown."""
        machine = ", ".join(f"{name} {_shown(value)}" for name, value in self.machine.items())
        parts = ["# What was measured", machine or "No device was reached yet."]
        if self.steps:
            parts += [f"## Seconds a step\n\n{self._steps_text()}", self._steps_table()]
        if self.goals:
            rows = [[each["goal"], each["measured"], each["met"]] for each in self.goals]
            parts += [table(("goal", "measured (least to most of the rounds)", "met"), rows)]
        for each in self.kernels:
            rows = [
                [f"`{name[:100]}`", f"{1000 * seconds:.2f}", f"{share:.1%}"] for name, seconds, share in each["top"]
            ]
            parts += [
                f"The slowest kernels of {each['name']}, all of one name together:",
                table(("kernel", "ms a step", "of all kernels"), rows),
            ]
        if self.networks:
            parts += ["## Networks", self._networks_text(), self._networks_table()]
        if self.weights:
            parts += [f"## Weights\n\n{self.weights}"]
        if self.notes:
            parts += [
                "## Left out, or failed\n\n"
                + "\n".join(f"- {note}" for part in sorted(self.notes) for note in self.notes[part])
            ]
        return "\n\n".join(parts) + "\n"

    def _steps_text(self) -> str:
        first = self._plan["timing"][0]
        return (
            f"AGKD-BML, {first['model']}, batches of {first['batch_size']}, {first['flops'] / 1e12:.4g} TFLOP a step "
            f"(the least that it takes: {first['minimum_flops'] / 1e12:.4g}). Medians, with the least and the most of "
            f"{self._plan['rounds']} rounds in turn; times are of images a second, round by round. An epoch is of "
            f"{EPOCH:,} images, steps alone. Neither library's default precision of float32 products was changed. The "
            "step here has augmentation, the peer's has none."
        )

    def _steps_table(self) -> str:
        rows = []
        for step in self.steps:
            if "images" in step:
                share = step.get("share")
                rows.append(
                    [
                        step["name"],
                        _spread(step["seconds"], "{:.4f}"),
                        f"{step['images'] / statistics.median(step['seconds']):,.0f}",
                        f"{EPOCH / step['images'] * statistics.median(step['seconds']):.1f}",
                        "" if share is None else _spread(share, "{:.0%}"),
                        "" if step["peak_mib"] is None else f"{step['peak_mib']:,}",
                    ]
                )
            else:
                rate = [step["flops"] / seconds / 1e12 for seconds in step["seconds"]]
                rows.append(
                    [step["name"], _spread(step["seconds"], "{:.6f}"), "", "", _spread(rate, "{:.4g} TFLOP/s"), ""]
                )
        heading = ("", "seconds", "images/s", "s an epoch", "of the matrix product", "peak memory, MiB")
        return table(heading, rows)

    def _networks_text(self) -> str:
        first = self._plan["students"][0]
        return (
            f"CIFAR-10, {first['precision']}, a rate of one cycle, seed {first['seed']}; the last epoch's weights. "
            f"Each student begins with its teacher's weights, AT's, too. The students of {first['model']} share one "
            "teacher, whose time is not in theirs. Seconds are those of training steps; compiling is apart. "
            "Validation is accuracy in % on held-out images after the last epoch: clean and, of students, under a "
            "short attack. Under the attacks: % of the first test images, with Wilson's 95 % intervals."
        )

    def _networks_table(self) -> str:
        attacks = [(name, count) for name, count in self._plan["evaluations"]]
        rows = []
        for each in self.networks:
            row = [
                each["name"],
                str(each.get("teacher_epochs") or ""),
                f"{each['done']} of {each['epochs']}",
                f"{each['seconds']:.0f}",
                f"{each['seconds_an_epoch']:.1f}",
                f"{each['compile_seconds']:.0f}",
                ", ".join(f"{100 * each['validation'][name]:.1f}" for name in VALIDATION if name in each["validation"]),
            ]
            for name, _ in attacks:
                found = each["attacks"].get(name)
                if found is None:
                    row.append("")
                else:
                    low, high = wilson(found["standing"], found["images"])
                    row.append(f"{100 * found['standing'] / found['images']:.2f} ({100 * low:.2f}-{100 * high:.2f})")
            rows.append(row)
        heading = ["", "teacher's epochs", "epochs", "training, s", "s an epoch", "compiling, s", "validation"]
        return table([*heading, *(f"{name}, {count:,} images" for name, count in attacks)], rows)

    def keep(
        self, prepared: Prepared, folders: Mapping[str, Any], best: tuple[str, Sequence[np.ndarray]] | None
    ) -> None:
        """Writes histories and outcomes of the trained networks, and the best student's weights.

        Args:
            prepared: `Prepared`.
            folders: name of a network -> its portable folder.
            best: name of a student, and its weights; None to leave the file that there is.
        """
        draft = io.BytesIO()
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, folder in folders.items():
                for file in ("recipe.flags", "portable.json"):
                    archive.write(folder.path / file, f"{name}/{file}")
                for stage in folder.description["stages"]:
                    read = prepared.run.Results(folder.path / "results").read(
                        stage["name"], folder.digest_of(stage["name"])
                    )
                    if read is not None:
                        archive.writestr(f"{name}/{stage['name']}_history.json", json.dumps(read[1], indent=1))
                for path in sorted((folder.path / "results").glob("attack_*.npz")):
                    archive.write(path, f"{name}/results/{path.name}")
        _replace(self._output / "trained.zip", draft.getvalue())
        if best is None:
            return
        name, weights = best
        draft = io.BytesIO()
        named = {f"weight_{place}": array for place, array in enumerate(weights)}
        np.savez_compressed(draft, **named)  # type: ignore[arg-type]  # NumPy's own arguments have other names
        content = draft.getvalue()
        pieces = [content[begin : begin + LARGEST_FILE] for begin in range(0, len(content), LARGEST_FILE)]
        before = list(self._output.glob("weights.npz.*"))
        others = [path for path in self._output.iterdir() if path.is_file() and path not in before]
        size = len(content) + sum(path.stat().st_size for path in others)
        if len(others) + len(pieces) > MOST_FILES or size > LARGEST:
            self.note(f"{name}: its weights are left out, {len(content) / 2**20:.0f} MiB are too many")
            return
        for path in before:
            path.unlink()
        for number, piece in enumerate(pieces):
            _replace(self._output / f"weights.npz.{number}", piece)
        self.weights = (
            f"Of {name}, in the order of the model's variables: `cat weights.npz.* > weights.npz`, of SHA-256 "
            f"{hashlib.sha256(content).hexdigest()}."
        )


def reason(error: Exception) -> str:
    """Returns in one line why a piece failed; what is not foreseen is printed with its place, too."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, MeasureError | OutOfTimeError) or type(error).__name__ == "PortableError":
        return text
    traceback.print_exc()
    return f"{type(error).__name__}: {text}"


def _replace(path: pathlib.Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def _spread(values: Sequence[float], form: str) -> str:
    """Returns the median with the least and the most."""
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low.split()[0]}-{high.split()[0]})"


# Part a: seconds a step.


class Contestant:
    """A process that says `ready`, and then measures once for each line that it is sent.

    Args:
        name: for the table.
        command: the command line.
        log: file for what it says on standard error.
    """

    def __init__(self, name: str, command: Sequence[str], log: pathlib.Path) -> None:
        self.name, self._log = name, log
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several share the device
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def answer(self, seconds: float, begins: str) -> str:
        """Returns the next line that begins with a text.

        Raises:
            MeasureError: if the process ends before.
            OutOfTimeError: if it takes longer than the seconds.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise OutOfTimeError(f"{self.name}: no answer after {seconds:.0f} s") from None
            if line is None:
                errors = self._log.read_text(errors="replace").strip().splitlines() or ["it ended without a word"]
                raise MeasureError(f"{self.name}: {errors[-1][:300]}")
            if line.startswith(begins):
                return line

    def ask(self, question: str, seconds: float, begins: str) -> str:
        """Returns the answer to a line, as `answer`."""
        assert self._process.stdin is not None  # it is a pipe
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
        return self.answer(seconds, begins)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def part_a(prepared: Prepared, report: Report, budget: Budget, work: pathlib.Path) -> None:
    """Times the steps in turn with the peers and with a matrix product."""
    plan = prepared.plan
    own = [sys.executable, str(HERE), str(prepared.path), f"--work={work}"]
    peer = [sys.executable, str(PEER), *plan["peer"], "--turns"]
    commands = {
        "PyTorch, channels_last, bfloat16, compiled": [*peer, "--channels_last", "--bfloat16", "--compile"],
        "PyTorch, float32": peer,
    }
    if importlib.util.find_spec("torch") is None:
        report.note("PyTorch is not installed here: part a is without its steps, and without the goals beside them")
        commands = {}
    waiting = {timing["name"]: [*own, f"--worker={timing['name']}"] for timing in plan["timing"]}
    waiting |= {
        f"matrix product, {each['name']}": [*own, f"--worker=product:{each['name']}"] for each in plan["timing"]
    }
    with contextlib.ExitStack() as stack:
        # The compiled peer takes longest until it is ready, on the CPU. Ours try kernels on the GPU: one at a time.
        contestants: dict[str, Contestant] = {}
        limit = budget.spent + min(READY, budget.left * SHARES["ready"])

        def begin(name: str, command: Sequence[str]) -> None:
            log = work / "logs" / f"{re.sub('[^a-z0-9]+', '_', name.lower())}.txt"
            contestants[name] = Contestant(name, command, log)
            stack.callback(contestants[name].close)

        def wait(name: str) -> None:
            try:
                seconds = max(1.0, limit - budget.spent)
                line = contestants[name].answer(seconds, "ready")
                report.say(f"{name}: {line}")
                if line.partition(" ")[2].startswith("{"):
                    report.machine = json.loads(line.partition(" ")[2])["machine"]
            except (MeasureError, OutOfTimeError) as error:
                contestants.pop(name).close()
                report.note(f"part a: left out, since it did not get ready: {error}")

        for name, command in commands.items():
            begin(name, command)
        for name, command in waiting.items():
            begin(name, command)
            wait(name)
        for name in commands:
            wait(name)
        found: dict[str, list[float]] = {}
        peaks: dict[str, int | None] = {}
        for turn in range(plan["rounds"]):
            for name in [*waiting, *commands]:
                if name not in contestants:
                    continue
                try:
                    line = contestants[name].ask(
                        "measure", max(1.0, budget.left), "torch" if "PyTorch" in name else "jax"
                    )
                except (MeasureError, OutOfTimeError) as error:
                    contestants.pop(name).close()
                    report.note(f"part a: stopped in round {turn + 1}: {error}")
                    continue
                found.setdefault(name, []).append(float(_number(r"median ([\d.]+) s", line)))
                memory = re.search(r"peak memory (\d+) MiB", line)
                peaks[name] = int(memory[1]) if memory else None
            report.say(f"round {turn + 1} of {plan['rounds']}")
            _enter_steps(report, plan, found, peaks)
            report.write()
        best = plan["timing"][-1]["name"]
        missed = any(goal["met"] != "yes" for goal in report.goals)
        if missed and best in contestants and budget.fits(20.0):
            answer = contestants[best].ask("profile", budget.left, "profile ")
            report.kernels = [{"name": best, "top": json.loads(answer.partition(" ")[2])}]
    report.write()


def _number(pattern: str, line: str) -> str:
    found = re.search(pattern, line)
    if found is None:
        raise MeasureError(f"a line without {pattern}: {line[:200]}")
    return found[1]


def _enter_steps(
    report: Report, plan: Entry, found: Mapping[str, list[float]], peaks: Mapping[str, int | None]
) -> None:
    """Enters what was found so far, and judges the goals by it."""
    size = plan["timing"][0]["batch_size"]
    flops = {timing["name"]: timing["minimum_flops"] for timing in plan["timing"]}
    report.steps = []
    for name, seconds in found.items():
        entry: Entry = {"name": name, "seconds": seconds, "peak_mib": peaks[name]}
        if name.startswith("matrix product"):
            entry["flops"] = 2 * plan["matrix"] ** 3
        else:
            entry["images"] = size
            product = found.get(f"matrix product, {name}")
            if product is not None:
                rates = zip(seconds, product, strict=False)
                entry["share"] = [flops[name] / own / (2 * plan["matrix"] ** 3 / other) for own, other in rates]
        report.steps.append(entry)
    best = plan["timing"][-1]["name"]
    report.goals = []
    goals = {
        f"at least {GOALS['plain']} times PyTorch, float32": ("PyTorch, float32", GOALS["plain"]),
        f"at least {GOALS['tuned']} times PyTorch, channels_last, bfloat16, compiled": (
            "PyTorch, channels_last, bfloat16, compiled",
            GOALS["tuned"],
        ),
    }
    for text, (peer, goal) in goals.items():
        measured, met = "not measured", "not known"
        if best in found and peer in found:
            times = [theirs / ours for ours, theirs in zip(found[best], found[peer], strict=False)]
            measured, met = _spread(times, "{:.2f}"), "yes" if statistics.median(times) >= goal else "no"
        report.goals.append({"goal": f"{best}: {text}", "measured": measured, "met": met})
    if best in found:
        epochs = [EPOCH / size * seconds for seconds in found[best]]
        met = "yes" if statistics.median(epochs) <= GOALS["epoch"] else "no"
        text = f"{best}: an epoch of {EPOCH:,} images in {GOALS['epoch']:.0f} s or less"
        report.goals.append({"goal": text, "measured": _spread(epochs, "{:.1f}") + " s", "met": met})


def slowest(planes: Any, steps: int, count: int = 3) -> list[tuple[str, float, float]]:
    """Returns (kernel, seconds a step, share of all kernels) of those that take the most time.

    Args:
        planes: of a `jax.profiler.ProfileData`: those of GPUs, and of the CPU where there are none.
        steps: that were traced.
        count: how many kernels.
    """
    planes = list(planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    sums: dict[str, float] = {}
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith("Stream"):  # others sum up the same kernels
                continue
            for event in line.events:
                if "hlo_op" in dict(event.stats):
                    sums[event.name] = sums.get(event.name, 0.0) + event.duration_ns / 1e9
    whole = sum(sums.values())
    top = sorted(sums.items(), key=lambda item: -item[1])[:count]
    return [(name, seconds / steps, seconds / whole) for name, seconds in top]


def worker(prepared: Prepared, name: str) -> None:
    """Measures a step, or a matrix product, once for each line of standard input."""
    run = prepared.run
    device = run.Device()
    _check_device(prepared, device)
    step = _product(name.partition(":")[2], prepared.plan["matrix"]) if ":" in name else _step(prepared, name, device)
    begun = time.perf_counter()
    for _ in range(WARM_UP):
        step()
    print(
        f"ready {json.dumps({'machine': device.described(), 'first_seconds': time.perf_counter() - begun})}", flush=True
    )
    for line in sys.stdin:
        if line.strip() == "profile":
            print(f"profile {json.dumps(_profile(step))}", flush=True)
            continue
        seconds = []
        for _ in range(prepared.plan["repeat"]):
            begun = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - begun)
        peak = device.peak_bytes()
        print(
            f"jax: median {statistics.median(seconds):.7f} s" + (f", peak memory {peak // 2**20} MiB" if peak else ""),
            flush=True,
        )


def _step(prepared: Prepared, name: str, device: Any) -> Callable[[], Any]:
    """Returns what makes a training step, and waits for it."""
    (entry,) = (timing for timing in prepared.plan["timing"] if timing["name"] == name)
    folder = prepared.folder(entry["folder"])
    *before, stage = folder.description["stages"]
    teacher = [folder.array(before[0]["state"][place]) for place in before[0]["student"]]
    training = prepared.run.Training(folder, stage, device, teacher)
    state, places = [device.put(array) for array in training.initial()], np.arange(stage["batch_size"])

    def step() -> Any:
        state[:], scalars = training.step(state, places)
        return device.ready([*state, *scalars])

    return step


def _product(dtype: str, size: int) -> Callable[[], Any]:
    """Returns what multiplies two large matrices, and waits for the product."""
    import jax

    left, right = (jax.random.normal(jax.random.key(seed), (size, size), dtype) for seed in range(2))
    product = jax.jit(jax.numpy.matmul)
    return lambda: product(left, right).block_until_ready()


def _profile(step: Callable[[], Any], steps: int = 3) -> list[tuple[str, float, float]]:
    import jax

    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(steps):
                step()
        (path,) = pathlib.Path(folder).rglob("*.xplane.pb")
        return slowest(jax.profiler.ProfileData.from_file(str(path)).planes, steps)


def _check_device(prepared: Prepared, device: Any) -> None:
    found = device.described()["accelerators"]
    if prepared.plan["platform"] == "GPU" and not found:
        raise MeasureError("JAX finds no GPU here, which the programs are for; `prepare --tiny` makes some for a CPU")


# Parts b and c: trainings and attacks.


class Trainer:
    """Trains and attacks what was prepared, as far as the time allows.

    Args:
        prepared: `Prepared`.
        report: `Report`.
        budget: `Budget`.
    """

    def __init__(self, prepared: Prepared, report: Report, budget: Budget) -> None:
        self._prepared, self._report, self._budget = prepared, report, budget
        run = prepared.run
        self._folders: dict[str, Any] = {}
        self._weights: dict[str, Sequence[np.ndarray]] = {}
        self._times: dict[tuple[str, str], float] = {}
        self._evaluations: dict[str, Any] = {}

        class Device(run.Device):  # type: ignore[name-defined]  # a module read at run time
            """Compiles each program once, ahead of its use where that is asked for."""

            def __init__(self) -> None:
                super().__init__()
                cores = os.cpu_count() or 1
                self._pool = concurrent.futures.ThreadPoolExecutor(max(1, min(4, cores // 4)))
                self._programs: dict[str, concurrent.futures.Future] = {}

            def ahead(self, text: str) -> concurrent.futures.Future:
                """Begins to compile a program."""
                digest = hashlib.sha256(text.encode()).hexdigest()
                if digest not in self._programs:
                    self._programs[digest] = self._pool.submit(self._timed, text)
                return self._programs[digest]

            def _timed(self, text: str) -> tuple[Any, float]:
                begun = time.monotonic()
                return super().compiled(text), time.monotonic() - begun

            def compiled(self, text: str) -> Any:
                return self.compiled_in(text)[0]

            def compiled_in(self, text: str) -> tuple[Any, float]:
                """Returns a program, and the seconds that compiling it took."""
                try:
                    return self.ahead(text).result(max(1.0, budget.left))
                except concurrent.futures.TimeoutError:
                    raise OutOfTimeError("stopped, out of time while compiling") from None

            def close(self) -> None:
                """Leaves out what was not begun."""
                self._pool.shutdown(wait=False, cancel_futures=True)

        class Progress(run.Progress):  # type: ignore[name-defined]
            """Ends a piece that takes longer than it may."""

            name, until = "", math.inf

            def show(self, text: str) -> None:
                if time.monotonic() - self._shown >= run.SHOWN_EVERY:
                    self.say(text)
                if time.monotonic() > self.until:
                    raise OutOfTimeError(f"stopped, out of time: {text}")

            def say(self, text: str) -> None:
                report.say(f"{self.name}: {text}")
                self._shown = time.monotonic()

        self._device, self._progress = Device(), Progress()
        report.machine = self._device.described()
        _check_device(prepared, self._device)

    def close(self) -> None:
        """Stops compiling ahead."""
        self._device.close()

    def part_b(self) -> None:
        """Trains a teacher and, in equal time, the students; attacks them."""
        report, budget, students = self._report, self._budget, self._prepared.plan["students"]
        first = self._longest(students[0])
        self._compile_ahead(first, ("teacher",))
        for student in students:
            self._compile_ahead(self._longest(student), ("student",))
        self._compile_attacks_ahead(first)
        teacher = self._train_teacher(students[0], budget.left * SHARES["teacher"])
        if teacher is None:
            return
        each = min(60 * MINUTES_EACH, budget.left * SHARES["students"] / len(students))
        report.say(f"each student has {each:.0f} s of training")
        done = []
        for student in students:
            if self._guarded(student["name"], self._train_student, student, teacher, each):
                done.append(student)
                self._attack(student["name"], short=True)
        for student in done:
            self._attack(student["name"], short=False)

    def part_c(self) -> None:
        """Trains the last network, with a teacher of its own, in what time is left, and attacks it."""
        entry = self._prepared.plan["last"]
        folder = self._longest(entry)
        self._compile_ahead(folder, ("teacher", "student"))
        teacher = self._train_teacher(entry, self._budget.left * SHARES["teacher"])
        if teacher is None:
            return
        if self._guarded(entry["name"], self._train_student, entry, teacher):
            self._attack(entry["name"], short=True)
            self._attack(entry["name"], short=False)

    def _guarded(self, name: str, piece: Callable[..., Any], *arguments: Any) -> Any:
        """Returns what a piece returns, or None where it fails, which is told."""
        try:
            return piece(*arguments)
        except Exception as error:
            self._report.note(f"{name}: {reason(error)}")
            return None

    def _longest(self, entry: Entry) -> Any:
        """Returns the folder of the longest trainings, as it was exported."""
        return self._prepared.folder(entry["folder"])

    def _compile_ahead(self, folder: Any, stages: Sequence[str]) -> None:
        for stage in folder.description["stages"]:
            if stage["name"] in stages:
                for part in ("step", "validation"):
                    self._device.ahead(folder.program(stage[part]["program"]))

    def _compile_attacks_ahead(self, folder: Any) -> None:
        for part in folder.description["evaluation"]["parts"]:
            self._device.ahead(folder.program(part["program"]))

    def _epoch_seconds(self, folder: Any, stage: Entry, teacher: Sequence[np.ndarray]) -> tuple[float, float]:
        """Returns seconds of an epoch with its validation, by a few steps, and those of compiling it."""
        if not self._budget.fits(1.0):
            raise OutOfTimeError("left out, there is no time")
        device, repeat, begun = self._device, self._prepared.plan["repeat"], time.monotonic()
        programs = [folder.program(stage[part]["program"]) for part in ("step", "validation")]
        compiling = sum(device.compiled_in(text)[1] for text in programs)
        training = self._prepared.run.Training(folder, stage, device, teacher)
        validation = self._prepared.run.Validation(folder, stage, device)
        state, places = [device.put(array) for array in training.initial()], np.arange(stage["batch_size"])
        for number in range(WARM_UP + repeat):
            if number == WARM_UP:
                device.ready(state)
                begun = time.monotonic()
            state, _ = training.step(state, places)
        device.ready(state)
        step = (time.monotonic() - begun) / repeat
        validation.run(training.student(state))
        begun = time.monotonic()
        validation.run(training.student(state))
        seconds = step * stage["steps_per_epoch"] + time.monotonic() - begun
        # What is written after an epoch.
        begun = time.monotonic()
        for array in state:
            np.asarray(array)
        return seconds + 2 * (time.monotonic() - begun), compiling

    def _train_teacher(self, entry: Entry, available: float) -> int | None:
        """Returns the epochs of the teacher that was trained; None where there was no time, or it failed."""
        return self._guarded(f"the teacher of {entry['name']}", self._teacher, entry, available)

    def _teacher(self, entry: Entry, available: float) -> int | None:
        name, folder = f"teacher of {entry['model']}", self._longest(entry)
        stage = folder.description["stages"][0]
        seconds, compiling = self._epoch_seconds(folder, stage, ())
        available = min(available, self._budget.left)
        epochs = longest([int(each) for each in entry["rates"]["teacher"]], seconds, available)
        if epochs is None:
            self._report.note(
                f"{name}: left out, an epoch takes {seconds:.1f} s and {max(0.0, available):.1f} s are there"
            )
            return None
        student = max(int(each) for each in entry["rates"]["student"])
        folder = self._prepared.folder(entry["folder"], lengths=(epochs, student), rates=entry["rates"])
        self._train(name, folder, 0, (), epochs, compiling)
        return epochs

    def _train_student(self, entry: Entry, teacher_epochs: int, available: float | None = None) -> bool:
        """Trains a student; returns whether there was time for an epoch.

        Args:
            entry: of the student.
            teacher_epochs: of its teacher.
            available: seconds; a share of what is left once it is compiled if not given.
        """
        name, rates = entry["name"], entry["rates"]
        longest_epochs = max(int(each) for each in rates["student"])
        source = self._prepared.folder(entry["folder"], lengths=(teacher_epochs, longest_epochs), rates=rates)
        teacher = self._teacher_weights(source)
        seconds, compiling = self._epoch_seconds(source, source.description["stages"][1], teacher)
        left = self._budget.left
        available = left * SHARES["last"] if available is None else min(available, left)
        epochs = longest([int(each) for each in rates["student"]], seconds, available)
        if epochs is None:
            self._report.note(
                f"{name}: left out, an epoch takes {seconds:.1f} s and {max(0.0, available):.1f} s are there"
            )
            return False
        folder = self._prepared.folder(entry["folder"], lengths=(teacher_epochs, epochs), rates=rates)
        self._teacher_weights(folder)  # for whoever collects it
        weights = self._train(name, folder, 1, teacher, epochs, compiling, teacher_epochs=teacher_epochs)
        self._folders[name], self._weights[name] = folder, weights
        self._report.keep(self._prepared, self._folders, None)
        return True

    def _teacher_weights(self, folder: Any) -> list[np.ndarray]:
        """Returns the teacher's weights, whose results are put into the folder from the one that trained it."""
        run, of = self._prepared.run, folder.digest_of("teacher")
        results = folder.path / "results"
        for other in sorted(folder.path.parent.glob("*/results/teacher.npz")):
            with contextlib.suppress(run.PortableError):
                if run.Results(other.parent).read("teacher", of) is not None:
                    results.mkdir(exist_ok=True)
                    for name in ("teacher.npz", "teacher_chosen.npz"):
                        if other.parent != results:
                            shutil.copy(other.parent / name, results / name)
                    break
        found = run.Results(results).read("teacher_chosen", of)
        if found is None:
            raise MeasureError("no teacher was trained")
        return run.in_order("weight", found[0])

    def _train(
        self,
        name: str,
        folder: Any,
        place: int,
        teacher: Sequence[np.ndarray],
        epochs: int,
        compiling: float,
        **more: Any,
    ) -> list[np.ndarray]:
        """Returns the weights of a stage that is trained here, entered as far as it came."""
        run, stage = self._prepared.run, folder.description["stages"][place]
        results = run.Results(folder.path / "results")
        training = run.Training(folder, stage, self._device, teacher)
        self._progress.name, self._progress.until = name, time.monotonic() + self._budget.left
        try:
            weights = training.run(results, self._progress)
        except OutOfTimeError as error:
            self._report.note(f"{name}: {error}")
            found = results.read(f"{stage['name']}_chosen", folder.digest_of(stage["name"]))
            if found is None:
                raise
            weights = run.in_order("weight", found[0])
        history = results.read(stage["name"], folder.digest_of(stage["name"]))[1]["history"]
        # By what each epoch recorded: an epoch may have been trained by a command before this one.
        images, done = stage["steps_per_epoch"] * stage["batch_size"], len(history)
        seconds = sum(images / logs["images_per_second"] for logs in history)
        own = {"epochs": epochs, "done": done, "seconds": seconds, "seconds_an_epoch": seconds / done}
        own["validation"] = {name: value for name, value in history[-1].items() if name.startswith("val_")}
        self._report.network(name, **own, compile_seconds=compiling, seed=stage["seed"], **more)
        self._report.write()
        return weights

    def _attack(self, name: str, *, short: bool) -> None:
        """Attacks a student with the last of the evaluations, or with those before it, which are short."""
        *others, last = self._prepared.plan["evaluations"]
        for attack, count in others if short else [last]:
            known = self._times.get((self._model_of(name), attack))
            expected = GUESSES.get(attack, OTHER) if known is None else 1.2 * known
            if not self._budget.fits(expected):
                there = f"{max(0.0, self._budget.left):.0f} s are there"
                self._report.note(f"{name}: {attack} is left out, it takes about {expected:.0f} s and {there}")
                continue
            self._guarded(f"{name}, {attack}", self._evaluate, name, attack, count)

    def _model_of(self, name: str) -> str:
        plan = self._prepared.plan
        return next(entry["model"] for entry in [*plan["students"], plan["last"]] if entry["name"] == name)

    def _evaluate(self, name: str, attack: str, count: int) -> None:
        folder, run = self._folders[name], self._prepared.run
        results = run.Results(folder.path / "results")
        if name not in self._evaluations:
            self._evaluations = {name: run.Evaluation(folder, self._device, self._weights[name], results)}
        self._progress.name, self._progress.until = name, time.monotonic() + self._budget.left
        begun = time.monotonic()
        self._evaluations[name].run(attack, count, self._progress)
        self._times[self._model_of(name), attack] = time.monotonic() - begun
        of = folder.digest_of_attack(attack, count, self._weights[name])
        arrays, notes = results.read(f"attack_{attack}_{count}", of)
        entry = self._report.network(name)
        standing = int(np.count_nonzero(arrays["state"] >= 0))
        entry["attacks"][attack] = {"standing": standing, "images": count, "seconds": notes["seconds"]}
        self._report.keep(self._prepared, self._folders, self._best(name, attack))
        self._report.write()

    def _best(self, name: str, attack: str) -> tuple[str, Sequence[np.ndarray]] | None:
        """Returns a student whose weights are to be kept: the best so far under the last of the short attacks."""
        deciding = self._prepared.plan["evaluations"][-2][0]
        if attack != deciding:
            return None
        found = {
            each["name"]: each["attacks"][deciding]["standing"]
            for each in self._report.networks
            if deciding in each["attacks"]
        }
        return (name, self._weights[name]) if found[name] == max(found.values()) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs what the command line says; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("folder", metavar="FOLDER", type=pathlib.Path, help="what `prepare` wrote")
    parser.add_argument("--output", type=pathlib.Path, default="found", help="folder to write into")
    parser.add_argument("--parts", default=",".join(PARTS), help="those to measure, separated by commas; all of them")
    parser.add_argument("--minutes", type=float, default=9.0, help="after which it ends")
    default = pathlib.Path(tempfile.gettempdir()) / "agkd_tf_gpu"
    parser.add_argument("--work", type=pathlib.Path, default=default, help="folder for images and trainings")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        parts = [part for part in given.parts.split(",") if part]
        if not parts or set(parts) - set(PARTS):
            raise MeasureError(f"--parts must be of {', '.join(PARTS)}. Received: {given.parts}")
        budget = Budget(60 * given.minutes)
        if not budget.left > 0:
            raise MeasureError(f"--minutes must be more than {CLOSING / 60:.2f}. Received: {given.minutes}")
        prepared = Prepared(given.folder, given.work)
        if given.worker:
            worker(prepared, given.worker)
            return 0
        report = Report(given.output, prepared.plan, budget)
        report.write()
        report.say("making the arrays of images ...")
        prepared.make_arrays()
        report.say("the images are those that TensorFlow reads, bit for bit")
        measure(parts, prepared, report, budget, given.work)
    except MeasureError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error.filename}: {error.strerror}" if error.filename else f"error: {error}", file=sys.stderr)
        return 2
    return 0


def measure(parts: Sequence[str], prepared: Prepared, report: Report, budget: Budget, work: pathlib.Path) -> None:
    """Measures parts in their order; one that fails is told of, and the next goes on."""
    trainer: Trainer | None = None
    for part in sorted(parts):
        report.begin(part)
        try:
            if part == "a":
                part_a(prepared, report, budget, work)
                continue
            trainer = trainer or Trainer(prepared, report, budget)
            trainer.part_b() if part == "b" else trainer.part_c()
        except Exception as error:
            report.note(f"part {part} ended: {reason(error)}")
    if trainer:
        trainer.close()
    report.write()
    report.say(f"done: {report._output / 'summary.md'}")


if __name__ == "__main__":
    sys.exit(main())
