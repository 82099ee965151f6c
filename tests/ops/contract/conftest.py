"""The fixtures of a project's own tests, for what must hold of `ops/` whatever the contract."""

from __future__ import annotations

from importlib.util import module_from_spec, spec_from_file_location

from overlay import under_test

_spec = spec_from_file_location("project_conftest", under_test() / "tests" / "conftest.py")
assert _spec
assert _spec.loader
_conftest = module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
globals().update({name: its for name, its in vars(_conftest).items() if not name.startswith("_")})
