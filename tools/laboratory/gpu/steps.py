"""Times training steps, taking turns with the peers and with a matrix product."""

import contextlib
import importlib.util
import json
import os
import pathlib
import queue
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tools.laboratory.gpu.budget import Budget
from tools.laboratory.gpu.errors import MeasureError, OutOfTimeError
from tools.laboratory.gpu.prepared import Entry, Prepared, check_device
from tools.laboratory.gpu.report import EPOCH, Report, spread

ROOT = pathlib.Path(__file__).resolve().parents[3]
PEER = ROOT / "tools" / "laboratory" / "peers" / "training_step.py"
WARM_UP = 3  # steps
SHARE = 0.75  # of the time that is left, at most, until all contestants are ready
READY = 240.0  # seconds, at most, until all contestants are ready
GOALS = {"plain": 2.0, "tuned": 1.2, "epoch": 40.0}


class Contestant:
    """A process that prints `ready`, and then measures once for each line that it is sent.

    Args:
        name: name in the table.
        command: the command line.
        log: file for its standard error.
    """

    def __init__(self, name: str, command: Sequence[str], log: pathlib.Path) -> None:
        self.name, self._log = name, log
        environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}  # several share the device
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env=environment,
                cwd=ROOT,
            )
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self._process.stdout is not None  # it is a pipe
        for line in self._process.stdout:
            self._lines.put(line.strip())
        self._lines.put(None)

    def answer(self, seconds: float, begins: str) -> str:
        """Returns the next line that begins with the text `begins`.

        Raises:
            MeasureError: if the process ends first.
            OutOfTimeError: if it takes longer than `seconds`.
        """
        until = time.monotonic() + seconds
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                raise OutOfTimeError(f"{self.name}: no answer after {seconds:.0f} s") from None
            if line is None:
                errors = self._log.read_text(errors="replace").strip().splitlines() or ["it ended without a message"]
                raise MeasureError(f"{self.name}: {errors[-1][:300]}")
            if line.startswith(begins):
                return line

    def ask(self, question: str, seconds: float, begins: str) -> str:
        """Sends a line; returns the answer, as `answer` does."""
        assert self._process.stdin is not None  # it is a pipe
        with contextlib.suppress(BrokenPipeError):  # the answer says why
            self._process.stdin.write(f"{question}\n")
            self._process.stdin.flush()
        return self.answer(seconds, begins)

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def time_steps(prepared: Prepared, report: Report, budget: Budget, work: pathlib.Path) -> None:
    """Times the steps, taking turns with the peers and with a matrix product."""
    plan = prepared.plan
    own = [sys.executable, "-m", "tools.laboratory.gpu.measure", str(prepared.path), f"--work={work}"]
    peer = [sys.executable, str(PEER), *plan["peer"], "--turns"]
    commands = {
        "PyTorch, channels_last, bfloat16, compiled": [*peer, "--channels_last", "--bfloat16", "--compile"],
        "PyTorch, float32": peer,
    }
    if importlib.util.find_spec("torch") is None:
        report.note(
            "PyTorch is not installed here: part a leaves out its steps, and the goals that are relative to them"
        )
        commands = {}
    waiting = {timing["name"]: [*own, f"--worker={timing['name']}"] for timing in plan["timing"]}
    waiting |= {
        f"matrix product, {each['name']}": [*own, f"--worker=product:{each['name']}"] for each in plan["timing"]
    }
    with contextlib.ExitStack() as stack:
        # The compiled peer takes longest to get ready, on the CPU. Ours try kernels on the GPU, hence one at a time.
        contestants: dict[str, Contestant] = {}
        limit = budget.spent + min(READY, budget.left * SHARE)

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
                report.note(f"part a: left out because it did not get ready: {error}")

        for name, command in commands.items():
            begin(name, command)
        for name, command in reversed(waiting.items()):  # what the goals are about comes first
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
        raise MeasureError(f"a line does not have {pattern}: {line[:200]}")
    return found[1]


def _enter_steps(
    report: Report, plan: Entry, found: Mapping[str, list[float]], peaks: Mapping[str, int | None]
) -> None:
    """Records what was measured so far, and which goals it meets."""
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
        f"at least {GOALS['plain']} times as fast as PyTorch, float32": ("PyTorch, float32", GOALS["plain"]),
        f"at least {GOALS['tuned']} times as fast as PyTorch, channels_last, bfloat16, compiled": (
            "PyTorch, channels_last, bfloat16, compiled",
            GOALS["tuned"],
        ),
    }
    for text, (peer, goal) in goals.items():
        measured, met = "not measured", "not known"
        if best in found and peer in found:
            times = [theirs / ours for ours, theirs in zip(found[best], found[peer], strict=False)]
            measured, met = spread(times, "{:.2f}"), "yes" if statistics.median(times) >= goal else "no"
        report.goals.append({"goal": f"{best}: {text}", "measured": measured, "met": met})
    if best in found:
        epochs = [EPOCH / size * seconds for seconds in found[best]]
        met = "yes" if statistics.median(epochs) <= GOALS["epoch"] else "no"
        text = f"{best}: an epoch of {EPOCH:,} images in {GOALS['epoch']:.0f} s or less"
        report.goals.append({"goal": text, "measured": spread(epochs, "{:.1f}") + " s", "met": met})


def slowest(planes: Any, steps: int, count: int = 3) -> list[tuple[str, float, float]]:
    """Returns (kernel, seconds per step, share of the time of all kernels) of the slowest kernels.

    Args:
        planes: planes of a `jax.profiler.ProfileData`; those of GPUs are read, or the CPU's if there are none.
        steps: number of steps that were traced.
        count: number of kernels to return.
    """
    planes = list(planes)
    devices = [plane for plane in planes if plane.name.startswith("/device:GPU")]
    sums: dict[str, float] = {}
    for plane in devices or planes:
        for line in plane.lines:
            if devices and not line.name.startswith("Stream"):  # the other lines sum up the same kernels
                continue
            for event in line.events:
                if "hlo_op" in dict(event.stats):
                    sums[event.name] = sums.get(event.name, 0.0) + event.duration_ns / 1e9
    whole = sum(sums.values())
    top = sorted(sums.items(), key=lambda item: -item[1])[:count]
    return [(name, seconds / steps, seconds / whole) for name, seconds in top]


def worker(prepared: Prepared, name: str) -> None:
    """Times a step, or a matrix product, once for each line of standard input."""
    run = prepared.run
    device = run.Device()
    check_device(prepared, device)
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
    """Returns a function that runs a training step and waits for it."""
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
    """Returns a function that multiplies two large matrices and waits for the product."""
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
