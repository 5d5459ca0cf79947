"""The t-SNE figures of any models, with their numbers, from Python."""

import json

import numpy as np
import pytest

from agkd_tf.analysis import class_separation, embed
from agkd_tf.errors import InputError
from agkd_tf.models import Classifier, build_model
from agkd_tf.visualization import draw_tsne

FEW = {"eps": 0.1, "attack": "pgd-1", "clean_per_class": 2, "adversaries_per_class": 2, "neighbors": 5}


@pytest.fixture(scope="module")
def networks():
    models = (build_model("tiny", image_shape=(16, 16, 1), num_classes=10, seed=seed) for seed in (1, 2))
    return dict(zip(("one", "the/other"), models, strict=True))


@pytest.fixture(scope="module")
def examples(digits):
    return digits.test.take(slice(0, 60))


@pytest.fixture(scope="module")
def drawing(networks, examples):
    return draw_tsne(networks, examples, classes=[3, 1], rows_per_figure=1, progress="off", **FEW)


def test_a_figure_has_a_row_for_each_class_and_a_column_for_each_model(drawing, digits):
    assert len(drawing.figures) == 2
    for figure, label in zip(drawing.figures, (3, 1), strict=True):
        assert [axis.get_title() for axis in figure.axes] == ["one", "the/other"]
        assert figure.axes[0].get_ylabel() == digits.class_names[label]


def test_its_numbers_are_the_class_separation_of_all_images(drawing, networks, examples):
    assert drawing.described["num_examples"] == 60
    for title, model in drawing.models.items():
        clean = embed(Classifier(networks[title]), examples.images)
        np.testing.assert_allclose(model.clean, clean, atol=1e-5)
        expected = class_separation(model.clean, model.adversarial, examples.labels, neighbors=5)
        assert model.separation == expected
        assert f"{100 * expected.purity:.1f} (" in str(drawing)
        assert set(model.panels) == {3, 1}
    assert str(drawing).startswith("60 test images, l_inf eps 0.1, mean and 95 % interval\n")


def test_it_is_saved_as_pictures_numbers_and_embeddings(drawing, tmp_path):
    pictures = drawing.save(tmp_path)
    assert [path.name for path in pictures] == [f"tsne_pgd-1_{n}.{kind}" for n in (1, 2) for kind in ("png", "pdf")]
    content = json.loads((tmp_path / "tsne_pgd-1.json").read_text())
    assert (content["neighbors"], content["dataset"]) == (5, "digits")
    assert content["models"]["one"]["purity"] == drawing.models["one"].separation.purity
    for name in ("one_pgd-1", "the_other_pgd-1"):
        embeddings = np.loadtxt(tmp_path / "tensorboard" / name / "embeddings.tsv", delimiter="\t")
        assert len(embeddings) == 2 * len(drawing.drawn)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"eps": None}, "`eps`, the radius of the ball, is needed"),
        ({"classes": [10]}, r"`classes` must be integers in \[0, 9\]. Received: 10"),
        ({"neighbors": 60}, "`neighbors` must be in"),
        ({"rows_per_figure": 0}, "`rows_per_figure` must be in"),
        ({"clean_per_class": 1, "classes": [1]}, "t-SNE needs more than 15 points, .* Received: 12: give more images"),
    ],
)
def test_what_is_not_understood_is_refused(settings, message, networks, examples):
    with pytest.raises(InputError, match=message):
        draw_tsne(networks, examples, progress="off", **{**FEW, **settings})


def test_images_that_show_nothing_are_refused(networks, examples):
    with pytest.raises(InputError, match="`classes`: none of the 5 images is of class 9"):
        draw_tsne(networks, examples.take(slice(0, 5)), classes=[9], progress="off", **FEW)
    with pytest.raises(InputError, match="`models` must be a dict of title -> model with at least one entry"):
        draw_tsne({}, examples, **FEW)
    with pytest.raises(InputError, match="`models` must have titles that also differ as file names"):
        draw_tsne({"a/b": networks["one"], "a_b": networks["one"]}, examples, **FEW)
