"""One stream of random numbers for every purpose of a run, all from its seed."""

import enum

import tensorflow as tf


class Stream(enum.IntEnum):
  """What is drawn; streams of one seed are independent of each other."""

  EXPLORATION = 1
  IMAGINATION = 2
  ENVIRONMENT = 3
  WARM_UP = 4
  REPLAY = 5
  EVALUATION = 6
  CRITIC = 7
  VALIDATION = 8
  UNIFORM_STEPS = 9
  SEGMENTS = 10
  DROPOUT = 11
  PERTURBATION = 12
  OFFLINE_BATCHES = 13


def make_generator(seed: int, stream: Stream) -> tf.random.Generator:
  """Returns a generator that checkpoints hold."""
  return tf.random.Generator.from_seed((seed, stream), alg='philox')
