import sys

import pytest

from agkd_tf.errors import InputError
from tools.laboratory.matrix_product import MatrixProduct
from tools.laboratory.peer import Peer


def command(program):
    return f'{sys.executable} -c "{program}"'


def test_a_peer_tells_its_own_time():
    peer = Peer(command("print('torch 2: median 0.2500 s, min 0.2 s, 128.0 images/s')"))
    assert peer.images == 32
    assert peer.run(3) == [0.25]


def test_a_rate_that_is_rounded_until_the_images_cannot_be_told_is_refused():
    # Eight images in 21.5 s are 0.37 a second; 0.4 of them would be nine images.
    with pytest.raises(InputError, match=r"more digits: 0\.4 at 21\.5 s may mean 7\.5 to 9\.7 images per step"):
        Peer(command("print('median 21.5 s, 0.4 images/s')"))
    assert Peer(command("print('median 21.5 s, 0.3721 images/s')")).images == 8


@pytest.mark.parametrize(
    ("program", "reason"),
    [("print('fast')", "must print `median X s`"), ("raise SystemExit('no torch')", "failed: no torch")],
)
def test_a_peer_that_says_nothing_is_refused(program, reason):
    with pytest.raises(InputError, match=reason):
        Peer(command(program))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "must be a command line"),
        ('echo "a', "is not a command line"),
        ("sh -c 'echo >&2; exit 3'", "exit status 3"),
    ],
)
def test_a_peer_that_is_no_command_or_fails_in_silence_is_refused(line, reason):
    with pytest.raises(InputError, match=f"`peer` .*{reason}"):
        Peer(line)


def test_a_peer_that_is_not_there_is_refused():
    with pytest.raises(InputError, match=r"`peer` nowhere/python x\.py failed"):
        Peer("nowhere/python x.py")


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_matrix_product_knows_its_operations(dtype):
    product = MatrixProduct(dtype, size=64)
    assert product.facts()["flops"] == 2 * 64**3
    seconds = product.run(3)
    assert len(seconds) == 3
    assert min(seconds) > 0
