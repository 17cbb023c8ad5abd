"""Simulated training steps, and studies of many simulations."""
