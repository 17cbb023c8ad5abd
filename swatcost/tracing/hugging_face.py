"""Networks of transformers, built from a config alone: no weights, no code of others, no network."""

import contextlib
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack
from unittest.mock import patch

import torch
from torch import nn
from torch.nn.modules.module import register_module_module_registration_hook

from swatcost.common.errors import MissingPackageError, SwatcostError
from swatcost.common.printing import printable
from swatcost.network import Network
from swatcost.network.conditions import ConditionsAsked
from swatcost.tracing import trace
from swatcost.tracing.forward_error import ForwardError
from swatcost.tracing.hugging_face_config import Named, configured, one_line
from swatcost.tracing.hugging_face_inputs import inputs_of
from swatcost.tracing.module_state import process_state
from swatcost.tracing.offline import offline
from swatcost.tracing.random_state import Generators
from swatcost.tracing.sources import loss_named

_MOST_MODULES = 50_000  # Llama 3.1 405B has 2,000


def trace_config(
    source: str,
    *,
    config: Mapping[str, Any] | None = None,
    settings: Mapping[str, Any] | None = None,
    input_shape: Sequence[int] | None = None,
    input_dtype: str | None = None,
    seq_len: int | None = None,
    classes: int | None = None,
    under_amp: bool = False,
    **conditions: Unpack[ConditionsAsked],
) -> Network:
    """Traces the network of transformers that a config describes: the content of its file, or none for
    `hf:NAME`.

    It is built on the meta device in single precision, unless the settings give a dtype, by transformers' own code
    alone, and trained without a cache. The trace says what was assumed.

    Raises SwatcostError for a config that transformers does not take, a network whose inputs a config does not define,
    and an input that the network does not accept.
    """
    library = _transformers()
    conditions["loss"] = loss_named(conditions.get("loss"))
    with process_state(), Generators().restored(), offline(source), _quiet(library), _whole_sequences(library):
        named = configured(library, source, config, settings, classes)
        module = _built(named, source)
        failures: list[ForwardError] = []
        for given in inputs_of(module, named.config, source, input_shape, input_dtype, seq_len):
            try:
                network = trace(
                    module,
                    given.arguments,
                    batch_size=given.batch_size,
                    batch_dim=0,
                    name=source,
                    under_amp=under_amp,
                    **conditions,
                )
            except ForwardError as failure:
                failures.append(failure)
                continue
            said = (*named.notes, *given.notes, *_all_experts(network, named.config))
            return replace(network, assumed=tuple(map(printable, said)))
    raise SwatcostError(
        f"{failures[0]}; or name a factory, path/file.py:factory, that returns (module, example_inputs)"
    )


def _transformers() -> Any:
    try:
        import transformers
    except ImportError:
        raise MissingPackageError("Hugging Face configs need transformers: pip install 'swatcost[hf]'") from None
    return transformers


def _all_experts(network: Network, config: Any) -> Iterator[str]:
    """That the network's code multiplies every token by every expert, where each token counts for a few."""
    text = config.get_text_config()
    names = ("num_local_experts", "num_experts", "n_routed_experts")
    experts = next((found for name in names if isinstance(found := getattr(text, name, None), int)), 0)
    taken = getattr(text, "num_experts_per_tok", None)
    if experts > 1 and any(each.groups == experts and not each.routed for each in network.weight_layers):
        few = f", although each token is routed to {taken}" if isinstance(taken, int) else ""
        yield f"Counted as it runs: {network.name}'s code multiplies every token by all {experts} experts{few}."


def _built(named: Named, source: str) -> nn.Module:
    """The module on the meta device, if it has no more parts than any network has."""
    modules = 0

    def count(*_: Any) -> None:
        nonlocal modules
        modules += 1
        if modules > _MOST_MODULES:
            raise SwatcostError(f"{source} has more than {_MOST_MODULES:,} modules: set fewer layers")

    hook = register_module_module_registration_hook(count)
    try:
        with torch.device("meta"):
            module: nn.Module = named.kind._from_config(named.config)
    except SwatcostError:
        raise
    except Exception as error:
        raise SwatcostError(
            f"{source}: transformers cannot build {named.kind.__name__} from this config: {one_line(error)}"
        ) from None
    finally:
        hook.remove()
    return module.train()


@contextlib.contextmanager
def _quiet(library: Any) -> Iterator[None]:
    """Silences the logs and warnings of transformers, and sends what it prints to standard error."""
    verbosity = library.logging.get_verbosity()
    library.logging.set_verbosity(library.logging.CRITICAL)
    try:
        with contextlib.redirect_stdout(sys.stderr), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        library.logging.set_verbosity(verbosity)


@contextlib.contextmanager
def _whole_sequences(library: Any) -> Iterator[None]:
    """Each sample is one sequence without padding, which transformers would read from values that meta has not.

    It looks for several sequences in position_ids and for padding in the mask; both are here the model's own defaults.
    Raises SwatcostError for a version of transformers that looks elsewhere.
    """
    answers = (
        (library.masking_utils, "find_packed_sequence_indices", lambda position_ids: None),
        (library.masking_utils, "fast_all", lambda mask: True),
        (library.PreTrainedModel, "warn_if_padding_and_no_attention_mask", lambda *_: None),
    )
    with contextlib.ExitStack() as stack:
        for place, name, answer in answers:
            if not hasattr(place, name):
                raise SwatcostError(
                    f"transformers {library.__version__} has no {name}, which 5.23 has: install a version that has it"
                )
            stack.enter_context(patch.object(place, name, answer))
        yield
