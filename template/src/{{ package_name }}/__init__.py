"""`ml` is yours: the problem. `ops` is kept current for you: the operations."""

import os

# Threads of OpenMP that wait would keep the processors busy; it asks once, when scikit-learn loads.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")
