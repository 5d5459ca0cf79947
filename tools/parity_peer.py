"""The other side of `tools.parity`: the same attacks by torchattacks, in an environment of its own.

Needs torch, torchattacks and numpy, nothing of this project; `tools.parity` calls it.
"""

import json
import sys
import time

import numpy as np
import torch
import torchattacks
from torch.nn import functional


class WideResNet(torch.nn.Module):
    """A wide residual network with given weights, in inference mode, NCHW.

    Args:
        arrays: dict with `conv_k` [H, W, I, O], `bn_k` [4, C] (scale, shift, mean, variance), `dense_0`
            [K, n] and `dense_1` [n], k counting in the order in which the network was built.
        blocks: pre-activation blocks a stage.
    """

    def __init__(self, arrays, blocks):
        super().__init__()
        self.blocks = blocks
        for name, array in arrays.items():
            if name.startswith("conv"):
                array = array.transpose(3, 2, 0, 1)
            self.register_buffer(name, torch.tensor(np.ascontiguousarray(array)))

    def forward(self, images):
        """Returns logits of images in [0, 1]."""
        self.next_conv = self.next_bn = 0
        x = self.convolution(2.0 * images - 1.0)
        for stage in range(3):
            for number in range(self.blocks):
                first = number == 0
                stride = 2 if stage and first else 1
                activated = self.bn_relu(x)
                shortcut = self.convolution(activated, stride) if self.widens(x, stage, first) else x
                branch = self.bn_relu(self.convolution(activated, stride))
                x = self.convolution(branch) + shortcut
        embedding = self.bn_relu(x).mean((2, 3))
        return embedding @ self.dense_0 + self.dense_1

    def widens(self, x, stage, first):
        """Whether a block has a convolution in its shortcut."""
        return first and (stage > 0 or getattr(self, f"conv_{self.next_conv}").shape[-1] == 1)

    def convolution(self, x, stride=1):
        """Returns x under the next convolution."""
        kernel = getattr(self, f"conv_{self.next_conv}")
        self.next_conv += 1
        return functional.conv2d(x, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    def bn_relu(self, x):
        """Returns ReLU of the next batch normalisation of x."""
        scale, shift, mean, variance = getattr(self, f"bn_{self.next_bn}")
        self.next_bn += 1
        return functional.relu(functional.batch_norm(x, mean, variance, scale, shift, eps=1e-5))


def attacks(model, eps, seed, classes):
    """Returns name -> attack, set as AutoAttack's standard version has them."""
    settings = {"eps": eps, "seed": seed, "n_restarts": 1}
    parts = {
        "apgd-ce": torchattacks.APGD(model, steps=100, loss="ce", **settings),
        "apgd-t": torchattacks.APGDT(model, steps=100, n_classes=classes, **settings),
        "fab-t": torchattacks.FAB(model, steps=100, multi_targeted=True, n_classes=classes, **settings),
        "square": torchattacks.Square(model, n_queries=5000, resc_schedule=False, **settings),
    }
    # torchattacks' own AutoAttack runs its first three parts for 10 steps instead of 100.
    return parts | {"autoattack": torchattacks.MultiAttack(list(parts.values()))}


def main(folder, name, seed):
    """Attacks what `problem.npz` and `problem.json` in a folder hold, and writes `peer.json` there."""
    with open(f"{folder}/problem.json", encoding="utf-8") as file:
        problem = json.load(file)
    torch.set_num_threads(problem["threads"])
    arrays = dict(np.load(f"{folder}/problem.npz"))
    images = torch.tensor(arrays.pop("images").transpose(0, 3, 1, 2).copy())
    labels = torch.tensor(arrays.pop("labels").astype(np.int64))
    logits = arrays.pop("logits")
    model = WideResNet(arrays, problem["blocks"]).eval()
    with torch.no_grad():
        found = model(images).numpy()
    if np.abs(found - logits).max() > 1e-3:
        raise SystemExit(f"error: the rebuilt network differs by {np.abs(found - logits).max():g} in its logits")
    attack, start, robust = attacks(model, problem["eps"], seed, logits.shape[1])[name], time.perf_counter(), []
    for begin in range(0, len(images), problem["batch_size"]):
        part = slice(begin, begin + problem["batch_size"])
        adv = attack(images[part], labels[part])
        with torch.no_grad():
            robust += (model(adv).argmax(1) == labels[part]).tolist()
    seconds = time.perf_counter() - start
    print(f"{name}, seed {seed}: torchattacks {np.mean(robust):.2%} in {seconds:.0f} s", flush=True)
    versions = f"torchattacks {torchattacks.__version__}, torch {torch.__version__}"
    with open(f"{folder}/peer.json", "w", encoding="utf-8") as file:
        json.dump({"robust": robust, "seconds": seconds, "versions": versions}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
