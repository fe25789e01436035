"""Timing on demand, so that two processes can take turns; needs neither TensorFlow nor JAX."""

import json
import sys
import time


def serve(functions, per_call=()):
  """Answers every line on stdin with {name: seconds} as JSON, after one 'ready'.

  Each function is called once more before it is timed: while the other process has its turn,
  caches grow cold, and a kernel may take back pages that nobody touches.

  Args:
    functions: {name: function ()}, each called once beforehand.
    per_call: {name: how often a call does what is timed}, 1 where it is not given.
  """
  per_call = dict(per_call)
  for function in functions.values():
    function()
  print('ready', flush=True)
  for _ in sys.stdin:
    seconds = {}
    for name, function in functions.items():
      function()
      began = time.perf_counter()
      function()
      seconds[name] = (time.perf_counter() - began) / per_call.get(name, 1)
    print(json.dumps(seconds), flush=True)
