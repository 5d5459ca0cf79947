"""The commands that compute the results missing from a report."""

import shlex

from agkd_tf.perturbation_size import format_size
from agkd_tf.report import Evaluate, MeasureCost, Train, Work


def command(work: Work) -> str:
    """Returns the command that does a piece of work, safe to paste into a shell."""
    match work:
        case Train(recipe, workdir):
            words = ["tools.train", f"--flagfile={shlex.quote(recipe)}", f"--workdir={shlex.quote(workdir)}"]
        case Evaluate():
            words = ["tools.evaluate", f"--workdir={shlex.quote(work.workdir)}"]
            words += [f"--attacks={shlex.quote(','.join(work.attacks))}"] if work.attacks else []
            words += [] if work.eps is None else [f"--eps={format_size(work.eps)}"]
            words += ["--knn"] if work.knn else []
            words += [f"--transfer_attack={shlex.quote(work.transfer_attack)}"] if work.transfer_attack else []
        case MeasureCost(recipe):
            words = ["tools.benchmark training", shlex.quote(recipe), "--output=runs/cost"]
    return " ".join(["python -m", *words])
