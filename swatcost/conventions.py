"""How work is counted: which formula counts which pass.

The paper's tables, its printed equations and what a machine executes differ in the resolution at which a
strided layer's gradients are counted; papers agree on less than that. A convention is one consistent choice.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swatcost import macs
from swatcost.costs import Cost, Pass, PassCosts
from swatcost.layer import Layer, Symbols
from swatcost.methods import LayerSparsity, Method
from swatcost.registry import Registry

Formula = Callable[[Layer, int, float], float]
"""(layer, N images, density of the pass) → MACs; with the int 1 as density, an exact int."""


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to count a training step.

    `first_input_sparse`: the first layer's input counts as sparsified in the `Act ↓` column although the
    layer is computed densely, as the paper's tables have it.
    """

    name: str
    title: str
    source: str
    forward: Formula
    grad_input: Formula
    grad_weight: Formula
    first_input_sparse: bool = False

    def count(self, layer: Layer, N: int, method: Method, sparsity: LayerSparsity) -> PassCosts:
        """MACs of one execution of a conv or linear layer on N images, pass by pass."""

        def cost(in_pass: Pass, formula: Formula) -> Cost:
            return Cost(int(formula(layer, N, 1)), formula(layer, N, method.density(in_pass, sparsity)))

        return PassCosts(
            forward=cost("forward", self.forward),
            grad_input=cost("grad_input", self.grad_input),
            grad_weight=cost("grad_weight", self.grad_weight),
        )


def forward(layer: Layer, N: int, density: float) -> float:
    """Eq. 4."""
    d = layer.symbols(N)
    return macs.conv_forward(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, H=d.H, W=d.W, s1=density)


def input_gradient(layer: Layer, N: int, density: float) -> float:
    """Eq. 5 as printed: at the input resolution."""
    return _equation_5(layer.symbols(N), density)


def input_gradient_executed(layer: Layer, N: int, density: float) -> float:
    """Eq. 5 at the output resolution, and nothing where no gradient flows further back."""
    return _equation_5(_at_output(layer.symbols(N)), density) if layer.input_needs_grad else 0


def weight_gradient(layer: Layer, N: int, density: float) -> float:
    """Eq. 6 as printed: at the input resolution."""
    return _equation_6(layer.symbols(N), density)


def weight_gradient_at_output(layer: Layer, N: int, density: float) -> float:
    """Eq. 6 at the output resolution: each weight meets each output position once."""
    return _equation_6(_at_output(layer.symbols(N)), density)


def weight_gradient_executed(layer: Layer, N: int, density: float) -> float:
    """Eq. 6 at the output resolution, and nothing for a frozen weight."""
    return weight_gradient_at_output(layer, N, density) if layer.weight_trains else 0


def _at_output(d: Symbols) -> Symbols:
    return d._replace(X=d.H, Y=d.W)


def _equation_5(d: Symbols, density: float) -> float:
    return macs.conv_input_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s1=density)


def _equation_6(d: Symbols, density: float) -> float:
    return macs.conv_weight_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s2=density)


EXACT = Convention(
    name="exact",
    title="output resolution in every pass, no gradient that nobody needs",
    source="what autograd executes, as torch's own counter has it",
    forward=forward,
    grad_input=input_gradient_executed,
    grad_weight=weight_gradient_executed,
)

CONVENTIONS = Registry[Convention](
    "convention",
    Convention(
        name="swat",
        title="grad_input at the input resolution, the first layer's too, grad_weight at the output resolution",
        source="inferred from the rows of SWAT's Tables 2–5; its Eq. 6 says otherwise",
        forward=forward,
        grad_input=input_gradient,
        grad_weight=weight_gradient_at_output,
        first_input_sparse=True,
    ),
    Convention(
        name="equations",
        title="both gradients at the input resolution, the first layer's too",
        source="SWAT, A.3, Eqs. 4–6 as printed",
        forward=forward,
        grad_input=input_gradient,
        grad_weight=weight_gradient,
        first_input_sparse=True,
    ),
    EXACT,
)
