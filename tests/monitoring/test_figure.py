import itertools

import numpy as np
import pytest

from agkd_tf.monitoring import pixels, save_figure
from agkd_tf.monitoring.figure import ADVERSARY_COLOR, CLASS_COLORS, new_figure


def test_a_figure_is_written_as_pixels_and_as_vectors(tmp_path):
    figure = new_figure(2, 1)
    figure.subplots().plot([0, 1], color="#ff0000")
    png, pdf = save_figure(figure, tmp_path / "a" / "curve.v2")
    assert (png.name, pdf.name) == ("curve.v2.png", "curve.v2.pdf")
    assert png.read_bytes().startswith(b"\x89PNG")
    assert pdf.read_bytes().startswith(b"%PDF")
    assert b"/Subtype /Image" not in pdf.read_bytes()  # nothing was turned into pixels
    assert b"/FontFile2" in pdf.read_bytes()  # letters as TrueType
    assert b"/Type3" not in pdf.read_bytes()
    picture = pixels(figure)
    assert picture.shape == (200, 400, 3)
    assert (picture == [255, 0, 0]).all(-1).any()


# Vienot, Brettel and Mollon, 1999: sRGB primaries to cones, and what a missing cone leaves; for the tritanope, whom
# they leave out, what keeps blue and white.
CONES = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
EYES = {
    "normal": np.eye(3),
    "deuteranope": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
    "protanope": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "tritanope": np.array([[1, 0, 0], [0, 1, 0], [-0.395913, 0.801109, 0]]),
}


def lab(color, eye):
    """CIE L*a*b* of a hex color as an eye sees it."""
    value = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    seen = np.clip(np.linalg.solve(CONES, EYES[eye] @ CONES @ linear), 0, 1)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ seen / [0.9505, 1, 1.089]
    x, y, z = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("eye", EYES)
def test_every_eye_tells_the_colors_apart(eye):
    seen = [lab(color, eye) for color in (*CLASS_COLORS, ADVERSARY_COLOR)]
    # A difference of 2.3 is just noticeable; small marks want several of them.
    assert min(np.linalg.norm(one - other) for one, other in itertools.combinations(seen, 2)) > 15
