"""What needs an estimate and the accelerator's cycles: simulated steps, studies of many, and 2:4."""
