import pytest

from agkd_tf.evaluation import Sign
from tools._table import audit_table, results_table


def test_a_result_says_accuracy_interval_images_and_speed_and_the_worst_case_has_no_speed():
    result = {"accuracy": 0.5, "confidence_interval_95": [0.25, 0.7512], "num_examples": 400}
    lines = results_table(
        "a model", {"pgd-20": {**result, "seconds": 1.26, "images_per_second": 1234.5}, "worst": result}
    )
    title, _, pgd, worst = lines.splitlines()
    assert title == "a model"
    assert pgd.split() == ["pgd-20", "50.00%", "25.00", "to", "75.12", "400", "1.3", "1,234.5"]
    assert worst.split() == ["worst", "50.00%", "25.00", "to", "75.12", "400"]


def sign(name, raised):
    return Sign(name, raised, f"{name}'s numbers", f"{name} happens", f"{name}'s meaning", f"{name}'s remedy")


def test_a_raised_sign_says_when_it_is_raised_and_what_it_means_and_what_to_do():
    lines = audit_table([sign("a", False), sign("b", True)], autoattack=True).splitlines()
    assert [line.strip() for line in lines] == [
        "ok      a: a's numbers",
        "RAISED  b: b's numbers",
        "raised if: b happens",
        "means:     b's meaning",
        "do:        b's remedy",
        "1 of 2 raised",
    ]


@pytest.mark.parametrize("autoattack", [False, True])
def test_no_sign_at_all_does_not_stand_for_autoattack(autoattack):
    *_, last = audit_table([sign("a", False)], autoattack=autoattack).splitlines()
    assert "none of these signs; the accuracy to believe is the worst case with AutoAttack in it" in last
    assert ("is not recorded: --attacks=autoattack" in last) != autoattack
