"""What a converted layer really multiplies: pairs of non-zero operands, counted by convolving masks."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from swatcost.counting.padding import Places
from swatcost.network.passes import Pass
from swatcost.reference.layer_kernels import ConvForm, Form


@dataclass
class Counts:
    """The counts of one call of a layer, forward and backward, over the whole batch.

    `macs` are multiplications whose operands are both present: no padding, no masked element. `dense_macs` are those of
    the same step with nothing masked. The `…_kept` are the counts of non-zero elements that the backward pass reads, by
    place in the kernel, the input or the output gradient; None if the operand is not masked, and then it counts as
    present everywhere. `input_zeros` are zeros of the input before masking, such as ReLU's; `copied_bytes` are those
    of masked copies saved for the backward pass beside the layer's own input and weight.
    """

    macs: dict[Pass, int] = field(default_factory=dict)
    dense_macs: dict[Pass, int] = field(default_factory=dict)
    weight_elements: int = 0
    act_elements: int = 0
    output_elements: int = 0
    input_zeros: int = 0
    weight_kept: Places | None = None
    act_kept: Places | None = None
    output_kept: Places | None = None
    copied_bytes: int = 0

    @property
    def weight_sparsity(self) -> float:
        """Zeros of the masked weight [-]; 0 if it is not masked."""
        return _zeros(self.weight_kept, self.weight_elements)

    @property
    def act_sparsity(self) -> float:
        """Zeros of the masked input [-], its own included; 0 if it is not masked."""
        return _zeros(self.act_kept, self.act_elements)

    @property
    def output_sparsity(self) -> float:
        """Zeros of the sparsified output gradient [-]; 0 if it is not sparsified."""
        return _zeros(self.output_kept, self.output_elements)

    @property
    def default_act_sparsity(self) -> float:
        """Zeros of the input before masking [-]."""
        return self.input_zeros / self.act_elements if self.act_elements else 0.0


def _zeros(kept: Places | None, elements: int) -> float:
    return 0.0 if kept is None or not elements else 1 - int(kept.sum()) / elements


class Counter:
    """Watches one call of a layer."""

    def __init__(self) -> None:
        self.counts = Counts()

    def forward(self, form: Form, x: Tensor, weights: tuple[Tensor, Tensor, Tensor], kept_input: Tensor) -> None:
        """Counts the forward pass, which reads the whole input: SWAT does not sparsify it there.

        weights are the parameter, and its versions for the forward and the backward pass.
        """
        own, weight, kept_weight = weights
        if self.counts.macs:
            return  # run again by checkpointing
        counts, ones = self.counts, (_ones(x), _ones(weight))
        self._add(
            "forward",
            _pairs(form, ones[0], ones[1] if weight is own else _present(weight), None),
            _pairs(form, *ones, None),
        )
        counts.weight_elements = weight.numel()
        counts.act_elements = x.numel()
        counts.input_zeros = x.numel() - int(torch.count_nonzero(x))
        if kept_weight is not own:
            counts.weight_kept = _by_place(form, kept_weight)
            counts.copied_bytes += kept_weight.nbytes
        if kept_input is not x:
            counts.act_kept = _by_place(form, kept_input)
            counts.copied_bytes += kept_input.nbytes

    def backward(
        self, form: Form, x: Tensor, weight: Tensor, grad: Tensor, wanted: tuple[bool, bool], *, thinned: bool
    ) -> None:
        """Counts both gradients, which read the output gradient and the masked weight or input.

        An operand that is not masked counts as present everywhere, even where its values are zero.
        """
        present = _present(grad) if thinned else None
        ones = _ones(x), _ones(weight)
        of_weight = ones[1] if self.counts.weight_kept is None else _present(weight)
        of_input = ones[0] if self.counts.act_kept is None else _present(x)
        if wanted[0]:
            self._add("grad_input", _pairs(form, ones[0], of_weight, present), _pairs(form, *ones, None))
        if wanted[1]:
            self._add("grad_weight", _pairs(form, of_input, ones[1], present), _pairs(form, *ones, None))
        if thinned:
            self.counts.output_elements = grad.numel()
            self.counts.output_kept = _by_place(form, grad)

    def _add(self, in_pass: Pass, macs: int, dense: int) -> None:
        self.counts.macs[in_pass], self.counts.dense_macs[in_pass] = macs, dense


def _by_place(form: Form, x: Tensor) -> Places:
    """How many elements of a tensor are not zero, by their place in the image or the kernel."""
    present = x != 0
    spatial = x.dim() - 2 if isinstance(form, ConvForm) else 0
    kept: Places = present.sum(dim=tuple(range(x.dim() - spatial))).cpu().numpy()
    return kept


def _present(x: Tensor) -> Tensor:
    """1 where an element is not zero."""
    return (x != 0).float()


def _ones(x: Tensor) -> Tensor:
    return torch.ones_like(x, dtype=torch.float32)


def _pairs(form: Form, x: Tensor, weight: Tensor, grad: Tensor | None) -> int:
    """Multiplications of an input element and a weight for an output element, all present: the layer run on masks.

    Each output holds at most C · R · S pairs, which single precision counts exactly up to 2^24.
    """
    with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
        met = form.forward(x, weight, None).round()  # some kernels multiply in another domain
        return int((met if grad is None else met * grad).sum(dtype=torch.float64))
