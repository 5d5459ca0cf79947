"""Exports a trained classifier as a SavedModel that needs nothing but TensorFlow, or as a PyTorch state dict.

python -m tools.export --workdir=runs/digits/agkd_bml
python -m tools.export --model_file=FILE.keras --output=FOLDER
python -m tools.export --workdir=runs/digits/agkd_bml --format=torch --output=FILE.safetensors
"""

import pathlib

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.evaluation import subject_at
from agkd_tf.evaluation.subject import Subject
from agkd_tf.export import export_saved_model, export_state_dict
from agkd_tf.models.storage import classifier_path
from agkd_tf.workdir import Workdir
from tools import _app, _flags
from tools._remedies import named_by_flags
from tools._subject import network_settings

FLAGS = flags.FLAGS

flags.DEFINE_string("workdir", None, "Folder of the run to export.")
flags.DEFINE_string("model_file", None, "Export the classifier in this .keras or .h5 file instead of a run's.")
flags.DEFINE_string(
    "output",
    None,
    "Folder to write, the run's saved_model/ if not given; with --format=torch a .safetensors file, the run's "
    "student.safetensors if not given.",
)
flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "torch"],
    "saved_model; or torch: the weights of a network of this library under the names of public PyTorch code (for a "
    "WRN, of TRADES, MART, AGKD-BML and RobustBench).",
)
_flags.define_network()


def main(argv: list[str]) -> None:
    """Writes the SavedModel or the state dict, and prints how to use it."""
    del argv
    if bool(FLAGS.workdir) == bool(FLAGS.model_file):
        raise InputError("one of `workdir` and `model_file` is needed: --workdir=runs/NAME or --model_file=FILE.keras")
    if FLAGS.model_file and not FLAGS.output:
        raise InputError("with `model_file`, `output` is needed: --output=FOLDER, or --output=FILE.safetensors")
    source = ("workdir", FLAGS.workdir) if FLAGS.workdir else ("model_file", FLAGS.model_file)
    classifier_path(*source)  # raises an error for a SavedModel
    subject = subject_at(*source, **network_settings())
    if FLAGS.format == "torch":
        _export_state_dict(subject)
    else:
        _export_saved_model(subject)


def _export_saved_model(subject: Subject) -> None:
    folder = pathlib.Path(FLAGS.output) if FLAGS.output else Workdir(FLAGS.workdir).saved_model
    with named_by_flags(folder="output"):
        export_saved_model(subject.classifier, folder, class_names=subject.class_names)
    print(f"SavedModel: {folder}")
    print("  import tensorflow as tf")
    print(f"  model = tf.saved_model.load({str(folder)!r})")
    print('  model.signatures["serving_default"](images=images)["probabilities"]  # float32 [B, H, W, C] in [0, 1]')
    print('  model.signatures["serving_uint8"](images=images)["probabilities"]    # the same as uint8')


def _export_state_dict(subject: Subject) -> None:
    assert subject.classifier is not None  # `classifier_path` has refused a SavedModel
    file = pathlib.Path(FLAGS.output) if FLAGS.output else Workdir(FLAGS.workdir).student.with_suffix(".safetensors")
    written = export_state_dict(subject.classifier, file)
    mean, std = (values[0] if len(values) == 1 else values for values in (written.mean, written.std))
    print(f"state dict of a {written.architecture}, {written.activation}, {written.num_tensors} tensors: {file}")
    print("  from safetensors.torch import load_file")
    print(f"  model.load_state_dict(load_file({str(file)!r}), strict=False)  # lacks num_batches_tracked alone")
    print(f"  model((images - {mean}) / {std})  # images in [0, 1], [B, C, H, W]; number or tensor [C, 1, 1]")


if __name__ == "__main__":
    _app.run(main)
