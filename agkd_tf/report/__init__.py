"""The paper's tables, filled from runs and set beside the published figures."""

from agkd_tf.report.frontier import Frontier, frontier_of
from agkd_tf.report.missing import Evaluate, MeasureCost, Missing, Train, Work
from agkd_tf.report.page import html_page
from agkd_tf.report.published import TABLES, PublishedRow, PublishedTable
from agkd_tf.report.reading import how_to_read
from agkd_tf.report.robustbench import robustbench_table
from agkd_tf.report.runs import Measurement, Run, grouped, measurement, read_run
from agkd_tf.report.tables import FilledTable, comparison, filled_table

__all__ = [
    "TABLES",
    "Evaluate",
    "FilledTable",
    "Frontier",
    "MeasureCost",
    "Measurement",
    "Missing",
    "PublishedRow",
    "PublishedTable",
    "Run",
    "Train",
    "Work",
    "comparison",
    "filled_table",
    "frontier_of",
    "grouped",
    "how_to_read",
    "html_page",
    "measurement",
    "read_run",
    "robustbench_table",
]
