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
    short: str = ""


@dataclass(frozen=True)
class Switch:
    """One thing that a convention decides, as people call it, and what can be decided.

    `column` is the title, and a value's `short` its name, in narrow tables.
    """

    title: str
    values: Mapping[str, Value]
    column: str = ""

    def short(self, value: str) -> str:
        """A value's name in narrow tables."""
        return self.values[value].short or value

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
Embedding = Literal["none", "positions", "parameters", "product"]
Logits = Literal["product", "untied only", "three quarters"]
OtherParameters = Literal["none", "once per token"]
Attention = Literal["whole", "none", "half", "needed", "flash", "window", "softmax"]
Recompute = Literal["as run", "left out", "whole forward"]
Experts = Literal["active", "all"]

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
        "grad_input",
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
        "grad_weight",
    ),
    "first_grad_input": Switch(
        "first layer's grad_input",
        {
            "always": Value(
                "counts grad_input of every trained layer, also of the first, whose input needs no gradient",
                "the rows of SWAT's Tables 2–5; Evci et al., appendix H",
            ),
            "where needed": Value(
                "counts grad_input only where a gradient is needed", "what autograd executes", "needed"
            ),
        },
        "first\ngrad_input",
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
                "default",
            ),
            "weight sparsity": Value(
                "reduces grad_weight by weight sparsity for methods that need only the gradients of active weights, "
                "and not at all for others",
                "Evci et al., appendix H",
                "weights",
            ),
        },
        "zeros in\ngrad_weight",
    ),
    "other_passes_sparsity": Switch(
        "what reduces forward and grad_input",
        {
            "method": Value("reduces forward and grad_input by all that the method makes sparse there", "SWAT, A.3"),
            "weight sparsity": Value(
                "reduces forward and grad_input by weight sparsity only", "Evci et al., appendix H", "weights"
            ),
        },
        "zeros\nelsewhere",
    ),
    "bias_and_relu": Switch(
        "bias and ReLU",
        {
            "none": Value("counts neither bias nor ReLU", "SWAT, A.3"),
            "half a MAC per output": Value(
                "counts half a MAC per output in each pass, whatever the sparsity, as if every layer had a bias and a "
                "ReLU",
                "Evci et al., appendix H: O = F · H · W FLOPs",
                "1/2 MAC",
            ),
            "half a MAC per output, depthwise per position": Value(
                "counts half a MAC per output in each pass, whatever the sparsity, but for a depthwise convolution one "
                "output per position: H · W, not F · H · W",
                "the public code of Evci et al., which counts a depthwise kernel of R × S × F × 1 as one filter",
                "1/2, depth",
            ),
        },
        "bias,\nReLU",
    ),
    "first_padding": Switch(
        "padding of the first and of strided depthwise convolutions",
        {
            "as run": Value("counts the outputs that these convolutions have", "the network itself", "run"),
            "same": Value(
                "pads the input of the first convolution, and of strided depthwise ones, and then counts the output as "
                "'same': 230 / 2 = 115 rows for ResNet-50's first",
                "the public code of Evci et al., which counts Keras networks: a layer of its own pads these inputs",
            ),
        },
        "padding",
    ),
    "average": Switch(
        "average over training",
        {
            "step by step": Value(
                "averages the steps of the run as the algorithm takes them", "the methods' algorithms", "steps"
            ),
            "closed form": Value(
                "averages the steps of the run by the closed form of the method's authors where they have one",
                "Evci et al., appendix H and public code",
                "closed",
            ),
        },
        "average",
    ),
    "extra_macs": Switch(
        "extra MACs of the method",
        {
            "counted": Value("counts work that a method adds of its own, such as DSG's search", "ours"),
            "left out": Value(
                "leaves out work that a method adds of its own", "Evci et al., appendix H, which has none"
            ),
        },
        "extra\nMACs",
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
        "input in\nAct ↓",
    ),
    "embedding": Switch(
        "embeddings",
        {
            "none": Value(
                "counts no embedding: a row is looked up", "what is executed; Narayanan et al. 2021, appendix"
            ),
            "positions": Value(
                "counts every parameter of embeddings once per token in each pass, but for those of the tokens",
                "N without the tokens' embedding, in the public code of lingua and torchtitan",
                "positions",
            ),
            "parameters": Value(
                "counts every parameter of embeddings once per token in each pass; one that is the output layer's "
                "weight, too, is counted there",
                "6 · N; the public code of llm-foundry",
                "all",
            ),
            "product": Value(
                "counts the tokens' embedding as a product with one-hot vectors, also where it is the output layer's "
                "weight, and no other embedding",
                "Hoffmann et al. 2022, appendix F",
                "one-hot",
            ),
        },
        "embedding",
    ),
    "logits": Switch(
        "output layer (logits)",
        {
            "product": Value(
                "counts the output layer as any other", "what is executed; Narayanan et al. 2021, appendix"
            ),
            "untied only": Value(
                "leaves out the output layer where its weight is the tokens' embedding, which N is without",
                "the public code of transformers and lingua",
                "untied",
            ),
            "three quarters": Value(
                "counts three quarters of the output layer unless activations are recomputed: the formula for "
                "recomputing, with V / (16 · L · h), without recomputing",
                "the public code of GPT-NeoX; Narayanan et al. 2021 have 16 with recomputing and 12 without",
                "3/4",
            ),
        },
        "logits",
    ),
    "other_parameters": Switch(
        "norms, biases and other parameters",
        {
            "none": Value("counts weights of products only", "what is multiplied as matrices"),
            "once per token": Value(
                "counts each parameter that is neither a weight of a product nor an embedding, such as those of norms "
                "and biases, once per token in each pass",
                "6 · N, where N counts every parameter",
                "in N",
            ),
        },
        "norms",
    ),
    "attention": Switch(
        "products of two activations (attention)",
        {
            "whole": Value(
                "counts products of two activations in full, whatever is masked",
                "12 · L · h · s; Chowdhery et al. 2022, appendix B",
            ),
            "none": Value("counts no product of two activations", "6 · N"),
            "half": Value(
                "counts half of causal attention", "the public code of Megatron-LM, and of MaxText since 2025", "half"
            ),
            "needed": Value(
                "counts the pairs of a query and a key that no causal mask and no sliding window excludes: (s + 1) / 2 "
                "keys per query where it is causal",
                "the definition of causal attention; kernels compute whole blocks, hence slightly more",
            ),
            "flash": Value(
                "counts half of causal attention, and its backward pass as 2.5 times its forward pass, as "
                "FlashAttention computes scores again",
                "Dao 2023, Section 4.1; the public code of lingua",
            ),
            "window": Value(
                "counts for each query as many keys as its sliding window holds, whatever else is masked",
                "the public code of nanochat",
            ),
            "softmax": Value(
                "counts products of two activations in full, and 3 FLOPs for the softmax of each score in each pass",
                "Hoffmann et al. 2022, appendix F",
            ),
        },
        "attention",
    ),
    "recompute": Switch(
        "recomputed activations",
        {
            "as run": Value("counts what activation checkpointing computes again", "what is executed"),
            "left out": Value(
                "leaves out what activation checkpointing computes again",
                "model FLOPs utilisation: Chowdhery et al. 2022, appendix B",
            ),
            "whole forward": Value(
                "counts the whole forward pass again if activation checkpointing computes any of it again",
                "the public code of llm-foundry: 4 / 3",
            ),
        },
        "recompute",
    ),
    "experts": Switch(
        "experts, and weights that other rows than tokens meet",
        {
            "active": Value(
                "counts each weight for the rows that it meets: of a mixture's experts, those that are active",
                "what is executed",
            ),
            "all": Value(
                "counts each weight once per token: all experts of a mixture, and a weight that several layers share "
                "once",
                "6 · N, where N counts every parameter",
            ),
        },
        "experts",
    ),
}
"""Every switch by the name of its field of a `Convention`, in the order in which `swatcost explain` turns them."""
