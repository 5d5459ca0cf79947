r"""Compares AutoAttack on a sample with AutoAttack on all images: what each finds, in how many passes and seconds.

  python -m tools.laboratory.estimate --workdirs=runs/cifar10_small/at,runs/cifar10_small/agkd_bml \
    --precision=0.75 --output=runs/estimate

Both begin with nothing, on all test images unless `--num_examples` says otherwise. Outcomes and passes are kept in the
output folder: the same command goes on after an interruption, another network or setting is refused.
"""

import pathlib

import numpy as np
from absl import flags

from agkd_tf.attacks import Ball, bound
from agkd_tf.cores import leave_cores_to_images
from agkd_tf.errors import InputError
from agkd_tf.evaluation.autoattack_estimate import CHEAP, FULL, AutoAttackEstimate, estimate_autoattack
from agkd_tf.evaluation.digests import network_digest
from agkd_tf.files import write_text
from agkd_tf.progress import Progress
from tools import _app, _flags
from tools.laboratory.attacked_run import attacked_run
from tools.laboratory.counted_attacks import CountedAttacks
from tools.laboratory.passes import Passes

FLAGS = flags.FLAGS
HEADING = (
    "network",
    "images",
    "sample",
    "estimate, %",
    "AutoAttack, %",
    "passes per image",
    "of AutoAttack",
    "share of passes, %",
    "seconds",
    "of AutoAttack",
    "share of seconds, %",
)

flags.DEFINE_list("workdirs", [], "Folders of the runs to attack, separated by commas.")
flags.DEFINE_float("precision", 0.75, "Half width of the estimate's interval, in points.", 0.01, 50)
flags.DEFINE_integer("num_examples", None, "Attack the first N test images; all if not given.", 1)
flags.DEFINE_integer("batch_size", 100, "Images per batch.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the attacks and of the sample.", 0)
flags.DEFINE_string("output", None, "Folder for the table, the outcomes and the passes.")
_flags.define_data_place()


def main(argv: list[str]) -> None:
    """Runs both on each network and prints the table."""
    del argv
    if not FLAGS.workdirs or not FLAGS.output:
        raise InputError("`workdirs` and `output` are needed: --workdirs=RUN,RUN --output=FOLDER")
    leave_cores_to_images()
    folder, lines = pathlib.Path(FLAGS.output), [HEADING, len(HEADING) * ("---",)]
    for workdir in FLAGS.workdirs:
        lines.append(compared(workdir, folder))
        table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
        write_text(folder / "estimate.md", table + "\n")
    print(f"\n{table}\n\nRecorded in {folder / 'estimate.md'}")


def compared(workdir: str, folder: pathlib.Path) -> tuple[str, ...]:
    """Returns one network's row."""
    name, recipe, classifier, examples = attacked_run(workdir, FLAGS.num_examples, flag="workdirs")
    ball, progress = Ball(recipe.hyperparameters["norm"], recipe.hyperparameters["eps"]), Progress()
    attacks = CountedAttacks(
        folder / name,
        classifier.logits,
        examples,
        of={"network": network_digest(classifier.model), "ball": repr(ball), "precision": FLAGS.precision},
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        progress=lambda title: progress.of_attack(f"{name}, {title}"),
    )
    num_classes = int(classifier.model.output_shape[-1])
    cheap, full = (bound(attack, ball, num_classes) for attack in (CHEAP, FULL))
    standing = attacks.run("cheap", cheap)

    def attack(places: np.ndarray) -> None:
        attacks.run("sample", full, places)

    estimate = estimate_autoattack(
        standing.robust,
        attacks.outcome("sample"),
        attack,
        precision=FLAGS.precision,
        seed=FLAGS.seed,
        seconds=standing.seconds,
        told=progress.say,
    )
    progress.say(str(estimate))
    whole = attacks.run("autoattack", full)
    passes = [attacks.passes(each) for each in ("cheap", "sample", "autoattack")]
    return cells(name, estimate, passes, float(np.mean(whole.robust)), whole.seconds)


def cells(
    name: str, estimate: AutoAttackEstimate, passes: list[Passes], accuracy: float, seconds: float
) -> tuple[str, ...]:
    """Returns a row's cells.

    Args:
        name: the network's.
        estimate: what the sample gives.
        passes: of the cheap attack, of AutoAttack on the sample, and of AutoAttack on all images.
        accuracy: share of images that AutoAttack leaves.
        seconds: AutoAttack's.
    """
    ours, theirs = passes[0].total + passes[1].total, passes[2].total
    low, high = (f"{100 * end:.2f}" for end in estimate.interval)
    return (
        name,
        f"{estimate.num_examples:,}",
        f"{estimate.sample:,} of {estimate.left_by_cheap:,}",
        f"{100 * estimate.accuracy:.2f} ({low}-{high})",
        f"{100 * accuracy:.2f}",
        f"{ours / estimate.num_examples:,.0f}",
        f"{theirs / estimate.num_examples:,.0f}",
        f"{100 * ours / theirs:.1f}",
        f"{estimate.seconds:,.0f}",
        f"{seconds:,.0f}",
        f"{100 * estimate.seconds / seconds:.1f}",
    )


if __name__ == "__main__":
    _app.run(main)
