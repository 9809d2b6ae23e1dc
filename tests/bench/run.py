"""`python tests/bench/run.py [NAME…]`: starts `tests.bench.benchmarks` with the repository's root on the path.

Started as a file, Python would look for modules beside it first; here it looks at the root instead.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    root = Path(__file__).resolve().parents[2]
    sys.path[0] = str(root)
    os.chdir(root)  # the processes it starts find the packages there, installed or not
    runpy.run_module("tests.bench.benchmarks", run_name="__main__", alter_sys=True)
