"""Where the time of a training step goes."""

import itertools
import statistics
import time

import tensorflow as tf

from agkd_tf.data.pixels import as_float
from agkd_tf.randomness import step_seed


class Breakdown:
    """The parts of a step, each compiled by itself and timed on the same batch.

    `attack` is all that a defense makes without gradient, its teacher's pass apart; `student` the training-mode
    passes forward and back; `optimizer` the weights' update. Compiled apart, the parts need not sum up to a step.

    Args:
        defense: a compiled `Defense`.
        batch: dict with `image`, `label` and `index`.
    """

    def __init__(self, defense, batch):
        images, labels = batch["image"], batch["label"]
        seed = step_seed(defense.seed, 0)
        memory = {name: tf.gather(rows.value, batch["index"]) for name, rows in defense.memory.items()}
        variables = defense.student.trainable_variables

        def compiled(function, jit_compile=defense.use_xla):
            return tf.function(function, jit_compile=jit_compile, autograph=False)

        prepare, differentiate = compiled(defense.prepare), compiled(defense.differentiate)
        crafted = prepare(images, labels, seed, memory)
        gradients, _ = differentiate(crafted, labels)

        def update():
            defense.optimizer.apply_gradients(zip(gradients, variables, strict=True))
            return [tf.reshape(variable.value, [-1])[0] for variable in variables]  # to wait for

        self._parts = {
            "attack": lambda: prepare(images, labels, seed, memory),
            "student": lambda: differentiate(crafted, labels),
            "optimizer": compiled(update, False),
        }
        guide = getattr(defense, "guide", None)
        if guide is not None:
            teach = compiled(lambda images: guide(images).features)
            both = tf.concat([as_float(images)] * 2, 0)
            self._parts["teacher"] = lambda: teach(both)
        self.run(1)

    def run(self, steps):
        """Returns part -> median seconds over `steps` turns; the parts take turns."""
        taken = {name: [] for name in self._parts}
        for _, (name, part) in itertools.product(range(steps), self._parts.items()):
            begin = time.perf_counter()
            for tensor in tf.nest.flatten(part()):
                if tf.is_tensor(tensor):
                    tf.reshape(tensor, [-1])[:1].numpy()  # waits until it is there
            taken[name].append(time.perf_counter() - begin)
        medians = {name: statistics.median(seconds) for name, seconds in taken.items()}
        if "teacher" in medians:
            medians["attack"] = max(0.0, medians["attack"] - medians["teacher"])
        return medians
