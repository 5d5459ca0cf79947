"""Prints the evaluations of several runs as one table.

python -m tools.report --workdirs=runs/digits/undefended,runs/digits/at,runs/digits/agkd_bml
"""

import pathlib

from absl import flags

from agkd_tf.errors import InputError
from agkd_tf.evaluation import read_evaluation
from agkd_tf.workdir import Workdir
from tools import _app
from tools._table import comparison_table

FLAGS = flags.FLAGS

flags.DEFINE_list("workdirs", [], "Folders of the runs, separated by commas.")


def main(argv):
    """Prints the table."""
    del argv
    if not FLAGS.workdirs:
        raise InputError("`workdirs`, the runs' folders, are needed: --workdirs=runs/A,runs/B")
    rows = {}
    for path in FLAGS.workdirs:
        evaluation = Workdir(path).evaluation
        if not evaluation.is_file():
            raise InputError(f"`workdirs`: {path} has no {evaluation.name}: python -m tools.evaluate --workdir={path}")
        rows[path] = read_evaluation(evaluation)["attacks"]
    names = [pathlib.Path(path).name for path in rows]
    if len(set(names)) == len(names):
        rows = dict(zip(names, rows.values(), strict=True))
    print(comparison_table("model", rows))


if __name__ == "__main__":
    _app.run(main)
