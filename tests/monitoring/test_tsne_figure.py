import numpy as np
import pytest

from agkd_tf.monitoring import TSNEPanel, tsne_figure


def panel(seed, classes):
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), 4)
    return TSNEPanel(random.normal(size=(len(labels), 2)), labels, random.normal(size=(3, 2)))


@pytest.mark.parametrize("classes", [3, 10, 12])
def test_every_point_is_drawn_where_it_is_and_in_its_class_color(classes):
    rows = {attacked: {"AT": panel(attacked, classes), "BML": panel(9 + attacked, classes)} for attacked in (2, 1)}
    names = [f"name {number}" for number in range(classes)]
    figure = tsne_figure(rows, class_names=names, attack="pgd-7")
    panels = [rows[attacked][title] for attacked in (2, 1) for title in ("AT", "BML")]
    colors = set()
    for axis, content in zip(figure.axes, panels, strict=True):
        *clean, adversarial = axis.collections
        np.testing.assert_allclose(adversarial.get_offsets(), content.adversarial)
        for label, points in enumerate(clean):
            np.testing.assert_allclose(points.get_offsets(), content.clean[content.clean_labels == label])
            colors.add((label, tuple(points.get_facecolor()[0])))
        assert tuple(adversarial.get_facecolor()[0]) not in {color for _, color in colors}
    assert len(colors) == len({color for _, color in colors}) == classes
    assert [axis.get_title() for axis in figure.axes] == ["AT", "BML", "", ""]
    assert [axis.get_ylabel() for axis in figure.axes] == ["name 2", "", "name 1", ""]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.texts] == [*names, "attacked (pgd-7)"]
