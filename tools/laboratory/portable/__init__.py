"""A recipe as a folder that travels: programs that any XLA compiles, run by JAX where TensorFlow is not."""
