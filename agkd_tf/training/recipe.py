"""Recipes: everything that defines a training run, and the objects that a recipe describes."""

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import keras
import tensorflow as tf

from agkd_tf.compilation import JitCompile
from agkd_tf.data import DATASET_NAMES, ClassPool, DeviceImages, ImageDataset, load_dataset
from agkd_tf.data.augmentation import AUGMENTATIONS, augment
from agkd_tf.data.batches import training_batches
from agkd_tf.data.class_names import same_names
from agkd_tf.data.device_images import resolve_resident
from agkd_tf.data.extra import Extra, load_extra, own_per_batch
from agkd_tf.data.image_dataset import Examples
from agkd_tf.data.pixels import as_float
from agkd_tf.defenses import DEFENSES, Defense
from agkd_tf.defenses.defense import check_ball
from agkd_tf.distribution import num_replicas
from agkd_tf.errors import InputError, check_range
from agkd_tf.losses import check_label_smoothing
from agkd_tf.models import ACTIVATIONS, MODEL_NAMES, Classifier, adapt, build_model
from agkd_tf.models.adapt import CHANNELS
from agkd_tf.models.fresh_weights import with_fresh_weights
from agkd_tf.models.storage import is_file_of_keras, load_classifier, read_class_names
from agkd_tf.models.synchronization import synchronize_batch_normalization
from agkd_tf.optimization import SCHEDULES, SGD, cycled_momentum, learning_rate_schedule, step_decay
from agkd_tf.randomness import named_seed, step_seed
from agkd_tf.settings import (
    LARGEST,
    Choice,
    Count,
    Range,
    Setting,
    Share,
    Weight,
    check_settings,
    settings_of,
)
from agkd_tf.training.checkpoints import SELECT_BEST
from agkd_tf.training.overfitting import ON_OVERFITTING

EXTRA_FRACTION = 0.7  # as Wang et al., Better Diffusion Models Further Improve Adversarial Training, ICML 2023
PRECISIONS = {"float32": None, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Everything that defines a training run. Two runs of the same recipe give the same weights on the same device.

    The text beside each field says what it means. `hyperparameters` are the settings of the defense
    (`settings_of(DEFENSES[name])`); those not given get the defense's defaults, so that a recorded recipe is complete.

        recipe = Recipe(dataset="digits", model="wrn-10-1", defense="at", hyperparameters={"eps": 38 / 255}, epochs=20)

    Raises:
        InputError: for values out of range, and for settings that contradict each other or would have no effect.
    """

    dataset: Annotated[str, f"Data set: {', '.join(DATASET_NAMES)}."] = "digits"
    image_size: Annotated[
        int | None, Range(1, 4096), "Height and width that images are cropped and scaled to; unchanged if not given."
    ] = None
    train_examples: Annotated[Count | None, "Train on the first N images of the training split; all if not given."] = (
        None
    )
    validation_examples: Annotated[
        Count | None, "Number of training images held out for validation; a tenth if not given."
    ] = None
    augmentation: Annotated[
        str | None, Choice(sorted(AUGMENTATIONS)), "Augmentation of training images; the data set's own if not given."
    ] = None
    extra_data: Annotated[
        str | None,
        "File .npz of auxiliary training images, such as generated ones: image, uint8 [N, H, W, C], and label, "
        "integers [N].",
    ] = None
    extra_fraction: Annotated[
        Share | None, "Share of each batch that is auxiliary images; 0.7 with extra_data if not given."
    ] = None
    model: Annotated[
        str, f"Network: {', '.join(MODEL_NAMES)}; or FILE.keras, your own network, trained on from its weights."
    ] = "wrn-28-10"
    reinitialize: Annotated[bool | None, "Start the network of a FILE.keras with fresh weights."] = None
    activation: Annotated[str, Choice(ACTIVATIONS), "Activation of a network that is built by its name."] = "relu"
    input_mean: Annotated[
        tuple[float, ...] | None,
        Range(0.0, 1.0),
        "Mean that a network built by its name subtracts from images in [0, 1]: a number, or one per channel; if not "
        "given, the network scales images to [-1, 1].",
    ] = None
    input_std: Annotated[
        tuple[float, ...] | None,
        Range(0.0, 1.0, low_open=True),
        "Standard deviation that a network built by its name then divides by: a number, or one per channel.",
    ] = None
    pixel_range: Annotated[
        tuple[float, ...] | None,
        "Smallest and largest pixel value that a network from a file expects, such as 0,255; 0,1 if not given.",
    ] = None
    pixel_mean: Annotated[
        tuple[float, ...] | None,
        "Mean that a network from a file expects to be subtracted from pixels: a number, or one per channel, in units "
        "of pixel_range.",
    ] = None
    pixel_std: Annotated[
        tuple[float, ...] | None,
        "Standard deviation that a network from a file expects pixels to be divided by: a number, or one per channel, "
        "in units of pixel_range.",
    ] = None
    channels: Annotated[
        str | None, Choice(CHANNELS), "Channel axis of a network from a file; first means that it takes [B, C, H, W]."
    ] = None
    features_layer: Annotated[
        str | None, "Layer that outputs the feature map, such as backbone/conv5_block3_out; detected if not given."
    ] = None
    embedding_layer: Annotated[str | None, "Layer that outputs the embedding; detected if not given."] = None
    logits_layer: Annotated[str | None, "Layer that outputs the logits; detected if not given."] = None
    mixed_precision: Annotated[
        str, Choice(PRECISIONS), "Type that the network computes in; losses and attacks accumulate in float32."
    ] = "float32"
    synchronized_bn: Annotated[
        bool, "Take BN statistics over the whole batch if several replicas share it; rules out XLA."
    ] = False
    defense: Annotated[str, Choice(DEFENSES), "Defense that trains the network."] = "agkd_bml"
    hyperparameters: dict = dataclasses.field(default_factory=dict)
    init_from: Annotated[str | None, "Run's folder or .keras file whose weights the student starts from."] = None
    teacher: Annotated[
        str | None,
        "Run's folder or .keras file of the teacher; if not given, a needed clean teacher is trained first. For ard, "
        "rslad, adaad and igdm it must be given, and robust.",
    ] = None
    teacher_label_smoothing: Annotated[Share, "Label smoothing of a teacher that is trained first."] = 0.5
    teacher_epochs: Annotated[
        Count | None, "Number of epochs of a teacher that is trained first; as many as the student's if not given."
    ] = None
    teacher_decay_epochs: Annotated[
        tuple[int, ...] | None, "Decay epochs of a teacher that is trained first; the student's if not given."
    ] = None
    init_from_teacher: Annotated[
        bool | None,
        "Start the student from the clean teacher's weights; if not given, only bml, agkd and agkd_bml do.",
    ] = None
    pool_capacity: Annotated[
        Count | None,
        "Images per class kept on the device, to draw second images from; all if not given. A smaller pool is drawn "
        "anew each epoch.",
    ] = None
    learning_rate: Annotated[Weight, "Initial learning rate; of a schedule in which it rises, the highest."] = 0.1
    schedule: Annotated[
        str,
        Choice(SCHEDULES),
        "Learning rate schedule: step decays the rate at decay_epochs; cosine lowers it along a cosine; one_cycle "
        "raises and lowers it once, along cosines, over all epochs; cyclic does so in straight lines.",
    ] = "step"
    warmup: Annotated[
        Share | None,
        "Share of the training in which the learning rate rises; if not given, none for step and cosine, 0.3 for "
        "one_cycle, 0.5 for cyclic.",
    ] = None
    decay_epochs: Annotated[tuple[int, ...], "0-based epochs at whose start the rate decays."] = (100, 150)
    decay_rate: Annotated[Share, "Factor that each decay multiplies the learning rate by."] = 0.1
    sgd: Annotated[
        str,
        Choice(("keras", "pytorch")),
        "Form of SGD: keras keeps the learning rate in the velocity, so that after a drop the old rate runs on for "
        "some steps; pytorch keeps it out.",
    ] = "keras"
    momentum: Annotated[Share, "Momentum of SGD."] = 0.9
    cycle_momentum: Annotated[
        bool,
        "Let the momentum fall while the learning rate rises, and rise while it falls, as PyTorch's schedules do: 0.95 "
        "to 0.85 for one_cycle, 0.9 to 0.8 for cyclic.",
    ] = False
    nesterov: Annotated[bool, "Let SGD look ahead along its velocity (Nesterov)."] = False
    weight_decay: Annotated[Weight, "wd: adds wd * w to the gradient of each weight w."] = 2e-4
    ema: Annotated[
        Share | None,
        "Momentum of a moving average of the weights, which the student is validated and saved with; no average if "
        "not given.",
    ] = None
    ema_warmup: Annotated[
        Share | None,
        "Share of the training in which the average is a copy of the weights; after n more steps it keeps at most (1 + "
        "n) / (10 + n) of itself. If not given, its momentum is constant.",
    ] = None
    ema_bn: Annotated[
        str,
        Choice(("copied", "estimated")),
        "BN statistics of the averaged student: those of the last step, or estimated anew by a pass over the augmented "
        "training images before each validation.",
    ] = "copied"
    select_best: Annotated[
        str,
        Choice(SELECT_BEST),
        "Epoch whose student is kept: the last, or the most robust on the validation split (early stopping).",
    ] = "last"
    on_overfitting: Annotated[
        str,
        Choice(ON_OVERFITTING),
        "What to do when validation accuracy under PGD falls by more than overfitting_drop within an epoch: warn; stop "
        "the training; or restore, which stops and keeps the student that select_best had chosen before.",
    ] = "warn"
    overfitting_drop: Annotated[
        Share, "Fall of validation accuracy under PGD within an epoch that counts as catastrophic overfitting."
    ] = 0.2
    batch_size: Annotated[Count, "Images per step."] = 128
    epochs: Annotated[Count, "Number of epochs; a larger number continues a finished run."] = 200
    seed: Annotated[int, Range(0, LARGEST), "Seed of all randomness."] = 0

    def __post_init__(self) -> None:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in check_settings(Recipe, own).items():
            object.__setattr__(self, name, value)
        defaults = default_hyperparameters(self.defense)
        for name in self.hyperparameters:
            if name not in defaults:
                raise InputError(
                    f"`{name}` does not apply to `defense={self.defense!r}`. Its settings: {', '.join(defaults)}"
                )
        given = check_settings(DEFENSES[self.defense], self.hyperparameters)
        object.__setattr__(self, "hyperparameters", {**defaults, **given})
        check_ball(self.hyperparameters["norm"], self.hyperparameters["eps"])
        if self.init_from_teacher is None:
            starts_from_teacher = DEFENSES[self.defense].starts_from_teacher and not self.init_from
            object.__setattr__(self, "init_from_teacher", starts_from_teacher)
        if self.extra_data and self.extra_fraction is None:
            object.__setattr__(self, "extra_fraction", EXTRA_FRACTION)
        self._check_idle()
        self._check_extra()
        self._check_network()
        if self.teacher and not self.needs_teacher:
            raise InputError(
                f"`teacher` has no effect with `defense={self.defense!r}`, which has no teacher: leave it out, or give "
                "`init_from_teacher=True`"
            )
        if self.init_from and self.init_from_teacher:
            raise InputError("`init_from` and `init_from_teacher` contradict each other: add `init_from_teacher=False`")
        if self.select_best == "robust" and not self.hyperparameters["validation_attack_steps"]:
            raise InputError("`select_best='robust'` needs `validation_attack_steps` of at least 1")
        for name in ("on_overfitting", "overfitting_drop"):
            value = getattr(self, name)
            if value != getattr(Recipe, name) and not self.watches_overfitting:
                raise InputError(
                    f"`{name}={value!r}` needs a defense that attacks, and `validation_attack_steps` of at least 1"
                )
        for epochs in (self.decay_epochs, self.teacher_decay_epochs or ()):
            step_decay(self.learning_rate, decay_epochs=epochs, decay_rate=self.decay_rate, steps_per_epoch=1)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Recipe":
        """Returns the recipe with these settings by name, including hyperparameters, as `settings` returns them.

        Raises:
            InputError: as the constructor.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        hyperparameters = {name: value for name, value in settings.items() if name not in fields}
        own = {name: value for name, value in settings.items() if name in fields}
        return cls(**own, hyperparameters=hyperparameters)

    def _check_idle(self) -> None:
        """Refuses settings that would have no effect, since whoever gave them expects one."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("teacher_label_smoothing", "teacher_epochs", "teacher_decay_epochs"):
            # A recorded recipe contains the defaults, too, so only another value is a contradiction.
            if getattr(self, name) != fields[name] and not self.needs_teacher:
                raise InputError(f"`{name}` has no effect with `defense={self.defense!r}`, which has no teacher")
            if getattr(self, name) != fields[name] and DEFENSES[self.defense].teacher_is_robust:
                raise InputError(
                    f"`{name}` has no effect with `defense={self.defense!r}`, whose teacher is not trained first"
                )
        for name in ("decay_epochs", "teacher_decay_epochs", "decay_rate"):
            if self.schedule != "step" and getattr(self, name) not in (fields[name], ()):
                remedy = "leave it out" if name == "decay_rate" else f"give `{name}=()`"
                raise InputError(f"`{name}` has no effect with `schedule={self.schedule!r}`: {remedy}")
        if self.pool_capacity is not None and "pool" not in DEFENSES[self.defense].needs:
            raise InputError(
                f"`pool_capacity` has no effect with `defense={self.defense!r}`, which draws no second images"
            )
        if self.warmup is not None:
            rises = SCHEDULES[self.schedule] > 0.0  # always
            check_range("warmup", self.warmup, 0.0, 1.0, low_open=rises)
            if self.warmup == 1.0:
                raise InputError("`warmup` must be below 1: the learning rate must also fall. Received: 1")
        for name in ("ema_warmup", "ema_bn"):
            if getattr(self, name) != fields[name] and self.ema is None:
                raise InputError(f"`{name}` has no effect without an average: give `ema=0.995`")
        if self.cycle_momentum:
            cycled_momentum(self.schedule, steps=100)
            if self.momentum != fields["momentum"]:
                raise InputError("`momentum` has no effect with `cycle_momentum=True`: leave it out")
        for name in ("ema_warmup", "cycle_momentum"):
            if self.sgd != "pytorch" and getattr(self, name) != fields[name]:
                raise InputError(f"`{name}` needs `sgd='pytorch'`")
        given, defaults = self.hyperparameters, default_hyperparameters(self.defense)
        for switch, name in (
            ("mart", "mart_beta"),
            ("random_start", "start_stddev"),
            ("random_start", "start_radius"),
            ("label_adversary", "label_ratio"),
            ("label_adversary", "label_gap"),
            ("cutmix", "cutmix_window"),
            ("cutmix", "cutmix_copies"),
        ):
            if given.get(switch) is False and given.get(name) != defaults.get(name):
                raise InputError(f"`{name}` has no effect without `{switch}=True`")

    def _check_extra(self) -> None:
        """Refuses auxiliary images that a batch or a defense has no use for."""
        if not self.extra_data:
            if self.extra_fraction is not None:
                raise InputError("`extra_fraction` has no effect without `extra_data`: give it, or leave both out")
            return
        if not 0 < self.extra_per_batch < self.batch_size:
            raise InputError(
                f"`extra_fraction` must leave at least one image of each kind in a batch. Received: "
                f"{self.extra_per_batch} auxiliary images of `batch_size={self.batch_size}`"
            )
        if "num_examples" in DEFENSES[self.defense].needs:
            raise InputError(
                f"`extra_data` cannot be used with `defense={self.defense!r}`, which stores something for each "
                "training image"
            )

    @property
    def extra_per_batch(self) -> int:
        """How many images of each batch are auxiliary."""
        return int((self.extra_fraction or 0.0) * self.batch_size)

    def load_extra(self, dataset: ImageDataset) -> Extra | None:
        """Returns the auxiliary images of training batches, or None for a recipe without.

        Args:
            dataset: the `ImageDataset` that they are added to.

        Raises:
            InputError: if they cannot be read, or do not fit the data set.
        """
        return Extra(load_extra(self.extra_data, dataset), self.extra_per_batch) if self.extra_data else None

    def _check_network(self) -> None:
        """Refuses settings of a network from a file if there is none, and settings that the file itself determines."""
        if is_file_of_keras(self.model):
            for name in ("activation", "input_mean", "input_std"):
                if getattr(self, name) != getattr(Recipe, name):
                    remedy = (
                        "" if name == "activation" else f"; `{name.replace('input', 'pixel')}` normalises its images"
                    )
                    raise InputError(
                        f"`{name}` is for a network that is built by its name: the file determines it with "
                        f"`model={self.model!r}`{remedy}"
                    )
            if self.mixed_precision != Recipe.mixed_precision:
                raise InputError(
                    f"`mixed_precision` is determined by the file with `model={self.model!r}`: set it before you save "
                    "the file, keras.config.set_dtype_policy(...)"
                )
            return
        if self.reinitialize:
            raise InputError(
                "`reinitialize` is for a network from a file, `model=FILE`, which ends in .keras. "
                f"Received: {self.model!r}"
            )
        for name in ("pixel_range", "pixel_mean", "pixel_std", "channels"):
            if getattr(self, name) is not None and not is_file_of_keras(self.teacher):
                raise InputError(
                    f"`{name}` is for a network from a file, FILE.keras as `model` or `teacher`: the networks built "
                    "here take images in [0, 1]"
                )

    @property
    def _conventions(self) -> dict[str, Any]:
        """The arguments of `adapt` that are set, by name."""
        given = {
            "pixel_range": self.pixel_range,
            "mean": self.pixel_mean,
            "std": self.pixel_std,
            "channels": self.channels,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def has_teacher(self) -> bool:
        """Whether the defense is guided by a teacher."""
        return "teacher" in DEFENSES[self.defense].needs

    @property
    def needs_teacher(self) -> bool:
        """Whether a teacher is needed before the student can be trained."""
        return self.has_teacher or bool(self.init_from_teacher)

    @property
    def trains_teacher(self) -> bool:
        """Whether a clean teacher is trained before the student."""
        return self.needs_teacher and not self.teacher and not DEFENSES[self.defense].teacher_is_robust

    def check_teacher(self) -> None:
        """Checks that a robust teacher is given where one is needed. A recipe without one can still be timed.

        Raises:
            InputError: if it is not.
        """
        if DEFENSES[self.defense].teacher_is_robust and not self.teacher:
            raise InputError(
                f"`defense={self.defense!r}` distills a robust teacher, which has to be trained before: give "
                "`teacher=PATH`, its run's folder or .keras file"
            )

    @property
    def watches_overfitting(self) -> bool:
        """Whether the training is watched for catastrophic overfitting: if it attacks, and validation does."""
        return self.defense != "undefended" and bool(self.hyperparameters["validation_attack_steps"])

    def settings(self) -> dict[str, Any]:
        """Returns name -> value of everything that defines the run, including the hyperparameters."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields.pop("hyperparameters") | fields

    def for_teacher(self) -> "Recipe":
        """Returns the recipe of the clean teacher that this one needs."""
        shared = ("eps", "norm", "weight_decay_on", "validation_attack_steps")
        same = {name: self.hyperparameters[name] for name in shared}
        return dataclasses.replace(
            self,
            defense="undefended",
            hyperparameters={**same, "label_smoothing": self.teacher_label_smoothing},
            epochs=self.teacher_epochs or self.epochs,
            decay_epochs=self.decay_epochs if self.teacher_decay_epochs is None else self.teacher_decay_epochs,
            teacher_label_smoothing=Recipe.teacher_label_smoothing,
            teacher_epochs=None,
            teacher_decay_epochs=None,
            teacher=None,
            init_from=None,
            init_from_teacher=False,
            select_best="last",
            on_overfitting=Recipe.on_overfitting,
            overfitting_drop=Recipe.overfitting_drop,
            pool_capacity=None,
        )

    def load_dataset(self, **place: Any) -> ImageDataset:
        """Returns the `ImageDataset`; `place` are the arguments of `agkd_tf.data.load_dataset` that say where it is.

        Its labels are numbered by the class names of the networks that the training starts from, if these are known.

        Raises:
            InputError: as `load_dataset`, or if these networks number their classes differently.
        """
        return load_dataset(
            self.dataset,
            **place,
            class_names=self._known_class_names(),
            image_size=self.image_size,
            train_examples=self.train_examples,
            validation_examples=self.validation_examples,
        )

    def _known_class_names(self) -> tuple[str, ...] | None:
        sources = {name: getattr(self, name) for name in ("init_from", "teacher") if getattr(self, name)}
        found = (read_class_names(name, path) for name, path in sources.items())
        known = [names for names in found if names is not None]
        if len(known) == 2 and not same_names(*known):
            raise InputError(
                "`init_from` and `teacher` have different class names, or the same ones in a different order"
            )
        return next(iter(known), None)

    def steps_per_epoch(self, dataset: ImageDataset) -> int:
        """Returns the number of optimizer steps per epoch, a pass over the data set's own images."""
        return len(dataset.train) // own_per_batch(self.batch_size, self.extra_per_batch, len(dataset.train))

    def build_student(self, dataset: ImageDataset, teacher: keras.Model | None = None) -> keras.Model:
        """Returns the network to train, with the weights that it starts from.

        Raises:
            InputError: if there is no such network, it does not fit the data, or the weights do not fit it.
        """
        if is_file_of_keras(self.model):
            student = self._network("model", self.model)
            if self.reinitialize:
                student = with_fresh_weights(student, seed=self.seed)
            self._check_fits("model", student, dataset)
        else:
            student = build_model(
                self.model,
                image_shape=dataset.image_shape,
                num_classes=dataset.num_classes,
                dtype=PRECISIONS[self.mixed_precision],
                seed=self.seed,
                activation=self.activation,
                input_mean=self.input_mean,
                input_std=self.input_std,
            )
        if self.synchronized_bn:
            synchronize_batch_normalization(student)
        if self.init_from:
            _copy_weights("init_from", load_classifier("init_from", self.init_from), student)
        elif teacher is not None and self.init_from_teacher:
            _copy_weights("teacher" if self.teacher else "init_from_teacher", teacher, student)
        return student

    def load_teacher(self, path: str | os.PathLike[str]) -> keras.Model:
        """Returns the teacher at a path, a run's folder or a file; it maps images in [0, 1] to logits.

        Raises:
            InputError: if there is none, or it takes other images.
        """
        return self._network("teacher", path)

    def _network(self, argument: str, path: str | os.PathLike[str]) -> keras.Model:
        network = load_classifier(argument, path)
        if not self._conventions or not is_file_of_keras(path):
            return network
        try:
            return adapt(network, **self._conventions)
        except InputError as error:
            raise InputError(f"`{argument}` {path}: {error}") from error

    def _check_fits(self, argument: str, network: keras.Model, dataset: ImageDataset) -> None:
        try:
            classifier = Classifier(network, **self._layer_names)
        except InputError as error:
            raise InputError(f"`{argument}` {self.model}: {error}") from error
        if classifier.num_classes != dataset.num_classes:
            raise InputError(
                f"`{argument}` {self.model} has {classifier.num_classes} classes, `dataset` {dataset.name} has "
                f"{dataset.num_classes}"
            )
        fits = zip(classifier.image_shape, dataset.image_shape, strict=True)
        if any(own not in (None, other) for own, other in fits):
            size = ": `image_size=SIZE` scales them" if classifier.image_shape[2] == dataset.image_shape[2] else ""
            raise InputError(
                f"`{argument}` {self.model} takes images {classifier.image_shape}, `dataset` {dataset.name} has "
                f"{dataset.image_shape}{size}"
            )

    @property
    def _layer_names(self) -> dict[str, str]:
        names = {"features": self.features_layer, "embedding": self.embedding_layer, "logits": self.logits_layer}
        return {part: name for part, name in names.items() if name}

    def build_teacher(self, dataset: ImageDataset) -> keras.Model:
        """Returns the untrained network of the clean teacher that would be trained first, or in place of a given one.

        Raises:
            InputError: for settings that do not fit the data.
        """
        check_label_smoothing(self.teacher_label_smoothing, dataset.num_classes, name="teacher_label_smoothing")
        return self.for_teacher().build_defense(dataset).student

    def build_defense(
        self,
        dataset: ImageDataset,
        *,
        teacher: keras.Model | None = None,
        jit_compile: JitCompile = "auto",
        resident: bool = False,
    ) -> Defense:
        """Returns the compiled defense.

        Args:
            dataset: the `ImageDataset` that the recipe names.
            teacher: `keras.Model`, if the defense has a teacher.
            jit_compile: see `Defense.compile`; with synchronised BN, "auto" is off.
            resident: whether the training images stay on the device; batches then need not contain them.

        Raises:
            InputError: for settings that do not fit the data, the teacher or each other.
        """
        if dataset.name != self.dataset:  # else the run would record another data set than its own
            raise InputError(
                f"the recipe is for `dataset={self.dataset!r}`, the images are of {dataset.name!r}: use a recipe with "
                f"`dataset={dataset.name!r}`, or the images of the data set that it names"
            )
        if self.synchronized_bn:
            if jit_compile is True:
                raise InputError("`synchronized_bn` cannot be used with XLA: give `jit_compile=False`")
            jit_compile = False
        if resident and self.extra_data:
            resolve_resident(True, dataset.train.images, extra=True)
        needs, given = DEFENSES[self.defense].needs, {}
        if "teacher" in needs:
            given["teacher"] = teacher
        if "num_examples" in needs:
            given["num_examples"] = len(dataset.train)
        if "num_steps" in needs:
            given["num_steps"] = self.steps_per_epoch(dataset) * self.epochs
        if "pool" in needs:
            given["pool"] = ClassPool(
                dataset.train.images,
                dataset.train.labels,
                num_classes=dataset.num_classes,
                capacity_per_class=self.pool_capacity,
                seed=self.seed,
            )
        defense = DEFENSES[self.defense](
            self.build_student(dataset, teacher),
            **given,
            layer_names=self._layer_names,
            augmentation=self.augmentation or dataset.augmentation,
            weight_decay=self.weight_decay,
            seed=self.seed,
            **self.hyperparameters,
        )
        if resident:
            whole = defense.pool is not None and not defense.pool.bounded
            defense.resident = defense.pool if whole else DeviceImages(dataset.train.images)
        if self.ema_bn == "estimated":
            if num_replicas() > 1:
                raise InputError("`ema_bn='estimated'` works on a single device: give `ema_bn='copied'`")
            defense.images_of_average = functools.partial(self._augmented, dataset.train, defense.augmentation)
        defense.compile(self._optimizer(self.steps_per_epoch(dataset)), jit_compile=jit_compile)
        return defense

    def _augmented(self, examples: Examples, augmentation: str) -> Iterator[tf.Tensor]:
        """Yields one pass over the training images, augmented, float32 [batch_size, H, W, C] in [0, 1]."""
        batches = training_batches(examples, batch_size=self.batch_size, seed=self.seed)
        for number, batch in enumerate(batches.take(len(examples) // self.batch_size)):
            seed = named_seed(step_seed(self.seed, number), "batch statistics")
            yield augment(augmentation, as_float(batch["image"]), seed)

    def _optimizer(self, steps_per_epoch: int) -> keras.optimizers.Optimizer:
        steps = steps_per_epoch * self.epochs
        rate = learning_rate_schedule(
            self.schedule,
            self.learning_rate,
            epochs=self.epochs,
            steps_per_epoch=steps_per_epoch,
            rising=self.warmup,
            decay_epochs=self.decay_epochs,
            decay_rate=self.decay_rate,
        )
        given: dict[str, Any] = {"momentum": self.momentum, "nesterov": self.nesterov}
        if self.ema is not None:
            given |= {"use_ema": True, "ema_momentum": self.ema}
        if self.sgd == "keras":
            return keras.optimizers.SGD(rate, **given)
        if self.ema_warmup is not None:
            given["ema_warmup"] = round(self.ema_warmup * steps)
        if self.cycle_momentum:
            given["momentum_schedule"] = cycled_momentum(self.schedule, steps=steps, rising=self.warmup)
        return SGD(rate, **given)

    @property
    def planned_for(self) -> str | None:
        """The setting that is planned for a number of epochs, which can then not grow; None if they can."""
        if self.schedule != "step":
            return f"schedule={self.schedule!r}"
        if "num_steps" in DEFENSES[self.defense].needs:
            return f"defense={self.defense!r}"
        return next(
            (f"{name}={getattr(self, name)!r}" for name in ("warmup", "ema_warmup") if getattr(self, name)), None
        )


def default_hyperparameters(defense: str) -> dict[str, Any]:
    """Returns name -> default of the settings of the defense called `defense`, except those that a recipe has, too."""
    own = {field.name for field in dataclasses.fields(Recipe)}
    settings = sorted(settings_of(DEFENSES[defense]).items())
    return {name: setting.default for name, setting in settings if name not in own}


def recipe_settings() -> dict[str, Setting]:
    """Returns name -> `Setting` of everything that defines a run: the recipe's own, then each defense's."""
    found = dict(settings_of(Recipe))
    for defense in DEFENSES.values():
        for name, setting in settings_of(defense).items():
            other = found.setdefault(name, setting)
            if (other.kind, other.many, other.size is None) != (setting.kind, setting.many, setting.size is None):
                raise TypeError(f"two settings are called {name}, but have different types: {other}, {setting}")
    return found


def _copy_weights(argument: str, source: keras.Model, target: keras.Model) -> None:
    try:
        target.set_weights(source.get_weights())
    except ValueError as error:
        given, own = (
            f"{model.name} for images {each.image_shape} of {each.num_classes} classes"
            for model, each in ((source, Classifier(source)), (target, Classifier(target)))
        )
        raise InputError(f"`{argument}` has other weights than the student: {given}; the student is {own}") from error
