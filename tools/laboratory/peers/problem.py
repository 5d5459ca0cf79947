"""The network and images that this project's side leaves in a folder, for the scripts in this folder."""

import json

import numpy as np
import torch
from wide_resnet import network


def read_problem(folder):
    """Reads `problem.npz` and `problem.json`, and rebuilds the network.

    Returns:
        A dict of what `problem.json` says, with the number of `classes`; the network, from images to logits; its
        images, float32 [N, C, H, W] in [0, 1]; and their labels, int64 [N].

    Raises:
        SystemExit: if the rebuilt network's logits are not those that the network gave on this project's side.
    """
    with open(f"{folder}/problem.json", encoding="utf-8") as file:
        problem = json.load(file)
    torch.set_num_threads(problem["threads"])
    arrays = dict(np.load(f"{folder}/problem.npz"))
    images = torch.tensor(arrays.pop("images").transpose(0, 3, 1, 2).copy())
    labels = torch.tensor(arrays.pop("labels").astype(np.int64))
    logits = arrays.pop("logits")
    model = network(arrays, problem)
    with torch.no_grad():
        found = model(images).numpy()
    if np.abs(found - logits).max() > 1e-3:
        raise SystemExit(f"error: the rebuilt network's logits differ by up to {np.abs(found - logits).max():g}")
    return problem | {"classes": logits.shape[1]}, model, images, labels
