"""A Keras model that trains a student: Keras' methods, with checks of their inputs."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, NoReturn

import keras
import numpy as np
import tensorflow as tf

from agkd_tf.attacks import PGD
from agkd_tf.attacks.objectives import cross_entropy
from agkd_tf.compilation import resolve_jit_compile
from agkd_tf.data.class_pool import ClassPool
from agkd_tf.data.device_images import DeviceImages
from agkd_tf.data.input_checks import InputChecks, as_array, input_errors
from agkd_tf.data.pixels import as_float, check_pixels, check_shape, check_type
from agkd_tf.defenses.training_step import Batch, TrainingStep
from agkd_tf.distribution import has_several_workers
from agkd_tf.errors import InputError, check_range
from agkd_tf.keras_internals import CALLED_BY_FIT, all_layers
from agkd_tf.models import Classifier
from agkd_tf.models.batch_statistics import estimate_batch_statistics
from agkd_tf.processor import warn_of_slow_settings
from agkd_tf.randomness import step_seed

EMPTY = "there are no images: the data are empty"
WEIGHTS_REFUSED = "`sample_weight` and `class_weight` cannot be given: a defense weights its own terms"


class StudentModel(keras.Model):
    """Base class of `Defense`: does with a student what Keras expects of a model.

    Batches are `(images, labels)`, as for any Keras model, or dicts with `image`, `label`, `index` (the
    example's place in its split) and, in evaluation, `valid` (see `agkd_tf.data.batches`). They come as arrays, lists,
    tensors, a `tf.data.Dataset`, a Python generator or a `keras.utils.PyDataset`; images are uint8, or float in
    [0, 1]; labels are integers, whole floats or one-hot rows. All of them are checked on the host as they are read.

    Args:
        student: functional `keras.Model` from images in [0, 1], NHWC, to logits; trained in place.
        layer_names: as `Defense`.
        validation_attack_steps: as `Defense`.
        name: name of the model.

    Attributes:
        student: the network.
        classifier: its `Classifier`.
        step: variable, the number of training steps done.
        resident: provides the images with `take(indices)` if batches do not contain them: `DeviceImages`, or a pool
            that holds all images; None if batches contain them.
        images_of_average: callable that returns batches of images, float32 [B, H, W, C] in [0, 1], on which the BN
            statistics of the averaged weights are estimated; None if these take the statistics of the last step.
    """

    def __init__(
        self,
        student: keras.Model,
        *,
        layer_names: dict[str, str] | None,
        validation_attack_steps: int,
        name: str | None,
    ) -> None:
        super().__init__(name=name, autocast=False)  # images keep their precision: the student casts them itself
        self.student = student
        self.classifier = Classifier(student, **(layer_names or {}))
        self._training_step: TrainingStep | None = None
        self.resident: DeviceImages | ClassPool | None = None
        self.images_of_average: Callable[[], Iterable[tf.Tensor]] | None = None
        self._statistics: tuple[int, list[tuple[keras.Variable, np.ndarray]]] | None = None  # and their step
        self.step = self.add_weight(
            shape=(),
            initializer="zeros",
            dtype="int32",
            trainable=False,
            aggregation="only_first_replica",
            name="step",
        )
        # As in any Keras model, the same tracker holds the training loss, and then the validation loss.
        self._mean_loss = keras.metrics.Mean(name="loss")
        self.trackers: dict[str, keras.metrics.Metric] = {}  # of training, from `compile` on
        names = ["accuracy", "robust_accuracy"] if validation_attack_steps else ["accuracy"]
        accuracies = {name: keras.metrics.Mean(name=name) for name in names}
        self.test_trackers = {"loss": self._mean_loss, **accuracies}
        self.built = True

    def __call__(self, images: Any, *args: Any, **kwargs: Any) -> tf.Tensor:
        """Returns the student's logits, float32 [B, num_classes], for uint8 images, or float images in [0, 1].

        Raises:
            InputError: for float images outside [0, 1], if TensorFlow runs eagerly, and for other types and shapes.
        """
        # Checked here, since Keras adds a page of text to what `call` raises.
        images = as_array(images) if isinstance(images, list | tuple) else images
        check_shape(images, self.classifier.image_shape)
        if isinstance(images, keras.KerasTensor) or not tf.executing_eagerly():
            check_type(images)
        else:
            check_pixels(images)
        return super().__call__(images, *args, **kwargs)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns what `__call__` does."""
        return self.classifier(as_float(images), training=training).logits

    def compile(
        self,
        optimizer: keras.optimizers.Optimizer | str,
        *,
        jit_compile: bool | Literal["auto"] = "auto",
        **kwargs: Any,
    ) -> None:
        """Prepares the defense for training.

        Args:
            optimizer: a Keras optimizer. For a student that computes in float16 it is wrapped in a
                `keras.optimizers.LossScaleOptimizer`, unless it is one already, or `auto_scale_loss` is False.
            jit_compile: "auto" (XLA on a GPU or TPU if it can compile the student; off on the CPU, where oneDNN is
                faster), True or False. XLA compiles the attack, the passes and the gradient, but not the optimizer.
            **kwargs: as `keras.Model.compile`, except `loss` and metrics, since a defense has its own.

        Warns:
            XlaNote: if "auto" turns XLA off because it cannot compile the student.

        Raises:
            InputError: if a loss or metrics are given, or if `jit_compile` is True and XLA cannot compile the student.
        """
        for argument in ("loss", "loss_weights", "metrics", "weighted_metrics"):
            if kwargs.pop(argument, None):
                raise InputError(f"`{argument}` cannot be given: {type(self).__name__} has its own")
        use_xla = resolve_jit_compile(jit_compile, self.student, self.classifier.image_shape)
        self._xla_setting = jit_compile
        optimizer = keras.optimizers.get(optimizer)
        # Keras would go by the defense's own dtype policy, not by the student's.
        wants_scale = kwargs.pop("auto_scale_loss", True) and _computes_in_float16(self.student)
        if wants_scale and not isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        super().compile(optimizer=optimizer, jit_compile=False, auto_scale_loss=False, **kwargs)
        self.optimizer.build(self.student.trainable_variables)
        self._training_step = TrainingStep(self, jit_compile=use_xla)
        names = self.training_step.scalars
        self.trackers = {name: self._mean_loss if name == "loss" else keras.metrics.Mean(name=name) for name in names}

    @property
    def use_xla(self) -> bool:
        """Whether XLA compiles the training step."""
        return self._training_step is not None and self._training_step.jit_compile

    @property
    def training_step(self) -> TrainingStep:
        """The `TrainingStep`, which `fit` calls for each batch.

        Raises:
            InputError: before `compile`.
        """
        self._check_compiled("training_step")
        assert self._training_step is not None
        return self._training_step

    def get_compile_config(self) -> dict[str, Any] | None:
        """Returns what `compile_from_config` needs to continue training from a `.keras` file."""
        if not self.compiled:
            return None
        return {
            "optimizer": keras.saving.serialize_keras_object(self.optimizer),
            "jit_compile": self._xla_setting,
        }

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compiles as `get_compile_config` described."""
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]), jit_compile=config["jit_compile"])

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """As `keras.Model.fit`; also draws a new sample for a bounded pool in each epoch.

        Warns:
            SlowProcessorWarning: once, if the CPU could do a step in a fraction of the time with other settings.

        Raises:
            InputError: for images or labels that are not supported (see the class), no data, or a missing pool.
        """
        self._check_compiled("fit")
        self.check_needs()
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

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> list[float] | dict[str, float]:
        """As `keras.Model.evaluate`: returns `loss`, `accuracy` and, if validation attacks, `robust_accuracy`.

        `loss` is the mean cross-entropy of the clean images.

        Raises:
            InputError: as `fit`.
        """
        if not kwargs.get(CALLED_BY_FIT):  # `fit` has checked them
            self._check_compiled("evaluate")
            x, y = self._checks(num_examples=None).source(x, y)
            _check_batch_size(batch_size)
        with input_errors():
            found = super().evaluate(x, y, batch_size, *args, **kwargs)
        if isinstance(found, dict | list) and not found:
            raise InputError(EMPTY)
        return found

    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> np.ndarray:
        """As `keras.Model.predict`: returns the student's logits, float32 [N, num_classes], as an array.

        Raises:
            InputError: as `fit`, for the images.
        """
        x, _ = self._checks(labelled=False).source(x)
        _check_batch_size(batch_size)
        try:
            with input_errors():
                return super().predict(x, batch_size, *args, **kwargs)
        except UnboundLocalError as error:  # what Keras raises for a dataset that turns out to be empty
            raise InputError(EMPTY) from error

    def train_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.train_on_batch`; raises as `fit`."""
        self._check_compiled("train_on_batch")
        self.check_needs()
        return super().train_on_batch(*self._checks().source(x, y), *args, **kwargs)

    def test_on_batch(self, x: Any, y: Any = None, *args: Any, **kwargs: Any) -> Any:
        """As `keras.Model.test_on_batch`; raises as `fit`."""
        self._check_compiled("test_on_batch")
        return super().test_on_batch(*self._checks(num_examples=None).source(x, y), *args, **kwargs)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """As `keras.Model.predict_on_batch`; raises as `predict`."""
        return super().predict_on_batch(self._checks(labelled=False).source(x)[0])

    def save(self, filepath: str | os.PathLike[str], *args: Any, **kwargs: Any) -> None:
        """As `keras.Model.save`: writes student, teacher, optimizer and step into a `.keras` file, but not the pool.

        Raises:
            InputError: for another format, which could not be loaded again.
        """
        if not str(filepath).endswith(".keras") and kwargs.get("zipped") is not False:
            raise InputError(
                f'a defense is saved as a .keras file: defense.save("defense.keras"). Received: {str(filepath)!r}'
            )
        return super().save(filepath, *args, **kwargs)

    def export(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raises `InputError`: the student is exported instead, with `agkd_tf.export.export_saved_model`."""
        raise InputError(
            'a defense cannot be exported; export its student: agkd_tf.export.export_saved_model(defense, "folder")'
        )

    def _check_compiled(self, method: str) -> None:
        if not self.compiled:
            raise InputError(
                f"`{method}` needs an optimizer: first call `defense.compile(keras.optimizers.SGD(0.01, momentum=0.9))`"
            )

    def _checks(self, **more: Any) -> InputChecks:
        classifier = self.classifier
        settings = {"num_examples": getattr(self, "num_examples", None), **more}
        return InputChecks(classifier.image_shape, classifier.num_classes, **settings)

    def train_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Does a training step, and returns the running means of the loss and its terms."""
        batch = unpack(data)
        scalars = self.training_step(batch)
        for name, tracker in self.trackers.items():
            tracker.update_state(scalars[name], sample_weight=tf.shape(batch.labels)[0])
        return _logs(self.trackers)

    def test_step(self, data: Any) -> dict[str, tf.Tensor]:
        """Returns the running means of `loss`, `accuracy` and, if validation attacks, `robust_accuracy` under PGD.

        `loss` is the cross-entropy of the clean images, and `accuracy` is measured on them.
        """
        images, labels, indices, valid = unpack(data)
        indices = tf.range(tf.shape(labels)[0]) if indices is None else indices
        for name, values in self.judge(as_float(images), labels, indices).items():
            self.test_trackers[name].update_state(values, sample_weight=valid)
        return _logs(self.test_trackers)

    def judge(self, images: tf.Tensor, labels: tf.Tensor, indices: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the values per image that validation averages, float32 [B] by the names of `test_trackers`.

        Args:
            images: float32 [B, H, W, C] in [0, 1].
            labels: int32 [B].
            indices: int32 [B], each example's index in its split.
        """

        def correct(logits: tf.Tensor) -> tf.Tensor:
            return tf.cast(tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels), tf.float32)

        logits = self.classifier.logits(images)
        found = {"loss": cross_entropy(logits, labels), "accuracy": correct(logits)}
        if self.validation_attack_steps:
            attack, seed = PGD(steps=self.validation_attack_steps), step_seed(self.seed, 0)
            adv = attack.perturb(self.classifier.logits, images, labels, ball=self.ball, indices=indices, seed=seed)
            found["robust_accuracy"] = correct(self.classifier.logits(adv))
        return found

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Context in which the student has the moving average of its weights, if the optimizer keeps one.

        Its BN statistics are those of the last step, or estimated on `images_of_average` if that is given.
        """
        optimizer: Any = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not optimizer.use_ema:
            yield
            return
        variables = self.student.variables
        current = [variable.numpy() for variable in variables]
        optimizer.finalize_variable_values(self.student.trainable_variables)
        try:
            if self.images_of_average is not None:
                step = int(self.step.numpy())
                if self._statistics is None or self._statistics[0] != step:
                    passes = functools.partial(self.classifier, training=True)
                    found = estimate_batch_statistics(self.student, passes, self.images_of_average())
                    self._statistics = step, found
                for variable, value in self._statistics[1]:
                    variable.assign(value)
            yield
        finally:
            for variable, value in zip(variables, current, strict=True):
                variable.assign(value)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        # Everything is built already. Keras would average a batch over replicas here, which fails with several workers.
        pass

    def _get_metrics_result_or_logs(self, logs: dict[str, Any]) -> dict[str, Any]:
        # Keras would take the mean over replicas, which may have seen different numbers of images.
        return {metric.name: metric.result() for metric in self.metrics if metric.name in logs}

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list({**self.trackers, **self.test_trackers}.values())  # the loss only once


def _logs(trackers: dict[str, keras.metrics.Metric]) -> dict[str, tf.Tensor]:
    # Over several workers Keras takes the mean along an axis, which scalars lack.
    shape = [1] if has_several_workers() else []
    return {name: tf.reshape(tracker.result(), shape) for name, tracker in trackers.items()}


def _computes_in_float16(network: keras.Model) -> bool:
    layers = [layer for layer in all_layers(network) if not isinstance(layer, keras.Model)]
    return any(layer.compute_dtype == "float16" for layer in layers if layer.weights)


def _check_batch_size(batch_size: int | None) -> None:
    if batch_size is not None:
        check_range("batch_size", batch_size, 1)


def unpack(data: Any) -> Batch:
    """Returns the `Batch` in what Keras passes to a step.

    Raises:
        InputError: if a batch contains sample weights, which no defense supports.
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
    return Batch(data.get("image"), labels, indices, data.get("valid", tf.ones(tf.shape(labels))))
