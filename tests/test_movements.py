"""Which operations of a step only move numbers, and how many bytes: counted by hand, and by what torch executes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import swatcost
from swatcost.network import Movement, Network, read_network
from swatcost.tracing.movements import READ_ONLY_THE_SHAPE
from tests.cases import Applied
from tests.conftest import zoo_module
from tests.networks import NETWORKS

Row = tuple[str, str, int, int, int]  # operation, pass, calls, fixed bytes, bytes per sample

pytestmark = pytest.mark.filterwarnings("ignore")


def total(output: Tensor) -> Tensor:
    """A loss whose gradient is one number, expanded."""
    return output.sum()


def rows(network: Network) -> set[Row]:
    """The movements, with the bytes that grow per sample; none is left over."""
    assert all(each.batch_bytes % network.batch_size == 0 for each in network.movements)
    return {
        (each.operation, each.in_pass, each.calls, each.fixed_bytes, each.batch_bytes // network.batch_size)
        for each in network.movements
    }


def of_loss(output: int) -> set[Row]:
    """The rows of `total` for so many bytes per sample: its sum, and the one number that backward() starts with."""
    return {("sum", "forward", 1, 4, output), ("ones_like", "backward", 1, 4, 0)}


def traced(module: nn.Module, *shape: int, loss: Any = total, **how: Any) -> Network:
    return swatcost.trace(module, input_shape=shape, loss=loss, **how)


def test_a_linear_layer_and_a_relu() -> None:
    network = traced(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), 4)
    assert rows(network) == {
        ("relu", "forward", 1, 0, 2 * 6 * 4),  # reads 6 numbers of 4 bytes, writes 6
        # reads the one number that is expanded as gradient, and the result; writes a gradient
        ("threshold_backward", "backward", 1, 4, 2 * 6 * 4),
        ("sum", "backward", 1, 6 * 4, 6 * 4),  # of the bias
    } | of_loss(6 * 4)


def test_a_relu_in_place() -> None:
    """What it reads and writes is as much as out of place."""
    module = nn.Sequential(nn.Conv2d(3, 5, 1, bias=False), nn.ReLU(inplace=True))
    image = 5 * 8 * 8 * 4  # [bytes]
    assert rows(traced(module, 3, 8, 8)) == {
        ("relu_", "forward", 1, 0, 2 * image),
        ("threshold_backward", "backward", 1, 4, 2 * image),
    } | of_loss(image)


def test_a_block_with_batch_norm_and_a_residual() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        return self.relu(self.norm(self.conv(x)) + x)  # type: ignore[no-any-return]

    parts = {"conv": nn.Conv2d(5, 5, 3, padding=1, bias=False), "norm": nn.BatchNorm2d(5), "relu": nn.ReLU()}
    stem = nn.Conv2d(3, 5, 1, bias=False)
    image, channel = 5 * 8 * 8 * 4, 5 * 4  # [bytes]
    assert rows(traced(nn.Sequential(stem, Applied(function, parts)), 3, 8, 8)) == {
        ("add_", "forward", 1, 2 * 8, 0),  # the batches seen so far, a 64-bit integer
        # reads scale, shift, running mean and variance; writes mean and deviation
        ("native_batch_norm", "forward", 1, (4 + 2) * channel, 2 * image),
        ("add", "forward", 1, 0, 3 * image),
        ("relu", "forward", 1, 0, 2 * image),
        ("threshold_backward", "backward", 1, 4, 2 * image),
        # reads scale, both statistics of the run and of the batch; writes the gradients of scale and shift
        ("native_batch_norm_backward", "backward", 1, (5 + 2) * channel, 3 * image),
        ("add", "backward", 1, 0, 3 * image),  # the gradients of both ways
    } | of_loss(image)


def test_an_embedding_reads_the_rows_that_it_returns() -> None:
    module = nn.Sequential(nn.Embedding(1000, 8), nn.LayerNorm(8), nn.Softmax(-1))
    rows_read, table = 6 * 8 * 4, 1000 * 8 * 4  # [bytes]
    assert rows(traced(module, 6, input_dtype="int64")) == {
        ("embedding", "forward", 1, 0, 6 * 8 + 2 * rows_read),  # 6 indices of 8 bytes
        ("native_layer_norm", "forward", 1, 2 * 8 * 4, 2 * rows_read + 2 * 6 * 4),  # scale, shift; mean, deviation
        ("_softmax", "forward", 1, 0, 2 * rows_read),
        ("_softmax_backward_data", "backward", 1, 4, 2 * rows_read),
        ("native_layer_norm_backward", "backward", 1, 4 * 8 * 4, 3 * rows_read + 2 * 6 * 4),
        ("embedding_dense_backward", "backward", 1, table, 6 * 8 + rows_read),  # writes the gradient of the whole table
    } | of_loss(rows_read)


def test_dropout() -> None:
    """Torch draws a mask in place, divides it by what is kept, and multiplies; under amp CUDA's own kernel runs."""
    network = traced(nn.Sequential(nn.Linear(4, 6, bias=False), nn.Dropout()), 4)
    assert rows(network) == {
        ("bernoulli_", "forward", 1, 0, 6 * 4),  # writes
        ("div_", "forward", 1, 0, 2 * 6 * 4),
        ("mul", "forward", 1, 0, 3 * 6 * 4),
        ("mul", "backward", 1, 4, 2 * 6 * 4),  # reads one expanded number and the mask
    } | of_loss(6 * 4)
    # 6 bf16 numbers in and out, and a mask of bytes
    assert ("native_dropout", "forward", 1, 0, 6 * (2 + 2 + 1)) in rows(network.under("amp"))


def test_an_expanded_bias_is_read_once() -> None:
    """Also one that is a part of a larger storage."""
    parts = {"linear": nn.Linear(4, 6, bias=False), "bias": nn.Parameter(torch.zeros(6))}
    part = {"linear": nn.Linear(4, 6, bias=False), "biases": nn.Parameter(torch.zeros(50, 6))}
    function = Applied(lambda self, x: self.linear(x) + self.bias.expand(len(x), 6), parts)
    of_part = Applied(lambda self, x: self.linear(x) + self.biases[7].expand(len(x), 6), part)
    assert ("add", "forward", 1, 6 * 4, 2 * 6 * 4) in rows(traced(of_part, 4))
    assert rows(traced(function, 4)) == {
        ("add", "forward", 1, 6 * 4, 2 * 6 * 4),
        ("sum", "backward", 1, 4 + 6 * 4, 0),  # of the loss's gradient, which is one number, for the bias
    } | of_loss(6 * 4)


def test_a_tensor_given_twice_is_read_once() -> None:
    function = Applied(lambda self, x: self.linear(x).square() * 2, {"linear": nn.Linear(4, 6, bias=False)})
    doubled = Applied(
        lambda self, x: (lambda y: y[0:] * y[0:])(self.linear(x)), {"linear": nn.Linear(4, 6, bias=False)}
    )
    assert ("pow", "forward", 1, 0, 2 * 6 * 4) in rows(traced(function, 4))
    assert ("mul", "forward", 1, 0, 2 * 6 * 4) in rows(traced(doubled, 4))


def test_a_parameter_never_grows_with_the_batch() -> None:
    """Not even where it looks like the input and the batch size shows nothing."""
    parts = {"query": nn.Parameter(torch.zeros(4, 4)), "linear": nn.Linear(4, 4, bias=False)}
    function = Applied(lambda self, x: self.linear(self.query) + self.query.exp() + x, parts)
    network = swatcost.trace(function, torch.zeros(4, 4), batch_size=4, loss=total)
    (exp,) = (each for each in network.movements if each.operation == "exp")
    assert (exp.fixed_bytes, exp.batch_bytes) == (2 * 4 * 4 * 4, 0)


def test_products_views_and_allocations_are_none() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        y = self.linear(x)
        y.new_empty(3)
        torch.empty_like(y)
        return (y.t() @ y).view(-1) if self.product else y.view(2, -1).t()

    for product in (False, True):
        parts = {"linear": nn.Linear(4, 6, bias=False), "product": product}
        network = swatcost.trace(Applied(function, parts), torch.randn(14, 4), loss=total)
        assert {each.operation for each in network.movements if each.in_pass == "forward"} == {"sum"}


def test_cross_entropy_reads_one_score_per_sample() -> None:
    module = nn.Sequential(nn.Linear(4, 10, bias=False), nn.Flatten())
    scores = 10 * 4  # [bytes per sample]
    assert rows(traced(module, 4, loss="cross-entropy")) == {
        ("_log_softmax", "forward", 1, 0, 2 * scores),
        ("nll_loss_forward", "forward", 1, 2 * 4, 4 + 8),  # a score and a label; writes the loss and its weight
        ("ones_like", "backward", 1, 4, 0),
        ("nll_loss_backward", "backward", 1, 2 * 4, 8 + scores),  # reads labels, the loss's gradient and its weight
        ("_log_softmax_backward_data", "backward", 1, 0, 3 * scores),
    }


def test_writing_at_indices_touches_what_they_select() -> None:
    def function(self: Any, x: Tensor) -> Tensor:
        y = self.linear(x)
        y[:, self.first] = x[:, :2]
        return y + self.table[self.second].sum()

    parts = {
        "linear": nn.Linear(4, 1000, bias=False),
        "table": nn.Parameter(torch.zeros(500, 2)),
        "first": torch.tensor([3, 1]),
        "second": torch.tensor([7, 7, 9]),
    }
    found = rows(swatcost.trace(Applied(function, parts), torch.randn(13, 4), loss=total))
    # 3 rows of 2 numbers, read and written, and 3 indices of 8 bytes
    assert ("index", "forward", 1, 2 * 3 * 2 * 4 + 3 * 8, 0) in found
    # 2 numbers per sample of y, read and written, as many of x, which are read, and 2 indices
    assert ("index_put_", "forward", 1, 2 * 8, 3 * 2 * 4) in found


# Laws of the batch

SIZES = 23, 29, 31, 37  # primes that divide no size of the networks below


def at_batch(name: str, size: int) -> Network:
    """A network on the meta device, with samples as in `NETWORKS`."""
    module, inputs = NETWORKS[name]()
    given = tuple(each[:1].expand(size, *each.shape[1:]).contiguous().to("meta") for each in inputs)
    return swatcost.trace(module.to("meta"), given, loss="cross-entropy", batch_size=size)


@pytest.mark.parametrize("name", ["resnet", "convnext", "gpt, softmax written out", "vit"])
def test_every_batch_gives_the_same_function_of_it(name: str) -> None:
    one, other = (at_batch(name, size) for size in SIZES[:2])
    assert rows(one) == rows(other)
    assert rows(one.under("amp")) == rows(other.under("amp"))


@given(size=st.integers(1, 10_000), calls=st.integers(1, 9), fixed=st.integers(0, 2**40), each=st.integers(0, 2**40))
def test_bytes_are_linear_in_the_batch(size: int, calls: int, fixed: int, each: int) -> None:
    network = traced(nn.Linear(2, 2), 2)
    movement = Movement(
        operation="add", in_pass="forward", calls=calls, fixed_bytes=fixed, batch_bytes=each * network.batch_size
    )
    assert network.moved_bytes(movement, size) == fixed + each * size


# Other steps


def test_checkpointing_adds_what_it_recomputes_to_the_backward_pass() -> None:
    module = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.GELU(), nn.Linear(6, 6)), nn.Linear(6, 3))
    plain, again = (traced(module, 4, checkpoint=patterns) for patterns in (None, "1"))
    assert rows(again) - rows(plain) == {("gelu", "backward", 1, 0, 2 * 6 * 4)}
    assert rows(plain) <= rows(again)


def test_amp_casts() -> None:
    network = traced(nn.Sequential(nn.Linear(4, 6), nn.Softmax(-1)), 4).under("amp")
    casts = {each for each in rows(network) if each[0] == "_to_copy"}
    assert casts == {
        ("_to_copy", "forward", 1, 0, 4 * (4 + 2)),  # the input: fp32 to bf16
        ("_to_copy", "forward", 1, 6 * 4 * (4 + 2), 0),  # the weight
        ("_to_copy", "forward", 1, 6 * (4 + 2), 0),  # the bias
        ("_to_copy", "forward", 1, 0, 6 * (2 + 4)),  # what is given to the softmax, to fp32
        ("_to_copy", "backward", 1, 0, 6 * (4 + 2)),  # its gradient, to bf16
        ("_to_copy", "backward", 1, 6 * 4 * (2 + 4), 0),  # the weight's gradient
        ("_to_copy", "backward", 1, 6 * (2 + 4), 0),  # the bias's gradient
    }


def test_fused_attention_and_flex_attention_are_products() -> None:
    from torch.nn.attention.flex_attention import flex_attention

    def fused(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), 16, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(q, k, v)

    def flex(self: Any, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).view(len(x), 16, 3, 2, 8).permute(2, 0, 3, 1, 4)
        return flex_attention(q, k, v)  # type: ignore[return-value]

    for function in (fused, flex):
        network = swatcost.trace(
            Applied(function, {"qkv": nn.Linear(4, 48, bias=False)}), torch.randn(11, 16, 4), loss=total
        )
        of_values = {each.operation for each in network.movements if each.batch_bytes and each.in_pass == "forward"}
        assert of_values <= {"sum", "new_zeros", "zeros", "arange"}


def test_nested_tensors_move_their_values() -> None:
    given = torch.nested.nested_tensor([torch.randn(2, 4), torch.randn(5, 4)], layout=torch.jagged)
    network = swatcost.trace(nn.Sequential(nn.Linear(4, 6, bias=False), nn.ReLU()), given, loss="none")
    (relu,) = (each for each in network.movements if each.operation == "relu")
    assert network.moved_bytes(relu, network.batch_size) == 2 * (2 + 5) * 6 * 4


def test_a_backward_pass_that_fails_leaves_the_forward_pass() -> None:
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x * 2

        @staticmethod
        def backward(ctx: Any, *gradients: Tensor) -> Tensor:
            raise RuntimeError("no")

    network = traced(Applied(lambda self, x: Fails.apply(self.one(x)).exp(), {"one": nn.Linear(4, 6)}), 4)
    assert {(each.operation, each.in_pass) for each in network.movements} == {
        ("mul", "forward"), ("exp", "forward"), ("sum", "forward"),
    }  # fmt: skip


# Against what torch executes

_PRODUCTS = {"convolution", "convolution_backward", "mm", "addmm", "bmm"}


class Bytes(TorchDispatchMode):
    """Adds up what operations that are no products, views or allocations are given and return."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if not func.is_view and name not in {*_PRODUCTS, "empty", "empty_like", "_unsafe_view"}:
            read = list(args)
            if name in ("ones_like", "bernoulli_"):  # no values of what they are given
                read = []
            if name in ("max_pool2d_with_indices_backward", "avg_pool2d_backward", "nll_loss_backward"):
                del read[1]  # only its shape counts
            self.calls += 1
            self.bytes += self.of(read) + self.of([result])
            if name == "nll_loss_forward":
                self.bytes += self.of([args[1]]) // 2 - self.of([args[0]])  # a 4-byte score for each 8-byte label
        return result

    def of(self, values: Any) -> int:
        """Every tensor once; one that is expanded holds what its storage does."""
        found: dict[Any, int] = {}
        for each in torch.utils._pytree.tree_leaves(values):
            if isinstance(each, Tensor):
                held = min(each.numel() * each.element_size(), each.untyped_storage().nbytes())
                found[each.data_ptr(), each.shape, each.stride()] = held
        return sum(found.values())


@pytest.mark.parametrize(
    "made",
    [
        lambda: (with_values("resnet50"), torch.randn(2, 3, 64, 64)),
        lambda: NETWORKS["densenet"](),
        lambda: NETWORKS["mlp"](),
        lambda: NETWORKS["convnext"](),
    ],
    ids=["resnet50", "densenet", "mlp", "convnext"],
)
def test_as_many_bytes_as_torch_is_given_and_returns(made: Callable[[], tuple[nn.Module, Any]]) -> None:
    module, inputs = made()
    image = inputs if isinstance(inputs, Tensor) else inputs[0]
    network = swatcost.trace(module, image, loss="cross-entropy")
    labels = torch.zeros(len(image), dtype=torch.int64)
    with Bytes() as executed:
        F.cross_entropy(module(image), labels).backward()
    assert sum(each.calls for each in network.movements) == executed.calls
    moved = sum(each.calls * network.moved_bytes(each, network.batch_size) for each in network.movements)
    assert moved == executed.bytes > 0


def with_values(name: str) -> nn.Module:
    """A network of the zoo with values."""
    return zoo_module(name).to_empty(device="cpu")


IMAGE, SMALL = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 4, 4)
VOLUME, SMALLER = torch.rand(2, 3, 4, 4, 4), torch.rand(2, 3, 2, 2, 2)
INDICES = F.max_pool2d(IMAGE, 2, return_indices=True)[1]
INDICES_3D = F.max_pool3d(VOLUME, 2, return_indices=True)[1]
LABELS = torch.tensor([0, 2])
_POOL = [2, 2], [2, 2], [0, 0]
_POOL_3D = [2, 2, 2], [2, 2, 2], [0, 0, 0]
CALLS: dict[str, tuple[Any, ...]] = {
    "_adaptive_avg_pool2d_backward": (SMALL, IMAGE),
    "_adaptive_avg_pool3d_backward": (SMALLER, VOLUME),
    "adaptive_max_pool2d_backward": (SMALL, IMAGE, INDICES),
    "adaptive_max_pool3d_backward": (SMALLER, VOLUME, INDICES_3D),
    "avg_pool2d_backward": (SMALL, IMAGE, *_POOL, False, True, None),
    "avg_pool3d_backward": (SMALLER, VOLUME, *_POOL_3D, False, True, None),
    "max_pool2d_with_indices_backward": (SMALL, IMAGE, *_POOL, [1, 1], False, INDICES),
    "max_pool3d_with_indices_backward": (SMALLER, VOLUME, *_POOL_3D, [1, 1, 1], False, INDICES_3D),
    "nll_loss_backward": (torch.tensor(1.0), torch.rand(2, 3), LABELS, None, 1, -100, torch.tensor(2.0)),
    "nll_loss2d_backward": (
        torch.tensor(1.0), SMALL, torch.zeros(2, 4, 4, dtype=torch.int64), None, 1, -100, torch.tensor(32.0),
    ),
    "reflection_pad1d_backward": (torch.rand(2, 3, 6), torch.rand(2, 3, 4), [1, 1]),
    "reflection_pad2d_backward": (torch.rand(2, 3, 10, 10), IMAGE, [1, 1, 1, 1]),
    "reflection_pad3d_backward": (torch.rand(2, 3, 6, 6, 6), VOLUME, [1] * 6),
    "replication_pad1d_backward": (torch.rand(2, 3, 6), torch.rand(2, 3, 4), [1, 1]),
    "replication_pad2d_backward": (torch.rand(2, 3, 10, 10), IMAGE, [1, 1, 1, 1]),
    "replication_pad3d_backward": (torch.rand(2, 3, 6, 6, 6), VOLUME, [1] * 6),
}  # fmt: skip


@pytest.mark.parametrize("name", READ_ONLY_THE_SHAPE)
def test_operations_that_need_only_a_shape_do_not_read_values(name: str) -> None:
    place, args = READ_ONLY_THE_SHAPE[name], CALLS[name]
    run = getattr(torch.ops.aten, name)
    other = [*args]
    other[place] = torch.full_like(args[place], math.nan)
    assert torch.equal(run(*args), run(*other))


# In a file


def test_they_are_saved_and_read(tmp_path: Path) -> None:
    network = traced(nn.Sequential(nn.Linear(4, 6), nn.ReLU()), 4)
    network.save(tmp_path / "trace.json")
    read = read_network(tmp_path / "trace.json")
    assert read.movements == network.movements != ()
    assert read.under("amp").movements == network.under("amp").movements != network.movements


def test_older_traces_have_none(tmp_path: Path) -> None:
    content = json.loads(traced(nn.Linear(4, 6), 4).to_json())
    del content["movements"], content["amp"]["movements"]
    (tmp_path / "old.json").write_text(json.dumps(content))
    old = read_network(tmp_path / "old.json")
    assert old.movements == () == old.under("amp").movements
