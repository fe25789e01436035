"""One cell of Figure 9: the attention of a transformer trained online.

On toy credit assignment the state that counts at the end is the first action, stored: a
prediction of any later state has to look at it.
"""

from collections.abc import Callable

import tensorflow as tf
from tqdm import tqdm

from asm_tf.agents.agent_setup import AgentSetup
from asm_tf.agents.asm_agent import AsmAgent
from asm_tf.agents.execution import Execution
from asm_tf.errors import UserError
from asm_tf.systems.toy_credit_assignment import ToyCreditAssignment
from asm_tf.training.trainer import Trainer

_NUM_TRAJECTORIES = 10


def run(cell: dict, make_agent: Callable[[AgentSetup], AsmAgent],
        make_trainer: Callable[..., Trainer]) -> list[dict]:
  """Trains and looks at one transformer.

  Args:
    cell: dict of horizon, num_env_steps, warmup_steps and seed.
    make_agent: see `Trainer`; its world model is a `Transformer`.
    make_trainer: class of `Trainer`.

  Returns:
    One row per layer: the share of its attention that each head gives to the first action, a
    mean over the predictions from the second on; and the map [H, H], a mean over the heads.
    Both are means over trajectories drawn from the replay.
  """
  tf.keras.utils.set_random_seed(cell['seed'])
  trainer = make_trainer(ToyCreditAssignment(cell['horizon']), make_agent=make_agent,
                         seed=cell['seed'], execution=Execution(),
                         warmup_steps=cell['warmup_steps'])
  if not hasattr(trainer.agent.world.model, 'attention_maps'):
    raise UserError(f'{trainer.agent.world.model.name} has no attention to look at: let '
                    'make_asm_agent.world_model be @Transformer.')
  with tqdm(total=cell['num_env_steps'], unit='step', dynamic_ncols=True) as bar:
    while trainer.env_steps < cell['num_env_steps'] or not trainer.is_between_episodes:
      trainer.iterate()
      bar.update(trainer.env_steps - bar.n)
  episodes, _ = trainer.replay.get_next(_NUM_TRAJECTORIES)
  states, actions = episodes.observation[..., :-1], episodes.action[:, :-1]
  maps = trainer.agent.world.model.attention_maps(states[:, 0], actions)
  by_layer = tf.reduce_mean(maps, 1).numpy()  # [layers, heads, H, H]
  return [{'layer': i + 1,
           'shares_of_first_action': layer[:, 1:, 0].mean(1).tolist(),
           'map': layer.mean(0).round(5).tolist(),
           'model_loss': trainer.metrics()['model_loss']} for i, layer in enumerate(by_layer)]
