"""The architectures that robust checkpoints have: their weights' names, and how their networks are built.

Sources: TRADES, MART, FeatureScatter and AGKD-BML (one WRN under one set of names); Gowal et al., Uncovering the Limits
of Adversarial Training, and Rebuffi et al., Fixing Data Augmentation (DeepMind's WRN and PreAct-ResNet); RobustBench
(PreAct-ResNet in two forms, ResNet).
"""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras

from agkd_tf.errors import InputError
from agkd_tf.models import preact_resnet, resnet, wide_resnet
from agkd_tf.models.preact_resnet import STAGES
from agkd_tf.models.resnet import BASIC

LONGEST = 200  # blocks in a stage
_STAGES_OF = STAGES | BASIC  # depth -> blocks per stage
_DEPTH_OF = {counts: depth for depth, counts in _STAGES_OF.items()}


@dataclasses.dataclass(frozen=True)
class Family:
    """Networks of one architecture in several sizes.

    A block's convolutions and BN layers are in the order in which the network's builder makes them.

    Attributes:
        name: as in `architecture`, before the sizes.
        builder: a builder of `agkd_tf.models`.
        settings: its arguments beside the sizes.
        stem: names of the first convolution, and of its BN where there is one.
        block: a block's prefix, with {stage} and {number}.
        first_stage: the number of the first stage.
        convolutions, normalizations: a block's; those of the shortcut stand only in blocks that have one.
        shortcut: those of them that the shortcut has; the first one is its convolution.
        end: names of the last BN, if any, and of the dense layer.
        twins: families whose networks have weights of the same names and shapes, but compute something else.
        activation: of the networks that were published.
    """

    name: str
    builder: Callable[..., keras.Model]
    stem: tuple[str, ...]
    block: str
    first_stage: int
    convolutions: tuple[str, ...]
    normalizations: tuple[str, ...]
    shortcut: tuple[str, ...]
    end: tuple[str, ...]
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    twins: tuple[str, ...] = ()
    activation: str = "relu"

    @property
    def last_convolution(self) -> str:
        """The block's last convolution, which the shortcut is added to."""
        return [name for name in self.convolutions if name not in self.shortcut][-1]

    @property
    def is_wide(self) -> bool:
        """Whether its sizes are depth and width, instead of a depth."""
        return self.builder is wide_resnet

    def matches(self, names: Sequence[str]) -> bool:
        """Returns whether weights have the names of this family: stem, a block, end, and no other family's end."""
        first = self.block.format(stage=self.first_stage, number=0)
        needed = {self.stem[0], self.end[-1], f"{first}{self.last_convolution}"}
        if self.block == _USUAL["block"]:  # several families, which differ in their own BN layers
            needed |= {*self.stem, *self.end}
        unwanted = (_ENDS | _STEM_BN) - {*self.stem, *self.end}
        has = {name.removesuffix(".weight") for name in names if name.endswith(".weight")}
        return needed <= has and not unwanted & has

    def counts(self, names: Sequence[str]) -> tuple[int, ...]:
        """Returns the number of blocks in each stage."""
        pattern = re.escape(self.block).replace(r"\{stage\}", r"(\d+)").replace(r"\{number\}", r"(\d+)")
        found: dict[int, set[int]] = {}
        for stage, number in (map(int, match.groups()) for name in names if (match := re.match(pattern, name))):
            found.setdefault(stage, set()).add(number)
        return tuple(len(found[stage]) for stage in sorted(found))

    def sizes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int]:
        """Returns the builder's sizes, `depth` and, of a wide network, `width`, from the weights' names and shapes.

        Raises:
            InputError: if no network of this family has so many blocks, or so wide ones.
        """
        counts = self.counts(list(shapes))
        first = f"{self.block.format(stage=self.first_stage, number=0)}{self.last_convolution}.weight"
        last_stage, last_number = self.first_stage + len(counts) - 1, counts[-1] - 1
        last = f"{self.block.format(stage=last_stage, number=last_number)}{self.last_convolution}.weight"
        filters = shapes[first][0] if len(shapes[first]) == 4 else 0
        if self.is_wide:
            if len(counts) != 3 or len(set(counts)) != 1 or filters % 16 or not filters or counts[0] > LONGEST:
                raise InputError(
                    f"`checkpoint` has the names of a {self.name}, but stages of {counts} blocks and {filters} filters "
                    "in the first: a WRN has three equal stages, and 16 times its width"
                )
            sizes = {"depth": 6 * counts[0] + 4, "width": filters // 16}
        elif counts in _DEPTH_OF:
            sizes = {"depth": _DEPTH_OF[counts]}
        else:
            raise InputError(
                f"`checkpoint` has the names of a {self.name}, but stages of {counts} blocks; known are "
                f"{' and '.join(map(str, _DEPTH_OF))}"
            )
        # The network is built before all weights are compared with it: a file must not make it larger than itself.
        widest = filters * 2 ** (len(counts) - 1)
        for name, expected in ((first, filters), (last, widest)):
            if shapes.get(name) != (expected, expected, 3, 3):
                raise InputError(
                    f"`checkpoint` does not fit {self.title(sizes)}: {name} is {shapes.get(name, 'missing')} instead "
                    f"of {(expected, expected, 3, 3)}"
                )
        return sizes

    def title(self, sizes: Mapping[str, int]) -> str:
        """Returns the name of a network, such as `wrn-28-10`."""
        return "-".join([self.name, *map(str, sizes.values())])

    def build(self, sizes: Mapping[str, int], **settings: Any) -> keras.Model:
        """Returns the network, with fresh weights; `settings` are the builder's."""
        return self.builder(**sizes, **self.settings, **settings)

    def layer_names(self, sizes: Mapping[str, int]) -> tuple[list[str], list[str], str]:
        """Returns the names of (convolutions, BN layers, dense layer), in the order in which the builder makes them."""
        convolutions, normalizations = [self.stem[0]], list(self.stem[1:])
        stages = 3 * [(sizes["depth"] - 4) // 6] if self.is_wide else _STAGES_OF[sizes["depth"]]
        for stage, count in enumerate(stages):
            for number in range(count):
                prefix = self.block.format(stage=self.first_stage + stage, number=number)
                # Where the number of filters changes; no network of these families changes the size alone.
                has_shortcut = number == 0 and (stage > 0 or sizes.get("width", 1) > 1)
                skipped = () if has_shortcut else self.shortcut
                convolutions += [prefix + name for name in self.convolutions if name not in skipped]
                normalizations += [prefix + name for name in self.normalizations if name not in skipped]
        return convolutions, normalizations + list(self.end[:-1]), self.end[-1]


_USUAL: dict[str, Any] = {
    "block": "layer{stage}.{number}.",
    "first_stage": 1,
    "convolutions": ("shortcut.0", "conv1", "conv2"),
    "normalizations": ("bn1", "bn2"),
    "shortcut": ("shortcut.0",),
}
_DEEPMIND: dict[str, Any] = {
    "first_stage": 0,
    "normalizations": ("batchnorm_0", "batchnorm_1"),
    "shortcut": ("shortcut",),
    "end": ("batchnorm", "logits"),
    "activation": "silu",
}

#: All families; of twins, the one that is taken where nothing chooses comes first.
FAMILIES = (
    Family(
        "wrn",
        wide_resnet,
        stem=("conv1",),
        block="block{stage}.layer.{number}.",
        first_stage=1,
        convolutions=("convShortcut", "conv1", "conv2"),
        normalizations=("bn1", "bn2"),
        shortcut=("convShortcut",),
        end=("bn1", "fc"),
    ),
    Family(
        "wrn-deepmind",
        wide_resnet,
        stem=("init_conv",),
        block="layer.{stage}.block.{number}.",
        convolutions=("shortcut", "conv_0", "conv_1"),
        settings={"strided_padding": "end"},
        **_DEEPMIND,
    ),
    Family(
        "preact-resnet",
        preact_resnet,
        stem=("conv1",),
        end=("bn", "linear"),
        twins=("preact-resnet-raw",),
        **_USUAL,
    ),
    Family(
        "preact-resnet-raw",
        preact_resnet,
        stem=("conv1",),
        end=("bn", "linear"),
        settings={"shortcut": "raw"},
        twins=("preact-resnet",),
        **_USUAL,
    ),
    Family(
        "preact-resnet-raw-nobn",
        preact_resnet,
        stem=("conv1",),
        end=("linear",),
        settings={"shortcut": "raw", "last_bn": False},
        twins=("preact-resnet-nobn",),
        **_USUAL,
    ),
    Family(
        "preact-resnet-nobn",
        preact_resnet,
        stem=("conv1",),
        end=("linear",),
        settings={"last_bn": False},
        twins=("preact-resnet-raw-nobn",),
        **_USUAL,
    ),
    Family(
        "preact-resnet-deepmind",
        preact_resnet,
        stem=("conv_2d",),
        block="layer_{stage}.{number}.",
        convolutions=("shortcut", "conv_2d_1", "conv_2d_2"),
        settings={"shortcut": "raw-3x3", "strided_padding": "end"},
        **_DEEPMIND,
    ),
    Family(
        "resnet",
        resnet,
        stem=("conv1", "bn1"),
        end=("linear",),
        **_USUAL
        | {
            "convolutions": ("conv1", "conv2", "shortcut.0"),
            "normalizations": ("bn1", "bn2", "shortcut.1"),
            "shortcut": ("shortcut.0", "shortcut.1"),
        },
    ),
)
_ENDS = {name for family in FAMILIES for name in family.end}
_STEM_BN = {name for family in FAMILIES for name in family.stem[1:]}


def family_of(names: Sequence[str], architecture: str | None = None) -> Family:
    """Returns the `Family` whose names the weights have.

    Args:
        names: of the weights, without prefixes.
        architecture: the family's name, with or without sizes, to choose among twins.

    Raises:
        InputError: if no family has these names, or another one than the chosen one.
    """
    found = [family for family in FAMILIES if family.matches(names)]
    if not found:
        shown = ", ".join(list(names)[:3]) or "none"
        raise InputError(
            f"`checkpoint` has the weights of no known network ({', '.join(each.name for each in FAMILIES)}). Its "
            f"first names: {shown}"
        )
    if architecture is None:
        return found[0]
    chosen = [family for family in found if re.fullmatch(rf"{re.escape(family.name)}(-\d+)*", architecture)]
    if not chosen:
        raise InputError(
            f"`architecture` must be, for the names in this checkpoint, {' or '.join(each.name for each in found)}. "
            f"Received: {architecture!r}"
        )
    return chosen[0]
