# ruff: noqa: F401, I001
"""What the server imports once that tests fork their processes from: nothing that starts TensorFlow."""

import tools  # first: quiet, and with the command lines' switches

import gc

import tensorboard.main
import tensorboard.plugins.custom_scalar.summary
import tensorboard.plugins.hparams.api
import tensorboard.plugins.projector
import tensorflow_datasets

import agkd_tf.analysis
import agkd_tf.attacks
import agkd_tf.benchmark
import agkd_tf.evaluation
import agkd_tf.export
import agkd_tf.monitoring
import agkd_tf.report
import agkd_tf.training
import agkd_tf.visualization
import tests.networks
import tools._progress
import tools._subject
import tools._table
import tools.laboratory.breakdown
import tools.laboratory.portable.collect
import tools.laboratory.portable.export
import tools.laboratory.step_program

gc.freeze()  # what is shared stays shared
