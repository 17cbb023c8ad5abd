"""The three products of Algorithm 1 with sparse operands, on a CPU, compiled by numba. Arrays are float32 and flat.

Activations lie batch-last: height, width, channels, samples (HWCN). A weight that is not zero then multiplies a run of
samples, which is a few vectors long, and the channels of a pixel lie side by side.
"""

import swatcost.kernels.compiled  # noqa: F401 # says what to install, before anything else imports numba
