"""A wide residual network in PyTorch, for the scripts in this folder."""

import numpy as np
import torch
from torch.nn import functional


class Block(torch.nn.Module):
    """A pre-activation block; the shortcut has a 1x1 convolution where the number of filters or the size changes."""

    def __init__(self, inputs, filters, stride):
        super().__init__()
        self.bn1 = torch.nn.BatchNorm2d(inputs)
        self.shortcut = None
        if inputs != filters or stride > 1:
            self.shortcut = torch.nn.Conv2d(inputs, filters, 1, stride, bias=False)
        self.conv1 = torch.nn.Conv2d(inputs, filters, 3, stride, padding=1, bias=False)
        self.bn2 = torch.nn.BatchNorm2d(filters)
        self.conv2 = torch.nn.Conv2d(filters, filters, 3, padding=1, bias=False)

    def forward(self, x):
        """Returns the block's output."""
        activated = functional.relu(self.bn1(x))
        branch = self.conv2(functional.relu(self.bn2(self.conv1(activated))))
        return branch + (x if self.shortcut is None else self.shortcut(activated))


class WideResNet(torch.nn.Module):
    """WRN-depth-width: maps images in [0, 1], [B, C, H, W], to features [B, K, h, w], embedding [B, K] and logits.

    Its modules are created in the order in which `agkd_tf.models.wide_resnet` creates its layers.
    """

    def __init__(self, depth, width, channels=3, classes=10):
        super().__init__()
        layers, inputs = [torch.nn.Conv2d(channels, 16, 3, padding=1, bias=False)], 16
        for stage in range(3):
            for number in range((depth - 4) // 6):
                filters = 16 * width * 2**stage
                layers.append(Block(inputs, filters, 2 if stage and not number else 1))
                inputs = filters
        self.blocks, self.bn = torch.nn.Sequential(*layers), torch.nn.BatchNorm2d(inputs)
        self.dense = torch.nn.Linear(inputs, classes)

    def forward(self, images):
        """Returns (features, embedding, logits)."""
        features = functional.relu(self.bn(self.blocks(2.0 * images - 1.0)))
        embedding = features.mean((2, 3))
        return features, embedding, self.dense(embedding)


def network(arrays, problem):
    """Returns the network with the given weights, as a function from images in [0, 1] to logits.

    Args:
        arrays: dict with `conv_k` [H, W, I, O], `bn_k` [4, C] (scale, shift, mean, variance), `dense_0`
            [K, n] and `dense_1` [n]; k counts the layers in the order in which the network was built.
        problem: dict with `depth` and `width`.
    """
    channels, classes = arrays["conv_0"].shape[2], len(arrays["dense_1"])
    model = WideResNet(problem["depth"], problem["width"], channels, classes).eval().requires_grad_(False)
    numbers = dict.fromkeys(("conv", "bn"), 0)

    def following(kind):
        numbers[kind] += 1
        return torch.tensor(np.ascontiguousarray(arrays[f"{kind}_{numbers[kind] - 1}"]))

    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.weight.copy_(following("conv").permute(3, 2, 0, 1))
        elif isinstance(module, torch.nn.BatchNorm2d):
            parts = (module.weight, module.bias, module.running_mean, module.running_var)
            for part, value in zip(parts, following("bn"), strict=True):
                part.copy_(value)
    model.dense.weight.copy_(torch.tensor(arrays["dense_0"]).T)
    model.dense.bias.copy_(torch.tensor(arrays["dense_1"]))
    return torch.nn.Sequential(model, Logits())


class Logits(torch.nn.Module):
    """Takes the logits out of (features, embedding, logits)."""

    def forward(self, outputs):
        """Returns the logits."""
        return outputs[2]
