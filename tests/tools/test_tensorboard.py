"""A run, and embeddings, are readable in the real TensorBoard."""

import json
import sys
import time
import urllib.error
import urllib.request

import numpy as np
import pytest
import tensorboard.main

from agkd_tf.monitoring import write_projector
from agkd_tf.workdir import Workdir
from tests.processes import free_ports
from tests.trainings import tiny_recipe, train

RECIPE = tiny_recipe("agkd_bml", batch_size=32, validation_attack_steps=1, hyperparameters={"eps": 0.15})


def serve(*flags):
    sys.argv = ["tensorboard", *flags]
    tensorboard.main.run_main()


@pytest.fixture
def server(tmp_path, start):
    """Address of a TensorBoard on loopback that shows one short run, and embeddings."""
    train(RECIPE, Workdir(tmp_path / "run"), RECIPE.load_dataset(), panel_every=1)
    labels = {"kind": ["clean"] * 4, "class": list("abcd")}
    write_projector(tmp_path / "figures" / "at", "embeddings", np.eye(4), np.zeros((4, 2, 2, 1), np.float32), labels)
    (port,) = free_ports(1)
    start(serve, "--host=127.0.0.1", f"--port={port}", f"--logdir={tmp_path}")
    return f"http://127.0.0.1:{port}/data"


def read(address, found, seconds=120):
    """Returns the JSON at `address` as soon as `found` accepts it; the server loads runs in the background."""
    end, content = time.monotonic() + seconds, None
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=10) as response:
                content = json.load(response)
            if found(content):
                return content
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            pass
        time.sleep(0.5)
    raise AssertionError(f"{address} gave only {content}")


def test_what_is_written_is_served(server):
    run = "run/tensorboard"

    def has_scalars(tags):
        return "epoch_loss/total" in tags.get(f"{run}/train", {}) and f"{run}/validation" in tags

    tags = read(f"{server}/plugin/scalars/tags", has_scalars)
    assert {"epoch_loss/attention", "epoch_learning_rate", "epoch_step/images_per_second"} <= set(tags[f"{run}/train"])
    assert set(tags[f"{run}/validation"]) == {"epoch_accuracy/clean", "epoch_accuracy/robust", "epoch_loss/validation"}
    points = read(f"{server}/plugin/scalars/scalars?run={run}/train&tag=epoch_loss/total", bool)
    assert len(points) == 1
    assert points[0][2] > 0
    images = read(f"{server}/plugin/images/tags", lambda content: f"{run}/panels" in content)
    assert "attention" in images[f"{run}/panels"]
    read(f"{server}/plugin/projector/runs", lambda runs: runs == ["figures/at"])
    (embeddings,) = read(f"{server}/plugin/projector/info?run=figures/at", bool)["embeddings"]
    assert embeddings["tensorName"] == "embeddings"
    assert embeddings["tensorShape"] == [4, 4]
    settings = read(f"{server}/plugin/hparams/experiment?request=%7B%7D", lambda content: content.get("hparamInfos"))
    assert {"defense", "eps", "epochs"} <= {setting["name"] for setting in settings["hparamInfos"]}
    layout = read(f"{server}/plugin/custom_scalars/layout", lambda content: content.get("category"))
    assert [group["title"] for group in layout["category"]] == ["accuracy", "loss and its terms"]
