"""Grids of cells: models, a horizon, a number of seeds, and how long each is fitted."""

_FIELDS = ('model', 'horizon', 'seed', 'num_updates', 'batch_size')


def grid(*blocks: tuple) -> list[dict]:
  """Cells of blocks (models, horizon, seeds, num_updates, batch_size), each once, in order."""
  keys = dict.fromkeys(
      (model, horizon, seed, num_updates, batch_size)
      for models, horizon, seeds, num_updates, batch_size in blocks
      for seed in range(seeds) for model in models)
  return [dict(zip(_FIELDS, key, strict=True)) for key in keys]
