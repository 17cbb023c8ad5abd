"""What an estimate takes to be sparse, in sentences: layers kept dense and why, densities, the schedule."""

from collections.abc import Sequence

from swatcost.common.printing import listed
from swatcost.estimate import Estimate
from swatcost.methods import Phase
from swatcost.network.matrix_kinds import kinds_of
from swatcost.network.passes import Pass
from swatcost.report.numbers import percent, scaled
from swatcost.report.sheet import Caveat

AT_TARGET = "Memory is at the target sparsity."
"""A note that a plan, whose peak is of the whole run, does not repeat."""


def sparsity(estimate: Estimate) -> list[str]:
    """The sentences, in the order of the plan: layers, passes, run."""
    plan = estimate.plan
    masked = sum(each.mask_zeros is not None for each in estimate.network.parameters)
    masks = Caveat(f"The network has pruning masks for {masked} parameters: --distribution mask uses their zeros.")
    if not plan.asks_for_sparsity:
        return [masks] if masked else []
    kept = "; ".join(f"{listed(layers)} ({reason})" for reason, layers in layers_kept_dense(estimate).items())
    embedded = estimate.network.embeds_input and plan.distribution.first_layer_dense
    none = "No layer is kept dense" + (f": an embedding reads the input{_no_first_layer(estimate)}" if embedded else "")
    method, sentences = plan.method, []
    if method.makes_sparse:
        sentences = [
            f"Kept dense: {kept}." if kept else f"{none}.",
            *_which_rule(estimate),
            *_by_kind(estimate),
            *_embeddings(estimate),
            "A sparse pass costs its dense MACs times the density of its operands.",
        ]
    convention, training = estimate.convention, estimate.costs.training
    if convention.charges_default_sparsity(method):
        sentences.append(
            Caveat(
                f"Convention {convention.name} charges {method.name} {percent(1 - estimate.default_act_sparsity)} of "
                "dense grad_weight throughout the run, assuming that ReLU zeroes "
                f"{percent(estimate.default_act_sparsity)} of activations{_image(estimate)}{_no_relu(estimate)}."
            )
        )
    phases = convention.phases(plan, estimate.steps)
    if len(phases) > 1:
        run = estimate.batch_size * estimate.steps
        dense, sparse = (scaled(2 * run * macs, "FLOP") for macs in (training.dense, training.sparse))
        sentences += [
            f"Training is the mean step of the run: {_schedule(estimate, phases)}. {estimate.steps:,} steps of "
            f"{estimate.batch_size:,} samples take {sparse} instead of {dense}.",
            AT_TARGET,
        ]
    if plan.weights and not method.selects:
        sentences.append("Pruning and regrowing connections is counted as free (A.3).")
    sentences += _beyond_sparsity(estimate)
    if method.departures:
        sentences.append(method.departures)
    return sentences


def _no_first_layer(estimate: Estimate) -> str:
    """Words for what a dense first layer is in a network whose input an embedding reads."""
    plan, layers = estimate.plan, estimate.network.weight_layers
    if estimate.setting.first_layer is not None or not layers:
        return ""
    return (
        f", and the first layer that {plan.distribution.name} keeps dense is one that reads it (--first-layer dense "
        f"keeps {layers[0].name} dense)"
    )


def _by_kind(estimate: Estimate) -> list[str]:
    """How sparse the weights of each kind are, and how many, where kinds have sparsities of their own."""
    plan, network = estimate.plan, estimate.network
    if not plan.distribution.target_of_others:
        return []
    kinds = kinds_of(network)
    found: dict[str, list[tuple[int, float]]] = {}
    for layer, each in plan.by_weight(network):
        found.setdefault(kinds.get(layer.weight, "others"), []).append((layer.weight_elements, each.weight))
    parts = []
    for kind, weights in found.items():
        elements, zeros = sum(size for size, _ in weights), sum(size * sparsity for size, sparsity in weights)
        parts.append(f"{kind} {percent(zeros / elements)} of {scaled(elements)}")
    return [f"Weights that are zero, by kind: {', '.join(parts)}."]


def _embeddings(estimate: Estimate) -> list[str]:
    """That lookup tables stay dense, except one that is also the weight of a sparse layer."""
    network, plan = estimate.network, estimate.plan
    sparse = {layer.weight: layer for layer, each in plan.by_weight(network) if each.weight}
    tables = list(dict.fromkeys(each.parameter for each in network.embeddings or ()))
    if not sparse or not tables:
        return []
    shared = [each for each in tables if each in sparse]
    dense = [each for each in tables if each not in sparse]
    sentences = [f"Embeddings stay dense ({listed(dense, 3)}): looking up rows takes no MACs."] if dense else []
    return sentences + [
        f"{each} is an embedding and the weight of {sparse[each].name}: it is as sparse as that layer."
        for each in shared
    ]


_OTHER_ACTIVATIONS = {"gelu", "silu", "hardswish", "mish"}  # functions in ReLU's place, which leave no zeros


def _no_relu(estimate: Estimate) -> str:
    """That the network has no ReLU, where it has another activation function in its place."""
    seen = {each.operation for each in estimate.uncounted}
    others = sorted(seen & _OTHER_ACTIVATIONS)
    has_relu = any(each.startswith("relu") for each in seen)
    return f"; {estimate.network.name} has no ReLU but {', '.join(others)}" if others and not has_relu else ""


def _beyond_sparsity(estimate: Estimate) -> list[str]:
    """What the method does beside making operands sparse: other sets, frozen weights, branches, work between steps."""
    method, sentences = estimate.plan.method, []
    for in_pass, which in _SETS.items():
        if in_pass in method.weight_sets:
            share = 1 - estimate.plan.set_sparsity(estimate.network, in_pass)
            sentences.append(
                f"{which} are another set than the trained one: {percent(share)} of all weights are in it."
            )
    if "grad_weight" in method.weight_sets and estimate.convention.charges_default_sparsity(method):
        sentences.append(
            f"How many weights get a gradient makes no difference under convention {estimate.convention.name}; "
            "under exact and rigl it does."
        )
    if method.ends_dense:
        sentences.append("The trained model is dense.")
    if method.weight_gradient == "none":
        sentences.append(
            "Conv and linear weights are frozen: they have no grad_weight, gradient or optimizer state. Saved "
            "activations are those of the dense step."
        )
    if estimate.added_params:
        sentences.append(
            f"{method.name} adds {scaled(estimate.added_params)} parameters in branches, which train; they are counted "
            f"in every pass and {'merged for inference' if method.merges else 'there in inference, too'}. Their time "
            "is that of as many MACs of their layer."
        )
    for each in estimate.off_step:
        share = each.flops_per_step / estimate.step_flops
        sentences.append(
            f"Not in any total: {each.name}, every {each.period:,} steps, takes {scaled(each.flops, 'FLOP')} each "
            f"time, {scaled(each.flops_per_step, 'FLOP')} per step on average, {percent(share)} of a step "
            f"({each.source})."
        )
    return sentences


_SETS: dict[Pass, str] = {
    "forward": "The weights that forward reads",
    "grad_input": "The weights that grad_input reads",
    "grad_weight": "The weights that get a gradient",
}


def _which_rule(estimate: Estimate) -> list[str]:
    """Which of two customs the layers kept dense follow: whose runs, and whether they count towards the target."""
    plan, method, sentences = estimate.plan, estimate.plan.method, []
    elsewhere = f" {method.sparse_elsewhere}" if method.sparse_elsewhere else ""
    who = method.kept_by or "SWAT"
    if any(reason.startswith((f"as {who}", f"{method.name} makes only")) for reason in plan.kept_dense.values()):
        whose = f"{who} kept those layers dense for {method.name}.{elsewhere} " if method.keeps_dense else ""
        sentences.append(f"{whose}--keep-dense none makes them sparse.")
    elif method.keeps_dense and estimate.setting.keep_dense == ():
        sentences.append(
            f"{who} kept {' and '.join(method.keeps_dense)} dense for {method.name}; here they are not.{elsewhere}"
        )
    if plan.weights is None or not plan.kept_dense:
        return sentences
    reached = f"weights are {percent(plan.weight_sparsity(estimate.network))} sparse over all layers"
    if not plan.distribution.keeps_total:
        sentences.append(f"Every layer that is not kept dense has the target; {reached}.")
    elif plan.dense_budget == "inside":
        sentences.append(
            f"Layers kept dense count towards the target, so {reached}; RigL's public code leaves them out "
            "(--dense-budget outside)."
        )
    else:
        sentences.append(
            f"Layers kept dense do not count towards the target, as in RigL's public code: {reached}, and "
            f"{percent(plan.sparsity_but_kept_dense(estimate.network))} sparse over the others."
        )
    return sentences


def _image(estimate: Estimate) -> str:
    """Words for the network's input where it is charged like an activation."""
    network = estimate.network
    reads = [each for each in network.weight_layers if each.input_storage < network.timeline.inputs]
    charged = [each for each in reads if each.weight_trains]
    return f", those that {charged[0].name} reads included, which are the network's input" if charged else ""


def layers_kept_dense(estimate: Estimate) -> dict[str, list[str]]:
    """The names of layers that stay dense, by reason; of kinds also those to which the user gives no sparsity."""
    found: dict[str, list[str]] = {}
    plan = estimate.plan
    by_user = {layer.weight for layer, each in plan.by_weight(estimate.network) if not each.weight}
    for layer in estimate.network.weight_layers:
        reason = plan.kept_dense.get(layer.weight)
        if reason is None and plan.distribution.target_of_others and layer.weight in by_user:
            reason = "no sparsity given"
        if reason and layer.name not in found.setdefault(reason, []):
            found[reason].append(layer.name)
    return found


def _schedule(estimate: Estimate, phases: Sequence[Phase]) -> str:
    """How the phases of a run differ. A method may have a sparsity of its own in a phase: then it is the network's."""
    dense_gradients = sum(phase.share for phase in phases if phase.dense_weight_gradient)
    if dense_gradients:
        return f"{100 * dense_gradients:.2f} % of the steps compute the gradient of every weight"
    with_branches = sum(phase.share for phase in phases if phase.adds)
    if estimate.plan.method.added and with_branches < 1:
        return f"{percent(with_branches)} of the steps run the branches that it adds"
    if any(phase.density_scale != 1 for phase in phases):
        plan, network = estimate.plan, estimate.network
        of_network = sum(phase.share * plan.during(phase).weight_sparsity(network) for phase in phases)
        end = percent(plan.weight_sparsity(network))
        return f"the network's weights are {percent(of_network)} sparse on average, {end} at the target"
    mean = sum(phase.share * phase.scale for phase in phases)
    return f"its sparsity averages {percent(mean)} of the target"
