"""Trainings in tests."""

from agkd_tf.training import Recipe, TrainingOptions, TrainingRun


def tiny_recipe(defense, *, batch_size=16, epochs=1, validation_attack_steps=0, hyperparameters=None, **fields):
    """Returns a `Recipe` that trains in a second: 64 digits, 20 for validation, and the smallest network.

    `hyperparameters` are of the defense, `fields` of the recipe. The network's name is known where `tests.networks` is
    imported, as it is in tests.
    """
    return Recipe(
        train_examples=64,
        validation_examples=20,
        model="tiny",
        defense=defense,
        hyperparameters={"validation_attack_steps": validation_attack_steps, **(hyperparameters or {})},
        batch_size=batch_size,
        epochs=epochs,
        decay_epochs=(),
        **fields,
    )


def train(recipe, workdir, dataset, *, listener=None, panel_every=0, **options):
    """Returns the `Defense` of a recipe that is trained, silently, in a folder; `options` are of `TrainingOptions`."""
    options = TrainingOptions(progress="off", panel_every=panel_every, **options)
    return TrainingRun(recipe, workdir, dataset, options=options, listener=listener).run()
