"""The command lines.

Importing this package sets what TensorFlow reads when it is imported.
"""

import os

from launch.compilation_cache import keep_compiled_programs

# Hides TensorFlow's start-up notices, and an "error" for each program that it loads.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '3')
keep_compiled_programs()
