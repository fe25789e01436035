"""What a program costs by the estimates that XLA leaves in it; plain Python, on its text.

A TPU's compiler writes the estimated cycles beside every operation. Its own sums
(`cost_analysis`) count what is in a loop once; here it counts as often as the loop turns.
"""

import functools
import math
import re

# name, type, operation and the rest of a line such as
#   %x = f32[8,4]{1,0:T(8,128)} convolution(%a, %b), dim_labels=bf_io->bf, backend_config={...}
_INSTRUCTION = re.compile(r'^\s+(?:ROOT )?(%\S+) = (.+?) ([a-z][\w-]*)\((.*)$')
_COMPUTATION = re.compile(r'^(ENTRY )?(%\S+) .*\{$')
_CALLED = re.compile(r'(?:calls|to_apply|body|true_computation|false_computation)=(%[^,\s}]+)')
_BRANCHES = re.compile(r'branch_computations=\{([^}]*)\}')
_CYCLES = re.compile(r'"estimated_cycles":"(\d+)"')


def cost(text):
  """(cycles, operations of the products) of a compiled program, loops counted in full.

  Raises:
    ValueError: for a loop that does not say how often it turns.
  """
  computations, entry = _computations(text)

  @functools.cache
  def of(name):
    cycles = operations = 0
    lines = computations[name]
    for line in lines.values():
      _, result, kind, rest = line
      times = 1
      if kind == 'while':
        times = _turns(line, lines, computations)
      elif kind == 'convolution':
        operations += _operations(result, rest, lines)
      if estimate := _CYCLES.search(rest):
        cycles += int(estimate[1])
      called = _CALLED.findall(rest)
      for branches in _BRANCHES.findall(rest):
        called += branches.split(', ')
      for part in called:
        of_part = of(part)
        # The estimate of a fusion is that of all that is in it.
        cycles += 0 if kind == 'fusion' else times * of_part[0]
        operations += times * of_part[1]
    return cycles, operations

  return of(entry)


def _computations(text):
  """{computation: {name: (name, type, operation, rest)}} of all lines, and which runs first."""
  computations, entry, lines = {}, None, {}
  for line in text.splitlines():
    if head := _COMPUTATION.match(line):
      lines = computations[head[2]] = {}
      entry = head[2] if head[1] else entry
    elif instruction := _INSTRUCTION.match(line):
      lines[instruction[1]] = instruction.groups()
  return computations, entry


def _turns(loop, lines, computations):
  """How often a loop turns: it counts from 0 to a constant, its own or one that it is given.

  Args:
    loop: its line.
    lines: {name: line} beside it.
    computations: of the program.
  """
  condition = computations[re.search(r'condition=(%[^,\s}]+)', loop[3])[1]]
  limits = [_constant(line) for line in condition.values() if line[2] == 'constant']
  if not limits:
    limits = [_number(_given(loop, lines)[index], lines, computations)
              for index in _counts(condition)]
  limits = [limit for limit in limits if limit > 0]  # one of them is where it begins
  if not limits:
    raise ValueError('a loop of unknown length')
  return min(limits)


def _number(name, lines, computations):
  """The whole number that a line stands for; 0 where it cannot be told."""
  _, result, kind, rest = line = lines[name]
  if not result.startswith('s32[]') or kind not in ('constant', 'copy', 'get-tuple-element'):
    return 0
  if kind == 'constant':
    return _constant(line)
  source = lines[rest.split(')')[0]]
  if kind == 'copy':
    return _number(source[0], lines, computations)
  if source[2] != 'while':
    return 0
  index = _index(line)
  # The count of a loop, at its end, is its limit.
  condition = computations[re.search(r'condition=(%[^,\s}]+)', source[3])[1]]
  if index in _counts(condition):
    return _turns(source, lines, computations)
  return _number(_given(source, lines)[index], lines, computations)


def _given(loop, lines):
  """Names of what a loop begins with."""
  return re.findall(r'%[^,\s)]+', lines[loop[3].split(')')[0]][3].split(')')[0])


def _counts(condition):
  """Where in a loop's tuple the whole numbers are that its condition looks at."""
  return [_index(line) for line in condition.values()
          if line[2] == 'get-tuple-element' and line[1].startswith('s32[]')]


def _index(line):
  return int(line[3].split('index=')[1].split(',')[0])


def _constant(line):
  return int(line[3].split(')')[0])


def _operations(result, rest, lines):
  """Two for every product of numbers in a convolution, as which a TPU computes matrix products."""
  _, kernel = (lines[name][1] for name in re.match(r'(%[^,]+), (%[^)]+)\)', rest).groups())
  labels = re.search(r'dim_labels=\w+_(\w+)->\w+', rest)[1]
  inner = _shape(kernel)[labels.index('i')]
  window = re.search(r'window=\{([^}]*)\}', rest)
  return 2 * math.prod(_shape(result)) * inner * (_window(window[1]) if window else 1)


def _window(text):
  """How many elements of the window meet a number of the input; those of a batch meet one."""
  fields = dict(field.split('=') for field in text.split())
  sizes = [int(size) for size in fields['size'].split('x')]
  dilated = fields.get('lhs_dilate', 'x'.join('1' * len(sizes))).split('x')
  padded = fields.get('pad', 'x'.join(['0_0'] * len(sizes))).split('x')
  return math.prod(size for size, dilation, padding in zip(sizes, dilated, padded, strict=True)
                   if dilation == '1' and padding == '0_0')


def _shape(type_):
  return [int(size) for size in re.search(r'\[([\d,]*)\]', type_)[1].split(',') if size]
