"""Action-sequence models: policy gradients through sequence models of the dynamics.

Importing this package makes TensorFlow use Keras 2 (`tf-keras`), which TF-Agents is written
for, and raises an `ImportError` that names the remedy where something is missing or came too
late. It does not import TensorFlow.
"""

import importlib.util
import os
import pathlib
import sys
import warnings

from asm_tf.quiet import harmless_lines_dropped, import_within

__version__ = '0.3.0.dev0'


def _require_keras_2():
  if 'tensorflow' in sys.modules:
    tensorflow = sys.modules['tensorflow']
    if _uses_keras_3(vars(tensorflow)['keras']):
      raise ImportError(
          'tf.keras was used before asm_tf was imported, so TensorFlow has loaded Keras 3, '
          'which TF-Agents cannot use. Import asm_tf first, or set TF_USE_LEGACY_KERAS=1.')
    # TF-Agents imports `tensorflow.keras`, which TensorFlow would look for in Keras 3.
    folder = pathlib.Path(importlib.util.find_spec('tf_keras').origin).parent
    tensorflow.__path__.insert(0, str(folder / 'api/_v2'))
  os.environ['TF_USE_LEGACY_KERAS'] = '1'


def _uses_keras_3(keras):
  """Whether `tf.keras` is Keras 3 for good; access to an attribute would make it so."""
  state = vars(keras)
  if state.get('_tfll_initialized') is False:  # a lazy loader that has not chosen yet
    return False
  return not state['Model'].__module__.startswith('tf_keras')


def _require_packages():
  for module, remedy in (
      ('tensorflow', 'pip install -r requirements.txt'),
      ('tf_keras', 'pip install -r requirements.txt'),
      ('tf_agents', 'pip install --no-deps tf-agents==0.19.0'),
  ):
    if importlib.util.find_spec(module) is None:
      raise ImportError(f'{module} is not installed: run `{remedy}` (the README has the set-up).')


def _speed_up_xla():
  """Disables XLA's rewrite of sums into trees, a quarter of a transformer's update on a CPU."""
  if 'xla_disable_hlo_passes' not in os.environ.get('XLA_FLAGS', ''):
    flags = [os.environ.get('XLA_FLAGS', ''), '--xla_disable_hlo_passes=tree_reduction_rewriter']
    os.environ['XLA_FLAGS'] = ' '.join(flags).strip()


def _keep_freed_memory():
  """Has TensorFlow reuse the memory that a step frees; takes effect before its first tensor.

  A compiled update allocates the same megabytes every time. The C library maps and unmaps them,
  and the page faults take up to half of a transformer's update (H = 500).
  """
  os.environ.setdefault('TF_CPU_ALLOCATOR_USE_BFC', '1')


def _silence_others():
  """TensorFlow logs as it starts. So does gym, which TF-Agents imports: it prints a banner about
  its own end of life, and has Python show everybody's warnings of what is deprecated.
  """
  import_within('tensorflow', harmless_lines_dropped)
  import_within('gym', warnings.catch_warnings)
  if importlib.util.find_spec('gym_notices'):
    from gym_notices import notices
    notices.notices.clear()


_require_packages()
_require_keras_2()
_speed_up_xla()
_keep_freed_memory()
_silence_others()
