"""A world model fitted to uniform random or given data, as the offline experiments need."""

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.training.offline import collect, fit


def fitted_model(system, make_model, num_transitions, num_updates, seed, actor=None,
                 noise_std=0.0, make_measure=None, measure_interval=1000):
  """A model trained on episodes of the system.

  Args:
    system: `System`.
    make_model: class of `SequenceModel`.
    num_transitions: steps in the data set.
    num_updates: of the weights.
    seed: of data, weights and batches.
    actor: see `collect`, as `noise_std`.
    noise_std: of the perturbed actions.
    make_measure: function (model) -> the `measure` of `fit`, or None.
    measure_interval: updates.

  Returns:
    The model and the rows of `fit`.
  """
  states, actions = collect(system, actor, num_transitions, noise_std, seed)
  tf.keras.utils.set_random_seed(seed)
  normalizer = Normalizer(system.state_size, system.horizon)
  model = make_model(normalizer, system.state_size, system.action_size)
  rows = fit(model, normalizer, states, actions, num_updates,
             None if make_measure is None else make_measure(model), measure_interval, seed=seed)
  return model, rows
