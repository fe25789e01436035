"""The run is handed to wandb, which is not installed here, and ends there as it ends."""

import sys
import types

import pytest

from asm_tf.errors import UserError
from launch.weights_and_biases import synchronised


class Wandb(types.ModuleType):
  """What is used of wandb."""

  errors = types.SimpleNamespace(Error=type('Error', (Exception,), {}))

  def __init__(self, fails=False):
    super().__init__('wandb')
    self.begun, self.exit_codes, self._fails = [], [], fails

  def init(self, **settings):
    if self._fails:
      raise self.errors.Error('no API key\nconfigured')
    self.begun.append(settings)
    return types.SimpleNamespace(finish=self.exit_codes.append)


def test_a_run_is_synchronised_under_its_folders_name(tmp_path, monkeypatch):
  wandb = Wandb()
  monkeypatch.setitem(sys.modules, 'wandb', wandb)
  for resume in (False, True):  # the second goes on with the first
    with synchronised('asm', str(tmp_path / 'runs' / 'hiv'), resume):
      assert not (tmp_path / 'runs' / 'hiv').exists()  # which the run itself makes
  first, second = wandb.begun
  assert (first['id'], first['resume'], second['resume']) == (second['id'], None, 'allow')
  assert (first['project'], first['name'], first['sync_tensorboard']) == ('asm', 'hiv', True)
  for folder in ('others', 'runs'):  # the second is begun anew, as on another machine
    with synchronised('asm', str(tmp_path / folder / 'hiv')):
      pass
  assert len({begun['id'] for begun in wandb.begun}) == 3
  assert wandb.exit_codes == [0, 0, 0, 0]


def test_a_failed_run_has_failed_there_too(tmp_path, monkeypatch):
  wandb = Wandb()
  monkeypatch.setitem(sys.modules, 'wandb', wandb)
  with pytest.raises(KeyError), synchronised('asm', str(tmp_path / 'run')):
    raise KeyError
  assert wandb.exit_codes == [1]


def test_nothing_is_imported_where_nothing_is_asked_for(tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', None)
  with synchronised(None, str(tmp_path / 'run')):
    pass


@pytest.mark.parametrize(('module', 'said'), [
    (None, 'pip install wandb'), (Wandb(fails=True), r'no API key configured.*wandb login')])
def test_without_wandb_or_a_login_there_is_one_line(module, said, tmp_path, monkeypatch):
  monkeypatch.setitem(sys.modules, 'wandb', module)
  with pytest.raises(UserError, match=said), synchronised('asm', str(tmp_path / 'run')):
    raise AssertionError('not reached')
