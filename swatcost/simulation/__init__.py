"""Simulated training steps, studies of many simulations, and 2:4 sparsity."""
