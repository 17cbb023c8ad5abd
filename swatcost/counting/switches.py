"""What conventions can differ in, one switch each: its values, what each means, and who counts that way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Value:
    """A value of a switch: what a convention with it does, as the rest of a sentence that names it, and who does so."""

    words: str
    source: str


@dataclass(frozen=True)
class Switch:
    """One thing that a convention decides, as people call it, and what can be decided."""

    title: str
    values: Mapping[str, Value]

    def check(self, value: object, name: str) -> None:
        """Raises ValueError unless the switch, whose name is given, has that value."""
        if not isinstance(value, str) or value not in self.values:
            raise ValueError(f"{name} {value!r:.60}: give {' or '.join(map(repr, self.values))}")


Resolution = Literal["input", "output"]
"""X · Y or H · W: at how many positions each weight counts. They differ where a layer strides or does not pad."""
FirstGradInput = Literal["always", "where needed"]
GradWeightSparsity = Literal["method", "default activation sparsity", "weight sparsity"]
OtherPassesSparsity = Literal["method", "weight sparsity"]
BiasAndReLU = Literal["none", "half a MAC per output", "half a MAC per output, depthwise per position"]
FirstPadding = Literal["as run", "same"]
Averaging = Literal["step by step", "closed form"]
ExtraMacs = Literal["counted", "left out"]
FirstInput = Literal["sparse", "dense"]

SWITCHES: Mapping[str, Switch] = {
    "grad_input_resolution": Switch(
        "resolution of grad_input",
        {
            "input": Value(
                "counts grad_input at the input resolution, zeros that a stride inserts included",
                "SWAT, Eq. 5 as printed, and the rows of its Tables 2–5",
            ),
            "output": Value(
                "counts grad_input at the output resolution, where each weight meets each position once",
                "what autograd executes; Evci et al., appendix H: backward = 2 × forward",
            ),
        },
    ),
    "grad_weight_resolution": Switch(
        "resolution of grad_weight",
        {
            "input": Value("counts grad_weight at the input resolution", "SWAT, Eq. 6 as printed"),
            "output": Value(
                "counts grad_weight at the output resolution, where each weight meets each position once",
                "what autograd executes; the rows of SWAT's Tables 2–5; Evci et al., appendix H",
            ),
        },
    ),
    "first_grad_input": Switch(
        "first layer's grad_input",
        {
            "always": Value(
                "counts grad_input of every trained layer, also of the first, whose input needs no gradient",
                "the rows of SWAT's Tables 2–5; Evci et al., appendix H",
            ),
            "where needed": Value("counts grad_input only where a gradient is needed", "what autograd executes"),
        },
    ),
    "grad_weight_sparsity": Switch(
        "what reduces grad_weight",
        {
            "method": Value(
                "reduces grad_weight by what the method makes sparse there and, where it needs the gradients of active "
                "weights only, by weight sparsity",
                "Algorithm 1 of SWAT, and the other methods' own papers",
            ),
            "default activation sparsity": Value(
                "reduces grad_weight by the default activation sparsity for methods with sparse weights that make "
                "nothing sparse there",
                "SWAT, A.3",
            ),
            "weight sparsity": Value(
                "reduces grad_weight by weight sparsity for methods that need only the gradients of active weights, "
                "and not at all for others",
                "Evci et al., appendix H",
            ),
        },
    ),
    "other_passes_sparsity": Switch(
        "what reduces forward and grad_input",
        {
            "method": Value("reduces forward and grad_input by all that the method makes sparse there", "SWAT, A.3"),
            "weight sparsity": Value(
                "reduces forward and grad_input by weight sparsity only", "Evci et al., appendix H"
            ),
        },
    ),
    "bias_and_relu": Switch(
        "bias and ReLU",
        {
            "none": Value("counts neither bias nor ReLU", "SWAT, A.3"),
            "half a MAC per output": Value(
                "counts half a MAC per output in each pass, whatever the sparsity, as if every layer had a bias and a "
                "ReLU",
                "Evci et al., appendix H: O = F · H · W FLOPs",
            ),
            "half a MAC per output, depthwise per position": Value(
                "counts half a MAC per output in each pass, whatever the sparsity, but for a depthwise convolution one "
                "output per position: H · W, not F · H · W",
                "the public code of Evci et al., which counts a depthwise kernel of R × S × F × 1 as one filter",
            ),
        },
    ),
    "first_padding": Switch(
        "padding of the first and of strided depthwise convolutions",
        {
            "as run": Value("counts the outputs that these convolutions have", "the network itself"),
            "same": Value(
                "pads the input of the first convolution, and of strided depthwise ones, and then counts the output as "
                "'same': 230 / 2 = 115 rows for ResNet-50's first",
                "the public code of Evci et al., which counts Keras networks: a layer of its own pads these inputs",
            ),
        },
    ),
    "average": Switch(
        "average over training",
        {
            "step by step": Value(
                "averages the steps of the run as the algorithm takes them", "the methods' algorithms"
            ),
            "closed form": Value(
                "averages the steps of the run by the closed form of the method's authors where they have one",
                "Evci et al., appendix H and public code",
            ),
        },
    ),
    "extra_macs": Switch(
        "extra MACs of the method",
        {
            "counted": Value("counts work that a method adds of its own, such as DSG's search", "ours"),
            "left out": Value(
                "leaves out work that a method adds of its own", "Evci et al., appendix H, which has none"
            ),
        },
    ),
    "first_input": Switch(
        "first input in activation reduction (Act ↓)",
        {
            "sparse": Value(
                "takes the first layer's input as sparse in Act ↓, although the layer is dense", "SWAT's Tables 2–5"
            ),
            "dense": Value(
                "takes the first layer's input as dense in Act ↓ where the layer is dense", "what is computed"
            ),
        },
    ),
}
"""Every switch by the name of its field of a `Convention`, in the order in which `swatcost explain` turns them."""
