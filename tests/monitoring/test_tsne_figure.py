import numpy as np
import pytest

from agkd_tf.monitoring import TSNEPanel, pixels, tsne_figure


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


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_nothing_is_cut_and_panels_keep_their_size(columns):
    rows = {attacked: {f"model {number}": panel(number, 10) for number in range(columns)} for attacked in (0, 1)}
    names = ["airplane", "automobile", *(f"name {number}" for number in range(8))]
    figure = tsne_figure(rows, class_names=names, attack="pgd-100")
    pixels(figure)
    (legend,) = figure.legends
    for box in (legend.get_window_extent(), *(axis.get_tightbbox() for axis in figure.axes)):
        assert figure.bbox.x0 <= box.x0 <= box.x1 <= figure.bbox.x1
        assert figure.bbox.y0 <= box.y0 <= box.y1 <= figure.bbox.y1
    assert all(axis.get_window_extent().width > 1.2 * figure.dpi for axis in figure.axes)
