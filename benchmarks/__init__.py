"""What is measured beside the experiments: speed, other programs, devices, faults.

Attributes:
  ENVIRONMENT: the variables as the user has them; `asm_tf` adds flags of XLA and TensorFlow, which
    would change what another program compiles.
"""

import os

ENVIRONMENT = dict(os.environ)
