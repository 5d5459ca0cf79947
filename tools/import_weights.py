"""Turns a PyTorch checkpoint of a robust network into a Keras file, which all other tools take.

  python -m tools.import_weights --checkpoint=FILE.pt --output=FILE.keras
  python -m tools.import_weights --checkpoint=FILE.pt --output=FILE.keras --dataset=cifar10

The architecture is recognised from the names and shapes of the weights; what a file does not say, such as the pixels
that the network takes, is guessed, and the guess is said. With --dataset, the pixels are checked on labelled test
images, and the file gets the names of the classes. Nothing in a checkpoint is run. For files of PyTorch (.pt, .pth,
.ckpt, .t7), PyTorch must be installed; .safetensors, .npz and DeepMind's .npy are read without it.
"""

import pathlib

from absl import flags

from agkd_tf.checkpoints import check_pixels, import_network
from agkd_tf.data import load_dataset
from agkd_tf.errors import InputError
from agkd_tf.models.blocks import ACTIVATIONS
from agkd_tf.models.storage import save_classifier
from tools import _app

FLAGS = flags.FLAGS

flags.DEFINE_string("checkpoint", None, "File to read: .pt, .pth, .ckpt, .t7, .safetensors, .npz or .npy.")
flags.DEFINE_string("output", None, "The .keras file to write.")
flags.DEFINE_string(
    "architecture",
    None,
    "Such as preact-resnet-raw; if not given, recognised from the names and shapes of the weights.",
)
flags.DEFINE_enum(
    "activation", None, ACTIVATIONS, "Activation; if not given, the one that the architecture was published with."
)
flags.DEFINE_list(
    "pixel_mean",
    None,
    "The network receives (images - mean) / std: one number, or one per channel, for images in [0, 1].",
)
flags.DEFINE_list("pixel_std", None, "See --pixel_mean.")
flags.DEFINE_string(
    "weights", None, "Entry of the checkpoint that holds the weights, such as ema, if there are several."
)
flags.DEFINE_string("dataset", None, "Data set whose test images check the pixels, such as cifar10.")
flags.DEFINE_string("data_dir", None, "Folder where data sets are prepared.")
flags.DEFINE_bool("download", False, "Download and prepare the data set if it is not there.")
flags.DEFINE_integer("check_examples", 100, "Test images for the check.", lower_bound=1)


def main(argv: list[str]) -> None:
    """Writes the Keras file and prints what was understood of the checkpoint."""
    del argv
    if not FLAGS.checkpoint or not FLAGS.output:
        raise InputError("`checkpoint` and `output` are needed: --checkpoint=FILE.pt --output=FILE.keras")
    output = pathlib.Path(FLAGS.output)
    if output.suffix != ".keras":
        raise InputError(f"`output` must be a .keras file. Received: {FLAGS.output!r}")
    network = import_network(
        FLAGS.checkpoint,
        architecture=FLAGS.architecture,
        activation=FLAGS.activation,
        pixel_mean=_numbers("pixel_mean"),
        pixel_std=_numbers("pixel_std"),
        weights=FLAGS.weights,
    )
    mean, std = (", ".join(f"{each:g}" for each in values) for values in (network.pixels.mean, network.pixels.std))
    sizes = f"{network.num_classes} classes, {network.parameters:,} parameters"
    print(f"{network.architecture}, {network.activation}, {sizes}")
    print(f"pixels: (images - {mean}) / {std}, {network.pixels.reason}")
    for text in network.dropped:
        print(f"left out: {text}")
    class_names = None
    if FLAGS.dataset:
        dataset = load_dataset(FLAGS.dataset, data_dir=FLAGS.data_dir, download=FLAGS.download)
        if len(dataset.class_names) != network.num_classes:
            raise InputError(
                f"the checkpoint has {network.num_classes} classes, {FLAGS.dataset} {len(dataset.class_names)}: give "
                "the `dataset` that it was trained on, or none"
            )
        class_names = dataset.class_names
        first = slice(0, FLAGS.check_examples)
        check = check_pixels(network.model, dataset.test.images[first], dataset.test.labels[first])
        print(f"accuracy on {check.num_examples:,} test images: {check.own:.1%}")
        for title, accuracy in check.others.items():
            print(f"  with {title}: {accuracy:.1%}")
    save_classifier(network.model, output, class_names)
    print(f"Keras file: {output}")


def _numbers(name: str) -> list[float] | None:
    given: list[str] | None = FLAGS[name].value
    if given is None:
        return None
    try:
        return [float(each) for each in given]
    except ValueError as error:
        raise InputError(f"`{name}` must be numbers, such as 0.5 or 0.4914,0.4822,0.4465") from error


if __name__ == "__main__":
    _app.run(main)
