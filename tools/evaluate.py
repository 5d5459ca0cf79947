"""Evaluates a classifier under attacks, and records the outcome for each image.

  python -m tools.evaluate --workdir=runs/digits/agkd_bml --attacks=clean,fgsm,pgd-20,cw-20,autoattack
  python -m tools.evaluate --workdir=runs/digits/agkd_bml --audit --eps_sweep=0,19/255,38/255,76/255

Data set and eps are those of the run. For a classifier without a run, give --model_file=FILE.keras or
--saved_model=FOLDER, with --dataset=... --eps=... --record=FILE.json. To continue an interrupted evaluation, run the
same command again. Results that are already recorded are not computed again.
"""

import dataclasses
import sys

from absl import flags

from agkd_tf.cores import leave_cores_to_images
from agkd_tf.data import ImageDataset, load_dataset
from agkd_tf.distribution import ONE_MACHINE, make_strategy
from agkd_tf.errors import InputError
from agkd_tf.evaluation import EvaluationOptions, EvaluationSession, VerificationError
from agkd_tf.evaluation.transfer_sources import TRANSFER
from agkd_tf.settings import settings_of
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._progress import say
from tools._remedies import with_flags
from tools._subject import data_settings, define_model, subject_from_flags

FLAGS = flags.FLAGS
COMPUTING = ("audit", "eps_sweep", "knn", "recompute")  # flags that --verify excludes
OPTIONS = settings_of(EvaluationOptions)
NEIGHBORS = settings_of(EvaluationSession.nearest_neighbors)
SWEEP, AUDIT = settings_of(EvaluationSession.eps_sweep), settings_of(EvaluationSession.audit)
RENAMED = {  # flags that have another name than their argument
    "neighbors_metric": NEIGHBORS["metric"],
    "audit_examples": AUDIT["examples"],
    "eps_sweep": SWEEP["sizes"],
    "sweep_attack": SWEEP["attack"],
}

define_model()
flags.DEFINE_string("record", None, "JSON file to record results in; the run's evaluation.json if not given.")
_flags.define_data()
_flags.define_data_place()
_flags.define_network()
_flags.define_pixels_of_network("network from a file as the source of a transfer attack", prefix="source_")
_flags.define_evaluation()
_flags.define("evaluation", OPTIONS.values())
text = "Only recompute the accuracies, from nothing but the images in --adversaries; exit with code 1 if they differ."
flags.DEFINE_bool("verify", False, text)
flags.DEFINE_bool("audit", False, "Also look for signs of masked gradients.")
flags.DEFINE_bool("knn", False, "Also classify by nearest training images; the adversaries are saved for that.")
more = [dataclasses.replace(setting, name=name) for name, setting in RENAMED.items()]
_flags.define("neighbors, sweep and audit", [NEIGHBORS["neighbors"], *more])
_flags.define_jit_compile()
_flags.define_distribution(allowed=ONE_MACHINE)
_flags.define_progress()


def main(argv: list[str]) -> None:
    """Evaluates the model attack by attack, and records the results."""
    del argv
    leave_cores_to_images()
    with make_strategy(FLAGS.distribution).scope():
        session, dataset = _session()
        if FLAGS.verify:
            _verify(session)
        else:
            _evaluate(session, dataset)


def _session() -> tuple[EvaluationSession, ImageDataset]:
    """Returns the session that the flags describe, checked for everything that it will do, and the data set."""
    options = {name: getattr(FLAGS, name) for name in OPTIONS}
    EvaluationOptions(**options)  # so that mistakes in them are reported first
    if FLAGS.verify and not FLAGS.adversaries:
        raise InputError("`verify` needs --adversaries, the folder of the saved images")
    for name in COMPUTING if FLAGS.verify else ():
        if FLAGS[name].value:
            raise InputError(f"`{name}` computes new results, but `verify` does not: leave one of them out")
    data = data_settings()
    subject = subject_from_flags()
    training = FLAGS.knn or FLAGS.split == "train"
    dataset = load_dataset(**data, **_flags.data_place(), training=training, class_names=subject.class_names)
    if not len(dataset.split(FLAGS.split)):
        raise InputError(f"`split`: {data['dataset']} has no {FLAGS.split} images, only test images: --split=test")
    session = EvaluationSession(
        subject,
        dataset.split(FLAGS.split),
        folder=FLAGS.record or Workdir(FLAGS.workdir).evaluation,
        data=data,
        source_settings=_flags.pixels_of_network(prefix="source_"),
        jit_compile=_flags.switch("jit_compile"),
        progress=FLAGS.progress,
        **options,
    )
    if FLAGS.knn:
        session.check_embedding()
    session.prepare(FLAGS.attacks, estimates=not FLAGS.knn and not FLAGS.verify)
    for size in FLAGS.eps_sweep or ():
        session.prepare([FLAGS.sweep_attack], size)
    if FLAGS.audit:
        session.prepare(["apgd-dlr"])
    return session, dataset


def _evaluate(session: EvaluationSession, dataset: ImageDataset) -> None:
    if FLAGS.attacks:
        say(f"\n{session.accuracies(FLAGS.attacks, keep_adversaries=FLAGS.knn)}")
    if FLAGS.knn:
        settings = {"neighbors": FLAGS.neighbors, "metric": FLAGS.neighbors_metric}
        say(f"\n{session.nearest_neighbors(dataset.train, FLAGS.attacks, **settings)}")
    if FLAGS.eps_sweep:
        sweep = session.eps_sweep(FLAGS.eps_sweep, FLAGS.sweep_attack)
        say(f"\n{sweep}\nDrawn in {' and '.join(map(str, sweep.pictures))}")
    if FLAGS.audit:
        transfers = [name for name in FLAGS.attacks if name.startswith(TRANSFER)]
        say(f"\n{with_flags(str(session.audit(FLAGS.audit_examples, transfers)))}")
    say(f"\nRecorded in {session.record.path}")


def _verify(session: EvaluationSession) -> None:
    for name in dict.fromkeys(FLAGS.attacks):
        key = session.key_of(name)
        try:
            print(f"{key}: {session.verify(name):.2%}, as recorded")
        except VerificationError as error:
            print(f"error: {key}: {error}", file=sys.stderr)
            sys.exit(1)


if __name__ == "__main__":
    _app.run(main)
