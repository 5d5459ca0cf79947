import re

from agkd_tf.benchmark import Timing
from tools._table import peers_table


def test_each_recipe_stands_beside_each_peer_with_the_spread_of_the_rounds():
    ours = {
        "slow": Timing(((0.5, 0.5, 9.0), (0.4, 0.4), (0.25,)), items=8),
        "fast": Timing(((0.25,), (0.25,), (0.25,)), items=8),
    }
    theirs = {"peer 1": Timing(((0.5,), (0.5,), (0.5,)), items=8), "peer 2": Timing(((1.0,), (0.8,), (0.4,)), items=4)}
    heading, *rows = peers_table(ours, theirs).splitlines()
    assert re.split("  +", heading) == ["images/s, times the peer's", "peer 1", "peer 2"]
    assert [re.split("  +", row) for row in rows] == [
        ["slow", "1.25 (1.00-2.00)", "4.00 (3.20-4.00)"],
        ["fast", "2.00 (2.00-2.00)", "6.40 (3.20-8.00)"],
    ]
