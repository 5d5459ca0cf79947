import pytest

from agkd_tf.errors import InputError
from agkd_tf.models import build_model


def test_the_name_sets_depth_width_and_sizes():
    model = build_model("wrn-16-2", image_shape=(12, 8, 3), num_classes=7)
    assert model.name == "wrn_16_2"
    assert model.input_shape == (None, 12, 8, 3)
    assert model.output_shape == (None, 7)
    assert model.get_layer("embedding").output.shape[-1] == 64 * 2


@pytest.mark.parametrize("name", ["resnet-50", "wrn-28", "wrn-28-10-x", "WRN-28-10", ""])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=r"`model` must be one of wrn-DEPTH-WIDTH \(for example wrn-28-10\)"):
        build_model(name, image_shape=(8, 8, 3), num_classes=2)


@pytest.mark.parametrize("name", ["wrn-4-1", "wrn-12-1", "wrn-27-10", "wrn-10-0"])
def test_a_size_that_no_wrn_has_is_refused(name):
    with pytest.raises(InputError, match=r"`depth` of a WRN must be 10, 16|`width` must be in"):
        build_model(name, image_shape=(8, 8, 3), num_classes=2)
