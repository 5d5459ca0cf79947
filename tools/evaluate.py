"""Evaluates a classifier under attacks, and records what happened to each image.

  python -m tools.evaluate --workdir=runs/digits/agkd_bml --attacks=clean,fgsm,pgd-20,cw-20,autoattack

Data set and eps are the run's own. For a classifier without a run, name them: --model_file=FILE.keras or
--saved_model=FOLDER, with --dataset=... --eps=... --record=FILE.json. An evaluation that was broken off
continues where it stopped; results that are there are not computed again.
"""

import pathlib
import sys

import keras
from absl import flags

from agkd_tf.attacks import NORMS, parse_attack
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError
from agkd_tf.evaluation import (
    EvaluationRecord,
    VerificationError,
    check_images,
    create_adversaries,
    evaluate,
    file_digest,
    logits_of_probabilities,
    open_adversaries,
    saved_model_logits,
    verify_adversaries,
)
from agkd_tf.models import Classifier
from agkd_tf.models.storage import classifier_path, load_classifier
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._table import results_table

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
flags.DEFINE_string("model_file", None, "A .keras classifier to evaluate instead of a run's.")
flags.DEFINE_string("saved_model", None, "A SavedModel to evaluate instead: a program, so only one that you trust.")
flags.DEFINE_string("output", None, "Output of the SavedModel that holds the logits; found if not given.")
flags.DEFINE_bool("probabilities", False, "The SavedModel's output are probabilities, of which logarithms are taken.")
flags.DEFINE_string("record", None, "JSON file of the results; the run's evaluation.json if not given.")
_flags.define_data()
_flags.define_data_place()
_flags.define_evaluation()
_flags.define_pixels("eps", None, "Radius of the ball; the run's own if not given.", FLAGS, bounded=False)
flags.DEFINE_enum("norm", "linf", list(NORMS), "Norm of the ball.")
flags.DEFINE_integer("batch_size", 100, "Images a step.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the attacks' random numbers.", 0)
flags.DEFINE_string("adversaries", None, "Folder to save the adversarial images in, a .npy file an attack.")
flags.DEFINE_bool("verify", False, "Recompute the accuracies from the images in --adversaries alone; 1 on a mismatch.")
flags.DEFINE_bool("recompute", False, "Compute results that are recorded already once more.")
_flags.define_jit_compile()
_flags.define_progress()
flags.adopt_module_key_flags(_flags)  # so that --help shows them


def main(argv):
    """Evaluates and records, attack by attack."""
    del argv
    subjects = {name: FLAGS[name].value for name in ("workdir", "model_file", "saved_model") if FLAGS[name].value}
    if len(subjects) != 1:
        raise InputError("one of `workdir`, `model_file` and `saved_model` is needed: --workdir=runs/NAME")
    if FLAGS.verify and not FLAGS.adversaries:
        raise InputError("`verify` needs --adversaries, the folder of the saved images")
    data, own_eps = _data_and_eps()
    eps = own_eps if FLAGS.eps is None else FLAGS.eps
    ((kind, source),) = subjects.items()
    logits, classes, image_shape, digest = _classifier(kind, source)
    attacks = [
        parse_attack(name, eps=eps, norm=FLAGS.norm, num_classes=classes) for name in dict.fromkeys(FLAGS.attacks)
    ]
    examples = load_dataset(**data, **_flags.data_place()).split(FLAGS.split)
    whole = len(examples)
    if FLAGS.num_examples:
        if FLAGS.num_examples > whole:
            raise InputError(f"`num_examples` must be at most {whole}. Received: {FLAGS.num_examples}")
        examples = examples.take(slice(0, FLAGS.num_examples))
    if image_shape is not None and image_shape != examples.images.shape[1:]:
        raise InputError(
            f"`dataset` {data['dataset']} has images {examples.images.shape[1:]}, the model takes {image_shape}"
        )
    check_images(examples.images, examples.labels, classes)
    subject = {
        "model_sha256": digest,
        "split": FLAGS.split,
        **{name: value for name, value in data.items() if value is not None},
    }
    record_path = pathlib.Path(FLAGS.record) if FLAGS.record else Workdir(FLAGS.workdir).evaluation
    record = EvaluationRecord(record_path, subject)
    if record.moved_to:
        print(f"note: {record_path.name} was of another model or data; kept as {record.moved_to}")
    settings = _setting_of_the_key(eps, own_eps, len(examples), whole)
    keys = {attack.name + settings: attack for attack in attacks}
    for key, attack in keys.items():
        if FLAGS.verify:
            _verify(logits, examples, record, key, eps)
        else:
            _evaluate(logits, examples, record, key, attack)
    if FLAGS.verify:
        return
    if len(keys) > 1:
        record.add_section(f"worst_case{settings}", record.worst_case(list(keys)))
    if FLAGS.progress != "off":
        title = f"{source}: {data['dataset']} {FLAGS.split}, {FLAGS.norm} eps {_flags.pixels(eps)}, seed {FLAGS.seed}"
        results = {attack.name: record.results[key] for key, attack in keys.items()}
        if len(keys) > 1:
            results["worst case"] = record.sections[f"worst_case{settings}"]
        print("\n" + results_table({title: results}))
        print(f"\nRecorded in {record_path}")


def _evaluate(logits, examples, record, key, attack):
    outcome = record.begin(key, attack, examples.labels, seed=FLAGS.seed)
    adversaries = None
    if FLAGS.adversaries:
        path = _adversaries_path(key)
        if outcome.state.any() and not path.exists():
            FLAGS.recompute or print(f"note: {key} was evaluated without saving its adversaries; it begins anew")
            outcome.restart()
        adversaries = create_adversaries(path, examples.images.shape)
    if FLAGS.recompute:
        outcome.restart()
    if outcome.finished(len(attack.stages)) and key in record.results:
        return
    evaluate(
        logits,
        examples,
        attack,
        batch_size=FLAGS.batch_size,
        seed=FLAGS.seed,
        jit_compile=resolve_jit_compile(_flags.jit_compile()),
        outcome=outcome,
        adversaries=adversaries,
        checkpoint=record.save_outcomes,
        progress=_progress(attack),
    )
    if adversaries is not None:
        adversaries.flush()
    record.add(key, attack, seed=FLAGS.seed)


def _verify(logits, examples, record, key, eps):
    if key not in record.results:
        raise InputError(f"`verify`: {key} is not recorded; evaluate it first, with the same flags")
    adversaries = open_adversaries(_adversaries_path(key))
    try:
        found = verify_adversaries(
            logits,
            examples,
            adversaries,
            eps=eps,
            norm=FLAGS.norm,
            accuracy=record.results[key]["accuracy"],
            batch_size=FLAGS.batch_size,
        )
    except VerificationError as error:
        print(f"error: {key}: {error}", file=sys.stderr)
        sys.exit(1)
    print(f"{key}: {found:.2%}, as recorded")


def _adversaries_path(key):
    return pathlib.Path(FLAGS.adversaries) / f"{key.replace('/', '_')}.npy"


def _setting_of_the_key(eps, own_eps, count, whole):
    """Returns what tells results of one name apart: the settings that differ from the run's own."""
    settings = []
    if FLAGS.norm != "linf" or eps != own_eps:
        settings.append(f"{FLAGS.norm} {_flags.pixels(eps)}")
    if FLAGS.seed:
        settings.append(f"seed {FLAGS.seed}")
    if count != whole:
        settings.append(f"first {count}")
    return f" [{', '.join(settings)}]" if settings else ""


def _classifier(kind, source):
    """Returns (callable to logits, number of classes, image shape or None, digest)."""
    if kind == "saved_model":
        logits, classes = saved_model_logits(source, output=FLAGS.output)
        if FLAGS.probabilities:
            logits = logits_of_probabilities(logits)
        return logits, classes, None, file_digest(pathlib.Path(source) / "saved_model.pb")
    classifier = Classifier(load_classifier(kind, source))
    digest = file_digest(classifier_path(kind, source))
    return classifier.logits, classifier.num_classes, classifier.image_shape, digest


def _data_and_eps():
    """Returns (data set's settings, the run's own eps): the flags' own where given, else the run's."""
    names = ("dataset", "image_size", "train_examples", "validation_examples")
    if FLAGS.workdir:
        recipe = _flags.read_flagfile(Workdir(FLAGS.workdir).flags)
        data = {name: getattr(recipe, name) for name in names}
        data |= {name: FLAGS[name].value for name in names if FLAGS[name].present}
        return data, recipe.hyperparameters["eps"]
    missing = [name for name in ("eps", "record") if FLAGS[name].value is None]
    if missing or not FLAGS["dataset"].present:
        raise InputError("without `workdir`, these flags are needed too: --dataset, --eps, --record")
    return {name: FLAGS[name].value for name in names}, FLAGS.eps


def _progress(attack):
    bar = FLAGS.progress == "bar" or (FLAGS.progress == "auto" and sys.stdout.isatty())
    if not bar:
        return None
    shown = {}

    def show(part, variant, done, total):
        if (part, variant) not in shown:
            stage = part.name if part.variants == 1 else f"{part.name} {variant + 1}/{part.variants}"
            print(stage if stage == attack.name else f"{attack.name}: {stage}")
            shown[part, variant] = keras.utils.Progbar(total, unit_name="image")
        shown[part, variant].update(done)

    return show


if __name__ == "__main__":
    _app.run(main)
