"""Writes the results: a page, the numbers, and what is kept of the trainings."""

import contextlib
import hashlib
import io
import json
import math
import pathlib
import statistics
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tools.laboratory.gpu.budget import Budget
from tools.laboratory.gpu.prepared import Entry, Prepared

EPOCH = 50_000  # images
LARGEST_FILE, LARGEST, MOST_FILES = 15 * 2**20, 60 * 2**20, 8  # bytes per file and in all, and files, that are written
VALIDATION = ("val_accuracy", "val_robust_accuracy")


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Returns (low, high), Wilson's 95 % interval of a proportion."""
    z = 1.959963984540054
    share, square = successes / trials, z * z / trials
    middle = share + square / 2
    half = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials))
    return max(0.0, (middle - half) / (1 + square)), min(1.0, (middle + half) / (1 + square))


def table(heading: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (heading, ["---"] * len(heading), *rows))


class Report:
    """The results, rewritten after each piece.

    Args:
        output: folder to write into.
        plan: what is to be measured.
        budget: `Budget`.
    """

    def __init__(self, output: pathlib.Path, plan: Entry, budget: Budget) -> None:
        self.output, self._plan, self._budget = output, plan, budget
        self.machine: Entry = {}
        self.steps: list[Entry] = []
        self.goals: list[Entry] = []
        self.kernels: list[Entry] = []
        self.networks: list[Entry] = []
        self.study: list[Entry] = []
        self.notes: dict[str, list[str]] = {}  # by part
        self.part, self.failed = "", False
        self.weights: str | None = None
        output.mkdir(parents=True, exist_ok=True)
        # A second command adds to what the first one found.
        with contextlib.suppress(OSError, ValueError):
            for name, value in json.loads((output / "results.json").read_text()).items():
                setattr(self, name, value)

    def say(self, text: str) -> None:
        """Prints a line with the time spent so far."""
        print(f"[{self._budget.spent:5.0f} s] {text}", flush=True)

    def note(self, text: str) -> None:
        """Prints and records what was left out or failed."""
        self.say(text)
        self.notes.setdefault(self.part, []).append(text)
        self.write()

    def fail(self, text: str) -> None:
        """Prints and records a failure."""
        self.failed = True
        self.note(text)

    def begin(self, part: str) -> None:
        """Begins a part, and drops its notes from an earlier measurement."""
        self.part = part
        self.notes.pop(part, None)
        self.say(f"part {part}, {self._budget.left:.0f} s are left")

    def network(self, name: str, **found: Any) -> Entry:
        """Adds `found` to the entry of a network; returns the entry."""
        entry = next((each for each in self.networks if each["name"] == name), None)
        if entry is None:
            entry = {"name": name, "attacks": {}}
            self.networks.append(entry)
        entry.update(found)
        return entry

    def write(self) -> None:
        """Writes `results.json` and `summary.md`."""
        names = ("machine", "steps", "goals", "kernels", "networks", "study", "notes", "weights")
        content = {name: getattr(self, name) for name in names}
        _replace(self.output / "results.json", (json.dumps(content, indent=1) + "\n").encode())
        _replace(self.output / "summary.md", self.text().encode())

    def text(self) -> str:
        """Returns the summary, in Markdown."""
        machine = ", ".join(f"{name} {_shown(value)}" for name, value in self.machine.items())
        parts = ["# What was measured", machine or "No device was reached yet."]
        if self.steps:
            parts += [f"## Seconds per step\n\n{self._steps_text()}", self._steps_table()]
        if self.goals:
            rows = [[each["goal"], each["measured"], each["met"]] for each in self.goals]
            parts += [table(("goal", "median (least-greatest of the rounds)", "met"), rows)]
        for each in self.kernels:
            rows = [
                [f"`{name[:100]}`", f"{1000 * seconds:.2f}", f"{share:.1%}"] for name, seconds, share in each["top"]
            ]
            parts += [
                f"The slowest kernels of {each['name']}, with the times of equal names summed:",
                table(("kernel", "ms per step", "share of all kernels"), rows),
            ]
        if self.networks:
            parts += ["## Networks", self._networks_text(), self._networks_table()]
        if self.study:
            parts += ["## Study", self._study_table()]
        if self.weights:
            parts += [f"## Weights\n\n{self.weights}"]
        if self.notes:
            parts += [
                "## Left out or failed\n\n"
                + "\n".join(f"- {note}" for part in sorted(self.notes) for note in self.notes[part])
            ]
        return "\n\n".join(parts) + "\n"

    def _steps_text(self) -> str:
        first = self._plan["timing"][0]
        return (
            f"AGKD-BML, {first['model']}, batches of {first['batch_size']}, {first['flops'] / 1e12:.4g} TFLOP per step "
            f"(the minimum is {first['minimum_flops'] / 1e12:.4g}). Figures are medians, with the least and the "
            f"greatest of {self._plan['rounds']} rounds, in which all take turns; ratios compare images per second, "
            f"round by round. An epoch is {EPOCH:,} images, and counts steps only. Neither library's default precision "
            "of float32 products was changed. The step here has augmentation, the peer's has none."
        )

    def _steps_table(self) -> str:
        rows = []
        for step in self.steps:
            if "images" in step:
                share = step.get("share")
                rows.append(
                    [
                        step["name"],
                        spread(step["seconds"], "{:.4f}"),
                        f"{step['images'] / statistics.median(step['seconds']):,.0f}",
                        f"{EPOCH / step['images'] * statistics.median(step['seconds']):.1f}",
                        "" if share is None else spread(share, "{:.0%}"),
                        "" if step["peak_mib"] is None else f"{step['peak_mib']:,}",
                    ]
                )
            else:
                rate = [step["flops"] / seconds / 1e12 for seconds in step["seconds"]]
                rows.append(
                    [step["name"], spread(step["seconds"], "{:.6f}"), "", "", spread(rate, "{:.4g} TFLOP/s"), ""]
                )
        heading = ("", "seconds", "images/s", "s per epoch", "share of the matrix product's rate", "peak memory, MiB")
        return table(heading, rows)

    def _networks_text(self) -> str:
        first = self._plan["students"][0]
        return (
            f"CIFAR-10, {first['precision']}, one-cycle learning rate, seed {first['seed']}; the weights are the last "
            f"epoch's. A student with a teacher begins with its weights. The students of {first['model']} had equal "
            "time, a teacher's included. Seconds are those of training steps, without a teacher's; compiling has a "
            "column of its own. Validation is accuracy in % on held-out images after the last epoch: clean and, for "
            "students, under a short attack. The columns of the attacks show accuracy in % on the first test images, "
            "with Wilson's 95 % intervals."
        )

    def _networks_table(self) -> str:
        attacks = [(name, count) for name, count in self._plan["evaluations"]]
        rows = []
        for each in self.networks:
            row = [
                each["name"],
                str(each.get("taught_by") or each.get("teacher_epochs") or ""),
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
        heading = [
            "",
            "teacher, or epochs of the clean one",
            "epochs",
            "training, s",
            "s per epoch",
            "compiling, s",
            "validation",
        ]
        return table([*heading, *(f"{name}, {count:,} images" for name, count in attacks)], rows)

    def _study_table(self) -> str:
        attacks = self._plan["study_evaluations"]
        rows = [
            [
                each["name"],
                str(each["epochs"]),
                f"{each['train_seconds']:.0f}",
                *(f"{100 * each['attacks'][name]:.2f}" for name, _ in attacks),
            ]
            for each in self.study
        ]
        return table(["", "epochs", "training, s", *(f"{name}, {count:,} images" for name, count in attacks)], rows)

    def keep(
        self, prepared: Prepared, folders: Mapping[str, Any], best: tuple[str, Sequence[np.ndarray]] | None
    ) -> None:
        """Writes histories and outcomes of the trained networks, and the best student's weights.

        Args:
            prepared: `Prepared`.
            folders: name of a network -> its portable folder.
            best: name of a student, and its weights; None to keep the file that exists.
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
        _replace(self.output / "trained.zip", draft.getvalue())
        if best is None:
            return
        name, weights = best
        draft = io.BytesIO()
        named = {f"weight_{place}": array for place, array in enumerate(weights)}
        np.savez_compressed(draft, **named)  # type: ignore[arg-type]  # NumPy's own arguments have other names
        content = draft.getvalue()
        pieces = [content[begin : begin + LARGEST_FILE] for begin in range(0, len(content), LARGEST_FILE)]
        before = list(self.output.glob("weights.npz.*"))
        others = [path for path in self.output.iterdir() if path.is_file() and path not in before]
        size = len(content) + sum(path.stat().st_size for path in others)
        if len(others) + len(pieces) > MOST_FILES or size > LARGEST:
            self.note(f"{name}: its weights are left out: {len(content) / 2**20:.0f} MiB are too many")
            return
        for path in before:
            path.unlink()
        for number, piece in enumerate(pieces):
            _replace(self.output / f"weights.npz.{number}", piece)
        self.weights = (
            f"Those of {name}, in the order of the model's variables. `cat weights.npz.* > weights.npz` joins them; "
            f"its SHA-256 is {hashlib.sha256(content).hexdigest()}."
        )


def _replace(path: pathlib.Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}")
    draft.write_bytes(content)
    draft.replace(path)


def _shown(value: Any) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)


def spread(values: Sequence[float], form: str) -> str:
    """Returns the median, with the least and the greatest value."""
    middle, low, high = (form.format(value) for value in (statistics.median(values), min(values), max(values)))
    return f"{middle} ({low.split()[0]}-{high.split()[0]})"
