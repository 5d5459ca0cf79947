"""Which runs no other beats in both accuracies, and the figure of them."""

import pytest

from agkd_tf.errors import InputError
from agkd_tf.monitoring import pixels
from agkd_tf.report import frontier_of
from tests.report.test_summary import run


def measured(name, clean, robust, **settings):
    return run(name, {"clean": clean, "pgd-20": robust}, **settings)


def titles(points):
    return [point.title for point in points]


def test_runs_that_another_beats_in_both_are_not_on_the_frontier():
    groups = [
        measured("robust", 200, 160),
        measured("equal to robust", 200, 160),
        measured("as robust, less accurate", 190, 160),
        measured("between", 240, 120),
        measured("worse than between", 239, 119),
        measured("undefended", 300, 0),
    ]
    found = frontier_of(groups)
    assert titles(found.best) == ["undefended", "between", "robust", "equal to robust"]
    assert [point.clean.accuracy for point in found.points] == [0.75, 0.6, 0.5975, 0.5, 0.5, 0.475]


def test_the_strongest_attack_that_most_runs_have_counts_on_the_images_that_most_have():
    three = {"clean": 300, "fgsm": 200, "pgd-20": 150}
    groups = [run("a", three), run("b", three), run("c", three | {"autoattack": 100})]
    assert frontier_of(groups).attack == "pgd-20"
    assert frontier_of(groups, "fgsm").attack == "fgsm"
    fewer = run("fewer", {"clean": 50, "pgd-20": 49}, images=100)
    found = frontier_of([*groups, fewer])
    assert titles(found.points) == ["a", "b", "c"]
    assert found.left_out == ("fewer",)
    with pytest.raises(InputError, match=r"`frontier='clean'` needs two runs"):
        frontier_of(groups, "clean")
    with pytest.raises(InputError, match=r"`frontier='autoattack'` needs two runs .* fgsm, pgd-20, autoattack"):
        frontier_of(groups, "autoattack")


@pytest.mark.parametrize("settings", [{"dataset": "cifar10"}, {"eps": 0.2}, {"norm": "l2"}])
def test_runs_that_do_not_compare_have_none(settings):
    groups = [measured("a", 300, 100), measured("b", 200, 120, **settings)]
    assert frontier_of(groups) is None
    assert frontier_of(groups[:1]) is None
    with pytest.raises(InputError, match="one data set and ball"):
        frontier_of(groups, "pgd-20")


def test_the_figure_has_each_run_its_interval_and_the_line():
    groups = [
        measured("undefended", 300, 0),
        measured("$robust$", 200, 160),
        measured("beaten", 190, 100) + measured("again", 200, 90),
    ]
    figure = frontier_of(groups).figure()
    (axis,), (legend,) = figure.axes, figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["1  undefended", "2  $robust$", "3  beaten (2 seeds)"]
    assert axis.get_ylabel() == "under pgd-20, % of 400 images"
    line = axis.lines[-1]
    assert list(line.get_xdata()) == [75.0, 50.0]
    assert list(line.get_ydata()) == [0.0, 40.0]
    across, up = axis.containers[1].lines[2]  # Wilson's, of 200 and 160 of 400
    assert across.get_segments()[0][:, 0] == pytest.approx([45.12, 54.88], abs=0.01)
    assert up.get_segments()[0][:, 1] == pytest.approx([35.31, 44.87], abs=0.01)
    assert pixels(figure).std() > 0


def test_points_that_lie_close_together_share_a_label():
    groups = [measured("a", 300, 100), measured("b", 200, 161), measured("c", 201, 160), measured("d", 199, 120)]
    (axis,) = frontier_of(groups).figure().axes
    assert sorted(text.get_text() for text in axis.texts) == ["1", "2, 3", "4"]
