"""What a comparison says in two sentences."""

import pytest

from agkd_tf.intervals import wilson_interval
from agkd_tf.report import Run
from agkd_tf.report.summary import summary

SETTINGS = {"dataset": "digits", "eps": 0.1, "norm": "linf", "seed": 0}


def run(name, correct, images=400, **settings):
    """A run of 400 images, of which so many survive each attack."""
    attacks = {
        attack: {
            "accuracy": count / images,
            "num_examples": images,
            "confidence_interval_95": list(wilson_interval(count, images)),
        }
        for attack, count in correct.items()
    }
    return [Run(f"runs/{name}", SETTINGS | settings, attacks, trained=True)]


UNDEFENDED = run("undefended", {"clean": 396, "pgd-20": 0, "cw-20": 4})
AT = run("at", {"clean": 392, "pgd-20": 240, "cw-20": 260})


def test_runs_whose_intervals_are_apart_are_told_apart():
    assert summary([UNDEFENDED, AT]) == (
        'Under the strongest of pgd-20, cw-20, "at" classifies 60.00 % (55.1-64.7) of the images right, "undefended" '
        '0.00 % (0.0-1.0). "at" resists best: its interval is above the others\'; on clean images "at" reaches 98.00 % '
        '(96.1-99.0), "undefended" 99.00 % (97.5-99.6).'
    )


def test_runs_whose_intervals_overlap_are_not():
    # Judged by its own strongest attack, the third is below the second, although PGD-20 leaves it more.
    third = run("third", {"clean": 399, "pgd-20": 300, "cw-20": 230})
    text = summary([UNDEFENDED, third, AT])
    assert (
        '"at" classifies 60.00 % (55.1-64.7) of the images right, "third" 57.50 % (52.6-62.3), "undefended" 0.00 %'
        in text
    )
    assert 'The intervals of "at" and "third" overlap, so these results cannot tell them apart; on clean' in text


def test_the_best_on_clean_images_is_not_named_twice():
    best = run("best", {"clean": 400, "pgd-20": 300})
    assert summary([AT, best]).endswith('on clean images "best" reaches 100.00 % (99.0-100.0).')


@pytest.mark.parametrize(
    "groups",
    [
        [AT],
        [AT, run("other", {"clean": 392, "fgsm": 240})],
        [AT, run("other", {"pgd-20": 240}, eps=0.2)],
        [AT, run("other", {"pgd-20": 240}, dataset="cifar10")],
        [AT, run("other", {"pgd-20": 240}, norm="l2")],
        [AT, run("other", {"pgd-20": 120}, images=200)],
    ],
    ids=["one run", "no attack in common", "another eps", "another data set", "another norm", "other images"],
)
def test_what_does_not_compare_has_no_summary(groups):
    assert summary(groups) == ""


def test_runs_of_other_epochs_or_networks_are_told_with_a_warning():
    longer = run("longer", {"clean": 392, "pgd-20": 320}, epochs=20, model="wrn-16-1")
    text = summary([run("short", {"clean": 392, "pgd-20": 100}, epochs=8, model="wrn-10-1"), longer])
    assert text.endswith("; mind that these runs have different networks and epochs.")
    assert "mind" not in summary([AT, UNDEFENDED])


def test_a_wider_interval_of_a_third_run_counts():
    # The third is below the second, but its few seeds leave open whether it is above the first.
    first, second = run("first", {"pgd-20": 300}), run("second", {"pgd-20": 200})
    third = [
        Run(
            f"runs/third_{seed}",
            SETTINGS | {"seed": seed},
            run("third", {"pgd-20": count})[0].attacks,
            trained=True,
        )
        for seed, count in enumerate((60, 240))
    ]
    assert "resists best" in summary([first, second])
    assert 'The intervals of "first" and "third_0" overlap' in summary([first, second, third])
