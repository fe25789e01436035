"""The curves of a run: columns of metrics.jsonl, their TensorBoard tags, and what they are."""

from typing import NamedTuple


class Curve(NamedTuple):
  """A column of metrics.jsonl.

  Attributes:
    tag: in TensorBoard, TF-Agents' where it has one.
    description: what TensorBoard says about it.
  """

  tag: str
  description: str


CURVES = {
    'return': Curve('Metrics/AverageReturn', 'Mean return of the deterministic policy.'),
    'normalised_score': Curve(
        'Metrics/NormalisedScore',
        'The return, scaled: 0 is a uniform random policy, 1 the optimum of the same problem.'),
    'episode_length': Curve('Metrics/AverageEpisodeLength', 'Mean steps of an evaluated episode.'),
    'collect_return': Curve(
        'Metrics/AverageReturn', 'Return of the last collected episode, exploration included.'),
    'updates': Curve('Metrics/Updates', "The agent's `train` calls so far."),
    'dropped_episodes': Curve(
        'Metrics/DroppedEpisodes',
        'Collected episodes left out: a number was not finite, or 1e12 or more.'),
    'skipped_updates': Curve(
        'Metrics/SkippedUpdates', 'Updates left out because a gradient was not finite.'),
    'imagined_return': Curve(
        'Metrics/ImaginedReturn', 'Mean return (with a critic, lambda-return) that the policy '
        'imagined at its last update.'),
    'window_return': Curve(
        'Metrics/WindowReturn', 'Mean return of the last windows of real steps.'),
    'imagined_window_return': Curve(
        'Metrics/ImaginedWindowReturn',
        'Mean return that the policy imagines from where those windows begin.'),
    'window_return_spread': Curve(
        'Metrics/WindowReturnSpread', "Standard deviation of the windows' real returns."),
    'imagination_excess': Curve(
        'Metrics/ImaginationExcess',
        'Imagined less real return over the same span, in units of its size and spread: far from '
        '0, the policy exploits what the model gets wrong.'),
    'policy_entropy': Curve('Policy/Entropy', 'Mean entropy of an action, in nats.'),
    'policy_gradient_norm': Curve(
        'Policy/GradientNorm', 'Of the last policy update, before clipping.'),
    'gradient_cosine': Curve(
        'Policy/CosineWithSimulatorGradient',
        "Cosine of the policy gradient with the simulator's own: 1 is the true direction."),
    'gradient_relative_error': Curve(
        'Policy/RelativeErrorToSimulatorGradient',
        "Distance from the simulator's own policy gradient, in units of its norm."),
    'model_loss': Curve(
        'Losses/model_loss',
        "Mean squared error of predicted states, in units of their spread, of the last batch."),
    'model_gradient_norm': Curve(
        'Model/GradientNorm', 'Of the last model update.'),
    'model_validation_loss': Curve(
        'Model/ValidationLoss', 'The error on the newest episode, before the model is trained '
        'on it.'),
    'return_validation_error': Curve(
        'Model/ReturnValidationError', 'Error of the predicted return of the newest episode, in '
        "units of the returns' spread."),
    'training_skill': Curve(
        'Model/TrainingSkill', 'Share of the variance that the model explains on an episode that '
        'it was trained on.'),
    'validation_skill': Curve(
        'Model/ValidationSkill', 'Share that the model explains of the variance on the newest '
        "episode or, with a critic, of the states' changes in the last thousand steps."),
    'model_trust': Curve(
        'Model/Trust', "Follows from the skill; scales the policy's learning rate or, with a "
        'critic, lambda.'),
    'return_spread': Curve(
        'Metrics/ReturnSpread', 'Standard deviation of the returns so far.'),
    'reward_loss': Curve(
        'Losses/reward_loss', "Mean squared error of learned rewards, in units of the rewards' "
        'spread; where episodes may end early, plus the cross-entropy of the learned termination.'),
    'critic_loss': Curve('Losses/critic_loss', "The critic's squared error against its targets."),
    'critic_value': Curve('Losses/critic_value', 'Mean value that the critic predicts.'),
    'actor_loss': Curve('Losses/actor_loss', "Soft actor-critic's loss of the policy."),
    'alpha_loss': Curve('Losses/alpha_loss', "Soft actor-critic's loss of the entropy constant."),
    'entropy_constant': Curve(
        'Policy/EntropyConstant', 'Weight of the entropy, in units of the rewards.'),
    'action_loss': Curve(
        'Losses/action_loss', "The decision transformer's negative log-likelihood of actions."),
    'temperature': Curve(
        'Policy/Temperature', "Weight of the decision transformer's entropy."),
    'best_return': Curve('Metrics/BestReturn', 'Highest return that the search has met.'),
    'sequence_std': Curve(
        'Policy/SequenceStd', "Mean standard deviation of the search's Gaussian over actions."),
    'env_steps_per_second': Curve('RunTime/env_steps_per_sec', 'Environment steps a second.'),
    'updates_per_second': Curve('RunTime/train_steps_per_sec', '`train` calls a second.'),
}
