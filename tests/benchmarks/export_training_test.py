"""A training step as a function of all that it changes."""

import functools

import numpy as np
import tensorflow as tf

from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.models.lstm import LSTM
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.trainer import Trainer
from benchmarks import export_training

H = 20


def test_a_pure_step_is_the_agents_own_whatever_the_variables_hold():
  trainer = Trainer(CancerTreatment(H), functools.partial(
      make_asm_agent, agent=functools.partial(AsmAgent, policy_period=2),
      world_model=functools.partial(LSTM, embedding_size=4, hidden_sizes=(4,))), seed=0)
  for _ in range(3):
    trainer.warm_up()
    trainer.agent.observe(trainer.last_episode())
    trainer.replay.add_batch(trainer.last_episode())
  trainer.agent.model_validation.trust.assign(1.0)  # of a model that knew these episodes
  batch, _ = trainer.replay.get_next(8)
  parts = tf.nest.flatten(batch)
  step = export_training.training_step(trainer.agent, trainer.agent.collect_data_spec)
  specs = [tf.TensorSpec(part.shape, part.dtype) for part in parts]
  variables = export_training.variables_of({'train': (step, specs)})
  values = [variable.numpy() for variable in variables]
  pure = export_training.pure(step, variables)
  found = pure(*values, *parts)
  for variable in variables:
    variable.assign(tf.ones_like(variable))
  for value, again in zip(found, pure(*values, *parts), strict=True):
    np.testing.assert_array_equal(value, again)
  for variable, value in zip(variables, values, strict=True):
    variable.assign(value)
  trainer.agent.train(batch)
  for variable, value in zip(variables, found, strict=True):
    # Adam's first step has the sign of a gradient, which rounding in the model's step may turn.
    atol = 2.5e-3 if 'actor' in variable.name else 1e-4
    np.testing.assert_allclose(variable, value, rtol=0.05, atol=atol, err_msg=variable.name)
  for name in ('actor', 'lstm'):
    assert any(np.any(abs(value - before) > 5e-4) for value, before, variable in zip(
        found, values, variables, strict=True) if name in variable.name)
