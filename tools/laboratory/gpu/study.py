"""Trains and attacks the networks of the study, several at a time, since small networks leave most of a GPU idle."""

import contextlib
import io
import json
import pathlib
import queue
import sys
import threading
import zipfile
from collections.abc import Sequence
from typing import Any

from tools.laboratory.gpu.budget import Budget
from tools.laboratory.gpu.device import compile_ahead, compiling_device
from tools.laboratory.gpu.errors import MeasureError, OutOfTimeError, reason
from tools.laboratory.gpu.prepared import Entry, Prepared, check_device
from tools.laboratory.gpu.report import LARGEST, LARGEST_FILE, Report
from tools.laboratory.gpu.steps import Contestant

WORKER = "study"
COMPILING = 600.0  # seconds, at most; whoever asks has a limit of its own


def run_study(
    prepared: Prepared, report: Report, budget: Budget, work: pathlib.Path, names: Sequence[str], workers: int
) -> None:
    """Trains and attacks networks of the study, in the order given, and writes what `collect` takes of each.

    Args:
        prepared: `Prepared`.
        report: `Report`.
        budget: `Budget`.
        work: folder of the trainings.
        names: which networks.
        workers: number of processes.
    """
    entries = [next(entry for entry in prepared.plan["study"] if entry["name"] == name) for name in names]
    waiting: queue.Queue[Entry] = queue.Queue()
    for entry in entries:
        waiting.put(entry)
    command = [sys.executable, "-m", "tools.laboratory.gpu.measure", str(prepared.path), f"--work={work}"]
    lock = threading.Lock()

    def worker(number: int) -> None:
        contestant = Contestant(
            f"worker {number}", [*command, f"--worker={WORKER}"], work / "logs" / f"study_{number}.txt"
        )
        try:
            while True:
                try:
                    entry = waiting.get_nowait()
                except queue.Empty:
                    return
                try:
                    answer = contestant.ask(entry["name"], max(1.0, budget.left), "study ")
                except (MeasureError, OutOfTimeError) as error:
                    with lock:
                        report.fail(f"{entry['name']}: {reason(error)}")
                    return
                with lock:
                    found = json.loads(answer.partition(" ")[2])
                    if "error" in found:
                        report.fail(f"{entry['name']}: {found['error']}")
                    else:
                        report.study = [*(each for each in report.study if each["name"] != entry["name"]), found]
                        report.say(f"{entry['name']}: {_line(found)}")
                    report.write()
        finally:
            contestant.close()

    threads = [threading.Thread(target=worker, args=[number]) for number in range(min(workers, len(entries)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for entry in list(waiting.queue):
        report.note(f"{entry['name']}: left out, since no worker was left or there was no time")
    _pack(prepared, report, entries)


def _line(found: Entry) -> str:
    attacks = ", ".join(f"{name} {100 * value:.2f}" for name, value in found["attacks"].items())
    return f"{attacks}; {found['train_seconds']:.0f} s of training steps"


def study_worker(prepared: Prepared) -> None:
    """Trains and attacks the network that each line of standard input names; prints a line of JSON for each."""
    run = prepared.run
    device = compiling_device(run, lambda: COMPILING)
    check_device(prepared, device)

    class Progress(run.Progress):  # type: ignore[name-defined]  # a module read at run time
        """Writes to standard error, since standard output has the answers."""

        def show(self, text: str) -> None:
            pass

        def say(self, text: str) -> None:
            print(text, file=sys.stderr, flush=True)

    for line in sys.stdin:
        name = line.strip()
        try:
            found = _study(prepared, name, device, Progress())
        except Exception as error:
            found = {"error": reason(error)}
        print(f"study {json.dumps(found)}", flush=True)


def _study(prepared: Prepared, name: str, device: Any, progress: Any) -> Entry:
    run = prepared.run
    (entry,) = (each for each in prepared.plan["study"] if each["name"] == name)
    folder = prepared.folder(entry["folder"])
    compile_ahead(device, folder, ("teacher", "student"), attacks=True)
    results = run.Results(folder.path / "results")
    student = run.train(folder, device, results, progress)
    evaluation, attacks = run.Evaluation(folder, device, student, results), {}
    for attack, count in prepared.plan["study_evaluations"]:
        evaluation.run(attack, count, progress)
        arrays, _ = results.read(f"attack_{attack}_{count}", folder.digest_of_attack(attack, count, student))
        attacks[attack] = float((arrays["state"] >= 0).mean())
    stage = folder.description["stages"][-1]
    history = results.read("student", folder.digest_of("student"))[1]["history"]
    images = stage["steps_per_epoch"] * stage["batch_size"]
    seconds = sum(images / logs["images_per_second"] for logs in history)
    return {"name": name, "attacks": attacks, "train_seconds": seconds, "epochs": stage["epochs"]}


def _pack(prepared: Prepared, report: Report, entries: Sequence[Entry]) -> None:
    """Writes the folders of finished networks, without programs and arrays, into archives small enough to travel."""
    for path in report.output.glob("study_*.zip"):
        path.unlink()
    written, number, left = 0, 0, []
    draft = io.BytesIO()

    def close() -> None:
        nonlocal draft, number, written
        if draft.tell():
            (report.output / f"study_{number}.zip").write_bytes(draft.getvalue())
            written += draft.tell()
            draft, number = io.BytesIO(), number + 1

    for entry in entries:
        folder = prepared.folder(entry["folder"]).path
        if not (folder / "results" / "student.npz").exists():
            continue
        files = [folder / "recipe.flags", folder / "portable.json", *sorted((folder / "results").glob("*.npz"))]
        size = sum(path.stat().st_size for path in files)
        if draft.tell() + size > LARGEST_FILE:
            close()
        if written + draft.tell() + size > LARGEST:
            left.append(entry["name"])
            continue
        with contextlib.closing(zipfile.ZipFile(draft, "a", zipfile.ZIP_DEFLATED)) as archive:
            for path in files:
                archive.write(path, f"{entry['name']}/{path.relative_to(folder)}")
    close()
    if left:
        report.note(f"for lack of room, some are not in the archives: --study={','.join(left)} fetches them")
