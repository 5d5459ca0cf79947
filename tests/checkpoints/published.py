"""The state dicts that `torch_networks.py` had PyTorch compute with, made again without PyTorch."""

import json

import numpy as np

from tests.checkpoints.random_weights import random_images, random_weights
from tests.documentation import ROOT

FACTS = json.loads((ROOT / "tests" / "golden" / "torch_networks.json").read_text(encoding="utf-8"))
IMAGES = random_images().transpose(0, 2, 3, 1)
PIXELS = {"wrn-16-2": {"pixel_mean": 0.5, "pixel_std": 0.5}}


def state_dict(name):
    """Returns name -> array as in PyTorch, with the counters of BN, which are integers without dimensions."""
    shapes = FACTS[name]["shapes"]
    counters = {each: np.int64(7).reshape(()) for each in shapes if each.endswith("num_batches_tracked")}
    return counters | {each: random_weights(each, shape) for each, shape in shapes.items() if each not in counters}


def haiku_parameters(state, name="wide_res_net"):
    """Returns (params, state) of the Haiku network that a state dict of DeepMind's PyTorch WRN stands for."""
    params, moments = {}, {}
    for key, array in state.items():
        module, _, kind = key.rpartition(".")
        parts = module.split(".")
        if parts[0] == "layer":
            parts = [f"resnet_lay_{parts[1]}_block_{parts[3]}", parts[4]]
        module = "/~/".join([name, *parts])
        is_bn = "batchnorm" in module
        if kind.startswith("running"):
            moment = f"{module}/~/{'mean' if 'mean' in kind else 'var'}_ema"
            average = array.reshape(1, 1, 1, -1)
            moments[moment] = {"average": average, "counter": np.int32(3), "hidden": average * 2}
        elif is_bn and kind in ("weight", "bias"):
            params.setdefault(module, {})["scale" if kind == "weight" else "offset"] = array.reshape(1, 1, 1, -1)
        elif kind in ("weight", "bias"):
            layout = {4: (2, 3, 1, 0), 2: (1, 0), 1: (0,)}[array.ndim]
            params.setdefault(module, {})["w" if kind == "weight" else "b"] = array.transpose(layout)
    return params, moments
