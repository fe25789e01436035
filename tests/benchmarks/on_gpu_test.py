"""What is exported for a machine with a GPU, and in which order."""

from benchmarks.on_gpu import prepare


def test_cells_are_named_in_their_order_and_each_once():
  names = [prepare.name(number, cell) for number, cell in enumerate(prepare.CELLS)]
  assert names == sorted(set(names))
  assert names[0] == '00-lstm-100-1-float32'
  assert all(len(name.split('-')) == 5 for name in names)  # which `measure` takes apart


def test_only_the_timed_programs_are_kept(tmp_path, monkeypatch):
  def export(command, **_):
    folder, = (part.removeprefix('--out=') for part in command if part.startswith('--out='))
    draft = tmp_path.joinpath(folder)
    draft.mkdir()
    for program in (*prepare._TIMED, 'reward_learner.apply_gradient'):
      (draft / f'{program}.hlo').touch()
    return type('Done', (), {'returncode': 0})

  monkeypatch.setattr(prepare.subprocess, 'run', export)
  prepare._export(prepare.CELLS[0], tmp_path / 'cell')
  assert {path.name for path in (tmp_path / 'cell').iterdir()} == {
      f'{program}.hlo.gz' for program in prepare._TIMED}
  assert not (tmp_path / 'cell.tmp').exists()


