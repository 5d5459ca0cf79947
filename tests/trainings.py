"""Trainings in tests."""

from agkd_tf.training import TrainingOptions, TrainingRun


def train(recipe, workdir, dataset, *, listener=None, panel_every=0, **options):
    """Returns the `Defense` of a recipe that is trained, silently, in a folder; `options` are of `TrainingOptions`."""
    options = TrainingOptions(progress="off", panel_every=panel_every, **options)
    return TrainingRun(recipe, workdir, dataset, options=options, listener=listener).run()
