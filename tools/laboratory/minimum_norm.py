"""Compares FMN and DDN with adversarial-library's on the same network, images and machine.

  python3 -m venv peer && peer/bin/pip install torch adv-lib numpy
  python -m tools.laboratory.minimum_norm --workdir=runs/cifar10_small/at --peer_python=peer/bin/python \
    --output=runs/minimum_norm

torch is not a requirement of this project, so adv-lib runs in its own environment. One side runs after the other. Both
sides' adversaries are judged by the network here. The table compares norms per image, of the images that are classified
correctly without an attack, and seconds (ours include tracing).
"""

import json
import pathlib
import re
import subprocess
import sys
import time
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

from agkd_tf.attacks import DDN, FMN, Ball, MinimumNormAttack, Norm
from agkd_tf.attacks.fmn import STEP_SIZES
from agkd_tf.cores import leave_cores_to_images
from agkd_tf.errors import InputError
from agkd_tf.evaluation.result import format_norm, quantile
from agkd_tf.files import write_text
from agkd_tf.models import Classifier
from agkd_tf.types import Array
from tools import _app, _flags
from tools.laboratory.attacked_run import attacked_run
from tools.laboratory.numbered_weights import numbered_weights

FLAGS = flags.FLAGS
# Attack, norm, and whether the peer's projection is put right.
COMPARED: tuple[tuple[type[MinimumNormAttack], Norm, bool], ...] = (
    (FMN, "linf", False),
    (FMN, "l2", False),
    (FMN, "l2", True),
    (DDN, "l2", False),
)

flags.DEFINE_string("workdir", None, "Folder of the run to attack; its model must be a wide residual network.")
flags.DEFINE_string("peer_python", None, "Path of the Python of an environment with torch and adv-lib.")
flags.DEFINE_string("output", None, "Folder to write the comparison into.")
flags.DEFINE_integer("num_examples", 200, "Attack the first N test images.", 1)
flags.DEFINE_integer("batch_size", 100, "Images per batch.", 1)
flags.DEFINE_integer("steps", 100, "Iterations of each attack.", 1)
flags.DEFINE_integer("threads", 2, "CPU threads that each side uses.", 1)
_flags.define_data_place()


class Row(NamedTuple):
    """One attack on both sides: norms per image, float [n], of images that are correct without an attack; seconds."""

    name: str
    norm: Norm
    ours: np.ndarray
    theirs: np.ndarray
    our_seconds: float
    their_seconds: float


def main(argv: list[str]) -> None:
    """Runs the attacks on both sides and prints the comparison."""
    del argv
    for name in ("workdir", "peer_python", "output"):
        if not FLAGS[name].value:
            raise InputError(f"`{name}` is needed: --{name}=...")
    leave_cores_to_images(FLAGS.threads)
    _, recipe, classifier, examples = attacked_run(FLAGS.workdir, FLAGS.num_examples)
    network = re.fullmatch(r"wrn-(\d+)-(\d+)", recipe.model)
    if not network:
        raise InputError(f"`workdir` must be the run of a wide residual network. Received: {recipe.model}")
    images = np.asarray(examples.images) / np.float32(255)
    logits = np.asarray(classifier.logits(tf.constant(images)))
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    weights = numbered_weights(classifier.model)
    np.savez(folder / "problem.npz", images=images, labels=examples.labels, logits=logits, **weights)
    problem = {"threads": FLAGS.threads, "batch_size": FLAGS.batch_size}
    write_text(folder / "problem.json", json.dumps(problem | {"depth": int(network[1]), "width": int(network[2])}))

    rows = []
    for kind, norm, projected in COMPARED:
        attack = kind(FLAGS.steps)
        start = time.perf_counter()
        everything = 1.0 if norm == "linf" else float(np.sqrt(images[0].size))
        adversaries = attack(
            classifier.logits, images, examples.labels, eps=everything, norm=norm, batch_size=FLAGS.batch_size
        )
        seconds = time.perf_counter() - start
        peer = _peer(folder, attack, norm, projected)
        both = [
            _norms(classifier, images, each, examples.labels, norm)
            for each in (adversaries, np.load(folder / "peer.npz")["adversaries"])
        ]
        ours, theirs = (each[logits.argmax(1) == examples.labels] for each in both)
        title = f"{attack.name}, {norm}" + (", the peer's projection put right" if projected else "")
        rows.append(Row(title, norm, ours, theirs, seconds, peer["seconds"]))
        print(f"{title}: {seconds:.0f} s, adv-lib {peer['seconds']:.0f} s", flush=True)
        table = (
            f"{len(ours)} correctly classified of {len(examples)} images; CPU threads {FLAGS.threads}; "
            f"{peer['versions']}, TensorFlow {tf.__version__}\n\n{_table(rows)}\n"
        )
        write_text(folder / "minimum_norm.md", table)
    print(f"\n{table}\nRecorded in {folder / 'minimum_norm.md'}")


def _peer(folder: pathlib.Path, attack: MinimumNormAttack, norm: Norm, projected: bool) -> dict[str, Any]:
    """Runs an attack with adv-lib; returns what its script writes to `peer.json`: `seconds`, `versions`."""
    script = pathlib.Path(__file__).parent / "peers" / "minimum_norm.py"
    kind = attack.name.partition("-")[0]
    settings = (kind, norm, str(attack.steps), str(STEP_SIZES[norm]), "projected" if projected else "released")
    if subprocess.run([FLAGS.peer_python, str(script), str(folder), *settings], check=False).returncode:
        sys.exit(1)
    return json.loads((folder / "peer.json").read_text())


def _norms(
    classifier: Classifier, images: np.ndarray, adversaries: Array, labels: np.ndarray, norm: Norm
) -> np.ndarray:
    """Returns float32 [N], the perturbations' norms; infinity where the network is not fooled."""
    adversaries = np.clip(adversaries, 0, 1)
    seen = np.asarray(classifier.logits(tf.constant(adversaries))).argmax(1)
    return np.where(seen != labels, Ball(norm, 0.0).length(adversaries - images), np.inf)


def _table(rows: list[Row]) -> str:
    lines = [
        "| attack | median norm | adv-lib | within 1 % | within 5 % | smaller by over 1 % | larger by over 1 % "
        "| not fooled | adv-lib | seconds | adv-lib |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ratio = np.where(np.isinf(row.ours) & np.isinf(row.theirs), 1.0, row.ours / row.theirs)
        shares = (np.abs(ratio - 1) <= 0.01, np.abs(ratio - 1) <= 0.05, ratio < 0.99, ratio > 1.01)
        lines.append(
            f"| {row.name} | "
            + " | ".join(format_norm(quantile(norms, 0.5), row.norm) for norms in (row.ours, row.theirs))
            + " | "
            + " | ".join(f"{100 * np.mean(share):.1f} %" for share in shares)
            + f" | {np.isinf(row.ours).sum()} | {np.isinf(row.theirs).sum()} | {row.our_seconds:.1f} | "
            f"{row.their_seconds:.1f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    _app.run(main)
