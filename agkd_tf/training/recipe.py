"""Everything that defines a training run, and the objects that it describes."""

import dataclasses
import inspect
import math

import keras

from agkd_tf.data import ClassPool, DeviceImages, load_dataset
from agkd_tf.data.class_names import same_names
from agkd_tf.defenses import DEFENSES
from agkd_tf.errors import InputError, check_choice, check_range
from agkd_tf.losses import check_label_smoothing
from agkd_tf.models import Classifier, adapt, build_model
from agkd_tf.models.fresh_weights import with_fresh_weights
from agkd_tf.models.storage import is_file_of_keras, load_classifier, read_class_names
from agkd_tf.models.synchronization import synchronize_batch_normalization
from agkd_tf.training.checkpoints import SELECT_BEST
from agkd_tf.training.schedule import step_decay

PRECISIONS = {"float32": None, "bfloat16": "mixed_bfloat16", "float16": "mixed_float16"}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training run. Two runs of one recipe give the same weights on one device.

    Attributes:
        dataset, image_size, train_examples, validation_examples: see `agkd_tf.data.load_dataset`.
        augmentation: a name of `AUGMENTATIONS`; None for the data set's own.
        model: see `agkd_tf.models.build_model`; or a `.keras` file of a user's own network, which starts from its own
            weights.
        reinitialize: start such a network from fresh weights of `seed`.
        pixel_range, pixel_mean, pixel_std, channels: the images that such a network, and a `teacher` from a file,
            takes; see `agkd_tf.adapt`. What is trained takes images in [0, 1].
        features_layer, embedding_layer, logits_layer: see `Classifier`; None where they are found.
        mixed_precision: float32, bfloat16 or float16: what the network computes in.
        synchronized_bn: whether BN statistics are of the whole batch where several replicas share it; excludes XLA.
        defense: a name of `DEFENSES`.
        hyperparameters: the defense's keyword arguments; those not given are filled in with its defaults,
            so that a recorded recipe says all of them.
        init_from: run's folder or `.keras` file to start the student from.
        teacher: likewise, the clean teacher; None trains one first where one is needed.
        teacher_label_smoothing, teacher_epochs, teacher_decay_epochs: of a teacher that is trained first; None
            for the run's own epochs. Everything else is as in the run.
        init_from_teacher: start the student from the teacher's weights; None for the defense's habit,
            unless `init_from` is given.
        pool_capacity: images of each class kept on the device; None for all.
        learning_rate, decay_epochs, decay_rate: see `step_decay`.
        momentum: of SGD.
        weight_decay: see `Defense`.
        ema: momentum of the exponential moving average that the student's weights become; None for none.
        select_best: "last" for the student of the last epoch, "robust" for the one with the highest
            robust accuracy on the validation split (early stopping).
        batch_size, epochs, seed: of the training.
    """

    dataset: str = "digits"
    image_size: int | None = None
    train_examples: int | None = None
    validation_examples: int | None = None
    augmentation: str | None = None
    model: str = "wrn-28-10"
    reinitialize: bool | None = None
    pixel_range: tuple[float, ...] | None = None
    pixel_mean: tuple[float, ...] | None = None
    pixel_std: tuple[float, ...] | None = None
    channels: str | None = None
    features_layer: str | None = None
    embedding_layer: str | None = None
    logits_layer: str | None = None
    mixed_precision: str = "float32"
    synchronized_bn: bool = False
    defense: str = "agkd_bml"
    hyperparameters: dict = dataclasses.field(default_factory=dict)
    init_from: str | None = None
    teacher: str | None = None
    teacher_label_smoothing: float = 0.5
    teacher_epochs: int | None = None
    teacher_decay_epochs: tuple[int, ...] | None = None
    init_from_teacher: bool | None = None
    pool_capacity: int | None = None
    learning_rate: float = 0.1
    decay_epochs: tuple[int, ...] = (100, 150)
    decay_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2e-4
    ema: float | None = None
    select_best: str = "last"
    batch_size: int = 128
    epochs: int = 200
    seed: int = 0

    def __post_init__(self):
        check_choice("defense", self.defense, sorted(DEFENSES))
        check_choice("mixed_precision", self.mixed_precision, sorted(PRECISIONS))
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in (own | self.hyperparameters).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise InputError(f"`{name}` must be a finite number. Received: {value}")
        for name, low, high in (
            ("batch_size", 1, math.inf),
            ("epochs", 1, math.inf),
            ("learning_rate", 0.0, math.inf),
            ("momentum", 0.0, 1.0),
            ("seed", 0, 2**31 - 1),
            ("teacher_label_smoothing", 0.0, 1.0),
            ("weight_decay", 0.0, math.inf),
        ):
            check_range(name, own[name], low, high)
        defaults = default_hyperparameters(self.defense)
        for name in self.hyperparameters:
            if name not in defaults:
                raise InputError(f"`{name}` does not apply to --defense={self.defense}. It has: {', '.join(defaults)}")
        object.__setattr__(self, "hyperparameters", {**defaults, **self.hyperparameters})
        if self.init_from_teacher is None:
            starts_from_teacher = DEFENSES[self.defense].starts_from_teacher and not self.init_from
            object.__setattr__(self, "init_from_teacher", starts_from_teacher)
        self._check_idle()
        self._check_network()
        if self.teacher and not self.needs_teacher:
            raise InputError(
                f"`teacher` has no effect with --defense={self.defense}, which has none, unless --init_from_teacher"
            )
        if self.init_from and self.init_from_teacher:
            raise InputError("`init_from` and `init_from_teacher` contradict: add --noinit_from_teacher")
        check_choice("select_best", self.select_best, list(SELECT_BEST))
        if self.select_best == "robust" and not self.hyperparameters["validation_attack_steps"]:
            raise InputError("`select_best` of robust needs --validation_attack_steps of at least 1")
        if self.ema is not None:
            check_range("ema", self.ema, 0.0, 1.0)
        for epochs in (self.decay_epochs, self.teacher_decay_epochs or ()):
            step_decay(self.learning_rate, decay_epochs=epochs, decay_rate=self.decay_rate, steps_per_epoch=1)

    def _check_idle(self):
        """Refuses settings that would do nothing: whoever gave them expects something of them."""
        fields = {field.name: field.default for field in dataclasses.fields(self)}
        for name in ("teacher_label_smoothing", "teacher_epochs", "teacher_decay_epochs"):
            # A recorded recipe names the default too, so only another value contradicts.
            if getattr(self, name) != fields[name] and not self.needs_teacher:
                raise InputError(f"`{name}` has no effect with --defense={self.defense}, which has no teacher")
        if self.pool_capacity is not None and "pool" not in constructor_arguments(self.defense):
            raise InputError(
                f"`pool_capacity` has no effect with --defense={self.defense}, which draws no second images"
            )
        given, defaults = self.hyperparameters, default_hyperparameters(self.defense)
        for switch, name in (
            ("mart", "mart_beta"),
            ("random_start", "start_stddev"),
            ("label_adversary", "label_ratio"),
            ("label_adversary", "label_gap"),
        ):
            if given.get(switch) is False and given.get(name) != defaults.get(name):
                raise InputError(f"`{name}` has no effect without --{switch}")

    def _check_network(self):
        """Refuses settings of a network from a file where there is none, and those that such a file has itself."""
        if is_file_of_keras(self.model):
            if self.mixed_precision != Recipe.mixed_precision:
                raise InputError(
                    f"`mixed_precision` is the file's own with --model={self.model}: set it before the file is saved, "
                    "keras.config.set_dtype_policy(...)"
                )
            return
        if self.reinitialize:
            raise InputError(f"`reinitialize` is for --model=FILE.keras. Received: --model={self.model}")
        for name, value in (self._conventions | {"channels": self.channels}).items():
            if value is not None and not is_file_of_keras(self.teacher):
                flag = name if name in ("pixel_range", "channels") else f"pixel_{name}"
                raise InputError(
                    f"`{flag}` is for a network from a file, --model=FILE.keras or --teacher=FILE.keras: those built "
                    "here take images in [0, 1]"
                )

    @property
    def _conventions(self):
        """What `adapt` is given, by its arguments' names; those that are set."""
        given = {"pixel_range": self.pixel_range, "mean": self.pixel_mean, "std": self.pixel_std}
        given |= {"channels": self.channels}
        return {name: value for name, value in given.items() if value is not None}

    @property
    def has_teacher(self):
        """Whether the defense is guided by a clean teacher."""
        return "teacher" in constructor_arguments(self.defense)

    @property
    def needs_teacher(self):
        """Whether a clean teacher must be there before the student is trained."""
        return self.has_teacher or self.init_from_teacher

    def settings(self):
        """Returns name -> value of everything that defines the run, the hyperparameters among the rest."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return fields.pop("hyperparameters") | fields

    def for_teacher(self):
        """Returns the recipe of the clean teacher that this one needs."""
        same = {name: self.hyperparameters[name] for name in ("eps", "weight_decay_on", "validation_attack_steps")}
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

    def load_dataset(self, **place):
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

    def _known_class_names(self):
        sources = {name: getattr(self, name) for name in ("init_from", "teacher") if getattr(self, name)}
        known = {name: read_class_names(name, path) for name, path in sources.items()}
        known = {name: names for name, names in known.items() if names is not None}
        if len(known) == 2 and not same_names(*known.values()):
            raise InputError(
                "`init_from` and `teacher` have other class names than each other, or another order of them"
            )
        return next(iter(known.values()), None)

    def steps_per_epoch(self, dataset):
        """Returns optimizer steps an epoch."""
        check_range("batch_size", self.batch_size, 1, len(dataset.train))
        return len(dataset.train) // self.batch_size

    def build_student(self, dataset, teacher=None):
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

    def load_teacher(self, path):
        """Returns the teacher at a path, a run's folder or a file; images in [0, 1] go to its logits.

        Raises:
            InputError: if there is none, or it takes other images.
        """
        return self._network("teacher", path)

    def _network(self, argument, path):
        network = load_classifier(argument, path)
        if not self._conventions or not is_file_of_keras(path):
            return network
        try:
            return adapt(network, **self._conventions)
        except InputError as error:
            raise InputError(f"`{argument}` {path}: {error}") from error

    def _check_fits(self, argument, network, dataset):
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
            size = ": --image_size scales them" if classifier.image_shape[2] == dataset.image_shape[2] else ""
            raise InputError(
                f"`{argument}` {self.model} takes images {classifier.image_shape}, `dataset` {dataset.name} has "
                f"{dataset.image_shape}{size}"
            )

    @property
    def _layer_names(self):
        names = {"features": self.features_layer, "embedding": self.embedding_layer, "logits": self.logits_layer}
        return {part: name for part, name in names.items() if name}

    def build_teacher(self, dataset):
        """Returns the clean teacher that would be trained first, untrained.

        Raises:
            InputError: for settings that do not fit the data.
        """
        check_label_smoothing(self.teacher_label_smoothing, dataset.num_classes, name="teacher_label_smoothing")
        return self.for_teacher().build_defense(dataset).student

    def build_defense(self, dataset, *, teacher=None, jit_compile="auto", resident=False):
        """Returns the compiled defense.

        Args:
            dataset: `ImageDataset`.
            teacher: `keras.Model`, where the defense has one.
            jit_compile: see `Defense.compile`; synchronised BN turns "auto" off.
            resident: whether the training images stay on the device; batches then need none.

        Raises:
            InputError: for settings that do not fit the data, the teacher or each other.
        """
        if self.synchronized_bn:
            if jit_compile is True:
                raise InputError("`synchronized_bn` and XLA exclude each other: add --jit_compile=off")
            jit_compile = False
        given, arguments = {}, constructor_arguments(self.defense)
        if "teacher" in arguments:
            given["teacher"] = teacher
        if "num_examples" in arguments:
            given["num_examples"] = len(dataset.train)
        if "pool" in arguments:
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
        rate = step_decay(
            self.learning_rate,
            decay_epochs=self.decay_epochs,
            decay_rate=self.decay_rate,
            steps_per_epoch=self.steps_per_epoch(dataset),
        )
        average = {} if self.ema is None else {"use_ema": True, "ema_momentum": self.ema}
        optimizer = keras.optimizers.SGD(rate, momentum=self.momentum, **average)
        defense.compile(optimizer, jit_compile=jit_compile)
        return defense


# Set by the recipe's own fields, or by the code that builds the defense.
_NOT_HYPERPARAMETERS = {"self", "student", "teacher", "pool", "num_examples", "kwargs", "name", "layer_names"}
_NOT_HYPERPARAMETERS |= {"augmentation", "weight_decay", "seed"}


def default_hyperparameters(defense):
    """Returns name -> default of the keyword arguments that set the defense called `defense`."""
    arguments = constructor_arguments(defense).items()
    return {name: default for name, default in sorted(arguments) if name not in _NOT_HYPERPARAMETERS}


def constructor_arguments(defense):
    """Returns name -> default of all arguments that the defense called `defense` takes, its bases' among them."""
    defaults = {}
    for base in DEFENSES[defense].__mro__:
        if base is keras.Model:
            break
        for name, parameter in inspect.signature(base.__init__).parameters.items():
            defaults.setdefault(name, parameter.default)
    return defaults


def _copy_weights(argument, source, target):
    try:
        target.set_weights(source.get_weights())
    except ValueError as error:
        given, own = (
            f"{model.name} for images {each.image_shape} of {each.num_classes} classes"
            for model, each in ((source, Classifier(source)), (target, Classifier(target)))
        )
        raise InputError(f"`{argument}` has other weights than the student: {given}; the student is {own}") from error
