"""Files of other programs → Network: ONNX graphs. Neither torch nor the values of weights are needed."""

from swatcost.importing.onnx_network import read_onnx

__all__ = ["read_onnx"]
