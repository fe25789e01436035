"""Breaks one essential line at a time, and asks whether the tests notice.

    python -m tests.mutations [--list] [PART]

breaks those lines of the table whose file or description contains PART, by default all of them
(forty minutes); `--list` only says which. Each change is made in a temporary copy of the tree,
where the test nearest to it must fail. Before, all of these tests must pass there: one that fails
anyway catches nothing. Every change here would spoil results without an error. To add one, copy an
entry; where it is not caught, write the test.
"""

import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from typing import NamedTuple

from tests.support.paths import REPOSITORY

_COPIED = ('asm_tf', 'benchmarks', 'gin', 'launch', 'tests')


class Mutation(NamedTuple):
  """A change that the tests should notice.

  Attributes:
    file: below asm_tf/.
    what: the change in words.
    original: text that the file holds once.
    broken: what stands in its place.
    test: node id below tests/ of the nearest test.
  """

  file: str
  what: str
  original: str
  broken: str
  test: str


def main() -> int:
  parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
  parser.add_argument('part', nargs='?', default='', help='of a file or a description')
  parser.add_argument('--list', action='store_true', help='only say what would be broken')
  arguments = parser.parse_args()
  chosen = [mutation for mutation in MUTATIONS
            if arguments.part in mutation.file or arguments.part in mutation.what]
  if not chosen:
    parser.error(f'nothing in the table contains {arguments.part!r}: see --list.')
  for mutation in chosen:
    found = (REPOSITORY / 'asm_tf' / mutation.file).read_text().count(mutation.original)
    if found != 1:
      parser.error(f'the table is out of date: asm_tf/{mutation.file} holds {found} times, not '
                   f'once, {mutation.original!r} ({mutation.what}).')
  if arguments.list:
    print('\n'.join(f'{mutation.file}: {mutation.what}' for mutation in chosen))
    return 0
  with tempfile.TemporaryDirectory() as folder:
    return _run(chosen, _copy(pathlib.Path(folder)))


def _run(mutations, tree):
  """Tries the changes in a copy of the tree and returns the exit code."""
  begin, missed = time.monotonic(), []
  tests = sorted({mutation.test for mutation in mutations})
  print(f'{len(tests)} tests as they are:', flush=True)
  if _pytest(tree, *tests).returncode != 0:
    sys.exit('all of these tests must pass before anything is broken.')
  for number, mutation in enumerate(mutations, 1):
    start = time.monotonic()
    reason = _failure(tree, mutation)
    if reason is None:
      missed.append(mutation)
    print(f'[{number}/{len(mutations)}] {"NOT CAUGHT" if reason is None else "caught"} '
          f'{time.monotonic() - start:.0f} s  {mutation.file}: {mutation.what}'
          f'{"" if reason is None else f" ({reason})"}', flush=True)
  for mutation in missed:
    print(f'NOT CAUGHT  {mutation.file}: {mutation.what}, by {mutation.test}')
  print(f'{len(mutations) - len(missed)} of {len(mutations)} caught, {len(missed)} not, in '
        f'{(time.monotonic() - begin) / 60:.1f} min')
  return 1 if missed else 0


def _copy(tree):
  for name in _COPIED:
    shutil.copytree(REPOSITORY / name, tree / name, ignore=shutil.ignore_patterns('__pycache__'))
  shutil.copy(REPOSITORY / 'pyproject.toml', tree)
  return tree


def _failure(tree, mutation):
  """What the test says to a change, in a few words; None where it passes."""
  path = tree / 'asm_tf' / mutation.file
  text = path.read_text()
  path.write_text(text.replace(mutation.original, mutation.broken))
  done = _pytest(tree, mutation.test, stdout=subprocess.PIPE)
  path.write_text(text)
  if done.returncode not in (0, 1):  # pytest's codes for 'passed' and 'failed'
    sys.exit(f'{done.stdout}\npytest could not run with {mutation.file}: {mutation.what}.')
  if done.returncode == 0:
    return None
  reason = re.search(r'^(?:FAILED|ERROR) \S*?::(.*)$', done.stdout, re.MULTILINE)
  return reason[1][:120] if reason else 'no reason given'


def _pytest(tree, *tests, **streams):
  """Runs tests in a tree, and stops at the first that fails."""
  return subprocess.run(
      [sys.executable, '-m', 'pytest', '-x', '-q', '-n', '0', '-p', 'no:cacheprovider',
       *(f'tests/{test}' for test in tests)],
      cwd=tree, env=os.environ | {'PYTHONDONTWRITEBYTECODE': '1', 'COLUMNS': '200'}, text=True,
      check=False, **streams)


# All in one place, however long: {file: [(what, original, broken, test)]}
_TABLE = {
    'agents/agent_setup.py': [
        ('a limit ends what it only cuts short',
         'self.system.horizon if self.system.time_aware else None', 'self.system.horizon',
         'agents/critic_test.py::test_a_limit_that_only_cuts_short_ends_nothing_imagined[False]')],
    'agents/asm_agent.py': [
        ('the newest policy is evaluated, not the average',
         'policy=SquashedGaussianPolicy(*specs, policy_learner.average_actor)',
         'policy=SquashedGaussianPolicy(*specs, policy_learner.actor)',
         'agents/asm_agent_test.py::test_the_average_is_evaluated_and_the_newest_explores'),
        ('policy updates where the period divides the steps',
         'steps // self._policy_period > (steps - self._model_period) // self._policy_period',
         'steps % self._policy_period == 0',
         'agents/asm_agent_test.py::test_policy_updates_keep_the_replay_ratio[16-3]'),
        ('new episodes are learned from before they are predicted',
         '''    if self.model_validation is not None:
      self.model_validation.observe(episodes)
    for learner in self._learners:
      learner.observe(episodes)
''',
         '''    for learner in self._learners:
      learner.observe(episodes)
    if self.model_validation is not None:
      self.model_validation.observe(episodes)
''', 'agents/model_validation_test.py'
         '::test_a_new_episode_is_predicted_before_anything_learns_from_it'),
    ],
    'agents/averaged_actor.py': [
        ('trust does not weigh the new policy', 'self._rate * trust', 'self._rate',
         'agents/averaged_actor_test.py::test_a_policy_that_is_not_trusted_does_not_move_it'),
        ('old and new policy exchanged in the average',
         '(1 - share) * average + share * trained', 'share * average + (1 - share) * trained',
         'agents/averaged_actor_test.py::test_the_average_is_the_weighted_mean_of_all_so_far'),
    ],
    'agents/critic.py': [
        ('rewards of a critic are centred', 'centered=False', 'centered=True',
         'agents/critic_test.py::test_rewards_are_not_centred'),
        ('an untrusted model is believed', 'self._trace_decay * self.trust', 'self._trace_decay',
         'agents/critic_test.py::test_the_sum_of_rewards_is_the_lambda_return[1.0-0.6]'),
        ('the larger target counts', 'tf.minimum(*_estimates(self._targets',
         'tf.maximum(*_estimates(self._targets',
         'agents/critic_test.py::test_the_smaller_target_counts'),
        ('the larger estimate ends a window', 'tf.minimum(*self.estimates(*rows))',
         'tf.maximum(*self.estimates(*rows))',
         'agents/critic_test.py::test_the_sum_of_rewards_is_the_lambda_return[1.0-0.6]'),
        ('targets are copies', 'self._copy(self._tau)', 'self._copy(1.0)',
         'agents/critic_test.py::test_targets_follow_slowly'),
        ('lambda weighs the estimates', '(1 - decay) * values', 'decay * values',
         'agents/critic_test.py::test_the_sum_of_rewards_is_the_lambda_return[1.0-0.6]'),
        ('lambda left out of the later rewards', '(decay * self.discount)', 'self.discount',
         'agents/critic_test.py::test_the_sum_of_rewards_is_the_lambda_return[1.0-0.6]'),
        ('something comes at step H', 't < self._last_step', 't <= self._last_step',
         'agents/critic_test.py::test_the_sum_of_rewards_is_the_lambda_return[1.0-1.0]'),
        ('entropy constant moves away from its target', 'entropy - self._target_entropy',
         'self._target_entropy - entropy',
         'agents/critic_test.py::test_the_entropy_constant_moves_towards_its_target'),
        ('another target entropy', '-setup.action_spec.shape[0] / 2', '-setup.action_spec.shape[0]',
         'agents/critic_test.py::test_the_entropy_constant_moves_towards_its_target'),
    ],
    'agents/critic_learner.py': [
        ('no target networks', 'self._critic.target_value(after, squash(mean, log_std, noise))',
         'tf.minimum(*self._critic.estimates(after, squash(mean, log_std, noise)))',
         'agents/critic_test.py::test_the_critic_learns_from_what_really_followed[True]'),
        ('termination forgotten', 'discount * discounts * value', 'discount * value',
         'agents/critic_test.py::test_the_critic_learns_from_what_really_followed[True]'),
        ('sign of the entropy in the target', '+ self._critic.entropy_constant * squashed',
         '- self._critic.entropy_constant * squashed',
         'agents/critic_test.py::test_the_critic_learns_from_what_really_followed[False]'),
        ('padding counts', 'weights * (q - goal)**2', '(q - goal)**2',
         'agents/critic_test.py::test_what_follows_an_end_changes_nothing'),
    ],
    'agents/decision_transformer_agent.py': [
        ('steps beyond the end of the episode count', 'mask_weights(t < self._horizon)',
         'mask_weights(t >= 0)',
         'agents/decision_transformer_test.py::test_windows_hold_the_returns_that_were_reached'),
        ('states in their own units',
         'self.model.normalizer.update(episodes.observation[..., :-1])', 'pass',
         'agents/decision_transformer_test.py'
         '::test_states_are_scaled_and_gradients_clipped'),
        ('returns of the past instead of returns-to-go',
         'tf.cumsum(experience.reward[:, :-1], 1, reverse=True)',
         'tf.cumsum(experience.reward[:, :-1], 1)',
         'agents/decision_transformer_test.py::test_windows_hold_the_returns_that_were_reached'),
        ("sign of the temperature's slope", '(entropy - self._target_entropy)',
         '(self._target_entropy - entropy)', 'agents/decision_transformer_test.py'
         '::test_the_policy_is_likely_and_as_random_as_it_is_asked_to_be'),
        ('sign of the target entropy', '-float(setup.system.action_size)',
         'float(setup.system.action_size)', 'agents/decision_transformer_test.py'
         '::test_the_policy_is_likely_and_as_random_as_it_is_asked_to_be'),
        ('entropy is punished', 'loss - tf.exp(self._log_temperature) * entropy',
         'loss + tf.exp(self._log_temperature) * entropy', 'agents/decision_transformer_test.py'
         '::test_the_policy_is_likely_and_as_random_as_it_is_asked_to_be'),
    ],
    'agents/execution.py': [
        ('gradients that are not finite are applied', 'tf.cond(finite, apply, lambda: False)',
         'tf.cond(tf.ones_like(finite), apply, lambda: False)',
         'agents/asm_agent_test.py::test_a_bad_number_skips_the_update_and_is_counted'),
        ('microbatches are added up', 'tf.add_n(means) / len(microbatches)', 'tf.add_n(means)',
         'agents/execution_test.py::test_microbatches_have_the_value_of_the_whole'
         '[64-4-None-sizes0]'),
    ],
    'agents/gradient_comparison.py': [
        ('errors in units of the learned gradient', 'relative_error(learned, true)',
         'relative_error(true, learned)',
         'agents/asm_agent_test.py::test_the_error_of_a_gradient_counts_in_the_simulators_norm')],
    'agents/make_asm_agent.py': [
        ('the step is seen where it does not count', ', time_aware=system.time_aware)', ')',
         'agents/variable_length_test.py::test_only_an_agent_with_a_last_step_sees_the_step')],
    'agents/model_learner.py': [
        ('the normaliser is never updated', 'self._world.normalizer.update(', '(lambda *_: None)(',
         'agents/asm_agent_test.py::test_new_episodes_move_the_scales_that_model_and_policy_share'),
        ('the weighting of the loss is not handed on', 'weights, self._loss_weighting, training)',
         "weights, 'uniform', training)",
         'agents/asm_agent_test.py::test_the_model_is_fitted_by_the_prediction_loss[inverse_time]'),
        ('windows are fitted as if they began at step 0',
         'first_step = tf.cast(observations', 'first_step = 0 * tf.cast(observations',
         'agents/critic_test.py::test_the_model_is_fitted_at_the_time_in_the_episode'),
    ],
    'agents/model_validation.py': [
        ('what follows an end is validated', 'weights * skill_score', 'skill_score',
         'agents/model_validation_test.py::test_what_follows_an_end_is_not_validated'),
        ('returns are never counted', 'self._returns.update(returns[:, None])', 'pass',
         'agents/model_validation_test.py'
         '::test_the_error_of_the_return_counts_in_the_spread_of_the_returns_before'),
        ('trust without the skill', 'trust = trained * tf.minimum(', 'trust = tf.minimum(',
         'agents/model_validation_test.py::test_skill_and_loss_equal_their_definition[0.2]'),
        ('trust in a model that is worse on new episodes', 'divide_no_nan(unseen, trained)',
         'divide_no_nan(trained, unseen)', 'agents/model_validation_test.py'
         '::test_a_model_that_does_worse_on_the_new_episode_is_not_trusted'),
    ],
    'agents/policy_learner.py': [
        ('imagination is not bounded', 'world.imagination_from(first_step)',
         'world.model_from(first_step)',
         'agents/asm_agent_test.py::test_imagination_is_bounded_and_the_fit_is_not'),
        ('an untrusted policy counts in full', 'tf.where(applied, scale, 0.0)',
         'tf.where(applied, 1.0, 0.0)', 'agents/asm_agent_test.py'
         '::test_a_policy_counts_in_the_average_as_far_as_it_is_trusted'),
        ('the entropy constant stays', 'self._world.critic.tune_entropy_constant(entropy)', 'pass',
         'agents/critic_test.py::test_an_update_of_the_policy_tunes_the_entropy_constant'),
        ('a skipped update moves the average', 'tf.where(applied, scale, 0.0)', 'scale',
         'agents/asm_agent_test.py::test_a_bad_number_skips_the_update_and_is_counted'),
        ('sign of the policy update', '[-gradient for gradient in gradients]',
         '[gradient for gradient in gradients]',
         'agents/asm_agent_test.py::test_policy_updates_raise_the_imagined_return'),
        ('clipping dropped', 'self.actor.trainable_variables, self._clip_norm)',
         'self.actor.trainable_variables, None)',
         'agents/asm_agent_test.py::test_the_policy_gradient_is_clipped[0.0001]'),
        ('returns not scaled by their spread',
         'scale = 1.0 if self._return_moments is None else self._return_moments.std[0]',
         'scale = 1.0', 'agents/asm_agent_test.py::test_returns_count_in_units_of_their_spread'),
        ('entropy constant not divided by the horizon',
         'entropy_constant / setup.system.horizon if', 'entropy_constant if',
         'agents/asm_agent_test.py::test_the_entropy_counts_as_its_mean_over_the_steps'),
        ('trust does not scale the learning rate', 'self._learning_rate * scale',
         'self._learning_rate',
         'agents/model_validation_test.py::test_the_policy_waits_while_the_model_is_not_trusted'),
        ('imagination starts where a sequence ends', 'experience.observation[:, 0]',
         'experience.observation[:, -1]',
         'agents/asm_agent_test.py::test_imagination_starts_where_the_drawn_episodes_do'),
        ("returns not in the critic's units",
         'critic.units.scale, critic.entropy_constant', '1.0, critic.entropy_constant',
         'agents/critic_test.py::test_the_policy_counts_in_the_critics_units'),
    ],
    'agents/reward_learner.py': [
        ('the end is learned a state too early', 'states[:, 1:], t[:, 1:], continues',
         'states[:, :-1], t[:, :-1], continues', 'agents/variable_length_test.py'
         '::test_reward_and_end_are_learned_where_they_happened'),
        ('the last step is learned as an end', 'mask_weights(taken & is_open)',
         'mask_weights(taken)', 'agents/variable_length_test.py'
         '::test_reward_and_end_are_learned_where_they_happened'),
        ('padding counts in the scale of the rewards',
         'episodes.reward[:, :-1], episode_steps.steps_taken(episodes))',
         'episodes.reward[:, :-1])', 'agents/variable_length_test.py'
         '::test_running_moments_are_those_of_the_real_rows[make_agent0]'),
    ],
    'agents/reward_units.py': [
        ('offset is the whole return', 'self._moments.mean[0] / self._horizon',
         'self._moments.mean[0]', 'agents/reward_units_test.py'
         '::test_rewards_are_centred_on_their_mean_in_units_of_the_returns_spread'),
        ('scale of rewards without their mean', 'self._moments.mean[0]**2 + ', '',
         'agents/reward_units_test.py'
         '::test_where_the_horizon_only_cuts_episodes_short_the_unit_is_the_size_of_a_reward'),
    ],
    'agents/sac_agent.py': [
        ('policy period ignored', '(self.train_step_counter + 1) % every == 0',
         '(self.train_step_counter + 1) % every >= 0',
         'agents/sac_agent_test.py::test_policy_and_entropy_constant_are_updated_when_due'),
        ('rewards not in units', 'reward=self._rewards.normalize(experience.reward)',
         'reward=experience.reward', 'agents/sac_agent_test.py'
         '::test_the_critic_is_given_rewards_in_units_and_a_discount[True-True]'),
        ('the normaliser is never updated', 'self._normalizer.update(', '(lambda *_: None)(',
         'agents/variable_length_test.py'
         '::test_running_moments_are_those_of_the_real_rows[make_agent1]'),
    ],
    'agents/sequence_search_agent.py': [
        ('the elite are the worst', 'tf.math.top_k(self._returns,', 'tf.math.top_k(-self._returns,',
         'agents/sequence_search_agent_test.py::test_the_gaussian_is_fitted_to_the_elite'),
    ],
    'agents/window_validation.py': [
        ('a return of no window', "tf.where(tf.reduce_any(is_whole), mask_weights(is_whole), "
         "float('nan'))", 'mask_weights(is_whole)', 'agents/window_validation_test.py'
         '::test_an_episode_without_a_whole_window_measures_no_return'),
        ('an infinite error stays', 'tf.where(error < _LARGEST_ERROR, error, _LARGEST_ERROR)',
         'error', 'agents/window_validation_test.py'
         '::test_an_error_that_is_not_finite_is_forgotten_too'),
        ('trust as high as the skill', 'trust = skill**SHARPNESS', 'trust = skill',
         'agents/window_validation_test.py'
         '::test_a_model_is_trusted_by_the_share_of_the_change_that_it_predicts[1]'),
        ('the first error counts for ever', 'total.assign(kept * total', 'total.assign(total',
         'agents/window_validation_test.py::test_the_skill_forgets'),
        ('windows that were cut short count', 'tf.reduce_all(taken, 1)',
         'tf.reduce_any(taken, 1)', 'agents/window_validation_test.py'
         '::test_the_policy_imagines_what_it_met_in_whole_windows'),
        ('imagined without the time in the episode',
         'actor = ActorFromStep(self._actor, first_step)',
         'actor = ActorFromStep(self._actor, 0 * first_step)', 'agents/window_validation_test.py'
         '::test_the_policy_imagines_what_it_met_in_whole_windows'),
    ],
    'agents/world.py': [
        ('nothing comes after a window', 'return _reward_from(reward, first_step)',
         'return _reward_from(self.reward, first_step)',
         'agents/critic_test.py::test_with_the_true_value_the_gradient_is_that_of_the_whole_horizon'
         '[0.0-2]'),
    ],
    'environments/gymnasium_environment.py': [
        ('a time limit is a termination', 'ended if self._system.time_aware else terminated',
         'ended', 'environments/gymnasium_environment_test.py'
         '::test_a_limit_of_steps_ends_only_what_is_aware_of_it[False]'),
        ('all episodes begin alike', '[*self._seeds, self._i, number]', '[*self._seeds, self._i]',
         'environments/gymnasium_environment_test.py'
         '::test_seeds_tell_episodes_and_copies_apart_and_repeat_them'),
    ],
    'environments/gymnasium_system.py': [
        ('half of the range of actions', 'low + (action + 1) / 2 * (high - low)',
         'low + (action + 1) / 4 * (high - low)',
         'environments/gymnasium_environment_test.py::test_actions_are_rescaled[1-3]'),
    ],
    'agents/entropy_constant.py': [
        ("an episode's constant at every step", 'self.initial / horizon if', 'self.initial if',
         'agents/sac_agent_test.py::test_a_fixed_entropy_constant_stays[True-0.002]'),
    ],
    'training/run_folder.py': [
        ('the folder is not looked at under its lock', '      self._require_place()  # once',
         '      # once', 'training/training_test.py'
         '::test_a_run_that_another_process_made_meanwhile_is_not_overwritten'),
    ],
    'experiments/training_runs.py': [
        ('a binding does not count', "if value.startswith('%') else value",
         "if value.startswith('%') else config['SYSTEM']",
         'experiments/sweep_test.py::test_what_bindings_set_is_what_a_run_is_reported_as'),
    ],
    'environments/scores.py': [
        ('the name alone counts', 'SYSTEMS.get(system.name) is not type(system)', 'False',
         'optimal_control/optimal_control_test.py'
         '::test_only_the_stored_system_itself_is_scored'),
        ('score not relative to the random policy',
         '(returns - reference.random) / (reference.optimal - reference.random)',
         '(returns - reference.random) / reference.optimal', 'optimal_control/optimal_control_test'
         '.py::test_normalised_score_is_0_for_random_and_1_for_the_optimum'),
    ],
    'environments/system_environment.py': [
        ('a limit that only cuts short ends the world',
         'tf.where(last & self.system.time_aware, 0.0, 1.0)', 'tf.where(last, 0.0, 1.0)',
         'environments/system_environment_test.py'
         '::test_a_limit_that_only_cuts_short_discounts_nothing'),
        ('neighbouring seeds share noise', 'np.random.SeedSequence([*self._seed, number]'
         ').generate_state(2).tolist()', '(*self._seed, number)',
         'environments/system_environment_test.py::test_neighbouring_seeds_share_no_noise'),
        ('the end is no termination', 'self.system.time_aware, 0.0, 1.0)',
         'self.system.time_aware, 1.0, 1.0)',
         'environments/system_environment_test.py'
         '::test_an_episode_has_exactly_h_steps_and_ends_in_a_termination'),
        ('rewards of the next step', 'self.system.reward(self._state, action, self._t)',
         'self.system.reward(self._state, action, self._t + 1)',
         'environments/system_environment_test.py'
         '::test_an_episode_equals_simulate[dtype0-ToyCreditAssignment]'),
        ('generator not in the checkpoint', ",\n            'generator': self._generator}", '}',
         'environments/system_environment_test.py'
         '::test_a_checkpoint_in_mid_episode_goes_on_the_same'),
    ],
    'gradients/comparison.py': [
        ('unit of the reference forgotten', 'vector * (size / unit) - true', 'vector - true',
         'gradients/gradient_tools_test.py'
         '::test_comparisons_of_gradients_of_any_size_equal_numpys[float64-1.0]'),
    ],
    'gradients/jacobians.py': [
        ('a carry of the right shape is the state', 'carry is initial_state and following is state',
         'tf.is_tensor(carry) and carry.shape == state.shape', 'gradients/gradient_tools_test.py'
         '::test_a_carry_of_the_states_shape_is_not_taken_for_the_state'),
        ('s_H is rewarded in the bound', 'tf.reduce_logsumexp(norms[:, :-1], [1, 2])',
         'tf.reduce_logsumexp(norms, [1, 2])',
         'gradients/theory_test.py::test_bounds_are_the_papers_double_sum'),
    ],
    'gradients/policy_gradient.py': [
        ('state index off by one', 'tf.concat([initial_state[:, None], predicted[:, :-1]], 1)',
         'predicted', 'gradients/policy_gradient_test.py'
         '::test_equals_finite_differences_with_the_policys_inputs_held_fixed[1.0-0.0]'),
        ('entropy of a step instead of an episode',
         'entropy_constant * noise.shape[1], noise.dtype', 'entropy_constant, noise.dtype',
         'gradients/policy_gradient_test.py'
         '::test_equals_finite_differences_with_the_policys_inputs_held_fixed[2.0-0.5]'),
        ('closed and open loop exchanged',
         'weight * state + (1 - weight) * tf.stop_gradient(state)',
         '(1 - weight) * state + weight * tf.stop_gradient(state)',
         'gradients/theory_test.py'
         '::test_appendix_b_the_weight_scales_each_step_through_the_policy[0.3]'),
    ],
    'models/attention.py': [
        ('cache mask off by one', 'tf.where(position <= t - past,',
         'tf.where(position <= t - past + 1,', 'models/sequence_model_contract_test.py'
         '::test_call_equals_unrolled_step_at_every_length[Transformer]'),
        ('a query sees the next key', 'tf.range(keys.shape[-2])[None] <= position',
         'tf.range(keys.shape[-2])[None] <= position + 1', 'models/sequence_model_contract_test.py'
         '::test_no_future_action_reaches_a_past_state[Transformer]'),
        ("the softmax's own gradient dropped", ', transpose_b=True) - along)',
         ', transpose_b=True))', 'models/attention_test.py'
         '::test_value_and_gradients_equal_another_route[63-unblocked]'),
    ],
    'models/bounded.py': [
        ('the second pass is not bounded',
         'return self._normalizer.bound(\n        self._model.call_with_residuals',
         'return (\n        self._model.call_with_residuals', 'models/bounded_test.py'
         '::test_both_passes_of_a_bounded_model_agree_out_of_range[LSTM]'),
    ],
    'models/continuation.py': [
        ('product of continuations shifted', '(self.continuation(states, t))[:, 1:]',
         '(self.continuation(states, t))[:, :-1]', 'agents/variable_length_test.py'
         '::test_imagined_rewards_count_by_the_chance_that_they_are_reached'),
        ('padding counts as real', 'tf.reduce_mean(weights * entropy)', 'tf.reduce_mean(entropy)',
         'agents/variable_length_test.py::test_the_end_is_learned'),
    ],
    'models/decision_transformer.py': [
        ('an action sees itself', 'tokens.shape[1:]])[:, :, 1]', 'tokens.shape[1:]])[:, :, 2]',
         'agents/decision_transformer_test.py'
         '::test_an_action_depends_on_what_comes_before_it_and_nothing_else'),
    ],
    'models/gated_read_out.py': [
        ('steps composed backwards', 'second[0] * first[1] + second[1]',
         'first[0] * second[1] + first[1]', 'models/sequence_model_contract_test.py'
         '::test_call_equals_unrolled_step_at_every_length[GatedTransformer]'),
        ('a memory that begins short', '-math.log(memory)', 'math.log(memory)',
         'models/world_models_test.py'
         '::test_a_gated_read_out_moves_the_state_towards_its_target')],
    'models/history.py': [
        ('teacher forcing shows the future', 'self._pair(states[:, :-1], actions)',
         'self._pair(states[:, 1:], actions)', 'models/world_models_test.py'
         '::test_teacher_forcing_shows_each_true_state_to_the_later_predictions[2-HistoryLSTM]'),
        ('what is fed back is not bounded', 'self._normalizer.bound(state), carry', 'state, carry',
         'models/bounded_test.py::test_what_is_fed_back_is_bounded[HistoryLSTM]'),
    ],
    'models/linear_recurrence.py': [
        ('gradient without the conjugate', 'states(rate_re, -rate_im, dx_re',
         'states(rate_re, rate_im, dx_re', 'models/linear_recurrence_test.py'
         '::test_gradients_equal_those_of_a_plain_loop[loop-17-False]'),
    ],
    'models/loss.py': [
        ('inverse-time weights dropped', 'squares *= step_weights / tf.reduce_mean(step_weights)',
         'squares *= 1.0', 'models/world_models_test.py'
         '::test_the_loss_is_the_weighted_mean_of_squares[inverse_time-mask_weights1]'),
        ('predictions compared with the state before', 'normalize(states[:, 1:])',
         'normalize(states[:, :-1])', 'models/world_models_test.py'
         '::test_the_loss_is_the_weighted_mean_of_squares[uniform-mask_weights0]'),
    ],
    'models/lstm.py': [
        ('input gates closed where memories are short', 'enter = -forget', 'enter = forget',
         'models/world_models_test.py::test_an_lstms_memories_fill_the_octaves_up_to_the_horizon'),
    ],
    'models/markov.py': [
        ('differences not in their own spread',
         'states + self._normalizer.denormalize_difference(difference)', 'states + difference',
         'models/world_models_test.py'
         '::test_markovs_difference_counts_in_its_own_spread_or_in_the_states[True]'),
        ('what is fed back is not bounded', 'self._normalizer.bound(state)', 'state',
         'models/bounded_test.py'
         '::test_an_exploding_one_step_model_stays_finite_and_so_does_its_gradient'),
    ],
    'models/normalizer.py': [
        ('the step into the padding counts', 'visited[..., 1:] & visited[..., :-1]',
         'visited[..., :-1]', 'agents/variable_length_test.py'
         '::test_running_moments_are_those_of_the_real_rows[make_agent0]'),
        ('five octaves at every horizon', '(4 * self.horizon // 5).bit_length()', '5',
         'models/running_moments_test.py::test_waves_that_resolve_steps_tell_one_from_the_next[500]'),
        ('waves of time that are no octaves', 'math.pi * 2**k', 'math.pi * (k + 1)',
         'models/running_moments_test.py::test_time_is_a_ramp_and_waves_an_octave_apart'),
    ],
    'models/observed_range.py': [
        ('the margin is one unit wide', 'tf.tanh((values - inside) / width)',
         'tf.tanh(values - inside)',
         'models/bounded_test.py::test_is_the_identity_in_the_range_and_saturates_beyond_it'),
        ('the range is that of the newest episode', 'tf.maximum(self._high, high), high)',
         'high, high)', 'models/bounded_test.py'
         '::test_the_range_grows_and_leaves_out_what_was_not_visited_or_not_finite'),
    ],
    'models/recurrent.py': [
        ('residuals of the first chunk everywhere', 'residual[begin:end]',
         'residual[:end - begin]', 'models/sequence_model_contract_test.py'
         '::test_calling_with_residuals_equals_calling[LSTM]'),
        ('initial state in its own units', 'self._start(self._normalizer.normalize(initial_state))',
         'self._start(initial_state)',
         'models/model_references_test.py::test_lstm_of_two_layers_is_the_textbooks'),
    ],
    'models/recurrent_kernels.py': [
        ('input and forget gate exchanged', '0.5 * ((f + 1) * c + (i + 1) * g)',
         '0.5 * ((i + 1) * c + (f + 1) * g)',
         'models/recurrent_kernels_test.py::test_lstm_scan_equals_the_keras_layer'),
        ('forget gates off by one backwards', '_reader(dhs, forget_next, dh_dc)',
         '_reader(dhs, forget, dh_dc)',
         'models/recurrent_kernels_test.py'
         '::test_value_and_gradients_equal_a_plain_loop[17-False-lstm]'),
    ],
    'models/reward_model.py': [
        ('rewards without their mean', '* self._moments.std[0] + self._moments.mean[0]',
         '* self._moments.std[0]',
         'models/world_models_test.py::test_reward_model_learns_a_reward_in_its_units'),
        ('padding counts', 'tf.reduce_mean(squares if weights is None else weights * squares)',
         'tf.reduce_mean(squares)', 'agents/variable_length_test.py'
         '::test_an_update_does_not_see_what_pads_an_episode[1]'),
        ('imagined rewards are not bounded',
         'self._range.bound(reward[..., None], self._normalizer.margin)[..., 0]', 'reward',
         'models/world_models_test.py'
         '::test_a_predicted_reward_stays_near_those_that_were_observed'),
    ],
    'models/running_moments.py': [
        ('merge without the shift of the mean',
         'squares + tf.math.divide_no_nan(shift**2 * self._count * count, total)', 'squares',
         'models/running_moments_test.py::test_equal_the_moments_of_all_data[batches1]'),
    ],
    'models/state_space.py': [
        ('decay is no longer bounded', 'tf.exp(-decay)', 'tf.exp(-self._log_decay)',
         'models/model_references_test.py::test_state_space_is_its_complex_recurrence'),
        ('input not normalised by gamma', 'np.log(1 - np.exp(-2 / memory)) / 2',
         'np.log(1 - np.exp(-2 / memory))', 'models/model_references_test.py'
         '::test_state_space_starts_with_memories_from_a_step_to_some_horizons'),
    ],
    'models/timed.py': [
        ('time stands still in a window', 'first_step[:, None] + t', 'first_step[:, None]',
         'agents/critic_test.py::test_a_model_of_windows_knows_the_time_in_the_episode'),
        ('a window is fitted from its own start',
         'predict_teacher_forced(states, self._with_times(actions), training)',
         'predict_teacher_forced(\n        states, self._normalizer.join(\n'
         '            actions, t=tf.range(actions.shape[1])), training)', 'agents/critic_test.py'
         '::test_a_one_step_model_of_windows_is_forced_at_the_time_in_the_episode'),
    ],
    'models/transformer_stack.py': [
        ('scores scaled by the width of all heads', '1 / math.sqrt(size // num_heads)',
         '1 / math.sqrt(size)', 'models/model_references_test.py::test_transformer_is_gpt_2s[1]'),
        ('no residual stream', 'x += self._dropout(self._attention_out',
         'x = self._dropout(self._attention_out',
         'models/model_references_test.py::test_transformer_is_gpt_2s[1]'),
    ],
    'models/true_dynamics.py': [
        ('the time in the episode forgotten', 'self._first_step + t', 't',
         'agents/window_validation_test.py'
         '::test_the_policy_imagines_what_it_met_in_whole_windows'),
    ],
    'policies/colored_noise.py': [
        ('the power falls twice as fast', '**(-exponent / 2)', '**(-exponent)',
         'policies/colored_noise_test.py'
         '::test_the_power_falls_with_the_frequency_to_the_exponent[2.0]'),
        ('pairs of frequencies miscounted',
         'np.where((frequencies == 0) | (2 * frequencies == horizon), 1, 2)',
         'np.ones_like(frequencies)',
         'policies/colored_noise_test.py::test_every_step_is_standard_normal[7-0.5]'),
    ],
    'policies/return_conditioned.py': [
        ('the step of the first copy', "tf.minimum(window['t'][:, -1], steps - 1)",
         "tf.minimum(0 * window['t'][:, -1] + window['t'][0, -1], steps - 1)",
         'agents/decision_transformer_test.py::test_copies_at_different_steps_act_as_each_alone'),
        ('rewards are added to what is left', "['returns_to_go'][:, -1] - time_step.reward",
         "['returns_to_go'][:, -1] + time_step.reward", 'agents/decision_transformer_test.py'
         '::test_the_policy_looks_at_the_last_steps_and_the_return_still_to_come'),
        ('no exploration', 'noise = self._generator.normal(tf.shape(mean))',
         'noise = tf.zeros_like(mean)', 'agents/decision_transformer_test.py'
         '::test_exploration_draws_from_the_models_gaussian'),
    ],
    'policies/returns_to_go.py': [
        ('the random policy is counted forwards', 'tf.cumsum(rewards, 1, reverse=True)',
         'tf.cumsum(rewards, 1)', 'agents/decision_transformer_test.py'
         '::test_returns_to_go_count_from_what_the_random_policy_still_gets'),
    ],
    'policies/squashed_gaussian.py': [
        ('states in their own units',
         'self._normalizer.join(self._normalizer.normalize(state), t=t)',
         'self._normalizer.join(state, t=t)',
         'models/state_scaling_test.py::test_units_do_not_matter_and_the_step_does[actor]'),
        ('sign of the log-Jacobian', 'gaussian + log_jacobian', 'gaussian - log_jacobian',
         'gradients/policy_gradient_test.py'
         '::test_entropy_and_its_gradient_equal_tensorflow_probabilitys'),
        ('another deviation at the start', 'math.atanh(position)', 'position',
         'policies/squashed_gaussian_test.py'
         '::test_it_begins_near_0_with_the_deviation_that_is_asked_for'),
    ],
    'policies/tf_policies.py': [
        ('the warm-up keeps away from the bounds', 'tf.math.erf(noise / math.sqrt(2))',
         'tf.math.erf(noise / 2)',
         'policies/tf_policies_test.py::test_the_warm_up_draws_uniform_actions'),
        ('no step of an exploring episode is uniform', 'self._uniform_steps.replace(action)',
         'action', 'agents/asm_agent_test.py::test_sampled_actions_follow_the_distribution'),
    ],
    'policies/uniform_steps.py': [
        ('as many uniform steps at every horizon as at the shortest',
         'min(per_episode / horizon, largest_share)', 'largest_share',
         'policies/uniform_steps_test.py'
         '::test_an_episode_has_as_many_as_were_asked_for[6-500-0.012]'),
        ('all but the drawn steps are uniform', '< self.probability', '> self.probability',
         'policies/uniform_steps_test.py::test_an_episode_has_as_many_as_were_asked_for[6-4-0.3]'),
    ],
    'replay/episode_replay_buffer.py': [
        ('half of the episodes never drawn', 'maxval=self._num_episodes()',
         'maxval=(self._num_episodes() + 1) // 2',
         'replay/replay_test.py::test_sampling_is_uniform[False]'),
        ('generator not in the checkpoint',
         "self._generator = tf.random.Generator.from_seed(seed, alg='philox')",
         "self.__dict__['_generator'] = tf.random.Generator.from_seed(seed, alg='philox')",
         'replay/replay_test.py::test_a_restored_buffer_draws_the_same'),
    ],
    'replay/episode_steps.py': [
        ('the last state is no state', 'tf.concat([tf.ones_like(taken[:, :1]), taken], 1)',
         'tf.concat([taken, tf.zeros_like(taken[:, :1])], 1)',
         'agents/variable_length_test.py::test_episodes_are_padded_by_their_last_row[1]'),
    ],
    'replay/padded_episode_accumulator.py': [
        ('a copy writes on into its complete episode',
         '(row < self._length) & ~self._is_complete', '(row < self._length)',
         'agents/variable_length_test.py::test_episodes_are_padded_by_their_last_row[4]'),
    ],
    'replay/window_replay_buffer.py': [
        ('steps that were overwritten are drawn', '[sample_batch_size], self._oldest_step(),',
         '[sample_batch_size], 0 * self._oldest_step(),',
         'replay/window_replay_test.py::test_every_step_that_is_kept_begins_a_window_as_often[9]'),
        ('windows run on into the next episode', 'tf.argmax(ends, 1, tf.int32)', 'self._window',
         'replay/window_replay_test.py::test_a_window_is_what_happened[False-3]'),
        ('steps counted with their own row', 'tf.cumsum(is_step, exclusive=True)',
         'tf.cumsum(is_step)', 'replay/window_replay_test.py'
         '::test_every_step_that_is_kept_begins_a_window_as_often[100]'),
    ],
    'systems/toy_credit_assignment.py': [
        ('the distractor adds to the noise', ' - self.process_noise\n', '\n',
         'systems/systems_contract_test.py::test_the_distractor_of_toy_credit_assignment_has_its'
         '_own_spread_beside_the_noise'),
    ],
    'training/hyperparameters.py': [
        ('the first of two bindings counts', "command_line.get('gin_bindings', ())))",
         "command_line.get('gin_bindings', ())[::-1]))",
         'training/curves_test.py::test_the_last_of_two_bindings_is_the_hyperparameter'),
    ],
    'systems/myriad/cancer_treatment.py': [
        ('a constant of the dynamics', 'dose_effect = 0.45', 'dose_effect = 0.4',
         'systems/systems_golden_test.py::test_myriad[CancerTreatment-dtype0-1e-09]'),
    ],
    'systems/myriad/myriad_system.py': [
        ('a terminal cost forgotten', 'reward - terminal, reward)', 'reward, reward)',
         'systems/systems_golden_test.py::test_myriad[Bacteria-dtype0-1e-09]'),
    ],
    'training/checkpointer.py': [
        ('the environment is not restored', 'environment=environment,',
         'environment=tf.train.Checkpoint(),', 'agents/variable_length_test.py'
         '::test_a_restored_run_goes_on_to_the_same_bits[make_agent0]'),
    ],
    'training/evaluator.py': [
        ('every evaluation draws anew', 'self._env.reseed(number)', 'pass',
         'training/evaluator_test.py'
         '::test_an_evaluation_draws_what_its_seed_says_and_nothing_else'),
        ('the seed is ignored', 'seed=(seed, Stream.EVALUATION)',
         'seed=(0, Stream.EVALUATION)', 'training/evaluator_test.py'
         '::test_an_evaluation_draws_what_its_seed_says_and_nothing_else'),
    ],
    'training/exploitation.py': [
        ('excess without the spread', '(abs(real) + spread + 1e-6)', '(abs(real) + 1e-6)',
         'training/exploitation_test.py::test_imagination_is_measured_against_reality'),
    ],
    'training/offline.py': [
        ('every seed collects the same data', 'make_generator(seed, Stream.PERTURBATION)',
         'make_generator(0, Stream.PERTURBATION)',
         'training/offline_test.py::test_the_seed_fixes_data_and_batches'),
        ('the normaliser takes nothing in', '  normalizer.update(states)\n', '',
         'training/offline_test.py'
         '::test_every_episode_is_learned_from_in_units_of_their_spread'),
        ('only the first half is learned from', 'maxval=self._states.shape[0]',
         'maxval=self._states.shape[0] // 2', 'training/offline_test.py'
         '::test_every_episode_is_learned_from_in_units_of_their_spread'),
    ],
    'training/train.py': [
        ('every seed is the same run', 'make_agent=make_agent, seed=seed,',
         'make_agent=make_agent, seed=0,',
         'experiments/sweep_test.py::test_a_failed_run_is_reported_and_the_others_are_kept'),
        ('every seed begins with the same weights', 'set_random_seed(seed)', 'set_random_seed(0)',
         'training/training_test.py::test_another_seed_begins_with_other_weights'),
        ('a resume may shorten a run', 'trainer.env_steps - loop.num_env_steps >=',
         '0 > trainer.env_steps - loop.num_env_steps >=', 'training/training_test.py'
         '::test_a_run_within_the_warm_up_says_that_it_learns_nothing'),
        ('the exploring policy is evaluated', 'lambda *_: trainer.agent.policy',
         'lambda *_: trainer.agent.collect_policy',
         'training/training_test.py::test_the_policy_that_was_evaluated_last_is_saved'),
    ],
    'training/trainer.py': [
        ('updates without data', 'tf.where(self.replay.num_frames() > 0, due, 0)', 'due',
         'training/faults_test.py::test_nothing_is_learned_where_every_episode_was_left_out'),
        ('an update for every step', 'steps // self.model_period - self._updates',
         'steps - self._updates',
         'agents/variable_length_test.py::test_only_real_steps_are_counted[make_agent0]'),
        ('bad episodes are learned from', 'tf.cond(usable, lambda: self._learn',
         'tf.cond(tf.ones_like(usable), lambda: self._learn', 'training/faults_test.py::'
         'test_an_episode_whose_numbers_cannot_be_learned_from_is_left_out_and_counted[nan]'),
        ('every seed warms up alike', 'make_generator(seed, Stream.WARM_UP)',
         'make_generator(0, Stream.WARM_UP)',
         'training/trainer_test.py::test_another_seed_draws_everything_anew'),
        ('every seed meets the same noise', 'seed=(seed, Stream.ENVIRONMENT)',
         'seed=(0, Stream.ENVIRONMENT)',
         'training/trainer_test.py::test_another_seed_draws_everything_anew'),
        ('every seed draws the same batches', '(seed, Stream.REPLAY)', '(0, Stream.REPLAY)',
         'training/trainer_test.py::test_another_seed_draws_everything_anew'),
        ('an episode is collected before all updates are done', 'if self._updates_due() <= 0:',
         'if True:', 'training/trainer_test.py::test_updates_come_in_chunks_between_episodes'),
        ('bad rewards are learned from', '(episodes.observation, episodes.action, episodes.reward)',
         '(episodes.observation,)', 'training/faults_test.py::'
         'test_an_episode_whose_numbers_cannot_be_learned_from_is_left_out_and_counted[reward]'),
        ('ten drops in all are ten in a row', 'self._consecutive_drops = 0\n\n  @tf.function',
         'pass\n\n  @tf.function', 'training/faults_test.py::'
         'test_an_episode_whose_numbers_cannot_be_learned_from_is_left_out_and_counted[nan]'),
    ],
}

MUTATIONS = [Mutation(file, *entry) for file, entries in _TABLE.items() for entry in entries]

if __name__ == '__main__':
  sys.exit(main())
