"""The grid of Figure 9: one horizon, trained for as long as the preset has time for."""

_PRESETS = {
    'smoke': {'horizon': 6, 'num_env_steps': 60, 'seeds': 1, 'warmup_steps': 30},
    'quick': {'horizon': 100, 'num_env_steps': 5_000, 'seeds': 1, 'warmup_steps': 1_500},
    'paper': {'horizon': 100, 'num_env_steps': 200_000, 'seeds': 10, 'warmup_steps': 1_500},
}


def cells(preset: str) -> list[dict]:
  """The cells of a preset: {horizon, num_env_steps, warmup_steps, seed}."""
  fields = dict(_PRESETS[preset])
  seeds = fields.pop('seeds')
  return [fields | {'seed': seed} for seed in range(seeds)]
