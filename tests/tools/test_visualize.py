"""Figures of runs, from the command line."""

import json

import numpy as np
import tensorflow as tf


def test_figures_of_a_run_and_its_teacher(tmp_path, tool, small):
    run = tmp_path / "run"
    trained = tool("train", *small, "--defense=agkd_bml", f"--workdir={run}")
    assert trained.returncode == 0, trained.stderr

    drawn = tool(
        "visualize", "attention", f"--workdir={run}", "--attack=pgd-1", "--images=3", "--attention=gradcam_orig"
    )
    assert drawn.returncode == 0, drawn.stderr
    picture = run / "figures" / "attention_gradcam_orig_pgd-1.png"
    assert tf.io.decode_png(picture.read_bytes()).shape[-1] == 4
    assert picture.with_suffix(".pdf").read_bytes().startswith(b"%PDF")
    assert "Images 3 of digits test" in drawn.stdout
    numbers = json.loads(picture.with_suffix(".json").read_text())
    assert (numbers["num_examples"], numbers["attention"], numbers["attack"]) == (1, "gradcam_orig", "pgd-1")
    for other in ("teacher, clean", "student, clean"):
        assert f"{other}: {numbers['distance_to'][other]['mean']:.4f}" in drawn.stdout

    figures = tmp_path / "figures"
    workdirs = f"--workdirs={run}/teacher,{run}"
    few = ("--num_examples=60", "--clean_per_class=3", "--adversaries_per_class=3", "--neighbors=5", "--attack=pgd-1")
    classes = ("--classes=1,3,4", "--rows_per_figure=2", "--titles=UM,AGKD/BML")
    drawn = tool("visualize", "tsne", workdirs, f"--output={figures}", *few, *classes)
    assert drawn.returncode == 0, drawn.stderr
    assert {path.name for path in figures.glob("*.png")} == {"tsne_pgd-1_1.png", "tsne_pgd-1_2.png"}
    numbers = json.loads((figures / "tsne_pgd-1.json").read_text())
    assert {title: model["workdir"] for title, model in numbers["models"].items()} == {
        "UM": f"{run}/teacher",
        "AGKD/BML": str(run),
    }
    for model in numbers["models"].values():
        assert model["purity_interval"][0] <= model["purity"] <= model["purity_interval"][1]
        assert f"{100 * model['purity']:.1f}" in drawn.stdout
    for name in ("UM_pgd-1", "AGKD_BML_pgd-1"):
        embeddings = np.loadtxt(figures / "tensorboard" / name / "embeddings.tsv", delimiter="\t")
        labels = (figures / "tensorboard" / name / "embeddings_labels.tsv").read_text().splitlines()
        assert len(embeddings) == len(labels) - 1 == 60

    mistakes = {
        ("attention",): "`workdir`",
        ("attention", f"--workdir={run}", "--images=1,400"): "`images` must be integers in [0, 399]",
        (
            "tsne",
            workdirs,
            f"--output={figures}",
            "--eps=4/255",
            "--num_examples=2",
        ): "`classes`: none of the 2 images is of class",
        ("tsne", f"--workdirs={run},{run}", f"--output={figures}"): "different folder names",
        (
            "tsne",
            workdirs,
            f"--output={figures}",
            "--titles=UM",
        ): "`titles` must be 2 titles, one for each of `workdirs`",
        ("tsne", workdirs, f"--output={figures}", "--classes=7", "--num_examples=1"): "`num_examples` must have images",
        (
            "tsne",
            workdirs,
            f"--output={figures}",
            "--seed=2147483648",
        ): "`seed` must be in [0, 2147483647]. Received: 2147483648",
        ("curves",): "must be one of attention, tsne. Received: curves",
        (): "Received: nothing",
    }
    for arguments, expected in mistakes.items():
        refused = tool("visualize", *arguments)
        assert refused.returncode == 2
        assert expected in refused.stderr
        assert refused.stdout == ""
        assert len(refused.stderr.strip().splitlines()) == 1
