"""Figure 9 from its rows: attention maps, and how much of them is on the first action."""

import numpy as np
from matplotlib.figure import Figure

from asm_tf.plots.style import new_figure


def table(rows: list[dict]) -> str:
  """A Markdown table: the share of each head's attention on the first action."""
  heads = len(rows[0]['shares_of_first_action'])
  lines = ['| seed | layer | ' + ' | '.join(f'head {i + 1}' for i in range(heads))
           + ' | looking everywhere alike |', '|---' * (heads + 3) + '|']
  for row in rows:
    uniform = np.mean(1 / np.arange(2, len(row['map']) + 1))
    shares = ' | '.join(f'{share:.3f}' for share in row['shares_of_first_action'])
    lines.append(f'| {row["seed"]} | {row["layer"]} | {shares} | {uniform:.3f} |')
  return '\n'.join(lines)


def draw(rows: list[dict]) -> dict[str, Figure]:
  """The maps of the first seed: one panel per layer, mean over its heads."""
  layers = [row for row in rows if row['seed'] == rows[0]['seed']]
  figure, axes = new_figure(len(layers), width=5.2, row_height=3.4)
  for axis, row in zip(axes, layers, strict=False):
    axis.grid(False)
    # The square root brings out what is small beside the weight 1 of the first prediction.
    image = axis.imshow(np.sqrt(row['map']), cmap='Greys', vmin=0, vmax=1,
                        interpolation='nearest', aspect='auto')
    axis.set(title=f'layer {row["layer"]}', ylabel='prediction of $s_{t+1}$, t')
    axis.locator_params(integer=True)
  axes[-1].set_xlabel('action $a_k$, k')
  bar = figure.colorbar(image, ax=axes, label='attention weight', shrink=0.6)
  bar.set_ticks(np.sqrt([0, 0.01, 0.1, 0.3, 1]).tolist(), labels=['0', '0.01', '0.1', '0.3', '1'])
  figure.suptitle(f'Toy credit assignment, H = {row["horizon"]}, after '
                  f'{row["num_env_steps"]:,} environment steps', fontsize=10)
  return {'figure': figure}
