"""How work is counted: the equations of SWAT's A.3, and the switches that a convention turns.

The paper's tables, its printed equations and what a machine executes differ in the resolution at which a
strided layer's gradients are counted; papers agree on less than that. A convention is one consistent choice: a row of
values, one for each switch (`swatcost.counting.switches`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil, prod
from typing import Literal

from swatcost.counting import equations, switches
from swatcost.counting.attention import attention_costs
from swatcost.counting.costs import Cost, PassCosts
from swatcost.counting.switches import SWITCHES
from swatcost.methods import LayerSparsity, Method, Phase
from swatcost.methods.added_work import Added
from swatcost.network.layer import Layer, Symbols
from swatcost.network.passes import PASSES, Pass
from swatcost.sparsity import SparsityPlan

DEFAULT_ACT_SPARSITY = 0.5
"""Zeros [-] among activations: "for our calculation we assumed default activation sparsity of 50%" (SWAT, A.3)."""

Formula = Callable[[Layer, float], float]
"""(layer, density of the pass) → MACs of the traced batch; with the int 1 as density, an exact int."""

Density = Callable[[Pass, Method, LayerSparsity, Phase, float], float]
"""(pass, method, target sparsity, phase, default activation sparsity) → the fraction of dense work that counts."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to count a training step: a name, and a value for each switch.

    `per` says what its author gives a figure for. Conventions per token are those of language models: what they make of
    a network as a whole, such as its embeddings, is in `swatcost.counting.language`.

    A convention that no switches can say has formulas of its own: `formulas` has a pass's MACs, whatever the switches
    of resolution, padding and the first layer say, and `own_density` what sparsity leaves of every pass.

    Raises ValueError for a value that a switch does not have, and for a formula whose key is not a pass.
    """

    name: str
    title: str
    source: str
    grad_input_resolution: switches.Resolution
    grad_weight_resolution: switches.Resolution
    first_grad_input: switches.FirstGradInput
    grad_weight_sparsity: switches.GradWeightSparsity
    other_passes_sparsity: switches.OtherPassesSparsity
    bias_and_relu: switches.BiasAndReLU
    first_padding: switches.FirstPadding
    average: switches.Averaging
    extra_macs: switches.ExtraMacs
    first_input: switches.FirstInput
    per: Literal["sample", "token"] = "sample"
    embedding: switches.Embedding = "none"
    logits: switches.Logits = "product"
    other_parameters: switches.OtherParameters = "none"
    attention: switches.Attention = "whole"
    recompute: switches.Recompute = "as run"
    experts: switches.Experts = "active"
    formulas: Mapping[Pass, Formula] = field(default_factory=dict, hash=False)
    own_density: Density | None = None

    def __post_init__(self) -> None:
        for name, each in SWITCHES.items():
            each.check(getattr(self, name), name)
        if strangers := [str(each) for each in self.formulas if each not in PASSES]:
            raise ValueError(f"formulas of {', '.join(strangers)}: give {' or '.join(PASSES)}")

    def charges_default_sparsity(self, method: Method) -> bool:
        """Whether grad_weight is reduced by the default activation sparsity, whatever the method needs."""
        charges = self.own_density is None and self.grad_weight_sparsity == "default activation sparsity"
        return charges and method.relies_on_default_sparsity

    @property
    def counts_weight_sparsity_only(self) -> bool:
        """Whether sparse activations and outputs make no difference to any pass."""
        return self.own_density is None and self.grad_weight_sparsity == self.other_passes_sparsity == "weight sparsity"

    def phases(self, of: SparsityPlan | Method, steps: int) -> tuple[Phase, ...]:
        """The phases of a run under a plan, or of a method's at some target, as this convention counts them."""
        return of.published_phases(steps) if self.average == "closed form" else of.phases(steps)

    def count(
        self,
        layer: Layer,
        method: Method,
        sparsity: LayerSparsity,
        *,
        phases: Sequence[Phase] = (Phase(1.0),),
        default_act_sparsity: float = DEFAULT_ACT_SPARSITY,
    ) -> PassCosts:
        """MACs of one execution of a layer or product, a step on average over the run's phases, for the traced batch.

        Inference is the forward pass with the sparsity that the run ends with. Products of two activations stay dense,
        with both operands' gradients in grad_input.
        """
        again = 0 if self.recompute == "left out" else layer.recomputed
        if layer.is_product:
            forward, gradients = attention_costs(self.attention, layer)
            return PassCosts(forward=forward, grad_input=gradients, recompute=again * forward, inference=forward)
        added = method.added_to(layer) if self.extra_macs == "counted" else method.branches_of(layer)
        changed = sparsity.is_sparse if method.makes_sparse else True

        def cost(in_pass: Pass, phases: Sequence[Phase], method: Method = method) -> Cost:
            extra = changed * self._added(added, in_pass, layer) * sum(phase.share for phase in phases if phase.adds)
            # Summing what is saved keeps a density of 1 exact, whatever the shares round to.
            density = 1 - sum(
                phase.share * (1 - self.density(in_pass, method, sparsity, phase, default_act_sparsity))
                for phase in phases
            )
            dense = self.macs(in_pass, layer, 1)
            if not dense:
                return Cost(0, extra)
            fixed = self.fixed_macs(layer)
            dense += fixed
            frozen = in_pass == "grad_weight" and method.weight_gradient == "none"
            sparse = extra if frozen else self.macs(in_pass, layer, density) + fixed + extra
            return Cost(int(dense) if dense == int(dense) else dense, sparse)

        forward = cost("forward", phases)
        return PassCosts(
            forward=forward,
            grad_input=cost("grad_input", phases),
            grad_weight=cost("grad_weight", phases),
            recompute=again * forward,
            inference=cost("forward", (method.trained,), method.as_trained),
        )

    def _added(self, added: Added, in_pass: Pass, layer: Layer) -> float:
        """MACs that a method adds to a pass: what runs or, where each weight counts once per row, all added weights."""
        if self.experts == "all" and self.macs(in_pass, layer, 1):
            return added.elements * layer.forward_macs / layer.weight_elements
        return added.macs(in_pass)

    def macs(self, in_pass: Pass, layer: Layer, density: float) -> float:
        """MACs of a pass of a conv or linear layer (Eqs. 4–6), for the traced batch; an exact int for a density of 1.

        Papers' networks train whole, so their formulas do not say what happens without a gradient: where the backward
        pass does not come by, and for a frozen weight, nothing is counted.
        """
        if in_pass in self.formulas:
            return self.formulas[in_pass](layer, density)
        return layer.real_products * self._products(in_pass, layer, density)

    def _products(self, in_pass: Pass, layer: Layer, density: float) -> float:
        d = self._symbols(layer)
        if in_pass == "forward":
            return _equation_4(d, density)
        if in_pass == "grad_weight":
            at = d if self.grad_weight_resolution == "input" else _at_output(d)
            return _equation_6(at, density) if layer.weight_trains else 0
        has_gradient = layer.input_needs_grad or (self.first_grad_input == "always" and layer.weight_trains)
        at = d if self.grad_input_resolution == "input" else _at_output(d)
        return _equation_5(at, density) if has_gradient else 0

    def fixed_macs(self, layer: Layer) -> float:
        """MACs of bias and ReLU in each pass that is computed, for the traced batch: no sparsity reduces them."""
        if self.bias_and_relu == "none":
            return 0
        d = self._symbols(layer)
        outputs = prod(layer.output_shape) if d is layer.symbols else d.N * d.F * d.H * d.W
        per_position = self.bias_and_relu.endswith("depthwise per position") and layer.is_depthwise
        return 0.5 * outputs / (layer.groups if per_position else 1)

    def density(
        self, in_pass: Pass, method: Method, sparsity: LayerSparsity, phase: Phase, default_act_sparsity: float
    ) -> float:
        """The fraction of a pass's dense work that counts in a phase of a run."""
        if self.own_density is not None:
            return self.own_density(in_pass, method, sparsity, phase, default_act_sparsity)
        if in_pass == "grad_weight":
            if self.charges_default_sparsity(method):
                return 1 - default_act_sparsity
            if self.grad_weight_sparsity == "weight sparsity":
                every = method.weight_gradient == "all" or phase.dense_weight_gradient
                return 1.0 if every else 1 - method.sparsity_in(in_pass, sparsity.during(phase).weight)
        elif self.other_passes_sparsity == "weight sparsity":
            reads = "weight" in method.sparse[in_pass]
            return 1 - method.sparsity_in(in_pass, sparsity.during(phase).weight) if reads else 1.0
        return method.density(in_pass, sparsity, phase)

    def _symbols(self, layer: Layer) -> Symbols:
        """The layer's dimensions, with the output of some convolutions as the switch of padding has it.

        These are the network's first, which reads the first storage of the trace, its input, and of the strided ones
        those that are depthwise or do not pad: in Keras's networks a layer before them does.
        """
        d = layer.symbols
        if self.first_padding == "as run" or layer.kind != "conv":
            return d
        padded_before = max(layer.stride) > 1 and (layer.is_depthwise or not any(layer.padding))
        if layer.input_storage != 0 and not padded_before:
            return d
        sizes = zip(layer.input_shape[2:], layer.padding, layer.stride, strict=True)
        H, *W = (ceil((size + 2 * padding) / stride) for size, padding, stride in sizes)
        return d._replace(H=H, W=prod(W))


def _at_output(d: Symbols) -> Symbols:
    """Eqs. 5 and 6 with H · W in place of X · Y."""
    return d._replace(X=d.H, Y=d.W)


def _equation_4(d: Symbols, density: float) -> float:
    return equations.conv_forward(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, H=d.H, W=d.W, s1=density)


def _equation_5(d: Symbols, density: float) -> float:
    return equations.conv_input_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s1=density)


def _equation_6(d: Symbols, density: float) -> float:
    return equations.conv_weight_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s2=density)
