"""A world model fitted to uniform random or given data, as the offline experiments need."""

from collections.abc import Callable

import tensorflow as tf

from asm_tf.models.normalizer import Normalizer
from asm_tf.models.sequence_model import SequenceModel
from asm_tf.systems.system import System
from asm_tf.training.offline import DataSet, FitSettings, collect, fit

# model -> () -> {name: value}
MakeMeasure = Callable[[SequenceModel], Callable[[], dict]]


def fitted_model(system: System, make_model: Callable[..., SequenceModel], data: DataSet,
                 settings: FitSettings,
                 make_measure: MakeMeasure = lambda model: dict
                 ) -> tuple[SequenceModel, list[dict]]:
  """Trains a model on episodes of a system.

  Args:
    system: that is modelled.
    make_model: class of `SequenceModel`.
    data: what to collect.
    settings: of the fit; their seed is that of the data and the weights too.
    make_measure: function (model) -> the `measure` of `fit`; measures nothing by default.

  Returns:
    The model and the rows of `fit`.
  """
  states, actions = collect(system, data, settings.seed)
  tf.keras.utils.set_random_seed(settings.seed)
  normalizer = Normalizer(system.state_size, system.horizon)
  model = make_model(normalizer, system.state_size, system.action_size)
  return model, fit(model, normalizer, states, actions, settings, make_measure(model))
