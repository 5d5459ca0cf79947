"""Turns a recipe into a folder that travels: programs that any XLA compiles, and that JAX runs without TensorFlow."""
