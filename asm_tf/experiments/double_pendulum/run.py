"""One cell of Figure 5: how a model's gradients of the chaotic pendulum grow with H.

A model is fitted to 100,000 transitions under uniform random actions. Measured are the
norm of d s_H / d a_0 at 50 random action sequences (Figure 5b), and the return as the
first action sweeps over [-1, 1] (Figure 5c).
"""

from collections.abc import Callable

import numpy as np
import scipy.special
import tensorflow as tf

from asm_tf.experiments.offline_model import NUM_TRANSITIONS, first_action_landscape, fitted_model
from asm_tf.gradients.jacobians import final_log_norms
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.models.true_dynamics import TrueDynamics
from asm_tf.systems.double_pendulum import DoublePendulum
from asm_tf.training.offline import DataSet, FitSettings

NUM_SEQUENCES = 50


def run(cell: dict, models: dict[str, Callable[..., SequenceModel]]) -> list[dict]:
  """The row of one cell, in a list.

  Args:
    cell: dict of `grid`'s fields; the model may be 'Simulator'.
    models: {name: class of `SequenceModel`}.

  Returns:
    A row of the final model_loss (None for the simulator), the decimal logarithms of
    the mean, median and largest norm of d s_H / d a_0, and the landscape: the values and
    the returns.
  """
  horizon, loss = cell['horizon'], None
  is_simulator = cell['model'] == 'Simulator'
  # Chaos multiplies rounding errors: the simulator is measured in float64.
  system = DoublePendulum(horizon, tf.float64 if is_simulator else tf.float32)
  if is_simulator:
    model = TrueDynamics(system)
  else:
    model, rows = fitted_model(
        system, models[cell['model']], DataSet(NUM_TRANSITIONS),
        FitSettings(cell['num_updates'], batch_size=cell['batch_size'], seed=cell['seed']))
    loss = rows[-1]['model_loss']
  generator = np.random.default_rng(cell['seed'])
  actions = tf.constant(generator.uniform(-1, 1, (NUM_SEQUENCES, horizon, 1)), system.dtype)
  logs = tf.function(final_log_norms, autograph=False)(
      model, system.initial_state(NUM_SEQUENCES), actions).numpy() / np.log(10)
  values, returns = first_action_landscape(model, system)
  return [{'model_loss': loss, 'log10_mean_norm': log10_mean(logs),
           'log10_median_norm': float(np.median(logs)), 'log10_largest_norm': float(np.max(logs)),
           'values': values.tolist(), 'returns': returns.tolist()}]


def log10_mean(logs: np.ndarray) -> float:
  """Returns log10 of the mean of numbers, given their log10."""
  return float(scipy.special.logsumexp(np.log(10) * np.asarray(logs, np.float64), b=1 / len(logs))
               / np.log(10))
