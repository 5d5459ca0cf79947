"""The XLA program of a training step."""

import tensorflow as tf

from agkd_tf.randomness import step_seed


def step_program(defense, images, labels, *, stage="hlo"):
    """Returns the XLA program of a step as text: attack, passes and gradients, without the optimizer.

    Args:
        defense: a compiled `Defense`; with XLA its attack of a few steps is unrolled.
        images: uint8 [B, H, W, C].
        labels: int32 [B].
        stage: "hlo" as TensorFlow gives it, "optimized_hlo" as XLA makes it, or "stablehlo".
    """
    memory = {name: tf.gather(rows.value, tf.range(len(labels))) for name, rows in defense.memory.items()}
    step = tf.function(defense.compute_gradients, jit_compile=True, autograph=False)
    compiler_ir = step.experimental_get_compiler_ir(images, labels, step_seed(defense.seed, 0), memory)
    return compiler_ir(stage=stage)
