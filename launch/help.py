"""What `--help` and `--list` print."""

import re
import sys
import textwrap
from collections.abc import Callable

from absl import flags

from asm_tf import gin_files

ASKS_FOR_HELP = ('--help', '-help', '-h', '--helpshort', '-helpshort', '--helpfull', '-helpfull')
_WIDTH = 96
# (heading, folder of gin/ whose files are listed)
_FOLDERS = (
    ('What to start (--gin_file of launch.main)', ''),
    ('World models to add (--gin_file again)', 'models'),
    ('Agents to add', 'agents'),
    ("The paper's own settings (--gin_file of launch.main)", 'paper'),
    ('Figures (--gin_file of launch.figure)', 'figures'),
    ('Sweeps (--gin_file of launch.sweep)', 'sweeps'))


def help_text(main: Callable) -> str:
  """Returns the use of a command and all of its flags.

  Args:
    main: of the command's module, whose docstring says what it does, with an example.
  """
  module = sys.modules[main.__module__]
  lines = [(module.__doc__ or '').strip(), '', 'flags:']
  own = [flag for name, found in flags.FLAGS.flags_by_module_dict().items()
         if name.startswith('launch') or name in (sys.argv[0], '__main__', module.__name__)
         for flag in found]
  for flag in sorted(own, key=lambda flag: (not _is_required(flag), flag.name)):
    is_switch = isinstance(flag, flags.BooleanFlag)
    head = f'--[no]{flag.name}' if is_switch else f'--{flag.name}=...'
    notes = ['required'] if _is_required(flag) else (
        [f'default: {flag.default}'] if flag.default not in (None, [], False) else [])
    text = re.sub(r';\s+repeat this option.*', '', flag.help, flags=re.DOTALL).strip()
    text += f' ({"; ".join(notes)})' if notes else ''
    lines += [f'  {head}', textwrap.indent(textwrap.fill(text, _WIDTH), '      ')]
  if 'gin_file' in flags.FLAGS:
    lines += ['  --list', '      Show the systems, models, agents and gin files there are.']
  return '\n'.join([*lines, '  --help', '      Show this.'])


def listing() -> str:
  """Returns what can be chosen, a line each."""
  from asm_tf.systems.registry import SYSTEMS  # TensorFlow starts here
  parts = [('Systems (--gin_bindings=SYSTEM=@..)', {
      name: (sys.modules[system.__module__].__doc__ or '').split('\n')[0]
      for name, system in SYSTEMS.items()})]
  for heading, folder in _FOLDERS:
    files = sorted((gin_files.ROOT / 'gin' / folder).glob('*.gin'))
    parts.append((heading, {str(file.relative_to(gin_files.ROOT)): _first_sentence(file)
                            for file in files}))
  return '\n\n'.join('\n'.join([f'{heading}:', *(
      f'  {name:<{max(map(len, entries))}}  {text}' for name, text in entries.items())])
      for heading, entries in parts if entries)


def _first_sentence(file):
  """What the comment at the top of a gin file says, up to its first full stop."""
  comment = re.match(r'(?:#.*\n)+', file.read_text(encoding='utf-8'))
  text = ' '.join(line.lstrip('# ') for line in comment[0].splitlines()) if comment else ''
  return re.split(r'(?<=[^.])\.(?:\s|$)', text, maxsplit=1)[0]


def _is_required(flag):
  return any('must have a value' in validator.message for validator in flag.validators)
