import base64
import dataclasses
import pathlib
import re

import numpy as np
import pytest
from scipy.stats import t

from agkd_tf.evaluation import wilson_interval
from agkd_tf.report import (
    TABLES,
    PublishedRow,
    PublishedTable,
    Run,
    comparison,
    filled_table,
    grouped,
    how_to_read,
    html_page,
    measurement,
)
from agkd_tf.training import Recipe
from agkd_tf.training.recipe_file import read_recipe
from tools import _commands

ROOT = pathlib.Path(__file__).resolve().parents[2]
COLUMNS = {"clean": "clean", "pgd-20": "PGD-20", "clean knn-50": "k-NN", "transfer source_wrn": "WRN"}
TABLE = PublishedTable(
    "9",
    "a table",
    "cifar10",
    COLUMNS,
    (
        PublishedRow("AT", {"defense": "at"}, "flags/cifar10/at.flags", {"clean": "86.2", "pgd-20": "45.60"}),
        PublishedRow("ALP", {"defense": "alp"}, "flags/cifar10/alp.flags", {"clean": "89.8"}),
    ),
)


def result(accuracy, count=400, **details):
    interval = list(wilson_interval(round(accuracy * count), count))
    return {"accuracy": accuracy, "num_examples": count, "confidence_interval_95": interval, **details}


def commands(filled):
    """Returns the commands that fill a table."""
    return [f"{missing.row}: {_commands.command(missing.work)}" for missing in filled.missing]


def run(name="at", attacks=None, dataset="cifar10", defense="at", **fields):
    recipe = Recipe(dataset=dataset, defense=defense, **fields)
    return Run(f"runs/{name}", recipe.settings(), attacks or {"clean": result(0.9)}, {"processor": "a chip"})


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.number)
def test_each_published_row_has_a_recipe_that_its_runs_come_from(table):
    for row in table.rows:
        settings = read_recipe(ROOT / row.recipe).settings()
        assert {name: settings[name] for name in row.match} == row.match, row.title
        assert settings["dataset"] == table.dataset
        size = {"tiny_imagenet": 64}.get(table.dataset, 32)
        assert {name: settings[name] or size for name in row.trained} == row.trained, row.title
        assert set(row.trained) == {"model", "image_size", "epochs", "eps"}
        assert settings["train_examples"] is None
        header = [line for line in (ROOT / row.recipe).read_text().splitlines() if "# paper:" in line]
        same = (other for tables in TABLES for other in tables.rows if other.recipe == row.recipe)
        figures = [figure for other in same for figure in other.figures.values() if len(figure) > 2]
        assert any(re.search(rf"\b{re.escape(figure)}\b", header[0]) for figure in figures), row.title
        others = [other for other in table.rows if other is not row and other.match.items() <= settings.items()]
        assert not others, row.title


@pytest.mark.parametrize("recipe", ["bilateral_hard", "bilateral_random", "bilateral_mosa"])
def test_a_variant_is_not_taken_for_a_published_row(recipe):
    settings = read_recipe(ROOT / "flags" / "cifar10" / f"{recipe}.flags").settings()
    rows = [row for table in TABLES for row in table.rows if row.match.items() <= settings.items()]
    assert rows == []


def test_a_label_smoothed_teacher_is_not_taken_for_the_undefended_network():
    settings = run(defense="undefended", hyperparameters={"label_smoothing": 0.5}).settings
    assert not [row for table in TABLES for row in table.rows if row.match.items() <= settings.items()]


def test_published_figures_have_the_digits_of_the_supplement():
    frames = {table.number: filled_table(table, []).frame.xs("published", level=1) for table in TABLES}
    assert frames["1"].loc["UM"].tolist() == ["64.62", "3.93", "0.17", "0.10", "0.07", "0", "0", "0.57"]
    assert frames["1"].loc["ALP", "CW-20"] == ""
    assert frames["1"].loc["AGKD-BML", "CW-10"] == "18.8"
    assert frames["2"].loc["WRN-28-10, decay at 100"].tolist() == ["50.80"]
    assert frames["4"].loc["SML"].tolist() == ["7", "TensorFlow", "2234", "55", "34.1", "", ""]
    assert frames["6a"].loc["AT"].tolist() == ["87.1", "86.2", "47.5", "45.6"]


def test_cells_are_measured_published_and_their_difference(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    attacks = {"clean": result(0.875, **{"knn-50": result(0.9)}), "pgd-20": result(0.5), "pgd-20 [seed 3]": result(0.1)}
    attacks |= {"fgsm [validation]": result(0.4, 70), "fgsm [first 20]": result(0.4, 20)}  # not of all test images
    attacks |= {"transfer:runs/old/source_wrn": result(0.25), "transfer:runs/source_vgg": result(0.75)}
    filled = filled_table(TABLE, grouped([run(attacks=attacks)]))
    low, high = wilson_interval(350, 400)
    assert filled.frame.loc[("AT", "measured"), "clean"] == f"87.50 ({100 * low:.1f}-{100 * high:.1f})"
    assert filled.frame.loc[("AT", "published")].tolist() == ["86.2", "45.60", "", ""]
    assert filled.frame.loc[("AT", "difference")].tolist() == ["+1.30", "+4.40", "", ""]
    assert [text.partition(" ")[0] for text in filled.frame.loc[("AT", "measured")]] == [
        "87.50",
        "50.00",
        "90.00",
        "25.00",
    ]
    assert commands(filled) == [
        "source_wrn: python -m tools.train --flagfile=flags/cifar10/source_wrn.flags --workdir=runs/cifar10/source_wrn",
        "ALP: python -m tools.train --flagfile=flags/cifar10/alp.flags --workdir=runs/cifar10/alp",
        "ALP: python -m tools.evaluate --workdir=runs/cifar10/alp "
        "--attacks=clean,pgd-20,transfer:runs/cifar10/source_wrn --knn",
    ]
    what = "wrn-28-10, cifar10, all training images, 200 epochs, batch 128, seed 0, 400 test images, a chip"
    assert filled.notes == [f"AT: {what}"]
    (tmp_path / "runs" / "cifar10" / "source_wrn").mkdir(parents=True)
    assert commands(filled_table(TABLE, grouped([run(attacks=attacks)]))) == commands(filled)[1:]


def test_an_empty_cell_names_the_command_that_fills_it():
    (line,) = (line for line in commands(filled_table(TABLE, [[run()]])) if line.startswith("AT"))
    assert line.endswith("--workdir=runs/at --attacks=pgd-20,clean,transfer:runs/cifar10/source_wrn --knn")


def test_what_one_seed_lacks_is_missing_although_the_row_has_it_of_another():
    both = {name: result(0.5, **{"knn-50": result(0.5)}) for name in ("clean", "pgd-20", "transfer:runs/source_wrn")}
    group = [run("first", both), run("second", {"pgd-20": result(0.5)}, seed=1)]
    lines = [line for line in commands(filled_table(TABLE, [group])) if line.startswith("AT")]
    attacks = "clean,transfer:runs/cifar10/source_wrn"
    assert lines == [f"AT: python -m tools.evaluate --workdir=runs/second --attacks={attacks} --knn"]


def test_a_command_is_safe_to_paste():
    (line,) = (line for line in commands(filled_table(TABLE, [[run("a b")]])) if line.startswith("AT"))
    assert "--workdir='runs/a b' " in line


def test_a_run_on_other_data_is_called_so_and_fills_no_difference():
    filled = filled_table(TABLE, [[run(dataset="digits")]])
    title = "AT (on digits)"
    assert filled.frame.loc[(title, "measured"), "clean"].startswith("90.00")
    assert filled.frame.loc[(title, "published"), "clean"] == "86.2"
    assert (title, "difference") not in filled.frame.index
    assert filled.notes[1:] == [f"No difference for {title}: published on cifar10, here on digits"]
    attacks = "pgd-20,clean,transfer:runs/cifar10/source_wrn"
    assert f"{title}: python -m tools.evaluate --workdir=runs/at --attacks={attacks} --knn" in commands(filled)
    # What it stands in for is filled by the table's own recipe.
    assert "AT: python -m tools.train --flagfile=flags/cifar10/at.flags --workdir=runs/cifar10/at" in commands(filled)


TRAINED = {"model": "wrn-28-10", "image_size": 32, "epochs": 200, "eps": 8 / 255}
COMPARED = dataclasses.replace(
    TABLE, rows=tuple(dataclasses.replace(row, trained=TRAINED) for row in TABLE.rows), columns={"clean": "clean"}
)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, None),
        ({"epochs": 201, "image_size": 32, "batch_size": 7}, None),
        ({"epochs": 199}, "after 200 epochs, here after 199"),
        ({"train_examples": 2000}, "on all training images, here on the first 2,000"),
        ({"model": "wrn-16-2"}, "on wrn-28-10, here on wrn-16-2"),
        ({"image_size": 16}, "on images of 32 pixels, here of 16"),
        ({"hyperparameters": {"eps": 4 / 255}}, "at eps 8/255, here at 4/255"),
        ({"epochs": 1, "model": "wrn-16-2"}, "on wrn-28-10, here on wrn-16-2; after 200 epochs, here after 1"),
    ],
)
def test_a_difference_is_given_only_to_what_was_trained_as_the_published_row(fields, reason):
    filled = filled_table(COMPARED, [[run(**fields)]])
    assert filled.frame.loc[("AT", "published"), "clean"] == "86.2"
    trains = "AT: python -m tools.train --flagfile=flags/cifar10/at.flags --workdir=runs/cifar10/at"
    if reason is None:
        assert filled.frame.loc[("AT", "difference"), "clean"] == "+3.80"
        assert len(filled.notes) == 1
        assert trains not in commands(filled)
    else:
        assert filled.frame.loc["AT"].index.tolist() == ["measured", "published"]
        assert filled.notes[1:] == [f"No difference for AT: published {reason}"]
        assert trains in commands(filled)


def test_where_one_run_compares_no_other_is_asked_for():
    filled = filled_table(COMPARED, [[run("short", epochs=1)], [run("whole")]])
    short, whole = "AT (runs/short)", "AT (runs/whole)"
    assert filled.frame.loc[short].index.tolist() == ["measured", "published"]
    assert filled.frame.loc[(whole, "difference"), "clean"] == "+3.80"
    assert filled.notes[2:] == [f"No difference for {short}: published after 200 epochs, here after 1"]
    assert [line for line in commands(filled) if line.startswith("AT")] == []


def test_the_first_images_have_no_difference_and_ask_for_all():
    attacks = {"clean": result(0.9), "pgd-20 [first 100]": result(0.5, 100)}
    table = dataclasses.replace(COMPARED, columns={"clean": "clean", "pgd-20": "PGD-20"})
    filled = filled_table(table, [[run(attacks=attacks)]])
    assert filled.frame.loc[("AT", "difference")].tolist() == ["+3.80", ""]
    assert filled.notes[1:] == [
        "No difference for AT in PGD-20: published on all test images, here on the first of them"
    ]
    assert "AT: python -m tools.evaluate --workdir=runs/at --attacks=pgd-20" in commands(filled)
    part = filled_table(table, [[run(attacks={"clean [first 100]": result(0.9, 100)})]])
    assert part.frame.loc["AT"].index.tolist() == ["measured", "published"]
    # No seed is tested again that was tested on all.
    seeds = [run("all", {"clean": result(0.9)}), run("part", {"clean [first 100]": result(0.9, 100)}, seed=1)]
    lines = [line for line in commands(filled_table(COMPARED, [seeds])) if line.startswith("AT")]
    assert lines == ["AT: python -m tools.evaluate --workdir=runs/part --attacks=clean"]


def test_rows_without_a_run_are_apart_from_those_with_one():
    filled = filled_table(TABLE, [[run()]])
    assert filled.measured.index.get_level_values(0).unique().tolist() == ["AT"]
    assert filled.unmeasured.index.tolist() == ["ALP"]
    assert filled.unmeasured.loc["ALP"].tolist() == ["89.8", "", "", ""]
    assert filled.left_out() == "1 published row without a run of yours"
    # A run that was not tested yet has nothing to show.
    begun = dataclasses.replace(run(), attacks={}, trained=True)
    assert filled_table(TABLE, [[begun]]).left_out() == "2 published rows without a run of yours"
    whole = filled_table(TABLE, [[run()], [run("alp", defense="alp")]])
    assert (whole.left_out(), len(whole.unmeasured)) == ("", 0)
    own = comparison([[run()]])
    assert (own.left_out(), len(own.measured)) == ("", 1)
    assert filled.frame.index.get_level_values(0).unique().tolist() == ["AT", "ALP"]
    assert "89.8" in filled.latex()


def test_markdown_leaves_rows_without_a_run_out_or_folds_them_away():
    filled = filled_table(TABLE, [[run()]])
    plain, folded = filled.markdown(_commands.command), filled.markdown(_commands.command, fold=True)
    assert "89.8" not in plain
    assert "\n1 published row without a run of yours: ALP.\n" in plain
    train = "python -m tools.train --flagfile=flags/cifar10/alp.flags --workdir=runs/cifar10/alp"
    assert f"\n    # ALP\n    {train}\n" in plain
    before, rows, missing = folded.split("<details>")
    assert "86.2" in before
    assert "<summary>1 published row without a run of yours</summary>\n\n|" in rows
    assert "89.8" in rows
    assert "python" not in before + rows
    assert f"\n# ALP\n{train}\n" in missing
    assert missing.endswith("```\n\n</details>")


def test_terms_are_told_where_they_occur():
    one, seeds = comparison([[run()]]), comparison([[run("a"), run("b", seed=1)]])
    first = comparison([[run(attacks={"clean [first 100]": result(0.9, 100)})]])
    assert "- first " not in how_to_read([one])
    assert "- first 100: Tested on the first 100 test images alone" in how_to_read([first])
    assert "3 seeds" not in how_to_read([one])
    assert "3 seeds" in how_to_read([seeds])
    assert "- difference: " not in how_to_read([one])
    assert "- difference: " in how_to_read([one, filled_table(TABLE, [])])
    assert how_to_read([]) == ""


def shown_rows(table, groups):
    return list(dict.fromkeys(filled_table(table, groups).frame.index.get_level_values(0)))


def test_no_run_on_other_data_stands_in_a_table_that_has_one_on_its_own():
    others = [[run("other", dataset="svhn")], [run("beside", defense="sml", dataset="svhn")]]
    also = dataclasses.replace(TABLE, also={"defense": "sml"})
    assert shown_rows(also, others) == ["AT (on svhn)", "ALP", "beside (on svhn)"]
    assert shown_rows(also, [*others, [run("own")]]) == ["AT", "ALP"]
    assert shown_rows(also, [*others, [run("own", defense="alp")]]) == ["AT", "ALP"]
    assert shown_rows(also, [*others, [run("mine", defense="sml")]]) == ["AT", "ALP", "mine"]


def test_runs_that_start_otherwise_are_no_seeds_of_one_recipe():
    fresh = [run(f"fresh{seed}", defense="sml", seed=seed) for seed in (0, 1)]
    tuned = [run(f"tuned{seed}", defense="sml", seed=seed, init_from=f"runs/at{seed}") for seed in (0, 1)]
    assert grouped([fresh[0], tuned[0], fresh[1], tuned[1]]) == [fresh, tuned]
    taught = [run(f"taught{seed}", defense="agkd_bml", seed=seed, teacher=f"runs/t{seed}") for seed in (0, 1)]
    alone = run("alone", defense="agkd_bml", seed=2)
    assert grouped([*taught, alone]) == [taught, [alone]]


def test_a_copy_of_a_run_is_no_seed():
    runs = [run("at"), run("copy"), run("second", seed=1)]
    assert grouped(runs) == [[runs[0], runs[2]], [runs[1]]]


def test_runs_that_differ_in_the_seed_alone_are_one_row_with_their_mean_and_error():
    accuracies = (0.5, 0.6, 0.55)
    runs = [run(f"s{seed}", {"clean": result(value)}, seed=seed) for seed, value in enumerate(accuracies)]
    groups = grouped([runs[0], run("other", momentum=0.5), *runs[1:]])
    assert [[run.path for run in group] for group in groups] == [["runs/s0", "runs/s1", "runs/s2"], ["runs/other"]]
    found = measurement(groups[0], "clean")
    error = t.ppf(0.975, 2) * np.std(accuracies, ddof=1) / np.sqrt(3)
    assert (found.accuracy, found.high - found.accuracy) == pytest.approx((0.55, error))
    assert (found.seeds, found.spread) == (3, pytest.approx(np.std(accuracies, ddof=1)))
    shown = comparison(groups).frame
    assert shown.index.tolist() == ["s0", "other"]
    assert shown.loc["s0", "clean"] == "55.00 ± 5.00 (42.6-67.4, 3 seeds)"
    # Two seeds far apart say little, but no accuracy is above 1.
    assert measurement(runs[:2], "clean").high == 1.0


def test_the_result_on_all_images_counts_else_the_one_on_most():
    attacks = {"fgsm [first 20]": result(0.1, 20), "fgsm [first 100]": result(0.2, 100)}
    assert measurement([run(attacks=attacks)], "fgsm").accuracy == 0.2
    assert measurement([run(attacks=attacks | {"fgsm": result(0.3, 50)})], "fgsm").accuracy == 0.3
    assert measurement([run(attacks=attacks)], "pgd-20") is None
    frame = comparison([[run(attacks=attacks | {"fgsm [linf 4/255]": result(0.4)})]]).frame
    assert frame.columns.tolist() == ["fgsm"]
    assert frame.loc["at", "fgsm"].endswith("first 100)")


def test_a_transferred_attack_has_a_column_of_its_own():
    attacks = {"transfer:runs/other": result(0.3), "transfer:runs/other by fgsm": result(0.6)}
    filled = comparison(
        [[run("first", attacks)], [run("second", {"transfer:runs/other": result(0.4), "fgsm": result(0.5)})]]
    )
    assert [text[:5] for text in filled.frame.loc["first"]] == ["30.00", "60.00", ""]
    assert [text[:5] for text in filled.frame.loc["second"]] == ["40.00", "", "50.00"]
    command = "python -m tools.evaluate --workdir=runs"
    assert commands(filled) == [
        f"runs/first: {command}/first --attacks=fgsm",
        f"runs/second: {command}/second --attacks=transfer:runs/other --transfer_attack=fgsm",
    ]


def test_a_table_of_one_eps_takes_the_results_at_that_eps_and_asks_for_them():
    (table,) = (table for table in TABLES if table.number == "5")
    title, own = "AGKD-BML, eps 4/255", {"clean": result(0.5), "pgd-20": result(0.9), "cw-20 [linf 8/255]": result(0.6)}
    at_8 = {"transfer:runs/cifar10/source_wrn [linf 8/255, first 400]": result(0.8), "pgd-20 [linf 8/255]": result(0.7)}
    settings = {"mart": False, "attack_steps": 2, "eps": 4 / 255}
    attacks = own | {"pgd-20 [linf 2/255]": result(0.95), "pgd-20 [validation, linf 8/255]": result(0.2)}
    filled = filled_table(table, [[run("four", attacks, defense="agkd_bml", hyperparameters=settings)]])
    assert [text[:5] for text in filled.frame.loc[(title, "measured")]] == ["50.00", "", "60.00", "", ""]
    assert (
        f"{title}: python -m tools.evaluate --workdir=runs/four --attacks=pgd-20,transfer:runs/cifar10/source_vgg16,"
        "transfer:runs/cifar10/source_wrn --eps=8/255" in commands(filled)
    )
    filled = filled_table(table, [[run("four", attacks | at_8, defense="agkd_bml", hyperparameters=settings)]])
    assert [text[:5] for text in filled.frame.loc[(title, "measured")]] == ["50.00", "70.00", "60.00", "", "80.00"]
    # A run that was trained at the table's eps has it in no name.
    eight = run("eight", {"pgd-20": result(0.4)}, defense="agkd_bml", hyperparameters=settings | {"eps": 8 / 255})
    assert filled_table(table, [[eight]]).frame.loc[("eight", "measured"), "PGD"].startswith("40.00")


COST = {"seconds_per_epoch": 12.345, "epochs": 200, "steps_per_epoch": 10, "min_step_seconds": 1.2}
COST |= {"max_step_seconds": 1.5, "environment": {"processor": "a clock", "cores": 2}}
COSTS = {"cost attack_steps": "steps", "cost platform": "platform", "cost epochs": "epochs"}
COSTS |= {"cost seconds_per_epoch": "s/epoch", "clean": "clean"}


def test_costs_stand_beside_published_ones_without_a_difference():
    figures = {"cost attack_steps": "7", "cost platform": "PyTorch", "cost seconds_per_epoch": "2234", "clean": "86.2"}
    table = dataclasses.replace(
        TABLE, columns=COSTS, rows=(PublishedRow("AT", {"defense": "at"}, "flags/cifar10/at.flags", figures),)
    )
    timed = dataclasses.replace(run("cost/at", hyperparameters={"attack_steps": 5}), attacks={}, cost=COST)
    # Wherever they lie, a run and its cost are of one recipe.
    filled = filled_table(table, grouped([timed, run("at", hyperparameters={"attack_steps": 5})]))
    assert filled.frame.loc[("AT", "measured")].tolist()[:4] == ["5", "TensorFlow", "200", "12.35 (12.00-15.00)"]
    assert filled.frame.loc[("AT", "measured"), "clean"].startswith("90.00")
    assert filled.frame.loc[("AT", "published")].tolist() == ["7", "PyTorch", "", "2234", "86.2"]
    assert filled.frame.loc[("AT", "difference")].tolist() == ["", "", "", "", "+3.80"]
    assert filled.missing == []
    assert filled.notes[0].endswith("seed 0, 400 test images, a chip and a clock, 2 cores")


def test_what_costs_are_missing_is_measured_and_what_was_never_trained_is_trained():
    table = dataclasses.replace(TABLE, columns=COSTS, rows=TABLE.rows[:1])
    train = [
        "AT: python -m tools.train --flagfile=flags/cifar10/at.flags --workdir=runs/cifar10/at",
        "AT: python -m tools.evaluate --workdir=runs/cifar10/at --attacks=clean",
    ]
    measure = "AT: python -m tools.benchmark training {} --output=runs/cost"
    assert commands(filled_table(table, [])) == [*train, measure.format("flags/cifar10/at.flags")]
    assert commands(filled_table(table, [[run()]])) == [measure.format("runs/at")]
    timed = dataclasses.replace(run("cost/at"), attacks={}, cost=COST)
    assert commands(filled_table(table, [[timed]])) == train
    row = dataclasses.replace(TABLE.rows[0], figures={"cost attack_steps": "7"})
    costs_alone = dataclasses.replace(table, columns=dict(list(COSTS.items())[:4]), rows=(row,), also={})
    other = dataclasses.replace(run("cost/other", defense="undefended"), attacks={}, cost=COST)
    filled = filled_table(costs_alone, [[other], [run("trained", defense="alp")]])
    assert filled.frame.loc["other"].values.tolist() == [["0", "TensorFlow", "200", "12.35 (12.00-15.00)"]]
    assert "trained" not in filled.frame.index.get_level_values(0)
    assert "difference" not in filled.frame.index.get_level_values(1)
    assert comparison([[other], [run()]]).frame.index.tolist() == ["at"]


def test_runs_beside_the_published_rows_are_shown_where_the_table_wants_them():
    beside = [run("ten", defense="agkd_bml", model="wrn-10-2")]
    assert "ten" not in filled_table(TABLE, [beside]).frame.index.get_level_values(0)
    wanted = dataclasses.replace(TABLE, also={"defense": "agkd_bml"})
    frame = filled_table(wanted, [beside]).frame
    assert frame.loc["ten"].index.tolist() == ["measured"]


def test_the_page_needs_nothing_beside_itself_and_escapes_names():
    runs = [run("<b>bold</b>")]
    page = html_page("A <title>", [comparison([runs]), filled_table(TABLE, [runs])], {"a & b.png": b"\x89PNG"})
    (picture,) = re.findall(r'src="data:image/png;base64,([^"]*)"', page)
    assert base64.b64decode(picture) == b"\x89PNG"
    assert "http" not in page
    assert "<b>bold" not in page
    assert "A &lt;title&gt;" in page
    assert page.count("<table") == 3  # its own, the measured row's, and the other row's


def test_the_page_begins_with_the_runs_and_their_figures_and_ends_with_tables_without_one():
    empty = dataclasses.replace(TABLE, number="8", dataset="svhn", rows=TABLE.rows[1:])
    tables = [filled_table(empty, [[run()]]), filled_table(TABLE, [[run()]]), comparison([[run()]])]
    page = html_page("A page", tables, {"runs/at/figures/attention_pgd.png": b"\x89PNG"})
    body = page[page.index("</style>") :]
    places = [body.index(text) for text in ("<nav", "62.50 (", "<figure", "Table 9: a table<", "Table 8: a table<")]
    assert places == sorted(places)
    assert body.index(">90.00 <") < places[1]
    assert '<details class="table"><summary>Table 8: a table</summary>' in body
    assert "1 published row without a run of yours" in body
    assert "Attention: each row is a test image" in body
    assert "t-SNE" not in body
    assert "<nav" not in html_page("A page", tables[2:], {})


def test_the_page_says_what_is_missing_in_words_or_as_it_is_told():
    filled = filled_table(TABLE, [[run("at & all")]])
    words = html_page("", [filled], {})
    under = "under pgd-20, clean, transfer:runs/cifar10/source_wrn with nearest neighbors"
    assert f"\n# AT\nevaluate runs/at &amp; all {under}\n" in words
    assert "\n# ALP\ntrain flags/cifar10/alp.flags in runs/cifar10/alp\n" in words
    told = html_page("", [filled], {}, describe=lambda work: type(work).__name__)
    assert "\n# AT\nEvaluate\n# ALP\nTrain\nEvaluate</pre>" in told
