"""A world model fitted to uniform random or given data, as the offline experiments need."""

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.training.offline import collect, fit


def fitted_model(system, make_model, num_transitions, cell, actor=None, noise_std=0.0,
                 make_measure=lambda model: dict, measure_interval=1000, octaves_alike=False):
  """A model trained on episodes of the system.

  Args:
    system: `System`.
    make_model: class of `SequenceModel`.
    num_transitions: steps in the data set.
    cell: dict with num_updates of the weights, batch_size, and the seed of data, weights
      and batches.
    actor: see `collect`, as `noise_std`.
    noise_std: of the perturbed actions.
    make_measure: function (model) -> the `measure` of `fit`; by default nothing is.
    measure_interval: updates.
    octaves_alike: see `prediction_loss`.

  Returns:
    The model and the rows of `fit`.
  """
  states, actions = collect(system, actor, num_transitions, noise_std, cell['seed'])
  tf.keras.utils.set_random_seed(cell['seed'])
  normalizer = Normalizer(system.state_size, system.horizon)
  model = make_model(normalizer, system.state_size, system.action_size)
  rows = fit(model, normalizer, states, actions, cell['num_updates'], make_measure(model),
             measure_interval, cell['batch_size'],
             octaves_alike=octaves_alike, seed=cell['seed'])
  return model, rows
