"""Whether XLA compiles."""

import tensorflow as tf

from agkd_tf.errors import check_choice


def resolve_jit_compile(jit_compile):
    """Returns whether to compile with XLA, as a bool.

    Args:
        jit_compile: True, False, or "auto": on with a GPU or TPU, off on the CPU, where oneDNN is faster.
    """
    check_choice("jit_compile", jit_compile, ("auto", True, False))
    if jit_compile == "auto":
        return bool(tf.config.list_physical_devices("GPU") or tf.config.list_physical_devices("TPU"))
    return jit_compile
