"""Python begins with this in every process of the tests: those that run Copier are quickened."""

import runpy
import sys
from pathlib import Path

if {"copier", "release.py"} & {Path(word).name for word in sys.orig_argv}:
    runpy.run_path(str(Path(__file__).parents[1] / "quickly.py"))["quicken"]()
