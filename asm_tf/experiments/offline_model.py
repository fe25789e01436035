"""What the offline experiments share: a fitted world model, and returns of a first action."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from asm_tf.gradients.landscape import return_landscape
from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.systems.system import System
from asm_tf.training.offline import DataSet, FitSettings, collect, fit

NUM_TRANSITIONS = 100_000  # of an offline experiment
_NUM_VALUES = 201  # of the first action


def fitted_model(system: System, make_model: Callable[..., SequenceModel], data: DataSet,
                 settings: FitSettings, measure: Callable[[SequenceModel], dict] = lambda model: {}
                 ) -> tuple[SequenceModel, list[dict]]:
  """Trains a model on episodes of a system.

  Args:
    system: that is modelled.
    make_model: class of `SequenceModel`.
    data: what to collect.
    settings: of the fit; their seed is that of the data and the weights too.
    measure: function of the model that returns {name: number}, for the rows.

  Returns:
    The model and the rows of `fit`.
  """
  states, actions = collect(system, data, settings.seed)
  tf.keras.utils.set_random_seed(settings.seed)
  normalizer = Normalizer(system.state_size, system.horizon)
  model = make_model(normalizer, system.state_size, system.action_size)
  return model, fit(model, normalizer, states, actions, settings, lambda: measure(model))


def first_action_landscape(model: SequenceModel, system: System) -> tuple[np.ndarray, np.ndarray]:
  """Returns values of the first action, the others being 0, and the returns through a model."""
  values = np.linspace(-1, 1, _NUM_VALUES)
  returns = tf.function(return_landscape, autograph=False)(
      model, system.reward, system.initial_state(1), tf.zeros([1, system.horizon, 1], system.dtype),
      tf.constant(values, system.dtype))
  return values, returns.numpy()
