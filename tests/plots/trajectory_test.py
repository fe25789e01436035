"""What the panels of a trajectory are called."""

import tensorflow as tf

from asm_tf.plots.trajectory import draw_trajectory
from asm_tf.systems.myriad.hiv_treatment import HIVTreatment
from asm_tf.systems.myriad.invasive_plant import InvasivePlant

H = 5


def panels(system):
  """The labels of the panels of a trajectory of nothing."""
  figure = draw_trajectory(system, tf.ones([H + 1, system.state_size]),
                           tf.zeros([H, system.action_size]))
  return [axis.get_ylabel() for axis in figure.axes]


def test_one_name_for_several_dimensions_is_one_panel():
  assert panels(InvasivePlant(H)) == ['patch radius', 'share removed']


def test_each_named_dimension_has_a_panel():
  assert panels(HIVTreatment(H)) == [
      'uninfected cells', 'infected cells', 'virus', 'infection let through']
