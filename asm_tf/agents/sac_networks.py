"""TF-Agents' critic and actor networks on normalised states and time."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf
import tensorflow_probability as tfp
from tf_agents.agents.ddpg.critic_network import CriticNetwork
from tf_agents.agents.sac.tanh_normal_projection_network import TanhNormalProjectionNetwork
from tf_agents.distributions.utils import SquashToSpecNormal
from tf_agents.networks.actor_distribution_network import ActorDistributionNetwork

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.errors import require_sizes
from asm_tf.models.normalizer import Normalizer
from asm_tf.random_streams import Stream


class SacNetworks:
  """A critic and an actor for a system.

  Attributes:
    normalizer: the `Normalizer` of both.
    critic: not built; the agent makes two of it, and two targets.
    actor: the policy's network.
  """

  def __init__(self, setup: AgentSetup, critic_hidden_sizes: Sequence[int] = (256, 256),
               actor_hidden_sizes: Sequence[int] = (256, 256)):
    """Makes the networks.

    Args:
      setup: what the agent is built for.
      critic_hidden_sizes: widths of the ReLU layers of each of the two critics.
      actor_hidden_sizes: widths of the ReLU layers of the policy.
    """
    require_sizes(**{'SacNetworks.critic_hidden_sizes': critic_hidden_sizes,
                     'SacNetworks.actor_hidden_sizes': actor_hidden_sizes})
    observation_spec = setup.time_step_spec.observation
    with setup.execution.creating_variables():
      self.normalizer = Normalizer(setup.system.state_size, setup.system.horizon,
                                   time_aware=setup.system.time_aware)
      self.critic = NormalizedCritic(
          (observation_spec, setup.action_spec), self.normalizer, critic_hidden_sizes)
      self.actor = ActorDistributionNetwork(
          observation_spec, setup.action_spec,
          preprocessing_layers=ObservationFeatures(self.normalizer),
          fc_layer_params=actor_hidden_sizes, continuous_projection_net=functools.partial(
              GeneratorProjection, generator=setup.generator(Stream.EXPLORATION)))


class NormalizedCritic(CriticNetwork):
  """TF-Agents' critic on normalised states and time."""

  def __init__(self, input_tensor_spec: tuple, normalizer: Normalizer,
               hidden_sizes: Sequence[int], name: str = 'CriticNetwork'):
    super().__init__(input_tensor_spec, joint_fc_layer_params=hidden_sizes, name=name,
                     kernel_initializer='glorot_uniform',
                     last_kernel_initializer='glorot_uniform')
    self._features = ObservationFeatures(normalizer)

  def call(self, inputs: tuple, step_type: tuple | tf.Tensor = (), network_state: tuple = (),
           training: bool = False) -> tuple:
    observation, action = inputs
    return super().call(
        (self._features(observation), action), step_type, network_state, training)


class GeneratorProjection(TanhNormalProjectionNetwork):
  """TF-Agents' projection, whose distributions draw from a generator that checkpoints hold."""

  def __init__(self, sample_spec: tf.TypeSpec, generator: tf.random.Generator):
    super().__init__(sample_spec)
    self._generator = generator

  def call(self, inputs: tf.Tensor, outer_rank: int, training: bool = False,
           mask: tf.Tensor | None = None) -> tuple:
    distribution, state = super().call(inputs, outer_rank, training, mask)
    return GeneratorNormal(
        distribution.input_distribution, self._sample_spec, self._draw_seed), state

  def _draw_seed(self):
    return tf.cast(self._generator.make_seeds()[:, 0], tf.int32)


class GeneratorNormal(SquashToSpecNormal):
  """TF-Agents' squashed Gaussian; the seed that it is asked to draw with is the generator's.

  TF-Agents' own are numbers, with which TensorFlow draws from a state that no checkpoint holds.
  """

  def __init__(self, distribution: tfp.distributions.Distribution, spec: tf.TypeSpec,
               draw_seed: Callable[[], tf.Tensor]):
    super().__init__(distribution, spec)
    self._draw_seed = draw_seed

  def sample(self, sample_shape: tuple = (), seed: Any = None, name: str = 'sample') -> tf.Tensor:
    del seed
    return super().sample(sample_shape, self._draw_seed(), name)


class ObservationFeatures(tf.keras.layers.Layer):
  """Normalised state and time features [..., n + time_size] of observations [..., n+1]."""

  def __init__(self, normalizer: Normalizer, **kwargs: Any):
    super().__init__(**kwargs)
    self._normalizer = normalizer

  def call(self, observation: tf.Tensor) -> tf.Tensor:
    return self._normalizer.join(
        self._normalizer.normalize(observation[..., :-1]), t=observation[..., -1])

  def get_config(self) -> dict:
    """TF-Agents copies a layer by its configuration; the normaliser is shared."""
    return super().get_config() | {'normalizer': self._normalizer}
