"""Runs adversarial-library's versions of the attacks that `tools.laboratory.minimum_norm` compares.

`tools.laboratory.minimum_norm` calls this script in an environment of its own. It needs torch, adv-lib and numpy, and
nothing of this project.
"""

import importlib.metadata
import json
import math
import sys
import time

import numpy as np
import torch
from adv_lib.attacks import ddn, fast_minimum_norm
from problem import read_problem

RELEASED = fast_minimum_norm.l2_projection_


def within(**given):
    """Projects displacements onto the l_2 ball in place; the released code moves those within it to its surface.

    Args:
        **given: the displacements [B, ...] and the radii [B], which the library names by Greek letters.
    """
    displacement, radius = given.values()
    flat = displacement.flatten(1)
    lengths = flat.norm(p=2, dim=1, keepdim=True).clamp_(min=1e-12)
    return flat.mul_((radius.unsqueeze(1) / lengths).clamp_(max=1))


def main(folder, attack, norm, steps, step_size, projected):
    """Attacks the network and images in a folder's `problem.npz` and `problem.json`.

    It writes the adversarial images to `peer.npz` and seconds and versions to `peer.json` there.

    Args:
        folder: the folder.
        attack: fmn or ddn.
        norm: linf or l2.
        steps: number of iterations.
        step_size: first step of FMN.
        projected: whether FMN's l_2 projection is put right.
    """
    problem, model, images, labels = read_problem(folder)
    fast_minimum_norm.l2_projection_ = within if projected else RELEASED
    order = {"linf": math.inf, "l2": 2}[norm]
    start, adversaries = time.perf_counter(), []
    for begin in range(0, len(images), problem["batch_size"]):
        batch = slice(begin, begin + problem["batch_size"])
        if attack == "ddn":
            adv = ddn(model, images[batch], labels[batch], steps=steps, levels=None)
        else:
            # The arguments after the norm: not targeted, steps, first step.
            adv = fast_minimum_norm.fmn(model, images[batch], labels[batch], order, False, steps, step_size)
        adversaries.append(adv.detach())
    seconds = time.perf_counter() - start
    np.savez(f"{folder}/peer.npz", adversaries=torch.cat(adversaries).numpy().transpose(0, 2, 3, 1))
    versions = f"adv-lib {importlib.metadata.version('adv-lib')}, torch {torch.__version__}"
    with open(f"{folder}/peer.json", "w", encoding="utf-8") as file:
        json.dump({"seconds": seconds, "versions": versions}, file)


if __name__ == "__main__":
    main(*sys.argv[1:4], int(sys.argv[4]), float(sys.argv[5]), sys.argv[6] == "projected")
