"""The size of a training, such as its steps and its memory, without training."""

import dataclasses
import math

from agkd_tf.compilation import JitCompile
from agkd_tf.data import ImageDataset
from agkd_tf.data.device_images import Resident, resolve_resident
from agkd_tf.models.forward_pass import activation_bytes, forward_flops
from agkd_tf.processor import onednn_is_on
from agkd_tf.training.recipe import Recipe

# The share of all layers' outputs that a training-mode pass keeps for its gradient (measured with WRN-10-2 on the CPU
# for five defenses: 0.68 to 0.73), and the memory that Python and TensorFlow take themselves.
KEPT = 0.7
PROCESS_MIB = 700


@dataclasses.dataclass(frozen=True)
class Plan:
    """The size of a training; `print` shows a line for each part of it.

    Attributes:
        num_train, num_validation, num_test: number of images in each split.
        image_shape: (H, W, C).
        num_classes: number of classes of the data.
        trainable_parameters: number of trainable parameters of the network.
        bn_statistics: number of values in the network that are not trained.
        steps_per_epoch: optimizer steps per epoch.
        steps: optimizer steps of all epochs.
        teacher_steps: optimizer steps of the teacher's training; 0 if no teacher is trained first.
        forward_flops: floating-point operations of a forward pass per image.
        use_xla: whether XLA compiles the step.
        use_onednn: whether TensorFlow computes with oneDNN.
        state_bytes: bytes of weights, teacher, optimizer and what the defense stores per image.
        activation_bytes: estimated bytes that a step keeps for its gradient.
        image_bytes: bytes of the images that stay on the device.
    """

    num_train: int
    num_validation: int
    num_test: int
    image_shape: tuple[int, ...]
    num_classes: int
    trainable_parameters: int
    bn_statistics: int
    steps_per_epoch: int
    steps: int
    teacher_steps: int
    forward_flops: int
    use_xla: bool
    use_onednn: bool
    state_bytes: int
    activation_bytes: int
    image_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Estimated memory of a step, without the process itself (about 700 MiB) and the data set in host memory."""
        return self.state_bytes + self.activation_bytes + self.image_bytes

    def __str__(self) -> str:
        def mib(size: int) -> str:
            return f"{size / 2**20:,.0f}"

        return "\n".join(
            [
                f"Data:        {self.num_train:,} training, {self.num_validation:,} validation, {self.num_test:,} test "
                f"images {'x'.join(map(str, self.image_shape))}, {self.num_classes} classes",
                f"Parameters:  {self.trainable_parameters:,} trainable, {self.bn_statistics:,} BN statistics",
                f"Steps:       {self.steps_per_epoch:,} per epoch, {self.steps:,} in total"
                + (f", and {self.teacher_steps:,} for the teacher" if self.teacher_steps else ""),
                f"Work:        {self.forward_flops / 1e9:,.2f} GFLOP for a forward pass per image",
                f"XLA:         {'on' if self.use_xla else 'off'}",
                f"oneDNN:      {'on' if self.use_onednn else 'off'}",
                f"Memory:      about {mib(self.memory_bytes)} MiB: weights, teacher and optimizer "
                f"{mib(self.state_bytes)}, activations {mib(self.activation_bytes)}, images {mib(self.image_bytes)}; "
                f"about {PROCESS_MIB} more for the process itself, and the data set in host memory",
            ]
        )


def plan_training(
    recipe: Recipe,
    dataset: ImageDataset | None = None,
    *,
    jit_compile: JitCompile = "auto",
    resident: Resident = "auto",
) -> Plan:
    """Returns the size of a recipe's training. It builds the defense to find out, and writes nothing.

        print(plan_training(Recipe(dataset="digits", model="wrn-10-1", defense="agkd_bml", epochs=20)))

    Args:
        recipe: recipe of the training.
        dataset: the data set of the recipe; None to load it.
        jit_compile, resident: see `TrainingOptions`.

    Raises:
        InputError: for a recipe that does not fit the data, its teacher or itself.
    """
    recipe.check_teacher()
    dataset = recipe.load_dataset() if dataset is None else dataset
    recipe.load_extra(dataset)  # finds its mistakes
    teacher = None
    if recipe.needs_teacher:
        teacher = recipe.load_teacher(recipe.teacher) if recipe.teacher else recipe.build_teacher(dataset)
    defense = recipe.build_defense(
        dataset,
        teacher=teacher,
        jit_compile=jit_compile,
        resident=resolve_resident(resident, dataset.train.images, extra=bool(recipe.extra_data)),
    )
    student, steps = defense.student, recipe.steps_per_epoch(dataset)
    trainable = sum(math.prod(weight.shape) for weight in student.trainable_weights)
    total = student.count_params()
    images = defense.training_images * recipe.batch_size * recipe.hyperparameters.get("cutmix_copies", 1)
    of_teacher = teacher.count_params() if recipe.has_teacher and teacher is not None else 0
    return Plan(
        num_train=len(dataset.train),
        num_validation=len(dataset.validation),
        num_test=len(dataset.test),
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        trainable_parameters=trainable,
        bn_statistics=total - trainable,
        steps_per_epoch=steps,
        steps=steps * recipe.epochs,
        teacher_steps=steps * recipe.for_teacher().epochs if recipe.trains_teacher else 0,
        forward_flops=sum(flops for _, flops in forward_flops(student)),
        use_xla=defense.use_xla,
        use_onednn=onednn_is_on(),
        state_bytes=4 * (total + 2 * trainable + of_teacher)
        + sum(4 * math.prod(rows.shape) for rows in defense.memory.values()),
        activation_bytes=round(KEPT * images * activation_bytes(student)),
        image_bytes=sum(kept.nbytes for kept in {defense.pool, defense.resident} if kept is not None),
    )
