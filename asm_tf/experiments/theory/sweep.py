"""The grid of the theory's figure: architecture x seed; a cell measures all its horizons."""

_ARCHITECTURES = ('RNN', 'M-RNN', 'Attention', 'LSTM', 'StateSpace', 'Transformer')

_PRESETS = {
    'smoke': (('RNN', 'Attention'), 50, 1),
    'quick': (_ARCHITECTURES, 200, 5),
    'paper': (_ARCHITECTURES, 500, 20),
}


def cells(preset: str) -> list[dict]:
  """The cells of a preset: {model, longest_horizon, seed}."""
  architectures, longest, seeds = _PRESETS[preset]
  return [{'model': model, 'longest_horizon': longest, 'seed': seed}
          for seed in range(seeds) for model in architectures]
