"""The networks of public robust checkpoints in PyTorch, written from their papers and the names of their weights.

Runs in an environment that has PyTorch and NumPy alone:

    python torch_networks.py FOLDER

writes for each network NAME.pt, a state dict, and NAME.npz with the `features`, `embedding` and `logits` that PyTorch
computes from `random_images`; and networks.json, with each network's names and shapes, its logits, and the first
numbers of each image's embedding.
"""

import json
import pathlib
import sys

import numpy as np
import torch
from random_weights import random_images, random_weights
from torch import nn
from torch.nn import functional as F  # noqa: N812

CIFAR10 = ((0.4914, 0.4822, 0.4465), (0.2471, 0.2435, 0.2616))


def conv(inputs, outputs, kernel, stride=1, padding=None):
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2 if padding is None else padding, bias=False)


def end_padded(x, stride):
    """Pads for a 3x3 convolution without padding: all sides, or bottom and right if it is strided."""
    return F.pad(x, (1, 1, 1, 1) if stride == 1 else (0, 1, 0, 1))


class PreActivation(nn.Module):
    """A pre-activation block; `names` are those of (first BN, first convolution, second BN, second one, shortcut)."""

    def __init__(
        self, inputs, outputs, stride, names, *, raw, kernel=1, end=False, activation=F.relu, sequential=False
    ):
        super().__init__()
        bn1, conv1, bn2, conv2, shortcut = names
        self.names, self.raw, self.kernel = names, raw, kernel
        self.end, self.stride, self.activation = end, stride, activation
        self.add_module(bn1, nn.BatchNorm2d(inputs))
        self.add_module(conv1, conv(inputs, outputs, 3, stride, 0 if end else 1))
        self.add_module(bn2, nn.BatchNorm2d(outputs))
        self.add_module(conv2, conv(outputs, outputs, 3))
        self.skips = inputs == outputs and stride == 1
        if not self.skips:
            layer = conv(inputs, outputs, kernel, stride, 0)
            self.add_module(shortcut, nn.Sequential(layer) if sequential else layer)

    def forward(self, x):
        bn1, conv1, bn2, conv2, shortcut = (getattr(self, name, None) for name in self.names)
        activated = self.activation(bn1(x))
        if not self.skips:
            source = x if self.raw else activated
            x = shortcut(end_padded(source, self.stride) if self.kernel == 3 else source)
        branch = conv1(end_padded(activated, self.stride) if self.end else activated)
        return conv2(self.activation(bn2(branch))) + x


class PostActivation(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs, 3), nn.BatchNorm2d(outputs)
        self.shortcut = nn.Sequential()
        if inputs != outputs or stride != 1:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        branch = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(branch + self.shortcut(x))


class Holder(nn.Module):
    """A module with one named child, for names such as `block1.layer.0`."""

    def __init__(self, name, child):
        super().__init__()
        self.add_module(name, child)
        self.name = name

    def forward(self, x):
        return getattr(self, self.name)(x)


def stage(block, count, inputs, outputs, stride):
    blocks = [block(inputs if n == 0 else outputs, outputs, stride if n == 0 else 1) for n in range(count)]
    return nn.Sequential(*blocks)


class Network(nn.Module):
    """Normalisation, stem, stages, end; `features` [B, K, h, w] is what is pooled."""

    def __init__(self, stem, stages, end, *, stem_bn=None, mean=0.0, std=1.0, activation=F.relu):
        super().__init__()
        for name, module in [*stem.items(), *stages.items(), *end.items()]:
            self.add_module(name, module)
        self.stem, self.stages, self.end, self.stem_bn = list(stem), list(stages), list(end), stem_bn
        self.mean, self.std = (torch.tensor(v).reshape(1, -1, 1, 1) for v in (mean, std))
        self.activation = activation

    def forward(self, images):
        x = getattr(self, self.stem[0])((images - self.mean) / self.std)
        if self.stem_bn:
            x = F.relu(getattr(self, self.stem_bn)(x))
        for name in self.stages:
            x = getattr(self, name)(x)
        *last_bn, dense = self.end
        for name in last_bn:
            x = self.activation(getattr(self, name)(x))
        embedding = x.mean((2, 3))
        return x, embedding, getattr(self, dense)(embedding)


USUAL = ("bn1", "conv1", "bn2", "conv2", "convShortcut")
RESNET = ("bn1", "conv1", "bn2", "conv2", "shortcut")
DM_WRN = ("batchnorm_0", "conv_0", "batchnorm_1", "conv_1", "shortcut")
DM_PREACT = ("batchnorm_0", "conv_2d_1", "batchnorm_1", "conv_2d_2", "shortcut")


def wrn(depth, width, classes=10, **scale):
    n, sizes = (depth - 4) // 6, (16, 16 * width, 32 * width, 64 * width)

    def block(inputs, outputs, stride):
        return PreActivation(inputs, outputs, stride, USUAL, raw=False)

    stages = {
        f"block{s + 1}": Holder("layer", stage(block, n, sizes[s], sizes[s + 1], 1 if s == 0 else 2)) for s in range(3)
    }
    end = {"bn1": nn.BatchNorm2d(sizes[3]), "fc": nn.Linear(sizes[3], classes)}
    return Network({"conv1": conv(3, 16, 3)}, stages, end, **scale)


def dm_wrn(depth, width):
    n, sizes = (depth - 4) // 6, (16, 16 * width, 32 * width, 64 * width)

    def block(inputs, outputs, stride):
        return PreActivation(inputs, outputs, stride, DM_WRN, raw=False, end=True, activation=F.silu)

    groups = [Holder("block", stage(block, n, sizes[s], sizes[s + 1], 1 if s == 0 else 2)) for s in range(3)]
    end = {"batchnorm": nn.BatchNorm2d(sizes[3]), "logits": nn.Linear(sizes[3], 10)}
    mean, std = CIFAR10
    stem = {"init_conv": conv(3, 16, 3)}
    return Network(stem, {"layer": nn.Sequential(*groups)}, end, mean=mean, std=std, activation=F.silu)


def stages_of_18(block, name):
    sizes = (64, 64, 128, 256, 512)
    return {name.format(s): stage(block, 2, sizes[s], sizes[s + 1], 1 if s == 0 else 2) for s in range(4)}


def preact(*, raw, last_bn):
    def block(inputs, outputs, stride):
        return PreActivation(inputs, outputs, stride, RESNET, raw=raw, sequential=True)

    stages = {f"layer{int(name) + 1}": module for name, module in stages_of_18(block, "{}").items()}
    end = {"bn": nn.BatchNorm2d(512)} if last_bn else {}
    return Network({"conv1": conv(3, 64, 3)}, stages, end | {"linear": nn.Linear(512, 10)})


def dm_preact():
    def block(inputs, outputs, stride):
        return PreActivation(inputs, outputs, stride, DM_PREACT, raw=True, kernel=3, end=True, activation=F.silu)

    mean, std = CIFAR10
    end = {"batchnorm": nn.BatchNorm2d(512), "logits": nn.Linear(512, 10)}
    stem = {"conv_2d": conv(3, 64, 3)}
    return Network(stem, stages_of_18(block, "layer_{}"), end, mean=mean, std=std, activation=F.silu)


def resnet():
    stages = {f"layer{int(name) + 1}": module for name, module in stages_of_18(PostActivation, "{}").items()}
    stem = {"conv1": conv(3, 64, 3), "bn1": nn.BatchNorm2d(64)}
    return Network(stem, stages, {"linear": nn.Linear(512, 10)}, stem_bn="bn1")


NETWORKS = {
    "wrn-16-2": lambda: wrn(16, 2, mean=0.5, std=0.5),
    "wrn-10-1": lambda: wrn(10, 1, classes=7),  # without a shortcut in the first stage
    "wrn-deepmind-10-2": lambda: dm_wrn(10, 2),
    "preact-resnet-18": lambda: preact(raw=False, last_bn=True),
    "preact-resnet-raw-18": lambda: preact(raw=True, last_bn=True),
    "preact-resnet-nobn-18": lambda: preact(raw=False, last_bn=False),
    "preact-resnet-raw-nobn-18": lambda: preact(raw=True, last_bn=False),
    "preact-resnet-deepmind-18": dm_preact,
    "resnet-18": resnet,
}


def randomized(network):
    for name, values in network.state_dict().items():
        if values.is_floating_point():
            values.copy_(torch.from_numpy(random_weights(name, tuple(values.shape))))
    return network.eval()


def main(folder):
    folder, facts = pathlib.Path(folder), {}
    images = torch.from_numpy(random_images())
    for name, build in NETWORKS.items():
        network = randomized(build())
        with torch.no_grad():
            features, embedding, logits = (each.numpy() for each in network(images))
        torch.save(network.state_dict(), folder / f"{name}.pt")
        np.savez(folder / f"{name}.npz", features=features, embedding=embedding, logits=logits)
        shapes = {key: list(values.shape) for key, values in network.state_dict().items()}
        facts[name] = {"shapes": shapes, "logits": logits.tolist(), "embedding": embedding[:, :8].tolist()}
    (folder / "networks.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
