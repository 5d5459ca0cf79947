"""Evaluates a trained classifier under attacks, and records the accuracies.

  python -m tools.evaluate --workdir=runs/digits/agkd_bml --attacks=clean,fgsm,pgd-20,cw-20

Data set and eps are the run's own. For a .keras file without a run, name them: --model_file=FILE.keras
--dataset=... --eps=... --record=FILE.json.
"""

import pathlib
import sys

import keras
from absl import flags

from agkd_tf.attacks import parse_attack
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError
from agkd_tf.evaluation import EvaluationRecord, evaluate, file_digest
from agkd_tf.models import Classifier
from agkd_tf.models.storage import classifier_path, load_classifier
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._table import results_table

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "Folder of the run to evaluate.")
flags.DEFINE_string("model_file", None, "A .keras classifier to evaluate instead of a run's.")
flags.DEFINE_string("record", None, "JSON file of the results; the run's evaluation.json if not given.")
_flags.define_data()
_flags.define_data_place()
_flags.define_evaluation()
_flags.define_pixels("eps", None, "Radius of the l_inf ball; the run's own if not given.", FLAGS)
flags.DEFINE_integer("batch_size", 100, "Images a step.", 1)
flags.DEFINE_integer("seed", 0, "Seed of the attacks' random starts.", 0)
_flags.define_jit_compile()
_flags.define_progress()
flags.adopt_module_key_flags(_flags)  # so that --help shows them


def main(argv):
    """Evaluates and records, attack by attack."""
    del argv
    if bool(FLAGS.workdir) == bool(FLAGS.model_file):
        raise InputError("one of `workdir` and `model_file` is needed: --workdir=runs/NAME or --model_file=FILE.keras")
    data, eps = _subject()
    attacks = [parse_attack(name, eps=eps) for name in dict.fromkeys(FLAGS.attacks)]
    source = ("workdir", FLAGS.workdir) if FLAGS.workdir else ("model_file", FLAGS.model_file)
    record_path = pathlib.Path(FLAGS.record) if FLAGS.record else Workdir(FLAGS.workdir).evaluation
    model = load_classifier(*source)
    examples = load_dataset(**data, **_flags.data_place()).split(FLAGS.split)
    if FLAGS.num_examples:
        if FLAGS.num_examples > len(examples):
            raise InputError(f"`num_examples` must be at most {len(examples)}. Received: {FLAGS.num_examples}")
        examples = examples.take(slice(0, FLAGS.num_examples))
    classifier = Classifier(model)
    if classifier.image_shape != examples.images.shape[1:]:
        raise InputError(
            f"`dataset` {data['dataset']} has images {examples.images.shape[1:]}, the model takes "
            f"{classifier.image_shape}"
        )
    subject = {
        "model_sha256": file_digest(classifier_path(*source)),
        "split": FLAGS.split,
        **{name: value for name, value in data.items() if value is not None},
    }
    record = EvaluationRecord(record_path, subject)
    if record.moved_to:
        print(f"note: {record_path.name} was of another model or data; kept as {record.moved_to}")
    bar = FLAGS.progress == "bar" or (FLAGS.progress == "auto" and sys.stdout.isatty())
    for attack in attacks:
        progress = None
        if bar:
            print(f"{attack.name}:")
            progress = keras.utils.Progbar(len(examples), unit_name="image").update
        result = evaluate(
            classifier.logits,
            examples,
            attack,
            batch_size=FLAGS.batch_size,
            seed=FLAGS.seed,
            jit_compile=resolve_jit_compile(_flags.jit_compile()),
            progress=progress,
        )
        record.add(attack.name, result)
    if FLAGS.progress != "off":
        title = f"{source[1]}: {data['dataset']} {FLAGS.split}, l_inf eps {_flags.pixels(eps)}, seed {FLAGS.seed}"
        results = {attack.name: record.results[attack.name] for attack in attacks}
        print("\n" + results_table({title: results}))
        print(f"\nRecorded in {record_path}")


def _subject():
    """Returns (data set's settings, eps): the flags' own where given, else the run's."""
    names = ("dataset", "image_size", "train_examples", "validation_examples")
    if FLAGS.workdir:
        recipe = _flags.read_flagfile(Workdir(FLAGS.workdir).flags)
        data = {name: getattr(recipe, name) for name in names}
        data |= {name: FLAGS[name].value for name in names if FLAGS[name].present}
        return data, recipe.hyperparameters["eps"] if FLAGS.eps is None else FLAGS.eps
    missing = [name for name in ("eps", "record") if FLAGS[name].value is None]
    if missing or not FLAGS["dataset"].present:
        raise InputError("with `model_file`, these flags are needed too: --dataset, --eps, --record")
    return {name: FLAGS[name].value for name in names}, FLAGS.eps


if __name__ == "__main__":
    _app.run(main)
