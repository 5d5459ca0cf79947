"""Runs another implementation of the attacks that `tools.laboratory.parity` compares.

`tools.laboratory.parity` calls this script in an environment of its own. It needs torch, numpy, and pyautoattack (the
authors' code as a package) or torchattacks; and nothing of this project.
"""

import importlib
import importlib.metadata
import json
import sys
import time

import numpy as np
import torch
from problem import read_problem

NORMS = {"linf": "Linf", "l2": "L2"}  # as both spell them


def in_batches(attack, batch_size):
    """Returns an attack that sees so many images at a time."""

    def adversaries(images, labels):
        parts = zip(images.split(batch_size), labels.split(batch_size), strict=True)
        return torch.cat([attack(*part) for part in parts])

    return adversaries


def of_torchattacks(model, problem, seed, starts):
    """Returns a dict of name -> attack, with the settings of AutoAttack's standard version."""
    torchattacks = importlib.import_module("torchattacks")
    classes, batch_size = problem["classes"], problem["batch_size"]
    settings = {"norm": NORMS[problem["norm"]], "eps": problem["eps"], "seed": seed, "n_restarts": 1}
    parts = {
        "apgd-ce": torchattacks.APGD(model, steps=100, loss="ce", **settings),
        "apgd-t": torchattacks.APGDT(model, steps=100, n_classes=classes, **settings),
        "fab-t": torchattacks.FAB(model, steps=100, multi_targeted=True, n_classes=classes, **settings),
        "square": torchattacks.Square(model, n_queries=5000, resc_schedule=False, **settings),
    }
    # torchattacks' own AutoAttack runs its first three parts for 10 steps instead of 100.
    parts |= {"autoattack": torchattacks.MultiAttack(list(parts.values()))}
    return {name: in_batches(attack, batch_size) for name, attack in parts.items()}


def of_pyautoattack(model, problem, seed, starts):
    """Returns a dict of name -> attack: AutoAttack's standard version, each of its parts alone, and one from `starts`.

    `starts` are an iterator over the displacements that each batch begins with.
    """
    auto_attack = importlib.import_module("pyautoattack").AutoAttack
    settings = {"norm": NORMS[problem["norm"]], "eps": problem["eps"], "seed": seed}

    def attack_of(parts):
        attack = auto_attack(model, **settings)  # the standard version's settings
        attack.verbose, attack.attacks_to_run = False, parts

        def adversaries(images, labels):  # it packs the images that are left into batches by itself
            return attack.run_standard_evaluation(images, labels, batch_size=problem["batch_size"])[0]

        return adversaries

    def from_starts(images, labels):
        attack = auto_attack(model, **settings).apgd
        attack.loss = "ce"
        attack.init_hyperparam(images)
        return attack.attack_single_run(images, labels, x_init=images + next(starts))[3]

    parts = ["apgd-ce", "apgd-t", "fab-t", "square"]
    return {part: attack_of([part]) for part in parts} | {
        "autoattack": attack_of(parts),
        "apgd-ce-same-start": in_batches(from_starts, problem["batch_size"]),
    }


IMPLEMENTATIONS = {"pyautoattack": of_pyautoattack, "torchattacks": of_torchattacks}


def main(folder, name, seed):
    """Attacks the network and images in a folder's `problem.npz` and `problem.json`; writes `peer.json` there."""
    problem, model, images, labels = read_problem(folder)
    peer, batch_size = problem["implementation"], problem["batch_size"]
    starts = iter([])
    if name == "apgd-ce-same-start":
        starts = iter(torch.tensor(np.load(f"{folder}/starts.npy").transpose(0, 3, 1, 2).copy()).split(batch_size))
    attack = IMPLEMENTATIONS[peer](model, problem, seed, starts)[name]
    start, robust = time.perf_counter(), []
    adversaries = attack(images, labels)
    with torch.no_grad():
        for adv, truth in zip(adversaries.split(batch_size), labels.split(batch_size), strict=True):
            robust += (model(adv).argmax(1) == truth).tolist()
    seconds = time.perf_counter() - start
    print(f"{name}, seed {seed}: {peer} {np.mean(robust):.2%} in {seconds:.0f} s", flush=True)
    versions = f"{peer} {importlib.metadata.version(peer)}, torch {torch.__version__}"
    with open(f"{folder}/peer.json", "w", encoding="utf-8") as file:
        json.dump({"robust": robust, "seconds": seconds, "versions": versions}, file)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
