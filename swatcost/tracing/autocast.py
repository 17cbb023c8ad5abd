"""torch.autocast on any device: which operation runs in which precision, by torch's lists for CUDA and for CPUs.

torch's own autocast does nothing on the meta device, nor for CUDA without a GPU. So each operation that torch registers
for a device's autocast is registered here, for a dispatch key that no device uses, with a kernel that does the same:
casts what it is given, and runs the operation. Whether an operation is listed, torch's registry says; the lists below
say of those that it does not run in fp32 what it does instead.

Source: aten/src/ATen/autocast_mode.h and autocast_mode.cpp, torch 2.13.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.amp import autocast_mode
from torch.library import Library, fallthrough_kernel

_KEY: Any = getattr(torch._C.DispatchKey, "AutocastHPU")  # noqa: B009 - torch's stubs lack it
_DEVICE, _KEY_NAME = "hpu", "AutocastHPU"

_LOWER = {
    "cuda": (
        "_convolution", "conv1d", "conv2d", "conv3d", "conv_tbc", "conv_transpose1d", "conv_transpose2d",
        "conv_transpose3d", "convolution", "cudnn_convolution", "cudnn_convolution_transpose", "prelu", "addmm",
        "addmv", "addr", "matmul", "einsum", "mm", "mv", "linalg_vecdot", "linear", "addbmm", "baddbmm", "bmm",
        "chain_matmul", "linalg_multi_dot", "_thnn_fused_lstm_cell", "_thnn_fused_gru_cell", "lstm_cell", "gru_cell",
        "rnn_tanh_cell", "rnn_relu_cell", "_scaled_dot_product_flash_attention", "scaled_dot_product_attention",
    ),
    "cpu": (
        "conv1d", "conv2d", "conv3d", "bmm", "mm", "linalg_vecdot", "baddbmm", "addmm", "_addmm_activation", "addbmm",
        "linear", "_convolution", "matmul", "conv_tbc", "mkldnn_rnn_layer", "conv_transpose1d", "conv_transpose2d",
        "conv_transpose3d", "prelu", "scaled_dot_product_attention", "_native_multi_head_attention",
    ),
}  # fmt: skip
"""What runs in the lower precision."""

_RESULT_IN_FP32 = {
    "cuda": (
        "prod", "softmax", "log_softmax", "cumprod", "cumsum", "linalg_vector_norm", "linalg_matrix_norm", "sum",
    ),
    "cpu": (),
}  # fmt: skip
"""What is given a dtype instead of fp32 operands, unless the caller gave one."""

_WIDEST = {
    "cuda": (
        "addcdiv", "addcmul", "atan2", "bilinear", "cross", "dot", "vdot", "grid_sampler", "index_put", "tensordot",
        "scatter_add",
    ),
    "cpu": ("stack", "cat", "index_copy"),
}  # fmt: skip
"""What runs in the widest precision among its operands."""

_REFUSED = {"cuda": ("binary_cross_entropy",), "cpu": ()}

Kernel = Callable[..., Any]


class _Region(NamedTuple):
    """Whether operations are cast, to what, and whether copies of parameters are kept."""

    enabled: bool
    dtype: torch.dtype
    keeps_copies: bool


class Autocast:
    """Runs what is inside `on()` under autocast to `dtype`, by the lists of `device`, "cuda" or "cpu".

    Copies of leaf parameters in the lower precision are kept until the outermost region is left, as torch keeps them;
    they have gradients even if they are first made under `torch.no_grad`.
    A network that enters torch.autocast itself, or asks whether it is enabled, sees this one. Recurrent layers run as
    their operations do; cuDNN's, which runs them whole in the lower precision, is not there.
    """

    def __init__(self, dtype: torch.dtype, device: str) -> None:
        self._dtype, self._listed_for = dtype, device
        self._regions: list[_Region] = []
        self._copies: dict[tuple[int, torch.dtype], tuple[Tensor, Tensor]] = {}

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Registers the kernels, and stands in for torch.autocast in this thread."""
        own, everywhere = Library("aten", "IMPL"), Library("_", "IMPL")
        everywhere.fallback(fallthrough_kernel, _KEY_NAME)
        for name, kernel in self._kernels():
            own.impl(name, kernel, _KEY_NAME)
        was = torch.is_autocast_enabled(_DEVICE)
        torch.set_autocast_enabled(_DEVICE, True)  # or else the key is masked out
        try:
            with self._in_place_of_torchs():
                yield
        finally:
            torch.set_autocast_enabled(_DEVICE, was)
            own._destroy()
            everywhere._destroy()
            self._copies.clear()

    @contextlib.contextmanager
    def on(
        self, dtype: torch.dtype | None = None, *, enabled: bool = True, keeps_copies: bool = True
    ) -> Iterator[None]:
        """A region in which operations are cast, or are not."""
        guard: Any = torch._C._IncludeDispatchKeyGuard if enabled else torch._C._ExcludeDispatchKeyGuard
        self._regions.append(_Region(enabled, dtype or self._dtype, keeps_copies))
        try:
            with guard(_KEY if enabled else torch._C.DispatchKeySet(_KEY)):
                yield
        finally:
            self._regions.pop()
            if not self._regions:
                self._copies.clear()

    def _enabled(self, *device: str) -> bool:
        return bool(self._regions) and self._regions[-1].enabled

    def _lower(self, *device: str) -> torch.dtype:
        return self._regions[-1].dtype if self._regions else self._dtype

    def _keeps_copies(self) -> bool:
        return not self._regions or self._regions[-1].keeps_copies

    @contextlib.contextmanager
    def _in_place_of_torchs(self) -> Iterator[None]:
        state, torchs, default = self, autocast_mode.autocast, torch.get_autocast_dtype
        cast = autocast_mode._cast

        def init(
            self: Any, device_type: str, dtype: Any = None, enabled: bool = True, cache_enabled: Any = None
        ) -> None:
            self.device, self._enabled, self._entered = device_type, enabled, []
            self._cache_enabled = state._keeps_copies() if cache_enabled is None else cache_enabled
            self.fast_dtype = state._lower() if dtype is None else dtype

        def enter(self: Any) -> Any:
            region = state.on(self.fast_dtype, enabled=self._enabled, keeps_copies=self._cache_enabled)
            region.__enter__()
            self._entered.append(region)
            return self

        def leave(self: Any, *exception: Any) -> bool:
            return bool(self._entered.pop().__exit__(*exception))

        def cast_anywhere(value: Any, device_type: str, dtype: Any) -> Any:
            return cast(value, value.device.type if isinstance(value, Tensor) else device_type, dtype)

        def lower(*device: str) -> torch.dtype:
            return self._lower() if self._enabled() else default(*device)

        replaced: dict[Any, dict[str, Any]] = {
            torchs: {"__init__": init, "__enter__": enter, "__exit__": leave},
            torch: {
                "is_autocast_enabled": self._enabled,
                "is_autocast_cache_enabled": self._keeps_copies,
                "get_autocast_dtype": lower,
                "get_autocast_gpu_dtype": lambda: lower("cuda"),
            },
            autocast_mode: {"_cast": cast_anywhere},  # of torch.amp.custom_fwd, for tensors on its device only
        }
        before = {(place, name): vars(place)[name] for place, names in replaced.items() for name in names}
        for place, names in replaced.items():
            for name, value in names.items():
                setattr(place, name, _in_this_thread(value, before[place, name]))
        try:
            yield
        finally:
            for (place, name), value in before.items():
                setattr(place, name, value)

    @property
    def is_of_cuda(self) -> bool:
        """Whether operations run as on CUDA."""
        return self._listed_for == "cuda"

    def _kernels(self) -> Iterator[tuple[str, Kernel]]:
        device = self._listed_for
        if self.is_of_cuda:
            yield "dropout", _fused_dropout
        for name in _listed(device):
            operation, _, overload = name.partition(".")
            func = getattr(getattr(torch.ops.aten, operation), overload or "default")
            if operation in _REFUSED[device]:
                yield name, _refuses(operation)
            elif operation in _LOWER[device]:
                yield name, self._kernel(func, lambda args: self._lower())
            elif operation in _WIDEST[device]:
                yield name, self._kernel(func, self._widest)
            elif operation in _RESULT_IN_FP32[device]:
                yield name, self._with_dtype(func)
            elif operation == "norm":
                yield name, _norm
            else:
                yield name, self._kernel(func, lambda args: torch.float32)

    def _kernel(self, func: Any, precision: Callable[[Any], torch.dtype]) -> Kernel:
        def run(*args: Any, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_KEY)):
                args, kwargs = self._all_cast(args, kwargs, precision((args, kwargs)))
                return func(*args, **kwargs)

        return run

    def lowered(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Arguments as an operation that runs in the lower precision is given them in this region."""
        return self._all_cast(args, kwargs, self._lower()) if self._enabled() else (args, kwargs)

    def _all_cast(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], dtype: torch.dtype
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The last argument is cast first, as torch's builds do; the backward pass runs the other way."""
        named = [(name, self._cast(each, dtype)) for name, each in reversed(kwargs.items())]
        given = [self._cast(each, dtype) for each in reversed(args)]
        return tuple(reversed(given)), dict(reversed(named))

    def _with_dtype(self, func: Any) -> Kernel:
        def run(first: Any, *args: Any, dtype: Any = None, **kwargs: Any) -> Any:
            with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_KEY)):
                if dtype is None and not (args and isinstance(args[-1], torch.dtype)) and _is_eligible(first):
                    dtype = torch.float32
                return func(first, *args, **kwargs, **({} if dtype is None else {"dtype": dtype}))

        return run

    def _widest(self, given: Any) -> torch.dtype:
        floats = {each.dtype for each in _tensors(given) if _is_eligible(each)}
        return torch.float32 if torch.float32 in floats else self._lower()

    def _cast(self, value: Any, dtype: torch.dtype) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._cast(each, dtype) for each in value)
        if not isinstance(value, Tensor) or not _is_eligible(value) or value.dtype == dtype:
            return value
        if value.dtype != torch.float32 or not value.requires_grad or not value.is_leaf or value._is_view():
            return value.to(dtype)
        if dtype != self._lower() or not self._keeps_copies() or torch.is_inference_mode_enabled():
            return value.to(dtype)
        place = id(value), dtype
        if place not in self._copies:
            with torch.enable_grad():
                self._copies[place] = value, value.to(dtype)
        return self._copies[place][1]


def _in_this_thread(ours: Callable[..., Any], torchs: Callable[..., Any]) -> Callable[..., Any]:
    """Our function in the thread that calls this, and torch's in others."""
    thread = threading.get_ident()

    def run(*args: Any, **kwargs: Any) -> Any:
        return ours(*args, **kwargs) if threading.get_ident() == thread else torchs(*args, **kwargs)

    return run


def _norm(first: Any, p: Any = 2, *dims: Any) -> Any:
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_KEY)):
        dtype = torch.float32 if _is_eligible(first) else first.dtype
        dims = (*dims, False) if len(dims) == 1 else dims  # they are not kept
        return torch.ops.aten.norm(first, p, *dims, dtype=dtype)


def _fused_dropout(given: Tensor, p: float, train: bool) -> Any:
    """As CUDA runs it, which autocast does not cast: its kernel keeps a mask of booleans, a CPU one of numbers."""
    with torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(_KEY)):
        if train and 0 < p < 1 and given.numel():
            return torch.ops.aten.native_dropout.default(given, p, train)[0]
        return torch.ops.aten.dropout.default(given, p, train)


def _refuses(operation: str) -> Kernel:
    def run(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError(
            f"torch.autocast refuses {operation} on CUDA: use {operation}_with_logits, or disable it there"
        )

    return run


def _is_eligible(value: Any) -> bool:
    """Whether autocast casts it: floating-point tensors, but for those of double precision."""
    return isinstance(value, Tensor) and value.is_floating_point() and value.dtype != torch.float64


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _tensors(each)
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))


@cache
def _listed(device: str) -> tuple[str, ...]:
    """The operations, with their overloads, for which torch has a kernel under this device's autocast."""
    key = f"Autocast{device.upper()}"
    names = (each for each in torch._C._dispatch_get_all_op_names() if each.startswith("aten::"))
    listed = (each for each in names if torch._C._dispatch_has_kernel_for_dispatch_key(each, key))
    return tuple(sorted(each.removeprefix("aten::") for each in listed))
