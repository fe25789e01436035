"""Random search and the cross-entropy method, against what they say they do."""

import functools

import numpy as np
import pytest

from asm_tf.agents.sequence_search_agent import SequenceSearchAgent, make_sequence_search_agent
from asm_tf.environments import scores
from asm_tf.errors import UserError
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training.evaluator import Evaluator
from asm_tf.training.trainer import Trainer

H = 20


def trainer(**arguments):
  make_agent = functools.partial(
      make_sequence_search_agent, agent=functools.partial(SequenceSearchAgent, **arguments))
  return Trainer(CancerTreatment(H), make_agent, 0, warmup_steps=H, batch_size=1)


def episodes(trained, count):
  """Actions [count, H, m] and returns [count] of the next episodes."""
  while trained.env_steps < count * H:
    trained.iterate()
  found = trained.replay.gather_all()
  return found.action[:, :-1].numpy(), np.sum(found.reward[:, :-1], 1)


def test_the_gaussian_is_fitted_to_the_elite():
  trained = trainer(population=8, elite=3)
  actions, returns = episodes(trained, 8)
  elite = actions[np.argsort(returns)[-3:]]
  np.testing.assert_allclose(trained.agent._mean, elite.mean(0), atol=1e-6)
  np.testing.assert_allclose(trained.agent._std, np.maximum(elite.std(0), 1e-3), atol=1e-6)
  assert len(np.unique(actions)) > 8 * H / 2  # every episode was another


def test_random_search_plays_the_best_sequence_it_has_seen():
  trained = trainer(refit=False)
  actions, returns = episodes(trained, 12)
  evaluation = Evaluator(trained.system, lambda *_: trained.agent.policy).evaluate()
  np.testing.assert_allclose(evaluation.actions, actions[np.argmax(returns)], atol=1e-6)
  np.testing.assert_allclose(evaluation.mean_return, returns.max(), rtol=1e-5)
  np.testing.assert_allclose(trained.metrics()['best_return'], returns.max(), rtol=1e-5)


def test_the_cross_entropy_method_gets_further_than_random_search():
  reached = {}
  for refit in (True, False):
    trained = trainer(refit=refit, population=20)
    episodes(trained, 400)
    evaluation = Evaluator(
        trained.system, lambda *_, trained=trained: trained.agent.policy).evaluate()
    reached[refit] = scores.normalised_score(
        evaluation.mean_return, scores.reference('CancerTreatment', H))
  assert reached[True] > 0.8
  assert reached[True] > reached[False] + 0.1 > 0.1


def test_an_elite_larger_than_the_population_is_refused():
  with pytest.raises(UserError, match='elite is 9 of a population of 8'):
    trainer(population=8, elite=9)
