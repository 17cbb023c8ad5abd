"""How work is counted: which formula counts which pass.

The paper's tables, its printed equations and what a machine executes differ in the resolution at which a
strided layer's gradients are counted; papers agree on less than that. A convention is one consistent choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import ceil, prod

from swatcost.common.registry import Registry
from swatcost.counting import equations
from swatcost.counting.costs import Cost, PassCosts
from swatcost.methods import LayerSparsity, Method, Phase
from swatcost.network.layer import Layer, Symbols
from swatcost.network.passes import Pass

DEFAULT_ACT_SPARSITY = 0.5
"""Zeros [-] among activations: "for our calculation we assumed default activation sparsity of 50%" (SWAT, A.3)."""

Formula = Callable[[Layer, float], float]
"""(layer, density of the pass) → MACs of the traced batch; with the int 1 as density, an exact int."""


Density = Callable[[Pass, Method, LayerSparsity, Phase, float], float]
"""(pass, method, target sparsity, phase, default activation sparsity) → the fraction of dense work that counts."""


def nothing_fixed(layer: Layer) -> float:
    """No work beside multiply-accumulates."""
    return 0


@dataclass(frozen=True, kw_only=True)
class Convention:
    """One way to count a training step.

    `forward`, `grad_input` and `grad_weight` count a pass's MACs, `density` says what sparsity leaves of them.
    `counts_extra_macs`: what a method adds of its own counts too. `fixed` is work [MACs] in each pass that no sparsity
    reduces.
    `published_schedules`: runs are counted by the closed forms of the methods' authors where they differ from what
    the algorithm does. `first_input_sparse`: the first layer's input counts as sparsified in the `Act ↓` column
    although the layer is computed densely, as the paper's tables have it.
    """

    name: str
    title: str
    source: str
    forward: Formula
    grad_input: Formula
    grad_weight: Formula
    density: Density
    counts_extra_macs: bool = True
    fixed: Callable[[Layer], float] = nothing_fixed
    published_schedules: bool = False
    first_input_sparse: bool = False

    def phases(self, method: Method, steps: int) -> tuple[Phase, ...]:
        """The phases of a run as this convention counts them."""
        schedule = (self.published_schedules and method.published_schedule) or method.schedule
        return schedule(steps)

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

        Inference is the forward pass with the sparsity that the run ends with. Products of two activations are
        counted alike by all conventions: whole in every pass, both operands' gradients in grad_input.
        """
        if layer.is_product:
            return _of_product(layer)
        added = method.extra_macs(layer) if method.extra_macs and self.counts_extra_macs else 0
        extra = added * sparsity.is_sparse

        def cost(in_pass: Pass, formula: Formula, phases: Sequence[Phase]) -> Cost:
            # Summing what is saved keeps a density of 1 exact, whatever the shares round to.
            density = 1 - sum(
                phase.share * (1 - self.density(in_pass, method, sparsity, phase, default_act_sparsity))
                for phase in phases
            )
            dense = formula(layer, 1)
            if not dense:
                return Cost()
            fixed = self.fixed(layer)
            dense += fixed
            sparse = formula(layer, density) + fixed + (extra if in_pass == "forward" else 0)
            return Cost(int(dense) if dense == int(dense) else dense, sparse)

        forward = cost("forward", self.forward, phases)
        return PassCosts(
            forward=forward,
            grad_input=cost("grad_input", self.grad_input, phases),
            grad_weight=cost("grad_weight", self.grad_weight, phases),
            recompute=layer.recomputed * forward,
            inference=cost("forward", self.forward, (Phase(1.0),)),
        )


def _of_product(layer: Layer) -> PassCosts:
    forward, gradients = (Cost(macs, macs) for macs in layer.product_macs())
    return PassCosts(forward=forward, grad_input=gradients, recompute=layer.recomputed * forward, inference=forward)


def needed_by_algorithm(
    in_pass: Pass, method: Method, sparsity: LayerSparsity, phase: Phase, default_act_sparsity: float
) -> float:
    """What the algorithm needs, no more and no less."""
    return method.density(in_pass, sparsity, phase)


def as_swat_counts(
    in_pass: Pass, method: Method, sparsity: LayerSparsity, phase: Phase, default_act_sparsity: float
) -> float:
    """A.3: sparse learning algorithms get a grad_weight thinned by the default activation sparsity only."""
    if in_pass == "grad_weight" and method.relies_on_default_sparsity:
        return 1 - default_act_sparsity
    return method.density(in_pass, sparsity, phase)


def as_rigl_counts(
    in_pass: Pass, method: Method, sparsity: LayerSparsity, phase: Phase, default_act_sparsity: float
) -> float:
    """Appendix H: only weight sparsity counts, and in grad_weight where the gradient is needed for active weights."""
    if in_pass == "grad_weight" and (method.weight_gradient == "all" or phase.dense_weight_gradient):
        return 1.0
    sparse = in_pass == "grad_weight" or "weight" in method.sparse[in_pass]
    return 1 - sparsity.scaled(phase.scale).weight if sparse else 1.0


def forward(layer: Layer, density: float) -> float:
    """Eq. 4."""
    return _equation_4(layer.symbols, density)


def input_gradient(layer: Layer, density: float) -> float:
    """Eq. 5 as printed: at the input resolution, also where a trained layer's own input needs no gradient."""
    return _equation_5(layer.symbols, density) if _has_gradient(layer) else 0


def input_gradient_at_output(layer: Layer, density: float) -> float:
    """Eq. 5 at the output resolution: each weight meets each output position once."""
    return _equation_5(_at_output(layer.symbols), density) if _has_gradient(layer) else 0


def input_gradient_executed(layer: Layer, density: float) -> float:
    """Eq. 5 at the output resolution, and nothing where no gradient flows further back."""
    return _equation_5(_at_output(layer.symbols), density) if layer.input_needs_grad else 0


def weight_gradient(layer: Layer, density: float) -> float:
    """Eq. 6 as printed: at the input resolution; nothing for a frozen weight."""
    return _equation_6(layer.symbols, density) if layer.weight_trains else 0


def weight_gradient_at_output(layer: Layer, density: float) -> float:
    """Eq. 6 at the output resolution: each weight meets each output position once; nothing for a frozen weight."""
    return _equation_6(_at_output(layer.symbols), density) if layer.weight_trains else 0


def bias_and_relu(layer: Layer) -> float:
    """RigL's O = F · H · W FLOPs an output: half a MAC each, as if every layer had a bias and a ReLU."""
    return 0.5 * prod(layer.output_shape)


def forward_padded(layer: Layer, density: float) -> float:
    """Eq. 4 with the first layer's output as RigL's code has it."""
    return _equation_4(_padded(layer), density)


def input_gradient_padded(layer: Layer, density: float) -> float:
    """As much as `forward_padded`, where a gradient is computed at all."""
    return forward_padded(layer, density) if _has_gradient(layer) else 0


def weight_gradient_padded(layer: Layer, density: float) -> float:
    """As much as `forward_padded`; nothing for a frozen weight."""
    return forward_padded(layer, density) if layer.weight_trains else 0


def bias_and_relu_padded(layer: Layer) -> float:
    """`bias_and_relu` with the first layer's output as RigL's code has it."""
    d = _padded(layer)
    return bias_and_relu(layer) if d is layer.symbols else 0.5 * d.N * d.F * d.H * d.W


def _has_gradient(layer: Layer) -> bool:
    """Whether the backward pass comes by: papers' networks train whole, so their formulas do not say."""
    return layer.input_needs_grad or layer.weight_trains


def _padded(layer: Layer) -> Symbols:
    """The network's first convolution on an input that is padded first and then counted as 'same': 230 / 2 = 115.

    It is the one that reads the first storage of the trace, which is the network's input.
    """
    d = layer.symbols
    if layer.kind != "conv" or layer.input_storage != 0:
        return d
    sizes = zip(layer.input_shape[2:], layer.padding, layer.stride, strict=True)
    H, *W = (ceil((size + 2 * padding) / stride) for size, padding, stride in sizes)
    return d._replace(H=H, W=prod(W))


def _at_output(d: Symbols) -> Symbols:
    return d._replace(X=d.H, Y=d.W)


def _equation_4(d: Symbols, density: float) -> float:
    return equations.conv_forward(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, H=d.H, W=d.W, s1=density)


def _equation_5(d: Symbols, density: float) -> float:
    return equations.conv_input_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s1=density)


def _equation_6(d: Symbols, density: float) -> float:
    return equations.conv_weight_gradient(N=d.N, F=d.F, C=d.C, R=d.R, S=d.S, X=d.X, Y=d.Y, s2=density)


SWAT = Convention(
    name="swat",
    title="grad_input at the input resolution, the first layer's too, grad_weight at the output resolution",
    source="inferred from the rows of SWAT's Tables 2–5; its Eq. 6 says otherwise",
    forward=forward,
    grad_input=input_gradient,
    grad_weight=weight_gradient_at_output,
    density=as_swat_counts,
    first_input_sparse=True,
)

RIGL = Convention(
    name="rigl",
    title="output resolution in every pass, the first layer's grad_input too; half a MAC an output for bias and "
    "ReLU; weight sparsity only, in grad_weight where the method needs the active weights' gradient",
    source="Evci et al., ICML 2020, appendix H, and its public code",
    forward=forward,
    grad_input=input_gradient_at_output,
    grad_weight=weight_gradient_at_output,
    density=as_rigl_counts,
    counts_extra_macs=False,
    fixed=bias_and_relu,
    published_schedules=True,
)

EXACT = Convention(
    name="exact",
    title="output resolution in every pass, no gradient that nobody needs",
    source="what autograd executes, as torch's own counter has it",
    forward=forward,
    grad_input=input_gradient_executed,
    grad_weight=weight_gradient_at_output,
    density=needed_by_algorithm,
)

CONVENTIONS = Registry[Convention](
    "convention",
    Convention,
    SWAT,
    replace(
        SWAT,
        name="equations",
        title="both gradients at the input resolution, the first layer's too",
        source="SWAT, A.3, Eqs. 4–6 as printed",
        grad_weight=weight_gradient,
    ),
    EXACT,
    RIGL,
    replace(
        RIGL,
        name="rigl-padded",
        title="as rigl, with the first convolution's input padded and its output counted as 'same': 115² for ResNet-50",
        source="the public code of Evci et al., which counts a Keras ResNet-50",
        forward=forward_padded,
        grad_input=input_gradient_padded,
        grad_weight=weight_gradient_padded,
        fixed=bias_and_relu_padded,
    ),
    entry_points="swatcost.conventions",
)
