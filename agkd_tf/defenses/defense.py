"""What every defense shares: the student, the compiled step, the metrics."""

import abc
import contextlib

import keras
import tensorflow as tf

from agkd_tf.attacks import PGD, Ball
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data.augmentation import AUGMENTATIONS, augment
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.data.input_checks import InputChecks, as_array, input_errors
from agkd_tf.data.pixels import as_float, check_pixels, check_shape, check_type
from agkd_tf.distribution import all_rows, has_several_workers, not_finite_for_all, num_replicas, share_mean
from agkd_tf.errors import InputError, check_choice, check_eps, check_range
from agkd_tf.keras_internals import CALLED_BY_FIT, all_layers
from agkd_tf.models import Classifier
from agkd_tf.processor import warn_of_slow_settings
from agkd_tf.randomness import named_seed, step_seed

# Which weights decay: all of them as PyTorch's SGD has it, or kernels only as TensorFlow papers have it.
DECAYED = {"all": 0, "kernels": 2}
EMPTY = "there are no images: the data are empty"
WEIGHTS_REFUSED = "`sample_weight` and `class_weight` cannot be given: a defense weighs its own terms"


class Defense(keras.Model, abc.ABC):
    """Base of all defenses: a Keras model whose `fit` trains a student.

    A defense says what is different about it in three places: `craft`, the tensors made without gradient
    (adversaries, teacher's maps); `loss_terms`, the terms of its loss as scalars; and `term_weights`,
    their weights. Everything else is here.

    In the formulas of defenses, f(x) are logits, float32 [B, n], p(x) their softmax, and CE_s the cross-entropy that
    puts 1 - s on the true class and s / (n - 1) on each other; means are over the batch. Under several replicas each
    takes its means, and BN its statistics, over its own part of the batch, unless BN is synchronised; after each step
    the moving statistics are the mean of the replicas'.

    Batches are `(images, labels)`, as for any Keras model, or dicts with `image`, `label`, `index` (the
    example's place in its split) and, in evaluation, `valid` (see `agkd_tf.data.batches`). They come as arrays, lists,
    tensors, a `tf.data.Dataset`, a Python generator or a `keras.utils.PyDataset`; images are uint8, or float in
    [0, 1], labels integers, whole floats or one-hot rows. All of them are checked on the host, where they are read.

    Args:
        student: functional `keras.Model` from images in [0, 1], NHWC, to logits; trained in place.
        eps: radius of the l_inf ball, in units of images in [0, 1].
        augmentation: a name of `agkd_tf.data.augmentation.AUGMENTATIONS`.
        weight_decay: wd, which adds wd * w to the gradient of a weight, as PyTorch's SGD does.
        weight_decay_on: "all" trainable weights, or "kernels" of convolutions and dense layers only.
        validation_attack_steps: steps of the PGD attack behind `val_robust_accuracy`; 0 for none.
        seed: integer; fixes all that is random in training.
        layer_names: names of the student's `features`, `embedding` and `logits` layers, where they
            are not found by themselves (see `Classifier`).

    Raises:
        InputError: for a value out of range, or a student whose structure is not understood.
    """

    # How many images its training-mode passes see for each image of a batch: what memory is planned by.
    training_images = 1
    # Whether it draws second images of a class, from a `pool`, to train.
    draws_from_pool = False
    # Whether a run starts the student from a clean teacher's weights unless told otherwise.
    starts_from_teacher = False

    def __init__(
        self,
        student,
        *,
        eps=8 / 255,
        augmentation="none",
        weight_decay=0.0,
        weight_decay_on="all",
        validation_attack_steps=10,
        seed=0,
        layer_names=None,
        name=None,
    ):
        super().__init__(name=name, autocast=False)  # images keep their precision: the student casts them itself
        self.student = student
        self.classifier = Classifier(student, **(layer_names or {}))
        self.eps = check_eps("eps", eps)
        self.augmentation = check_choice("augmentation", augmentation, sorted(AUGMENTATIONS))
        self.weight_decay = check_range("weight_decay", weight_decay, 0.0)
        self.weight_decay_on = check_choice("weight_decay_on", weight_decay_on, list(DECAYED))
        self.validation_attack_steps = check_range("validation_attack_steps", validation_attack_steps, 0)
        self.seed = check_range("seed", seed, 0, 2**31 - 1)
        self.use_xla = False
        self._pool = None
        # What has `take(indices)`, where batches leave their images out: `DeviceImages`, or a pool that holds all.
        self.resident = None
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        # As in any Keras model, one tracker has the loss of training, then that of validation.
        self._mean_loss = keras.metrics.Mean(name="loss")
        self.trackers = {}
        names = ["accuracy", "robust_accuracy"] if validation_attack_steps else ["accuracy"]
        accuracies = {name: keras.metrics.SparseCategoricalAccuracy(name=name) for name in names}
        self.test_trackers = {"loss": self._mean_loss, **accuracies}
        self.built = True

    # What a defense says of itself.

    @property
    def term_weights(self):
        """The weight of each term of the loss, by its name."""
        return {"cross_entropy": 1.0}

    @property
    def memory(self):
        """What is remembered of each training example between epochs: variables [N, ...] by name.

        A batch's rows are given to `craft` as keyword arguments, and replaced by what it returns under
        the same names.
        """
        return {}

    @abc.abstractmethod
    def craft(self, clean, labels, seed):
        """Returns a dict of tensors that the loss needs and that carry no gradient.

        Args:
            clean: float32 [B, H, W, C] in [0, 1], augmented.
            labels: int32 [B].
            seed: int32 [2], of this step.
        """

    @abc.abstractmethod
    def loss_terms(self, crafted, labels):
        """Returns (terms, logits): float32 scalars by the names of `term_weights`, before weighting, and
        the training-mode logits [B, n] that `train_accuracy` is measured on.

        Args:
            crafted: what `craft` returned.
            labels: int32 [B].
        """

    # What they share.

    @property
    def pool(self):
        """`agkd_tf.data.ClassPool` that second images are drawn from, or None; saved files are without it."""
        return self._pool

    @pool.setter
    def pool(self, pool):
        if pool is not None:
            if not isinstance(pool, ClassPool):
                raise InputError(f"`pool` must be a ClassPool of the training images. Received: {type(pool).__name__}")
            if pool.num_classes != self.classifier.num_classes:
                raise InputError(f"`pool` has {pool.num_classes} classes, the student {self.classifier.num_classes}")
            if not tf.TensorShape(pool.image_shape).is_compatible_with(self.classifier.image_shape):
                wanted = self.classifier.image_shape
                raise InputError(f"`pool` has images {pool.image_shape}, the student takes {wanted}")
        self._pool = pool

    def check_pool(self):
        """Checks that a defense which draws second images can do so.

        Raises:
            InputError: if it has no pool.
        """
        if self.draws_from_pool and self.pool is None:
            raise InputError(
                f"{type(self).__name__} needs `pool`, a ClassPool of the training images, to train: defense.pool = "
                f"ClassPool(images, labels, num_classes={self.classifier.num_classes})"
            )

    def __call__(self, images, *args, **kwargs):
        """Returns the student's logits, float32 [B, num_classes], of uint8 images, or float images in [0, 1].

        Raises:
            InputError: for float images outside [0, 1], where TensorFlow is eager, and for other types and shapes.
        """
        # Here, since Keras puts a page around what `call` raises.
        images = as_array(images) if isinstance(images, list | tuple) else images
        check_shape(images, self.classifier.image_shape)
        if isinstance(images, keras.KerasTensor) or not tf.executing_eagerly():
            check_type(images)
        else:
            check_pixels(images)
        return super().__call__(images, *args, **kwargs)

    def call(self, images, training=False):
        """Returns what `__call__` does."""
        return self.classifier(as_float(images), training=training).logits

    def compile(self, optimizer, *, jit_compile="auto", **kwargs):
        """Prepares training.

        Args:
            optimizer: a Keras optimizer. For a student that computes in float16 it is wrapped in a
                `keras.optimizers.LossScaleOptimizer`, unless it is one, or `auto_scale_loss` is False.
            jit_compile: "auto" (XLA on GPU and TPU, where it can compile the student; off on the CPU, where oneDNN is
                faster), True or False. XLA goes around the attack, the passes and the gradient, not the optimizer.
            **kwargs: as `keras.Model.compile`, but `loss` and metrics, which are the defense's own.

        Warns:
            XlaNote: where "auto" steps back, as XLA cannot compile the student.

        Raises:
            InputError: if a loss or metrics are given, or `jit_compile` of True for what XLA cannot compile.
        """
        for argument in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(argument, None):
                raise InputError(f"`{argument}` cannot be given: {type(self).__name__} has its own")
        self.use_xla = resolve_jit_compile(jit_compile, self.student, self.classifier.image_shape)
        self._xla_setting = jit_compile
        optimizer = keras.optimizers.get(optimizer)
        # Keras would go by the defense's own dtype policy, not by the student's.
        wants_scale = kwargs.pop("auto_scale_loss", True) and _computes_in_float16(self.student)
        if wants_scale and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False, **kwargs)
        names = [*self.term_weights, "train_accuracy"]
        # Under loss scaling a gradient may overflow, which is handled.
        scaled = isinstance(self.optimizer, keras.optimizers.LossScaleOptimizer)
        names.append("loss_scale" if scaled else "gradient_norm")
        if self.weight_decay or self.student.losses:
            names.append("regularization")
        self.trackers = {"loss": self._mean_loss, **{name: keras.metrics.Mean(name=name) for name in names}}
        self.optimizer.build(self.student.trainable_variables)
        # Without XLA, `fit` compiles the whole step; a function within it would exclude synchronised BN.
        self._compiled_gradients = self.compute_gradients
        if self.use_xla:
            self._compiled_gradients = tf.function(
                self.compute_gradients, jit_compile=True, autograph=False, reduce_retracing=True
            )

    def get_compile_config(self):
        """Returns what `compile_from_config` needs to continue training from a `.keras` file."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "jit_compile": self._xla_setting,
        }

    def compile_from_config(self, config):
        """Compiles as `get_compile_config` described."""
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]), jit_compile=config["jit_compile"])

    def fit(self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs):
        """As `keras.Model.fit`, and gives a bounded pool its sample of each epoch.

        Warns:
            SlowProcessorWarning: once, where the CPU could do a step in a fraction of the time.

        Raises:
            InputError: for images or labels that are not understood (see the class), no data, or a missing pool.
        """
        self._check_compiled("fit")
        self.check_pool()
        checks = self._checks()
        x, y = checks.source(x, y)
        if kwargs.get("validation_data") is not None:
            given = kwargs["validation_data"]
            is_pair = isinstance(given, tuple | list) and len(given) > 1
            if is_pair and len(given) == 3 and given[2] is not None:
                raise InputError(WEIGHTS_REFUSED)
            kwargs["validation_data"] = self._checks(num_examples=None).source(*(given[:2] if is_pair else (given,)))
        _check_batch_size(batch_size)
        warn_of_slow_settings(self.student)
        callbacks = [callbacks] if isinstance(callbacks, keras.callbacks.Callback) else list(callbacks or [])
        if self.pool is not None and self.pool.bounded:
            refresh = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: self.pool.refresh(epoch))
            callbacks.insert(0, refresh)
        with input_errors():
            history = super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)
        if history.epoch and not history.history:
            raise InputError(EMPTY)
        return history

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """As `keras.Model.evaluate`: `loss`, the mean cross-entropy of the clean images, and `accuracy`, and
        `robust_accuracy` where validation attacks.

        Raises:
            InputError: as `fit`.
        """
        if not kwargs.get(CALLED_BY_FIT):  # which has checked them
            self._check_compiled("evaluate")
            x, y = self._checks(num_examples=None).source(x, y)
            _check_batch_size(batch_size)
        with input_errors():
            found = super().evaluate(x, y, batch_size, *args, **kwargs)
        if isinstance(found, dict | list) and not found:
            raise InputError(EMPTY)
        return found

    def predict(self, x, batch_size=None, *args, **kwargs):
        """As `keras.Model.predict`: the student's logits, float32 [N, num_classes], as an array.

        Raises:
            InputError: as `fit`, of the images.
        """
        x, _ = self._checks(labelled=False).source(x)
        _check_batch_size(batch_size)
        try:
            with input_errors():
                return super().predict(x, batch_size, *args, **kwargs)
        except UnboundLocalError as error:  # Keras has no words for a dataset that turns out to be empty
            raise InputError(EMPTY) from error

    def train_on_batch(self, x, y=None, *args, **kwargs):
        """As `keras.Model.train_on_batch`; raises as `fit`."""
        self._check_compiled("train_on_batch")
        self.check_pool()
        return super().train_on_batch(*self._checks().source(x, y), *args, **kwargs)

    def test_on_batch(self, x, y=None, *args, **kwargs):
        """As `keras.Model.test_on_batch`; raises as `fit`."""
        self._check_compiled("test_on_batch")
        return super().test_on_batch(*self._checks(num_examples=None).source(x, y), *args, **kwargs)

    def predict_on_batch(self, x):
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        return super().predict_on_batch(self._checks(labelled=False).source(x)[0])

    def save(self, filepath, *args, **kwargs):
        """As `keras.Model.save`: a `.keras` file of student, teacher, optimizer and step; all but the pool.

        Raises:
            InputError: for another format, which could not be read again.
        """
        if not str(filepath).endswith(".keras") and kwargs.get("zipped") is not False:
            raise InputError(
                f'a defense is saved as a .keras file: defense.save("defense.keras"). Received: {str(filepath)!r}'
            )
        return super().save(filepath, *args, **kwargs)

    def export(self, *args, **kwargs):
        """Raises `InputError`: what is served is the student, by `agkd_tf.export.export_saved_model`."""
        raise InputError(
            'a defense is not exported, its student is: agkd_tf.export.export_saved_model(defense, "folder")'
        )

    def _check_compiled(self, method):
        if not self.compiled:
            raise InputError(
                f"`{method}` needs an optimizer: first call `defense.compile(keras.optimizers.SGD(0.01, momentum=0.9))`"
            )

    def _checks(self, **more):
        classifier = self.classifier
        settings = {"num_examples": getattr(self, "num_examples", None), **more}
        return InputChecks(classifier.image_shape, classifier.num_classes, **settings)

    def train_step(self, data):
        """Crafts, learns, and returns the running means of the loss and its terms."""
        images, labels, indices, _ = unpack(data)
        if images is None:
            if self.resident is None:
                raise InputError("batches must have `image`, or the defense its images on the device: `resident`")
            images = self.resident.take(indices)
        memory = {}
        if self.memory:
            if indices is None:
                raise InputError(
                    f"{type(self).__name__} remembers each training example: its batches must be dicts with `index`"
                )
            memory = {name: tf.gather(rows.value, indices) for name, rows in self.memory.items()}
        gradients, scalars, memory = self._compiled_gradients(images, labels, step_seed(self.seed, self.step), memory)
        if "loss_scale" in self.trackers:
            gradients = not_finite_for_all(gradients)
        self.optimizer.apply_gradients(zip(gradients, self.student.trainable_variables, strict=True))
        # BN's statistics: validation, attacks and the saved student are of one network.
        share_mean([each for each in self.student.non_trainable_variables if each.dtype.startswith("float")])
        if "loss_scale" in self.trackers:
            scalars["loss_scale"] = tf.convert_to_tensor(self.optimizer.dynamic_scale)
        for name, rows in memory.items():
            kept = self.memory[name]
            kept.assign(tf.tensor_scatter_nd_update(kept.value, all_rows(indices)[:, None], all_rows(rows)))
        with tf.control_dependencies([labels]):  # where a dataset has ended, there was no step
            self.step.assign_add(1)
        for name, tracker in self.trackers.items():
            tracker.update_state(scalars[name], sample_weight=tf.shape(labels)[0])
        return _logs(self.trackers)

    def compute_gradients(self, images, labels, seed, memory):
        """Returns (gradients, scalars, memory) of a step: all of it but the optimizer, and what XLA compiles.

        Args:
            images: uint8, or float32 in [0, 1], [B, H, W, C].
            labels: int32 [B].
            seed: int32 [2].
            memory: the batch's rows of `self.memory`, by name.
        """
        crafted = self.prepare(images, labels, seed, memory)
        gradients, scalars = self.differentiate(crafted, labels)
        return gradients, scalars, {name: crafted[name] for name in memory}

    def prepare(self, images, labels, seed, memory):
        """Returns what `craft` gives of the augmented images, without gradient; arguments as `compute_gradients`."""
        clean = augment(self.augmentation, as_float(images), named_seed(seed, "augmentation"))
        return tf.nest.map_structure(tf.stop_gradient, self.craft(clean, labels, seed, **memory))

    def differentiate(self, crafted, labels):
        """Returns (gradients of the student's trainable variables, scalars by the names of `trackers`)."""
        with tf.GradientTape() as tape:
            terms, logits = self.loss_terms(crafted, labels)
            loss = tf.add_n([weight * terms[name] for name, weight in self.term_weights.items()])
            scalars = {name: terms[name] for name in self.term_weights}
            if "regularization" in self.trackers:
                scalars["regularization"] = self.weight_decay * self._decayed() + sum(self.student.losses)
                loss += scalars["regularization"]
            # The optimizer sums the gradients of replicas, each of which has the mean over its own part.
            scaled = self.optimizer.scale_loss(loss / num_replicas())
        gradients = tape.gradient(scaled, self.student.trainable_variables, unconnected_gradients="zero")
        if "gradient_norm" in self.trackers:
            scalars["gradient_norm"] = num_replicas() * tf.linalg.global_norm(gradients)  # of this replica's part
        hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
        scalars |= {"loss": loss, "train_accuracy": tf.reduce_mean(tf.cast(hits, tf.float32))}
        return gradients, scalars

    def _decayed(self):
        rank = DECAYED[self.weight_decay_on]
        weights = [weight for weight in self.student.trainable_variables if len(weight.shape) >= rank]
        return tf.add_n([tf.nn.l2_loss(tf.cast(weight, tf.float32)) for weight in weights])

    def test_step(self, data):
        """Returns `loss`, the mean cross-entropy of the clean images, `accuracy` on them, and `robust_accuracy` under
        PGD where it is asked for.
        """
        images, labels, indices, valid = unpack(data)
        images = as_float(images)
        count = {name: tracker.update_state for name, tracker in self.test_trackers.items()}
        logits = self.classifier.logits(images)
        count["loss"](cross_entropy(logits, labels), sample_weight=valid)
        count["accuracy"](labels, logits, sample_weight=valid)
        if self.validation_attack_steps:
            indices = tf.range(tf.shape(labels)[0]) if indices is None else indices
            attack, ball = PGD(self.validation_attack_steps), Ball("linf", self.eps)
            settings = {"ball": ball, "indices": indices, "seed": step_seed(self.seed, 0)}
            adv = attack.perturb(self.classifier.logits, images, labels, **settings)
            count["robust_accuracy"](labels, self.classifier.logits(adv), sample_weight=valid)
        return _logs(self.test_trackers)

    @contextlib.contextmanager
    def averaged(self):
        """Within, the student has the moving average of its weights, where the optimizer keeps one."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not optimizer.use_ema:
            yield
            return
        variables = self.student.trainable_variables
        current = [variable.numpy() for variable in variables]
        optimizer.finalize_variable_values(variables)
        try:
            yield
        finally:
            for variable, value in zip(variables, current, strict=True):
                variable.assign(value)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # All is built. Keras would average a batch over replicas here, which fails with several workers.
        pass

    def _get_metrics_result_or_logs(self, logs):
        # Keras would take the mean over replicas, which may have seen different numbers of images.
        return {metric.name: metric.result() for metric in self.metrics if metric.name in logs}

    @property
    def metrics(self):
        return list({**self.trackers, **self.test_trackers}.values())  # the loss once

    def checkpointed(self):
        """Returns the trackable objects that a resumed run must restore, by name."""
        return {"student": self.student, "optimizer": self.optimizer, "step": self.step, **self.memory}

    def get_config(self):
        """Returns the settings, the student among them, for `from_config` and `.keras` files."""
        return {
            "name": self.name,
            "student": keras.saving.serialize_keras_object(self.student),
            "eps": self.eps,
            "augmentation": self.augmentation,
            "weight_decay": self.weight_decay,
            "weight_decay_on": self.weight_decay_on,
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


def _logs(trackers):
    # Over several workers Keras takes the mean along an axis, which scalars lack.
    shape = [1] if has_several_workers() else []
    return {name: tf.reshape(tracker.result(), shape) for name, tracker in trackers.items()}


def _computes_in_float16(network):
    layers = [layer for layer in all_layers(network) if not isinstance(layer, keras.Model)]
    return any(layer.compute_dtype == "float16" for layer in layers if layer.weights)


def _check_batch_size(batch_size):
    if batch_size is not None:
        check_range("batch_size", batch_size, 1)


def unpack(data):
    """Returns (images or None, labels int32 [B], indices int32 [B] or None, valid float32 [B]) of a batch.

    Raises:
        InputError: if a batch brings sample weights, which no defense has a place for.
    """
    if isinstance(data, tuple) and len(data) == 1:  # what `fit` makes of a dict of arrays
        (data,) = data
    if not isinstance(data, dict):
        images, labels, *weights = data
        if any(weight is not None for weight in weights):
            raise InputError(WEIGHTS_REFUSED)
        data = {"image": images, "label": labels}
    labels = tf.cast(tf.reshape(data["label"], [-1]), tf.int32)
    indices = data.get("index")
    if indices is not None:
        indices = tf.cast(tf.reshape(indices, [-1]), tf.int32)
    return data.get("image"), labels, indices, data.get("valid", tf.ones(tf.shape(labels)))
