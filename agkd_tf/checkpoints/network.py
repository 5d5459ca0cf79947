"""Turns a PyTorch checkpoint of a known architecture into a Keras network."""

import dataclasses
import json
import warnings
from collections.abc import Sequence

import keras

from agkd_tf.checkpoints.families import Family, family_of
from agkd_tf.checkpoints.pixels import Pixels, pixels_of
from agkd_tf.checkpoints.readers import read_checkpoint
from agkd_tf.checkpoints.state_dict import find_state_dict
from agkd_tf.checkpoints.torch_names import assign, variables_by_name
from agkd_tf.errors import InputError, Note, check_choice
from agkd_tf.models.blocks import ACTIVATIONS
from agkd_tf.types import PathLike

IMAGE_SIZE = (32, 32)  # of all published networks


@dataclasses.dataclass(frozen=True)
class ImportedNetwork:
    """A network that was made from a checkpoint, and what was understood of it.

    Attributes:
        model: the `keras.Model`, float32 [B, 32, 32, C] in [0, 1] -> float32 logits [B, n].
        architecture: such as `wrn-28-10`.
        activation: "relu" or "silu".
        pixels: the `Pixels` that the network takes.
        num_classes: n.
        parameters: number of trained parameters (without BN's moving statistics).
        dropped: what was left out of the file, one text for each kind.
    """

    model: keras.Model
    architecture: str
    activation: str
    pixels: Pixels
    num_classes: int
    parameters: int
    dropped: tuple[str, ...]


def import_weights(
    checkpoint: PathLike,
    *,
    architecture: str | None = None,
    activation: str | None = None,
    pixel_mean: float | Sequence[float] | None = None,
    pixel_std: float | Sequence[float] | None = None,
    weights: str | None = None,
) -> keras.Model:
    """Returns the Keras network with a checkpoint's weights, which maps images in [0, 1] to logits.

        model = agkd_tf.import_weights("trades.pt", pixel_mean=0, pixel_std=1)
        agkd_tf.evaluate(model, x_test, y_test, attacks=["clean", "pgd-20"], eps=8 / 255)

    The architecture is recognised from the names and shapes of the weights: WRNs as AGKD-BML, FeatureScatter, TRADES,
    MART and RobustBench have them; DeepMind's WRNs and PreAct-ResNets; PreAct-ResNet-18 and -34 in both public forms;
    ResNet-18 and -34.

    Args:
        checkpoint: a file (see `read_checkpoint`).
        architecture: such as "preact-resnet-raw" where several have the same weights; None to recognise it.
        activation: "relu" or "silu", which no file says; None for the one that the architecture was published with.
        pixel_mean, pixel_std: the network receives (images - pixel_mean) / pixel_std, with one number or one per
            channel, in units of images in [0, 1]; None for both to take what the file or the architecture says.
        weights: which entry of the checkpoint, such as "ema", if it holds several state dicts.

    Returns:
        A functional `keras.Model`, float32 [B, 32, 32, C] in [0, 1] -> float32 logits [B, n], as `agkd_tf.models`
        builds them.

    Warns:
        Note: for each guess: which of several state dicts, which of several architectures, which pixels.

    Raises:
        InputError: if the file cannot be read, holds no known network, or does not fit it exactly.
    """
    return import_network(
        checkpoint,
        architecture=architecture,
        activation=activation,
        pixel_mean=pixel_mean,
        pixel_std=pixel_std,
        weights=weights,
    ).model


def import_network(
    checkpoint: PathLike,
    *,
    architecture: str | None = None,
    activation: str | None = None,
    pixel_mean: float | Sequence[float] | None = None,
    pixel_std: float | Sequence[float] | None = None,
    weights: str | None = None,
) -> ImportedNetwork:
    """Returns the `ImportedNetwork` of a checkpoint; arguments, warnings and errors as `import_weights`."""
    if activation is not None:
        check_choice("activation", activation, ACTIVATIONS)
    read = read_checkpoint(checkpoint)
    state, said = find_state_dict(read.tree, weights=weights), read.said
    shapes = {name: tuple(array.shape) for name, array in state.weights.items()}
    architecture = architecture or said.get("architecture")
    family = family_of(list(shapes), architecture)
    sizes = family.sizes(shapes)
    title = family.title(sizes)
    if architecture not in (None, family.name, title):
        raise InputError(f"`architecture` is {architecture}, but the checkpoint holds a {title}")
    stem, dense = shapes[f"{family.stem[0]}.weight"], shapes[f"{family.end[-1]}.weight"]
    if len(stem) != 4 or len(dense) != 2:
        raise InputError(
            f"`checkpoint` does not fit {title}: {family.stem[0]}.weight is {stem}, and {family.end[-1]}.weight {dense}"
        )
    channels, num_classes = stem[1], dense[0]
    pixels = pixels_of(state, family, said, channels=channels, num_classes=num_classes, mean=pixel_mean, std=pixel_std)
    _say_guesses(family, sizes, architecture, pixels)
    activation = activation or said.get("activation", family.activation)
    image_size = json.loads(said["image_size"]) if "image_size" in said else IMAGE_SIZE
    model = family.build(
        sizes,
        image_shape=(*image_size, channels),
        num_classes=num_classes,
        activation=activation,
        input_mean=list(pixels.mean),
        input_std=list(pixels.std),
    )
    variables = variables_by_name(family, model, sizes)
    assign(variables, state.weights, title)
    parameters = sum(int(variable.shape.num_elements()) for variable in model.trainable_variables)
    return ImportedNetwork(model, title, activation, pixels, num_classes, parameters, state.dropped)


def _say_guesses(family: Family, sizes: dict[str, int], architecture: str | None, pixels: Pixels) -> None:
    if family.twins and architecture is None:
        others = " or ".join(f"`architecture={twin!r}`" for twin in family.twins)
        warnings.warn(
            f"taken as {family.title(sizes)}; other networks have weights of these names, but compute something else: "
            f"{others}",
            Note,
            stacklevel=4,
        )
    if pixels.is_guess:
        warnings.warn(
            f"the file does not say which pixels the network takes: images in [0, 1] as they are, {pixels.reason}. "
            "`pixel_mean=0.5, pixel_std=0.5` is for images scaled to [-1, 1]; labelled images tell a wrong choice",
            Note,
            stacklevel=4,
        )
