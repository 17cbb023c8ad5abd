"""Recurrent layers in one operation."""

from collections.abc import Iterable, Sequence
from math import prod

from swatcost.tracing.operands import Call, Operand, Reading
from swatcost.tracing.reader_registry import reads


@reads("mkldnn_rnn_layer")
def _mkldnn_rnn(call: Call) -> Iterable[Reading]:
    input, weight_ih, weight_hh, *biases, state = call.args[:6]
    biases = [each for each in biases if len(each.shape) == 1]  # without biases, these are zeros of the weights' shapes
    return _recurrent(input, weight_ih, weight_hh, biases, state, call.result[0])


@reads("_cudnn_rnn")
def _cudnn_rnn(call: Call) -> Iterable[Reading]:
    input, weights, per_direction, _, state = call.args[:5]
    return _stacked(input, weights, per_direction, state, 1 + call.args[13], call)


@reads("miopen_rnn")
def _miopen_rnn(call: Call) -> Iterable[Reading]:
    input, weights, per_direction, state = call.args[:4]
    return _stacked(input, weights, per_direction, state, 1 + call.args[11], call)


def _stacked(
    input: Operand, weights: Sequence[Operand], per_direction: int, state: Operand, directions: int, call: Call
) -> Iterable[Reading]:
    """Every layer and direction, in the order of their weights; the first layer reads the input."""
    for start in range(0, len(weights), per_direction):
        weight_ih, weight_hh, *others = weights[start : start + per_direction]
        read = input if start // per_direction < directions else call.result[0]
        yield from _recurrent(read, weight_ih, weight_hh, others, state, call.result[0])


def _recurrent(
    input: Operand, weight_ih: Operand, weight_hh: Operand, others: Sequence[Operand], state: Operand, output: Operand
) -> Iterable[Reading]:
    """One direction of a recurrent layer: input to hidden, and hidden to hidden, whose first step reads the state.

    Of the other parameters, biases are vectors; a matrix projects the hidden state (proj_size of an LSTM).
    """
    rows = prod(input.shape[:-1])  # steps × batch, or the rows of a packed sequence
    first = min(rows, state.shape[-2])
    trains = weight_hh.needs_grad or weight_ih.needs_grad or input.needs_grad

    def linear(input: Operand, weight: Operand, rows: int) -> Reading:
        features_out, features_in = weight.shape
        return Reading(
            kind="linear",
            input=input.reshaped(rows, features_in),
            weight=weight,
            others=tuple(others),
            output_shape=(rows, features_out),
        )

    yield linear(input, weight_ih, rows)
    yield linear(state, weight_hh, first)
    yield linear(output._replace(needs_grad=trains), weight_hh, rows - first)
    for projection in (each for each in others if len(each.shape) == 2):
        yield linear(output._replace(needs_grad=trains or projection.needs_grad), projection, rows)
