r"""Compares cheap attacks with AutoAttack: which images each breaks, in how many passes and seconds.

  python -m tools.laboratory.cheap_attacks --workdirs=runs/cifar10_small/at,runs/cifar10_small/agkd_bml \
    --num_examples=1000 --output=runs/cheap

AutoAttack's outcomes come from the run's record, or are computed and recorded there. `--mask` attacks networks whose
gradients are masked: `rounding` rounds pixels to 8 levels, which stops every gradient; `scaling` multiplies the logits
by 1000, which saturates the softmax. Their outcomes are recorded in the output folder.
"""

import pathlib
from collections.abc import Callable, Iterator, Mapping

import numpy as np
from absl import flags

from agkd_tf.attacks import APGD, CR, MALT, Attack, AutoAttack, bound
from agkd_tf.cores import leave_cores_to_images
from agkd_tf.errors import InputError
from agkd_tf.evaluation import EvaluationSession, run_attack
from agkd_tf.files import write_text
from tools import _app, _flags
from tools.laboratory.agreement import HEADING, Agreement
from tools.laboratory.attacked_run import attacked_run
from tools.laboratory.masking import MASKS, masked
from tools.laboratory.passes import CountedLogits

FLAGS = flags.FLAGS
ATTACKS: Mapping[str, Attack] = {
    "apgd-ce": APGD(),
    "apgd-dlr": APGD("dlr"),
    "apgd-pm": APGD("probability_margin"),
    "apgd-t-1": APGD("targeted_dlr", targets=1),
    "apgd-t-3": APGD("targeted_dlr", targets=3),
    "apgd-t": APGD("targeted_dlr"),
    "malt-1": MALT(targets=1),
    "malt-2": MALT(targets=2),
    "malt-3": MALT(targets=3),
    "malt": MALT(),
    "malt-9-near": MALT(reach=2.0),
    "cr": CR(),
    "autoattack": AutoAttack(),
}

flags.DEFINE_list("workdirs", [], "Folders of the runs to attack, separated by commas.")
flags.DEFINE_list("attacks", [name for name in ATTACKS if name != "autoattack"], f"Some of: {', '.join(ATTACKS)}.")
flags.DEFINE_enum("mask", None, MASKS, "Mask the networks' gradients.")
flags.DEFINE_integer("num_examples", 1000, "Attack the first N test images.", 1)
flags.DEFINE_integer("batch_size", 100, "Images per batch.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the attacks.", 0)
flags.DEFINE_string("output", None, "Folder to write the table into.")
_flags.define_data_place()


def main(argv: list[str]) -> None:
    """Runs the attacks and prints the table after each."""
    del argv
    if not FLAGS.workdirs or not FLAGS.output:
        raise InputError("`workdirs` and `output` are needed: --workdirs=RUN,RUN --output=FOLDER")
    for name in FLAGS.attacks:
        if name not in ATTACKS:
            raise InputError(f"`attacks` must be among {', '.join(ATTACKS)}. Received: {name!r}")
    leave_cores_to_images()
    folder, rows = pathlib.Path(FLAGS.output), []
    folder.mkdir(parents=True, exist_ok=True)
    name = "cheap" if FLAGS.mask is None else f"cheap_{FLAGS.mask}"
    for workdir in FLAGS.workdirs:
        for row in compared(workdir, folder):
            rows.append(row)
            lines = [HEADING, len(HEADING) * ["---"], *(each.cells() for each in rows)]
            table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
            write_text(folder / f"{name}.md", table + "\n")
            outcomes = {f"{each.network}/{each.attack}": each.robust for each in rows}
            outcomes |= {f"{each.network}/autoattack": each.reference for each in rows}
            np.savez_compressed(folder / f"{name}.npz", **outcomes)  # type: ignore[arg-type]  # NumPy's own keywords
            print(f"{row.network}, {row.attack}: {', '.join(row.cells()[2:])}", flush=True)
    print(f"\n{table}\n\nRecorded in {folder / name}.md")


def compared(workdir: str, folder: pathlib.Path) -> Iterator[Agreement]:
    """Yields an `Agreement` per attack on one run's network."""
    name, recipe, classifier, examples = attacked_run(workdir, FLAGS.num_examples, flag="workdirs")
    settings = {"seed": FLAGS.seed, "batch_size": FLAGS.batch_size}
    logits: Callable = classifier.logits
    if FLAGS.mask is None:
        session = EvaluationSession(workdir, examples, folder=workdir, **settings)
    else:
        logits = masked(logits, FLAGS.mask)
        own = recipe.hyperparameters
        session = EvaluationSession(
            logits,
            examples,
            folder=folder / f"{name}_{FLAGS.mask}.json",
            model_name=f"{name} {FLAGS.mask}",
            eps=own["eps"],
            norm=own["norm"],
            **settings,
        )
    reference = session.accuracy("autoattack").correct
    for attack in FLAGS.attacks:
        counted = CountedLogits(logits)
        sequence = bound(ATTACKS[attack], session.ball, session.num_classes)
        found = run_attack(counted, examples, sequence, batch_size=FLAGS.batch_size, seed=FLAGS.seed)
        yield Agreement(name, attack, found.correct, reference, counted.passes, found.seconds)


if __name__ == "__main__":
    _app.run(main)
