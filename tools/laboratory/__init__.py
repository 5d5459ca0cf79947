"""Measures this project: times a training step and its parts, counts its operations, and compares it with others'.

This package is not installed. `parity` is a command that compares attacks with another implementation's. `portable` is
a command that takes a recipe to machines without TensorFlow. `peers` holds the other implementations' scripts, which
need environments of their own.
"""
