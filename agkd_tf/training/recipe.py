"""Everything that defines a training run, and the objects that it describes."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Annotated, Any

import keras

from agkd_tf.compilation import JitCompile
from agkd_tf.data import DATASET_NAMES, ClassPool, DeviceImages, ImageDataset, load_dataset
from agkd_tf.data.augmentation import AUGMENTATIONS
from agkd_tf.data.class_names import same_names
from agkd_tf.defenses import DEFENSES, Defense
from agkd_tf.defenses.defense import check_ball
from agkd_tf.errors import InputError, check_range
from agkd_tf.losses import check_label_smoothing
from agkd_tf.models import MODEL_NAMES, Classifier, adapt, build_model
from agkd_tf.models.adapt import CHANNELS
from agkd_tf.models.fresh_weights import with_fresh_weights
from agkd_tf.models.storage import is_file_of_keras, load_classifier, read_class_names
from agkd_tf.models.synchronization import synchronize_batch_normalization
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
from agkd_tf.training.schedule import OneCycle, step_decay

PRECISIONS = {"float32": None, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run. Two runs of one recipe give the same weights on one device.

    What each field says stands beside it; `hyperparameters` are the defense's settings (`settings_of(DEFENSES[name])`).
    Those that are not given are filled in with its defaults, so that a recorded recipe says all of them.

        recipe = Recipe(dataset="digits", model="wrn-10-1", defense="at", hyperparameters={"eps": 38 / 255}, epochs=20)

    Raises:
        InputError: for values out of range, settings that contradict each other, or that would have no effect.
    """

    dataset: Annotated[str, f"Data set: {', '.join(DATASET_NAMES)}."] = "digits"
    image_size: Annotated[
        int | None, Range(1, 4096), "Height and width that images are cropped and scaled to; as they are if not given."
    ] = None
    train_examples: Annotated[Count | None, "Train on the first N images of the training split; all if not given."] = (
        None
    )
    validation_examples: Annotated[
        Count | None, "Images held out of the training split; a tenth of it if not given."
    ] = None
    augmentation: Annotated[
        str | None, Choice(sorted(AUGMENTATIONS)), "Training augmentation; the data set's own if not given."
    ] = None
    model: Annotated[
        str, f"Network: {', '.join(MODEL_NAMES)}; or FILE.keras, a network of one's own, from its weights on."
    ] = "wrn-28-10"
    reinitialize: Annotated[bool | None, "Start the network of a FILE.keras from fresh weights."] = None
    pixel_range: Annotated[
        tuple[float, ...] | None,
        "Least and greatest pixel value that a network from a file takes, such as 0,255; 0,1 if not given, as runs do.",
    ] = None
    pixel_mean: Annotated[
        tuple[float, ...] | None,
        "What a network from a file wants subtracted: a number, or one per channel, in units of pixel_range.",
    ] = None
    pixel_std: Annotated[tuple[float, ...] | None, "What it wants pixels divided by; likewise."] = None
    channels: Annotated[str | None, Choice(CHANNELS), "first: a network from a file takes [B, C, H, W]."] = None
    features_layer: Annotated[
        str | None, "Layer that makes the feature map, such as backbone/conv5_block3_out; found if not given."
    ] = None
    embedding_layer: Annotated[str | None, "Layer that makes the embedding; found if not given."] = None
    logits_layer: Annotated[str | None, "Layer that makes the logits; found if not given."] = None
    mixed_precision: Annotated[
        str, Choice(PRECISIONS), "What the network computes in; losses and attacks accumulate in float32."
    ] = "float32"
    synchronized_bn: Annotated[
        bool, "BN statistics of the whole batch where several replicas share it; excludes XLA."
    ] = False
    defense: Annotated[str, Choice(DEFENSES), "How the network is trained."] = "agkd_bml"
    hyperparameters: dict = dataclasses.field(default_factory=dict)
    init_from: Annotated[str | None, "Run's folder or .keras file to start the student from."] = None
    teacher: Annotated[str | None, "Run's folder or .keras file of the clean teacher; trained first if not given."] = (
        None
    )
    teacher_label_smoothing: Annotated[Share, "Label smoothing of a teacher that is trained first."] = 0.5
    teacher_epochs: Annotated[
        Count | None, "Epochs of a teacher that is trained first; the student's if not given."
    ] = None
    teacher_decay_epochs: Annotated[
        tuple[int, ...] | None, "Decay epochs of a teacher that is trained first; the student's if not given."
    ] = None
    init_from_teacher: Annotated[
        bool | None,
        "Start the student from the clean teacher's weights; if not given, bml, agkd and agkd_bml do, others do not.",
    ] = None
    pool_capacity: Annotated[
        Count | None,
        "Images of each class kept on the device, to draw second images from; all if not given. A smaller pool is "
        "drawn anew each epoch.",
    ] = None
    learning_rate: Annotated[Weight, "First learning rate; of one_cycle the highest."] = 0.1
    schedule: Annotated[
        str,
        Choice(("step", "one_cycle")),
        "How the rate moves: it is decayed at decay_epochs, or rises and falls once over all epochs.",
    ] = "step"
    decay_epochs: Annotated[tuple[int, ...], "0-based epochs from which the rate is decayed."] = (100, 150)
    decay_rate: Annotated[Share, "Factor of each decay."] = 0.1
    momentum: Annotated[Share, "Momentum of SGD."] = 0.9
    weight_decay: Annotated[Weight, "wd: adds wd * w to the gradient of a weight."] = 2e-4
    ema: Annotated[
        Share | None, "Momentum of the moving average that the student's weights become; none if not given."
    ] = None
    select_best: Annotated[
        str,
        Choice(SELECT_BEST),
        "Epoch whose student is kept: the last, or the most robust on the validation split (early stopping).",
    ] = "last"
    batch_size: Annotated[Count, "Images per step."] = 128
    epochs: Annotated[Count, "Epochs; more than a finished run had continues it."] = 200
    seed: Annotated[int, Range(0, LARGEST), "Seed of all that is random."] = 0

    def __post_init__(self) -> None:
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in check_settings(Recipe, own).items():
            object.__setattr__(self, name, value)
        defaults = default_hyperparameters(self.defense)
        for name in self.hyperparameters:
            if name not in defaults:
                raise InputError(
                    f"`{name}` does not apply to `defense={self.defense!r}`. It has: {', '.join(defaults)}"
                )
        given = check_settings(DEFENSES[self.defense], self.hyperparameters)
        object.__setattr__(self, "hyperparameters", {**defaults, **given})
        check_ball(self.hyperparameters["norm"], self.hyperparameters["eps"])
        if self.init_from_teacher is None:
            starts_from_teacher = DEFENSES[self.defense].starts_from_teacher and not self.init_from
            object.__setattr__(self, "init_from_teacher", starts_from_teacher)
        self._check_idle()
        self._check_network()
        if self.teacher and not self.needs_teacher:
            raise InputError(
                f"`teacher` has no effect with `defense={self.defense!r}`, which has none, unless "
                "`init_from_teacher=True`"
            )
        if self.init_from and self.init_from_teacher:
            raise InputError("`init_from` and `init_from_teacher` contradict: add `init_from_teacher=False`")
        if self.select_best == "robust" and not self.hyperparameters["validation_attack_steps"]:
            raise InputError("`select_best` of robust needs `validation_attack_steps` of at least 1")
        for epochs in (self.decay_epochs, self.teacher_decay_epochs or ()):
            step_decay(self.learning_rate, decay_epochs=epochs, decay_rate=self.decay_rate, steps_per_epoch=1)

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> "Recipe":
        """Returns the recipe of settings by name, hyperparameters among the rest, as `settings` gives them.

        Raises:
            InputError: as the constructor.
        """
        fields = {field.name for field in dataclasses.fields(cls)}
        hyperparameters = {name: value for name, value in settings.items() if name not in fields}
        own = {name: value for name, value in settings.items() if name in fields}
        return cls(**own, hyperparameters=hyperparameters)

    def _check_idle(self) -> None:
        """Refuses settings that would do nothing: whoever gave them expects something of them."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("teacher_label_smoothing", "teacher_epochs", "teacher_decay_epochs"):
            # A recorded recipe names the default too, so only another value contradicts.
            if getattr(self, name) != fields[name] and not self.needs_teacher:
                raise InputError(f"`{name}` has no effect with `defense={self.defense!r}`, which has no teacher")
        for name in ("decay_epochs", "teacher_decay_epochs", "decay_rate"):
            if self.schedule != "step" and getattr(self, name) not in (fields[name], ()):
                remedy = "leave it out" if name == "decay_rate" else f"give `{name}=()`"
                raise InputError(f"`{name}` has no effect with `schedule={self.schedule!r}`: {remedy}")
        if self.pool_capacity is not None and "pool" not in DEFENSES[self.defense].needs:
            raise InputError(
                f"`pool_capacity` has no effect with `defense={self.defense!r}`, which draws no second images"
            )
        given, defaults = self.hyperparameters, default_hyperparameters(self.defense)
        for switch, name in (
            ("mart", "mart_beta"),
            ("random_start", "start_stddev"),
            ("random_start", "start_radius"),
            ("label_adversary", "label_ratio"),
            ("label_adversary", "label_gap"),
        ):
            if given.get(switch) is False and given.get(name) != defaults.get(name):
                raise InputError(f"`{name}` has no effect without `{switch}=True`")

    def _check_network(self) -> None:
        """Refuses settings of a network from a file where there is none, and those that such a file has itself."""
        if is_file_of_keras(self.model):
            if self.mixed_precision != Recipe.mixed_precision:
                raise InputError(
                    f"`mixed_precision` is the file's own with `model={self.model!r}`: set it before the file is "
                    "saved, keras.config.set_dtype_policy(...)"
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
                    f"`{name}` is for a network from a file, `model` or `teacher` of FILE.keras: those built here take "
                    "images in [0, 1]"
                )

    @property
    def _conventions(self) -> dict[str, Any]:
        """What `adapt` is given, by its arguments' names; those that are set."""
        given = {
            "pixel_range": self.pixel_range,
            "mean": self.pixel_mean,
            "std": self.pixel_std,
            "channels": self.channels,
        }
        return {name: value for name, value in given.items() if value is not None}

    @property
    def has_teacher(self) -> bool:
        """Whether the defense is guided by a clean teacher."""
        return "teacher" in DEFENSES[self.defense].needs

    @property
    def needs_teacher(self) -> bool:
        """Whether a clean teacher must be there before the student is trained."""
        return self.has_teacher or bool(self.init_from_teacher)

    def settings(self) -> dict[str, Any]:
        """Returns name -> value of everything that defines the run, the hyperparameters among the rest."""
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
            init_from=None,
            init_from_teacher=False,
            select_best="last",
            pool_capacity=None,
        )

    def load_dataset(self, **place: Any) -> ImageDataset:
        """Returns the `ImageDataset`; `place` says where it is, as `agkd_tf.data.load_dataset` takes it.

        Its labels are numbered by the class names of the networks that the training begins with, where these are known.

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
                "`init_from` and `teacher` have other class names than each other, or another order of them"
            )
        return next(iter(known), None)

    def steps_per_epoch(self, dataset: ImageDataset) -> int:
        """Returns optimizer steps an epoch."""
        check_range("batch_size", self.batch_size, 1, len(dataset.train))
        return len(dataset.train) // self.batch_size

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
            )
        if self.synchronized_bn:
            synchronize_batch_normalization(student)
        if self.init_from:
            _copy_weights("init_from", load_classifier("init_from", self.init_from), student)
        elif teacher is not None and self.init_from_teacher:
            _copy_weights("teacher" if self.teacher else "init_from_teacher", teacher, student)
        return student

    def load_teacher(self, path: str | os.PathLike[str]) -> keras.Model:
        """Returns the teacher at a path, a run's folder or a file; images in [0, 1] go to its logits.

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
                f"`{argument}` {self.model} has {classifier.num_classes} classes, `dataset` {dataset.name} "
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
        """Returns the clean teacher that would be trained first, untrained.

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
            teacher: `keras.Model`, where the defense has one.
            jit_compile: see `Defense.compile`; synchronised BN turns "auto" off.
            resident: whether the training images stay on the device; batches then need none.

        Raises:
            InputError: for settings that do not fit the data, the teacher or each other.
        """
        if dataset.name != self.dataset:  # what is recorded would be of other images than the run
            raise InputError(
                f"the recipe is of `dataset={self.dataset!r}`, the images are of {dataset.name!r}: give the recipe "
                f"`dataset={dataset.name!r}`, or the data set that it names"
            )
        if self.synchronized_bn:
            if jit_compile is True:
                raise InputError("`synchronized_bn` and XLA exclude each other: give `jit_compile=False`")
            jit_compile = False
        needs, given = DEFENSES[self.defense].needs, {}
        if "teacher" in needs:
            given["teacher"] = teacher
        if "num_examples" in needs:
            given["num_examples"] = len(dataset.train)
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
        average = {} if self.ema is None else {"use_ema": True, "ema_momentum": self.ema}
        rate = self._rate(self.steps_per_epoch(dataset))
        optimizer = keras.optimizers.SGD(rate, momentum=self.momentum, **average)
        defense.compile(optimizer, jit_compile=jit_compile)
        return defense

    def _rate(self, steps: int) -> keras.optimizers.schedules.LearningRateSchedule | float:
        """Returns the learning rate for so many steps an epoch."""
        if self.schedule == "one_cycle":
            return OneCycle(self.learning_rate, steps * self.epochs)
        return step_decay(
            self.learning_rate, decay_epochs=self.decay_epochs, decay_rate=self.decay_rate, steps_per_epoch=steps
        )


def default_hyperparameters(defense: str) -> dict[str, Any]:
    """Returns name -> default of the settings of the defense called `defense`, but those that are the recipe's own."""
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
                raise TypeError(f"two settings are called {name}, and are not of one type: {other}, {setting}")
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
