"""Tests run side by side, one for each processor: each computes with one thread, set here before torch is imported."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
