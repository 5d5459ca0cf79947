from tools._table import results_table


def test_a_result_says_accuracy_interval_images_and_speed_and_the_worst_case_has_no_speed():
    result = {"accuracy": 0.5, "confidence_interval_95": [0.25, 0.7512], "num_examples": 400}
    lines = results_table(
        "a model", {"pgd-20": {**result, "seconds": 1.26, "images_per_second": 1234.5}, "worst": result}
    )
    title, _, pgd, worst = lines.splitlines()
    assert title == "a model"
    assert pgd.split() == ["pgd-20", "50.00%", "25.00", "to", "75.12", "400", "1.3", "1,234.5"]
    assert worst.split() == ["worst", "50.00%", "25.00", "to", "75.12", "400"]
