"""The training step, which all defenses share: what happens to a batch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import keras
import tensorflow as tf

from agkd_tf.data.augmentation import augment
from agkd_tf.data.pixels import as_float
from agkd_tf.distribution import all_rows, mean_over_replicas, not_finite_for_all, num_replicas, share_mean
from agkd_tf.errors import InputError
from agkd_tf.optimization import perturbed_weights
from agkd_tf.randomness import named_seed, step_seed

if TYPE_CHECKING:  # `Defense` imports this module
    from agkd_tf.defenses.defense import Defense

# Which weights decay, by their least rank: all as in PyTorch's SGD, or kernels only as in TensorFlow papers.
DECAYED = {"all": 0, "kernels": 2}


class Batch(NamedTuple):
    """A batch of a data set.

    Attributes:
        images: uint8, or float32 in [0, 1], [B, H, W, C]; None if the defense has them on the device.
        labels: int32 [B].
        indices: int32 [B], each example's index in its split; None if unknown.
        valid: float32 [B], 1 for an example, and 0 for padding in the last batch of an evaluation.
    """

    images: tf.Tensor | None
    labels: tf.Tensor
    indices: tf.Tensor | None
    valid: tf.Tensor


class TrainingStep:
    """One step of a defense on a batch.

        clean     = augment(images)
        crafted   = defense.craft(clean, labels)            # adversaries, the teacher's maps: no gradient
        terms     = defense.loss_terms(crafted, labels)     # training-mode passes of the student
        w         = the student's weights; with AWP, perturbed ones at which the terms are larger
        loss      = sum of term_weights * terms + regularization, at w
        student  <- optimizer(d loss / d w)
        BN's moving statistics, and what is stored per example, are shared among replicas

    `fit` calls it for each batch. Its parts can be called separately, in order to time and export them. With XLA, the
    first three lines and the gradient are a single program.

    Args:
        defense: `Defense`, with an optimizer.
        jit_compile: whether XLA compiles everything but the optimizer's update.

    Attributes:
        scalars: names of the scalars that a step returns.
    """

    def __init__(self, defense: "Defense", *, jit_compile: bool) -> None:
        self._defense, self.jit_compile = defense, jit_compile
        # With loss scaling, a gradient may overflow; the optimizer handles that.
        self.scales_loss = isinstance(defense.optimizer, keras.optimizers.LossScaleOptimizer)
        self._regularized = [weight for weight in defense.student.trainable_variables if weight.regularizer is not None]
        self._regularizes = bool(defense.weight_decay or self._regularized)
        self.scalars = ["loss", *defense.term_weights, "train_accuracy"]
        self.scalars.append("loss_scale" if self.scales_loss else "gradient_norm")
        if self._regularizes:
            self.scalars.append("regularization")
        # Without XLA, `fit` compiles the whole step; a `tf.function` within it would rule out synchronised BN.
        self._learn = self._craft_and_differentiate
        if jit_compile:
            self._learn = tf.function(self._learn, jit_compile=True, autograph=False, reduce_retracing=True)

    def __call__(self, batch: Batch) -> dict[str, tf.Tensor]:
        """Trains the student on a batch and returns the `scalars`, float32, by name.

        Raises:
            InputError: if the batch lacks images that are not on the device, or indices that the defense needs.
        """
        defense, images = self._defense, self.images_of(batch.images, batch.indices)
        seed, memory = step_seed(defense.seed, defense.step), self.remembered(batch.indices)
        gradients, scalars, memory = self.gradients(images, batch.labels, seed, memory)
        self.apply(gradients)
        if self.scales_loss:
            scalars["loss_scale"] = tf.convert_to_tensor(defense.optimizer.dynamic_scale)
        for name, rows in memory.items():
            kept = defense.memory[name]
            kept.assign(tf.tensor_scatter_nd_update(kept.value, all_rows(batch.indices)[:, None], all_rows(rows)))
        with tf.control_dependencies([batch.labels]):  # no step was done where a dataset has ended
            defense.step.assign_add(1)
        return scalars

    def images_of(self, images: tf.Tensor | None, indices: tf.Tensor | None) -> tf.Tensor:
        """Returns a batch's images: those given, or else those at `indices` on the device.

        Raises:
            InputError: if there are none of either kind.
        """
        if images is not None:
            return images
        if self._defense.resident is None or indices is None:
            raise InputError(
                "batches must have `image`; or `index`, if the defense has the images on the device, in `resident`"
            )
        return self._defense.resident.take(indices)

    def remembered(self, indices: tf.Tensor | None) -> dict[str, tf.Tensor]:
        """Returns what the defense stores for a batch's examples: rows [B, ...] by name.

        Raises:
            InputError: if it stores something, and the indices are unknown.
        """
        if not self._defense.memory:
            return {}
        if indices is None:
            raise InputError(
                f"{type(self._defense).__name__} stores something per training example: its batches must be dicts "
                "with `index`"
            )
        return {name: tf.gather(rows.value, indices) for name, rows in self._defense.memory.items()}

    def gradients(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, memory: dict[str, tf.Tensor]
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        """Does a step without the optimizer's update, compiled, and returns (gradients, scalars, memory).

        Args:
            images: uint8, or float32 in [0, 1], [B, H, W, C].
            labels: int32 [B].
            seed: int32 [2].
            memory: what `remembered` returned.
        """
        return self._learn(images, labels, seed, memory)

    def _craft_and_differentiate(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, memory: dict[str, tf.Tensor]
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        crafted = self.craft(images, labels, seed, memory)
        gradients, scalars = self.differentiate(crafted, labels)
        return gradients, scalars, {name: crafted[name] for name in memory}

    def craft(
        self, images: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, memory: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """Returns what the defense crafts from the augmented images, without gradient; arguments as `gradients`."""
        defense = self._defense
        clean = augment(defense.augmentation, as_float(images), named_seed(seed, "augmentation"))
        return tf.nest.map_structure(tf.stop_gradient, defense.craft(clean, labels, seed, **memory))

    def differentiate(
        self, crafted: dict[str, tf.Tensor], labels: tf.Tensor
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        """Returns (gradients of the student's trainable variables, scalars) for what `craft` returned.

        The gradients are of the loss divided by the number of replicas, times the loss scale where there is one.

        Raises:
            InputError: if the student adds losses other than its weights' regularization.
        """
        if not self._defense.awp_gamma:
            return self._differentiate(crafted, labels)
        student = self._defense.student
        with keras.StatelessScope(
            state_mapping=[*zip(student.variables, self._perturbed(crafted, labels), strict=True)]
        ) as scope:
            found = self._differentiate(crafted, labels)
        for variable in student.non_trainable_variables:  # BN's statistics, and the state of random layers
            variable.assign(scope.get_current_value(variable))
        return found

    def _perturbed(self, crafted: dict[str, tf.Tensor], labels: tf.Tensor) -> list[tf.Tensor]:
        """Returns the values of the student's variables, with the weights moved to where the terms are larger.

        The pass that finds them leaves no trace: BN's statistics and random layers are as before.
        """
        defense, student = self._defense, self._defense.student
        values = {id(variable): tf.convert_to_tensor(variable.value) for variable in student.variables}
        weights = [values[id(weight)] for weight in student.trainable_variables]
        with keras.StatelessScope(state_mapping=[(each, values[id(each)]) for each in student.variables]):
            with tf.GradientTape() as tape:
                tape.watch(weights)
                loss = defense.optimizer.scale_loss(self._weighted(defense.loss_terms(crafted, labels)[0]))
            gradients = tape.gradient(loss, weights, unconnected_gradients="zero")
        gamma = defense.awp_gamma * tf.cast(defense.step >= defense.awp_start, tf.float32)
        moved = perturbed_weights(weights, mean_over_replicas(gradients), gamma)
        values |= {id(weight): value for weight, value in zip(student.trainable_variables, moved, strict=True)}
        return [values[id(variable)] for variable in student.variables]

    def _weighted(self, terms: dict[str, tf.Tensor]) -> tf.Tensor:
        return tf.add_n([weight * terms[name] for name, weight in self._defense.term_weights.items()])

    def _differentiate(
        self, crafted: dict[str, tf.Tensor], labels: tf.Tensor
    ) -> tuple[list[tf.Tensor], dict[str, tf.Tensor]]:
        defense = self._defense
        weights = defense.student.trainable_variables
        tensors = [
            weight.value for weight in weights if not isinstance(weight.value, tf.Variable)
        ]  # in a stateless scope
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            terms, logits = defense.loss_terms(crafted, labels)
            loss = self._weighted(terms)
            scalars = {name: terms[name] for name in defense.term_weights}
            losses = defense.student.losses
            if len(losses) != len(self._regularized):
                raise InputError(
                    "the student adds losses of its own when it is called, and a step calls it more than once: build "
                    "it without `activity_regularizer` and `add_loss`"
                )
            if self._regularizes:
                scalars["regularization"] = defense.weight_decay * self._decayed() + sum(losses)
                loss += scalars["regularization"]
            # The optimizer sums the replicas' gradients, each of which is of the mean over its part of the batch.
            scaled = defense.optimizer.scale_loss(loss / num_replicas())
        gradients = tape.gradient(scaled, tensors or weights, unconnected_gradients="zero")
        if not self.scales_loss:
            scalars["gradient_norm"] = num_replicas() * tf.linalg.global_norm(
                gradients
            )  # of this replica's part of the batch
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        scalars |= {"loss": loss, "train_accuracy": tf.reduce_mean(tf.cast(hits, tf.float32))}
        return gradients, scalars

    def apply(self, gradients: Sequence[tf.Tensor]) -> None:
        """Updates the student's weights, and averages BN's moving statistics over the replicas."""
        student = self._defense.student
        if self.scales_loss:
            gradients = not_finite_for_all(gradients)
        self._defense.optimizer.apply_gradients(zip(gradients, student.trainable_variables, strict=True))
        # BN's statistics, so that validation, attacks and the saved student are of the same network.
        share_mean([each for each in student.non_trainable_variables if each.dtype.startswith("float")])

    def _decayed(self) -> tf.Tensor:
        rank = DECAYED[self._defense.weight_decay_on]
        weights = [weight for weight in self._defense.student.trainable_variables if len(weight.shape) >= rank]
        return tf.add_n([tf.nn.l2_loss(tf.cast(weight, tf.float32)) for weight in weights])
