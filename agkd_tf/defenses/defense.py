"""What every defense shares: the student, its attack, the compiled step, the metrics."""

import keras
import tensorflow as tf

from agkd_tf.attacks import parse_attack, projected_gradient_descent
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data.augmentation import AUGMENTATIONS, augment
from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError, check_choice, check_eps, check_range
from agkd_tf.models import Classifier
from agkd_tf.randomness import named_seed, step_seed, uniform

# XLA's CPU backend runs convolutions inside a loop body slowly, so short attacks are unrolled there.
UNROLLED_STEPS = 10


class Defense(keras.Model):
    """Base of all defenses: a Keras model whose `fit` trains a student.

    A defense says what is different about it in three places: `term_weights`, the terms of its loss and
    their weights, set before it calls this constructor; `craft`, the tensors made without gradient
    (adversaries, teacher's maps); and `loss_terms`, the terms as scalars. Everything else is here.

    Batches are `(images, labels)`, as for any Keras model, or dicts with `image`, `label` and, in
    evaluation, `index` and `valid` (see `agkd_tf.data.batches`). Images are uint8, or float in [0, 1].

    Args:
        student: functional `keras.Model` from images in [0, 1], NHWC, to logits; trained in place.
        eps: radius of the l_inf ball, in units of images in [0, 1].
        attack_steps: steps of the training attack.
        attack_step_size: its step, in the same units; None for `eps` up to 2 steps and `eps / 4` beyond.
        random_start: whether the training attack begins at a uniform point of the ball.
        augmentation: a name of `agkd_tf.data.augmentation.AUGMENTATIONS`.
        weight_decay: wd, which adds wd * w to the gradient of every trainable weight, as PyTorch's SGD.
        validation_attack_steps: steps of the PGD attack behind `val_robust_accuracy`; 0 for none.
        seed: integer; fixes all that is random in training.
        layer_names: names of the student's `features`, `embedding` and `logits` layers, where they
            are not found by themselves (see `Classifier`).

    Raises:
        InputError: for a value out of range, or a student whose structure is not understood.
    """

    def __init__(
        self,
        student,
        *,
        eps=8 / 255,
        attack_steps=10,
        attack_step_size=None,
        random_start=True,
        augmentation="none",
        weight_decay=0.0,
        validation_attack_steps=10,
        seed=0,
        layer_names=None,
        name=None,
    ):
        super().__init__(name=name)
        self.student = student
        self.classifier = Classifier(student, **(layer_names or {}))
        self.eps = check_eps("eps", eps)
        self.attack_steps = check_range("attack_steps", attack_steps, 0)
        if attack_step_size is None:
            attack_step_size = eps if attack_steps <= 2 else eps / 4
        self.attack_step_size = check_eps("attack_step_size", attack_step_size)
        self.random_start = random_start
        self.augmentation = check_choice("augmentation", augmentation, sorted(AUGMENTATIONS))
        self.weight_decay = check_range("weight_decay", weight_decay, 0.0)
        self.validation_attack_steps = check_range("validation_attack_steps", validation_attack_steps, 0)
        self.seed = check_range("seed", seed, 0, 2**31 - 1)
        self.use_xla = self.unroll = False
        self.pool = None
        self.step = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="step")
        self.trackers = {term: keras.metrics.Mean(name=term) for term in ("loss", *self.term_weights, "train_accuracy")}
        if weight_decay or student.losses:
            self.trackers["regularization"] = keras.metrics.Mean(name="regularization")
        self.test_trackers = {"accuracy": keras.metrics.Mean(name="accuracy")}
        if validation_attack_steps:
            self.test_trackers["robust_accuracy"] = keras.metrics.Mean(name="robust_accuracy")
        self.built = True

    # What a defense says of itself.

    def craft(self, clean, labels, seed):
        """Returns a dict of tensors that the loss needs and that carry no gradient.

        Args:
            clean: float32 [B, H, W, C] in [0, 1], augmented.
            labels: int32 [B].
            seed: int32 [2], of this step.
        """
        raise NotImplementedError(f"{type(self).__name__} must define `craft`")

    def loss_terms(self, crafted, labels):
        """Returns (terms, logits): float32 scalars by the names of `term_weights`, before weighting, and
        the training-mode logits [B, n] that `train_accuracy` is measured on.

        Args:
            crafted: what `craft` returned.
            labels: int32 [B].
        """
        raise NotImplementedError(f"{type(self).__name__} must define `loss_terms`")

    # What they share.

    def call(self, images, training=False):
        """Returns the student's logits, float32 [B, num_classes]."""
        return self.classifier(images, training=training).logits

    def perturb(self, images, objective, seed):
        """Returns the training attack's adversaries of `images`.

        Args:
            images: float32 [B, H, W, C] in [0, 1].
            objective: callable, student's logits [B, n] -> float32 [B], to ascend.
            seed: int32 [2].

        Returns:
            float32 [B, H, W, C] without gradient; the student runs in inference mode.
        """
        start = None
        if self.random_start:
            start = uniform(tf.shape(images), named_seed(seed, "start"), -self.eps, self.eps)
        return projected_gradient_descent(
            lambda adv: objective(self.classifier.logits(adv)),
            images,
            eps=self.eps,
            step_size=self.attack_step_size,
            steps=self.attack_steps,
            start=start,
            unroll=self.unroll,
        )

    def compile(self, optimizer, *, jit_compile="auto", **kwargs):
        """Prepares training.

        Args:
            optimizer: a Keras optimizer; under a float16 policy Keras wraps it in loss scaling.
            jit_compile: "auto" (XLA on GPU and TPU, off on the CPU, where oneDNN is faster), True or
                False. XLA goes around the attack, the passes and the gradient, not the optimizer.
            **kwargs: as `keras.Model.compile`, but `loss` and metrics, which are the defense's own.

        Raises:
            InputError: if a loss or metrics are given.
        """
        for argument in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(argument, None):
                raise InputError(f"`{argument}` cannot be given: {type(self).__name__} has its own")
        self.use_xla = resolve_jit_compile(jit_compile)
        self.unroll = self.use_xla and self.attack_steps <= UNROLLED_STEPS
        self._jit_compile = jit_compile
        super().compile(optimizer=optimizer, jit_compile=False, **kwargs)
        self._compiled_gradients = tf.function(
            self._gradients, jit_compile=self.use_xla, autograph=False, reduce_retracing=True
        )

    def get_compile_config(self):
        """Returns what `compile_from_config` needs to continue training from a `.keras` file."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "jit_compile": self._jit_compile,
        }

    def compile_from_config(self, config):
        """Compiles as `get_compile_config` described, with the optimizer's variables in place."""
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]), jit_compile=config["jit_compile"])
        self.optimizer.build(self.student.trainable_variables)

    def train_step(self, data):
        """Crafts, learns, and returns the running means of the loss and its terms."""
        images, labels, _, _ = unpack(data)
        gradients, scalars = self._compiled_gradients(images, labels, step_seed(self.seed, self.step))
        self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables, strict=True))
        self.step.assign_add(1)
        for name, tracker in self.trackers.items():
            tracker.update_state(scalars[name])
        return {name: tracker.result() for name, tracker in self.trackers.items()}

    def _gradients(self, images, labels, seed):
        clean = augment(self.augmentation, as_float(images), named_seed(seed, "augmentation"))
        crafted = tf.nest.map_structure(tf.stop_gradient, self.craft(clean, labels, seed))
        variables = self.student.trainable_variables
        with tf.GradientTape() as tape:
            terms, logits = self.loss_terms(crafted, labels)
            loss = tf.add_n([weight * terms[name] for name, weight in self.term_weights.items()])
            scalars = {name: terms[name] for name in self.term_weights}
            if "regularization" in self.trackers:
                decay = tf.add_n([tf.nn.l2_loss(tf.cast(weight, tf.float32)) for weight in variables])
                scalars["regularization"] = self.weight_decay * decay + sum(self.student.losses)
                loss += scalars["regularization"]
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, variables, unconnected_gradients="zero")
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        scalars |= {"loss": loss, "train_accuracy": tf.reduce_mean(tf.cast(hits, tf.float32))}
        return gradients, scalars

    def test_step(self, data):
        """Returns `accuracy` on the images, and `robust_accuracy` under PGD where it is asked for."""
        images, labels, indices, valid = unpack(data)
        images = as_float(images)
        self._count("accuracy", images, labels, valid)
        if self.validation_attack_steps:
            attack = parse_attack(f"pgd-{self.validation_attack_steps}", eps=self.eps)
            adv = attack(self.classifier.logits, images, labels, indices, step_seed(self.seed, 0))
            self._count("robust_accuracy", adv, labels, valid)
        return {name: tracker.result() for name, tracker in self.test_trackers.items()}

    def _count(self, name, images, labels, valid):
        predictions = tf.argmax(self.classifier.logits(images), axis=1, output_type=tf.int32)
        self.test_trackers[name].update_state(tf.equal(predictions, labels), sample_weight=valid)

    @property
    def metrics(self):
        return [*self.trackers.values(), *self.test_trackers.values()]

    def checkpointed(self):
        """Returns the trackable objects that a resumed run must restore, by name."""
        return {"student": self.student, "optimizer": self.optimizer, "step": self.step}

    def get_config(self):
        """Returns the settings, the student among them, for `from_config` and `.keras` files."""
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "eps": self.eps,
            "attack_steps": self.attack_steps,
            "attack_step_size": self.attack_step_size,
            "random_start": self.random_start,
            "augmentation": self.augmentation,
            "weight_decay": self.weight_decay,
            "validation_attack_steps": self.validation_attack_steps,
            "seed": self.seed,
            "layer_names": self.classifier.layer_names,
        }

    @classmethod
    def from_config(cls, config):
        """Returns the defense that `get_config` described, with fresh weights."""
        networks = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("student", "teacher")
            if config.get(name) is not None
        }
        return cls(**{**config, **networks})


def unpack(data):
    """Returns (images, labels int32 [B], indices int32 [B], valid float32 [B]) of a batch."""
    if not isinstance(data, dict):
        images, labels, *_ = data
        data = {"image": images, "label": labels}
    images = data["image"]
    labels = tf.cast(tf.reshape(data["label"], [-1]), tf.int32)
    indices = data.get("index", tf.range(tf.shape(labels)[0]))
    valid = data.get("valid", tf.ones(tf.shape(labels)))
    return images, labels, indices, valid
