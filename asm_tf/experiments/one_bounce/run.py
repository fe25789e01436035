"""One cell of Figure 3: how well a model predicts the reward after the bounce.

A model is fitted to 100,000 transitions under uniform random actions. Measured is the
final reward that it predicts as the first action sweeps over [-1, 1], against the truth.
"""

from collections.abc import Callable

import numpy as np

from asm_tf.experiments.offline_model import NUM_TRANSITIONS, first_action_landscape, fitted_model
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.one_bounce import OneBounce
from asm_tf.training.offline import DataSet, FitSettings


def run(cell: dict, models: dict[str, Callable[..., SequenceModel]]) -> list[dict]:
  """The row of one cell, in a list.

  Args:
    cell: dict of `grid`'s fields.
    models: {name: class of `SequenceModel`}.

  Returns:
    A row of the final model_loss, the root mean square and the largest error of the
    predicted final reward, and the landscapes: values, returns and true_returns.
  """
  horizon = cell['horizon']
  system = OneBounce(horizon)
  model, rows = fitted_model(
      system, models[cell['model']], DataSet(NUM_TRANSITIONS),
      FitSettings(cell['num_updates'], batch_size=cell['batch_size'], seed=cell['seed']))
  values, true = first_action_landscape(TrueDynamics(system), system)
  _, predicted = first_action_landscape(model, system)
  error = predicted - true
  return [{'model_loss': rows[-1]['model_loss'],
           'rms_error': float(np.sqrt(np.mean(error**2))),
           'largest_error': float(np.max(np.abs(error))), 'values': values.tolist(),
           'returns': predicted.tolist(), 'true_returns': true.tolist()}]
