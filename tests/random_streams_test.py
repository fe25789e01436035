"""No two purposes of a run draw from the same stream."""

import functools

import pytest

from asm_tf.agents import agent_setup
from asm_tf.agents.critic import Critic
from asm_tf.agents.decision_transformer_agent import make_decision_transformer_agent
from asm_tf.agents.make_asm_agent import make_asm_agent
from asm_tf.agents.sac_agent import SoftActorCritic, make_sac_agent
from asm_tf.agents.sequence_search_agent import make_sequence_search_agent
from asm_tf.models.reward_model import RewardModel
from asm_tf.random_streams import Stream, make_generator
from asm_tf.systems.myriad.cancer_treatment import CancerTreatment
from asm_tf.training import trainer as trainer_module
from asm_tf.training.trainer import Trainer

# Seeds of environments and generators that are made elsewhere.
BESIDE_THE_AGENT = {Stream.ENVIRONMENT, Stream.REPLAY, Stream.EVALUATION}


@pytest.mark.parametrize('make_agent', [
    make_asm_agent, functools.partial(make_asm_agent, critic=Critic, reward_model=RewardModel),
    make_decision_transformer_agent, make_sequence_search_agent,
    functools.partial(make_sac_agent, agent=functools.partial(SoftActorCritic, policy_period=2))])
def test_every_stream_is_drawn_for_one_purpose(make_agent, monkeypatch):
  asked = []

  def noted(seed, stream):
    asked.append(stream)
    return make_generator(seed, stream)

  for module in (agent_setup, trainer_module):
    monkeypatch.setattr(module, 'make_generator', noted)
  Trainer(CancerTreatment(20), make_agent, seed=0)
  assert asked
  assert len(set(asked)) == len(asked)
  assert not set(asked) & BESIDE_THE_AGENT


def test_streams_of_one_seed_differ():
  draws = {tuple(make_generator(0, stream).normal([4]).numpy()) for stream in Stream}
  assert len(draws) == len(Stream)
