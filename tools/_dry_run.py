"""What a training would be, without training."""

import math

import numpy as np

from agkd_tf.benchmark import forward_flops
from agkd_tf.data.device_images import resolve_resident
from agkd_tf.models.graph import Graph
from agkd_tf.processor import onednn_is_on
from agkd_tf.training.recipe_file import recipe_lines

# Of all layers' outputs, the part that a training-mode pass keeps for its gradient (measured with
# WRN-10-2 on the CPU for five defenses: 0.68 to 0.73), and what Python and TensorFlow take by themselves.
KEPT = 0.7
PROCESS_MIB = 700


def describe(recipe, dataset, *, jit_compile, resident):
    """Returns the resolved recipe, parameter counts, steps and an estimate of memory, as text."""
    teacher = None
    if recipe.needs_teacher:
        trained_first = not recipe.teacher
        teacher = recipe.build_teacher(dataset) if trained_first else recipe.load_teacher(recipe.teacher)
    resident = resolve_resident(resident, dataset.train.images)
    defense = recipe.build_defense(dataset, teacher=teacher, jit_compile=jit_compile, resident=resident)
    student, steps = defense.student, recipe.steps_per_epoch(dataset)
    trainable = sum(math.prod(weight.shape) for weight in student.trainable_weights)
    total = student.count_params()
    state = 4 * (total + 2 * trainable) + (4 * total if recipe.has_teacher else 0)
    activations = KEPT * defense.training_images * recipe.batch_size * activation_bytes(student)
    forward = sum(flops for _, flops in forward_flops(student)) / 1e9
    images = sum(kept.nbytes for kept in {defense.pool, defense.resident} if kept is not None)
    lines = [f"  {line}" for line in recipe_lines(recipe).values()]
    return "\n".join(
        [
            "Recipe:",
            *lines,
            f"Data:        {len(dataset.train):,} training, {len(dataset.validation):,} validation, "
            f"{len(dataset.test):,} test images {'x'.join(map(str, dataset.image_shape))}, "
            f"{dataset.num_classes} classes",
            f"Parameters:  {trainable:,} trainable, {total - trainable:,} BN statistics",
            f"Steps:       {steps:,} an epoch, {steps * recipe.epochs:,} in all"
            + (
                f", and {steps * recipe.for_teacher().epochs:,} for the teacher"
                if recipe.needs_teacher and not recipe.teacher
                else ""
            ),
            f"Work:        {forward:,.2f} GFLOP for a forward pass of an image",
            f"XLA:         {'on' if defense.use_xla else 'off'}",
            f"oneDNN:      {'on' if onednn_is_on() else 'off'}",
            f"Memory:      about {(state + activations + images) / 2**20:,.0f} MiB: weights, teacher and optimizer "
            f"{state / 2**20:,.0f}, activations {activations / 2**20:,.0f}, images {images / 2**20:,.0f}; "
            f"about {PROCESS_MIB} more for the process itself, and the data set in host memory",
        ]
    )


def activation_bytes(model):
    """Returns bytes of all layer outputs for one image; sizes that are not known count as one."""
    size = 0
    for step in Graph(model).steps:
        width = np.dtype("float32").itemsize if getattr(step.operation, "compute_dtype", "float32") == "float32" else 2
        size += sum(width * math.prod(each or 1 for each in tensor.shape[1:]) for tensor in step.outputs)
    return size
