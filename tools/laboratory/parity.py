"""Compares AutoAttack's parts with those of another implementation on the same network, images and machine.

  python3 -m venv peer && peer/bin/pip install torch pyautoattack numpy
  python -m tools.laboratory.parity --workdir=runs/cifar10_small/at --peer_python=peer/bin/python --output=runs/parity

pyautoattack is the authors' code as a package; --implementation=torchattacks compares with torchattacks instead. torch
is not a requirement of this project, so the other side runs in an environment of its own. Both sides run each part
alone on all images, one side after the other. The table compares their robust accuracy, how many images they agree on,
and their seconds (ours include tracing). The two sides' random numbers differ, but for `apgd-ce-same-start`: there
both sides' APGD-CE begins at the same points, which needs pyautoattack.
"""

import dataclasses
import json
import pathlib
import re
import subprocess
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags

from agkd_tf.attacks import NORMS, Ball, bound
from agkd_tf.cores import leave_cores_to_images
from agkd_tf.errors import InputError
from agkd_tf.evaluation import run_attack
from agkd_tf.files import write_text
from tools import _app, _flags
from tools.laboratory.attacked_run import attacked_run
from tools.laboratory.numbered_weights import numbered_weights

FLAGS = flags.FLAGS
PARTS = ("apgd-ce", "apgd-t", "fab-t", "square")
SAME_START = "apgd-ce-same-start"
OTHERS = ("autoattack", SAME_START)

flags.DEFINE_string("workdir", None, "Folder of the run to attack; its model must be a wide residual network.")
flags.DEFINE_string("peer_python", None, "Path of the Python of an environment with torch and --implementation.")
flags.DEFINE_enum("implementation", "pyautoattack", ["pyautoattack", "torchattacks"], "Implementation to compare with.")
flags.DEFINE_string("output", None, "Folder to write the comparison into.")
_flags.define_eps("attack")
flags.DEFINE_enum("norm", "linf", list(NORMS), "Norm of the ball.")
flags.DEFINE_integer("num_examples", 500, "Attack the first N test images.", 1)
flags.DEFINE_integer("batch_size", 100, "Images per batch.", 1)
flags.DEFINE_list("seeds", ["0", "1"], "Seeds, separated by commas.")
flags.DEFINE_list("attacks", list(PARTS), f"Attacks to compare, separated by commas: {', '.join((*PARTS, *OTHERS))}.")
flags.DEFINE_integer("threads", 2, "CPU threads that each side uses.", 1)
_flags.define_data_place()


def main(argv: list[str]) -> None:
    """Runs the attacks on both sides and prints the comparison."""
    del argv
    for name in ("workdir", "peer_python", "output"):
        if not FLAGS[name].value:
            raise InputError(f"`{name}` is needed: --{name}=...")
    if not FLAGS.attacks or set(FLAGS.attacks) - {*PARTS, *OTHERS}:
        raise InputError(
            f"`attacks` must be among {', '.join((*PARTS, *OTHERS))}. Received: {','.join(FLAGS.attacks)!r}"
        )
    if SAME_START in FLAGS.attacks and FLAGS.implementation != "pyautoattack":
        raise InputError(f"`attacks`: {SAME_START} needs --implementation=pyautoattack")
    if not FLAGS.seeds or not all(re.fullmatch("[0-9]+", seed) for seed in FLAGS.seeds):
        raise InputError(f"`seeds` must be whole numbers of at least 0. Received: {','.join(FLAGS.seeds)!r}")
    leave_cores_to_images(FLAGS.threads)
    _, recipe, classifier, examples = attacked_run(FLAGS.workdir, FLAGS.num_examples)
    network = re.fullmatch(r"wrn-(\d+)-(\d+)", recipe.model)
    if not network:
        raise InputError(f"`workdir` must be the run of a wide residual network. Received: {recipe.model}")
    own, eps = recipe.hyperparameters, FLAGS.eps
    if eps is None and own["norm"] != FLAGS.norm:
        raise InputError(
            f"`norm` {FLAGS.norm} needs --eps, the radius in that norm: the run's own eps is in {own['norm']}"
        )
    eps = own["eps"] if eps is None else eps
    seeds = [int(seed) for seed in FLAGS.seeds]
    folder = pathlib.Path(FLAGS.output)
    folder.mkdir(parents=True, exist_ok=True)
    images = np.asarray(examples.images) / np.float32(255)
    np.savez(
        folder / "problem.npz",
        images=images,
        labels=examples.labels,
        logits=classifier.logits(tf.constant(images)),
        **numbered_weights(classifier.model),
    )
    problem = {"eps": eps, "norm": FLAGS.norm, "threads": FLAGS.threads, "batch_size": FLAGS.batch_size}
    problem["implementation"] = FLAGS.implementation
    problem |= {"depth": int(network[1]), "width": int(network[2])}
    write_text(folder / "problem.json", json.dumps(problem))

    rows = []
    for name in FLAGS.attacks:
        for seed in seeds:
            ball = Ball(FLAGS.norm, eps)
            if name == SAME_START:
                ball = _with_starts(ball, images.shape, seed)
                np.save(folder / "starts.npy", ball.starts)
            attack = bound(name.removesuffix("-same-start"), ball, classifier.num_classes)
            result = run_attack(classifier.logits, examples, attack, batch_size=FLAGS.batch_size, seed=seed)
            print(f"{name}, seed {seed}: agkd_tf {result.accuracy:.2%} in {result.seconds:.0f} s", flush=True)
            peer = _peer(folder, name, seed)
            rows.append(Row(name, seed, result.correct, np.array(peer["robust"]), result.seconds, peer["seconds"]))
            versions = f"{peer['versions']}, TensorFlow {tf.__version__}"
            table = (
                f"{len(examples)} images, {FLAGS.norm} eps {eps:.5f}, CPU threads {FLAGS.threads}; {versions}\n\n"
                f"{_table(rows)}\n"
            )
            write_text(folder / "parity.md", table)
    print(f"\n{table}\nRecorded in {folder / 'parity.md'}")


@dataclasses.dataclass(frozen=True)
class BallWithStarts(Ball):
    """A ball whose random points on its surface are given: `starts`, float32 [N, H, W, C], for N images in order."""

    starts: np.ndarray = dataclasses.field(compare=False)

    def edge_per_example(self, indices: tf.Tensor, shape: tuple[int, ...], seed: tf.Tensor) -> tf.Tensor:
        return tf.gather(self.starts, indices)


def _with_starts(ball: Ball, shape: tuple[int, ...], seed: int) -> BallWithStarts:
    starts = ball.edge_per_example(tf.range(shape[0]), shape[1:], tf.constant([seed, 0]))
    return BallWithStarts(ball.norm, ball.eps, starts.numpy())


class Row(NamedTuple):
    """One attack with one seed on both sides: bool [N], which images stay classified correctly; and seconds."""

    name: str
    seed: int
    ours: np.ndarray
    theirs: np.ndarray
    our_seconds: float
    their_seconds: float


def _peer(folder: pathlib.Path, name: str, seed: int) -> dict[str, Any]:
    """Runs an attack on the other side; returns what its script writes: `robust`, `seconds`, `versions`."""
    peer = pathlib.Path(__file__).parent / "peers" / "auto_attack.py"
    if subprocess.run([FLAGS.peer_python, str(peer), str(folder), name, str(seed)], check=False).returncode:
        sys.exit(1)
    return json.loads((folder / "peer.json").read_text())


def _table(rows: Sequence[Row]) -> str:
    other = FLAGS.implementation
    lines = [
        f"| attack | seed | agkd_tf % | {other} % | agreement % | agkd_tf s | {other} s |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in rows:
        ours, theirs, agreement = (100 * np.mean(part) for part in (row.ours, row.theirs, row.ours == row.theirs))
        lines.append(
            f"| {row.name} | {row.seed} | {ours:.1f} | {theirs:.1f} | {agreement:.1f} | "
            f"{row.our_seconds:.0f} | {row.their_seconds:.0f} |"
        )
    for name in dict.fromkeys(row.name for row in rows):
        pairs = [(row.our_seconds, row.their_seconds) for row in rows if row.name == name]
        ours, theirs = np.median(pairs, axis=0)
        lines.append(f"| {name} | median | | | | {ours:.1f} | {theirs:.1f} |")
    return "\n".join(lines)


if __name__ == "__main__":
    _app.run(main)
