import os
import shutil
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from swatcost_models import convnext, vit

import swatcost
from swatcost.accelerator import MaskSource, load_architecture, parse_shape, simulate
from swatcost.accelerator.mapping import folded
from swatcost.accelerator.pass_cycles import connections
from swatcost.accelerator.schedule import BUSY, CYCLES, packed, padding_of, tiles_of, walk
from swatcost.cli import main
from swatcost.common.errors import SwatcostError


def architecture(shape, lanes):
    import dataclasses

    return dataclasses.replace(load_architecture("bit-tactical"), lanes=lanes, shape=parse_shape(shape))


def walked(lines, shape, *, lanes=4, rows=16):
    """Cycles of one tile; lines[f][t] are lanes from the lowest, such as "1010"."""
    mask = np.array([[[lane == "1" for lane in line] for line in filter] for filter in lines])
    ahead, aside = connections(architecture(shape, lanes))
    counted = walk(
        packed(mask, lanes), tiles_of(len(lines), rows), parse_shape(shape).lookahead, ahead, aside, lanes,
        padding_of(mask.shape[1], mask.shape[2], lanes),
    )  # fmt: skip
    assert counted[:, BUSY].sum() == mask.sum()  # every weight is done once
    return counted[:, CYCLES].tolist()


def brute_force(lines, shape, lanes):
    """The rule as it is written, on lists: one tile."""
    buffer = [[list(line) for line in filter] for filter in lines]
    offsets, h = parse_shape(shape).offsets(lanes), parse_shape(shape).lookahead
    T, cycles, free = len(buffer[0]), 0, 0
    for t in range(T):
        if free < h and not any(any(filter[t]) for filter in buffer):
            free += 1
            continue
        free = 0
        cycles += 1
        for filter in buffer:
            while True:
                candidates = {}
                for lane in range(lanes):
                    if not filter[t][lane]:
                        places = [(t + ahead, (lane + aside) % lanes) for ahead, aside in offsets]
                        candidates[lane] = [(a, b) for a, b in places if a < T and filter[a][b]]
                most = max((len(each) for each in candidates.values()), default=0)
                if most == 0:
                    break
                slot = next(lane for lane, each in candidates.items() if len(each) == most)
                a, b = candidates[slot][0]
                filter[t][slot], filter[a][b] = True, False
    return cycles


@pytest.mark.parametrize(
    ("lines", "shape", "cycles"),
    [
        # line 1 moves up into the empty lanes of line 0: (1, 0)
        (["1100", "0011"], "L1,0", 1),
        # lane 0 of line 1 is behind a busy slot and nothing reaches aside
        (["1000", "1000"], "L1,0", 2),
        # slot 1 takes it from one lane below: (1, −1)
        (["1000", "1000"], "L1,1", 1),
        # lane 3 of line 1 is behind a busy slot; (1, −1) of slot 0 is lane 3, as lanes go round
        (["0001", "0001"], "L1,1", 1),
        # two lines below is out of L⟨1⟩'s reach: line 0 works, line 1 is free, line 2 works
        (["1000", "0000", "0100"], "L1,1", 2),
        # T⟨2,0⟩ takes it from two lines below: lines 1 and 2 are then free
        (["1000", "0000", "0100"], "T2,0", 1),
        # three lines empty after that: two are free, the third costs a cycle
        (["1111", "0000", "0000", "0000"], "T2,0", 2),
        # T⟨1,1⟩ takes from one lane above, (1, +1): slot 3 takes lane 0
        (["1110", "1000"], "T1,1", 1),
        (["1110", "0100"], "T1,1", 2),
        # T⟨2,3⟩ knows (2, +2): slot 2 takes lane 4 mod 4 = 0 two lines below
        (["1000", "0000", "1000"], "T2,3", 1),
        # any lane of the next lines
        (["1110", "0100"], "X1", 1),
        (["1100", "1100", "1000"], "X2", 2),
    ],
)
def test_schedules_by_hand(lines, shape, cycles):
    assert walked([lines], shape) == [cycles]


def test_slot_with_most_candidates_is_first():
    # L⟨1,1⟩, line 0 has slots 1 and 2 empty, line 1 lanes 0 and 1: slot 1 sees (1, −1) = lane 0 and (1, 0) = lane 1,
    # slot 2 sees lane 1 only. Slot 1 is filled first, from lane 0 as (1, −1) comes before (1, 0); slot 2 takes lane 1.
    assert walked([["1001", "1100"]], "L1,1") == [1]


def test_filters_of_a_tile_share_line_skips():
    lone = ["1000", "0100", "1111"]
    assert walked([["1000", "0100", "1000"]], "L1,0") == [2]
    assert walked([lone, ["1000", "1000", "1000"]], "L1,0") == [3]  # the second filter keeps line 1 from being free
    assert walked([lone, ["1000", "1000", "1000"]], "L1,0", rows=1) == [2, 3]


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**32), st.sampled_from(["L1,2", "L2,3", "L4,3", "T1,2", "T2,5", "T3,2", "T6,0"]),
    st.floats(0, 1), st.sampled_from([8, 16]), st.integers(1, 3),
)  # fmt: skip
def test_walk_is_the_rule(seed, shape, density, lanes, filters):
    mask = np.random.default_rng(seed).random((filters, 12, lanes)) < density
    lines = [["".join("01"[lane] for lane in line.astype(int)) for line in each] for each in mask]
    (cycles,) = walked(lines, shape, lanes=lanes)
    h = parse_shape(shape).lookahead
    assert cycles == brute_force(mask.tolist(), shape, lanes)
    assert cycles <= 12
    assert cycles >= -(-mask.sum() // (filters * lanes))
    assert cycles >= 12 // (h + 1)


@pytest.mark.parametrize("shape", ["L1,6", "L4,3", "T2,5", "X8"])
def test_a_sparser_mask_is_no_slower_in_expectation(shape):
    """Weights are taken away one after the other; single masks may do worse by a cycle, their mean does not."""
    drawn = np.random.default_rng(0).random((40, 16, 36, 16))
    ahead, aside = connections(architecture(shape, 16))
    means = []
    for density in (1.0, 0.9, 0.7, 0.5, 0.3, 0.2, 0.1, 0.05):
        mask = (drawn < density).reshape(-1, 36, 16)
        lookahead, ends = parse_shape(shape).lookahead, tiles_of(len(mask), 16)
        counted = walk(packed(mask, 16), ends, lookahead, ahead, aside, 16, padding_of(36, 16, 16))
        assert (counted[:, CYCLES] >= 36 // (lookahead + 1)).all()
        means.append(counted[:, CYCLES].mean())
    assert means[0] == 36  # no zero: as dense
    assert sorted(means, reverse=True) == means


def test_full_crossbar_is_no_slower():
    mask = np.random.default_rng(0).random((16, 60, 16)) < 0.2
    lines = [["".join("01"[lane] for lane in line.astype(int)) for line in each] for each in mask]
    assert walked(lines, "X2", lanes=16) <= walked(lines, "T2,5", lanes=16) <= walked(lines, "T2,0", lanes=16)


def test_folding_keeps_every_weight():
    mask = np.zeros((1, 3, 7, 7), dtype=bool)
    mask[0, 2, 5, 3] = True  # i = 5, j = 3, stride 2: channel (3 mod 2)·2·3 + 3·(5 mod 2) + 2 = 11, at (2, 1)
    assert np.argwhere(folded(mask, 2)).tolist() == [[0, 11, 2, 1]]
    assert folded(np.ones((4, 3, 7, 7), dtype=bool), 2).sum() == 4 * 3 * 49


def test_resnet50_dense_cycles():
    network = swatcost.load("resnet50")
    found = simulate(network, passes=("forward",))
    by_name = {each.layer.name: each.passes["forward"] for each in found.layers}
    assert by_name["conv1"].dense == 1 * 16 * (112 * 112 // 16)  # folded to 4 × 4 × 12; 64 filters are one round
    assert by_name["layer1.0.conv2"].dense == 1 * (9 * 4) * (56 * 56 // 16)
    assert by_name["layer4.1.conv2"].dense == 8 * (9 * 32) * 4  # 7 × 7 windows are 4 columns' worth
    assert by_name["fc"].dense == 16 * 128 * 1  # 63 tiles in 16 rounds


def test_a_product_of_complex_numbers_takes_four_of_real_ones():
    def forward_of(dtype):
        network = swatcost.trace(torch.nn.Linear(32, 16, dtype=dtype), torch.zeros(16, 32, dtype=dtype))
        return simulate(network, passes=("forward",)).layers[0].passes["forward"]

    # per sample, one round of 16 filters: ceil(32 / 16) = 2 lines
    assert (forward_of(torch.float32).dense, forward_of(torch.complex64).dense) == (2, 4 * 2)


@pytest.mark.parametrize(("sparsity", "speedup"), [(0.8, 1.87), (0.9, 2.23)])
@pytest.mark.parametrize("seed", [0, 1])
def test_resnet50_forward(sparsity, speedup, seed):
    found = simulate("resnet50", weights=sparsity, masks=MaskSource(seed=seed), passes=("forward",))
    assert found.of("forward").speedup == pytest.approx(speedup, abs=0.02)


def test_sparser_is_faster_and_slots_add_up():
    last = 0.0
    for sparsity in (0.0, 0.5, 0.8, 0.95):
        found = simulate("cifar_resnet18", weights=sparsity, acts=sparsity)
        for each in found.layers:
            for cycles in each.passes.values():
                assert cycles.slots.total == pytest.approx(cycles.sparse * found.architecture.macs_per_cycle)
                assert min(cycles.slots.as_tuple()) >= -1e-6 * cycles.slots.total
                assert cycles.limit <= cycles.sparse * (1 + 1e-9) <= cycles.dense * (1 + 1e-6)
                assert cycles.sparse >= cycles.dense / 3  # T⟨2,5⟩; no layer here is short enough for less
                assert sparsity or cycles.sparse == cycles.dense
        assert found.speedup > last
        last = found.speedup


@pytest.mark.parametrize("settings", [{"weights": 0.0, "acts": 0.0}, {"method": "dense"}])
@pytest.mark.parametrize("model", ["resnet50", "cifar_densenet121"])
def test_without_zeros_it_is_the_dense_step(model, settings):
    """Whatever lanes are ragged: 12 of 16 in ResNet-50's folded first layer."""
    found = simulate(model, **settings)
    assert all(each.sparse == each.dense for layer in found.layers for each in layer.passes.values())
    assert found.speedup == 1


def test_a_dense_layer_among_sparse_ones():
    """It is walked with the others. Full lines cost a cycle each; those with ragged lanes share cycles."""
    found = simulate("resnet50", weights=0.9, keep_dense=["layer1.0.conv2"], passes=("forward",))
    by_name = {each.layer.name: each.passes["forward"] for each in found.layers}
    assert by_name["layer1.0.conv2"].sparse == by_name["layer1.0.conv2"].dense
    # folded, its 16 lines have 12 channels each: the four idle lanes of three lines take the twelve weights of a fourth
    assert by_name["conv1"].sparse == by_name["conv1"].dense * 12 / 16


def test_threads_do_not_matter():
    one = simulate("cifar_densenet121", weights=0.9, acts=0.9, threads=1).to_dict()
    assert simulate("cifar_densenet121", weights=0.9, acts=0.9, threads=4).to_dict() == one


@pytest.mark.parametrize(
    ("family", "build", "blocks"),
    [
        (vit, vit.vit_b_16, {"_BLOCKS": 2}),
        (convnext, convnext.convnext_base, {"_STAGES": ((128, 1), (256, 1), (512, 1), (1024, 1))}),
    ],
    ids=["vit_b_16", "convnext_base"],
)
def test_attention_and_groups(family, build, blocks):
    """With fewer of the blocks that are all alike."""
    with patch.multiple(family, **blocks):
        network = swatcost.trace(build(), input_shape=(3, 224, 224))
    found = simulate(network, weights=0.8, acts=0.8)
    assert 1 < found.training.speedup <= 3


def test_any_layer():
    from torch import nn

    module = nn.Sequential(
        nn.Conv2d(4, 32, 3, padding=1),
        nn.ConvTranspose2d(32, 16, 2, stride=2, groups=2),
        nn.Conv2d(16, 32, 3, groups=16),
        nn.Flatten(2),
        nn.Conv1d(32, 8, 5),
        nn.Unflatten(2, (4, 4, 41)),
        nn.Conv3d(8, 5, 2),
    )
    found = simulate(swatcost.trace(module, input_shape=(4, 16, 12)), weights=0.5, acts=0.5)
    exact = found.estimate.exact
    for each in found.layers:
        for cycles in each.passes.values():
            assert 0 < cycles.sparse <= cycles.dense
            assert cycles.slots.total == pytest.approx(cycles.sparse * found.architecture.macs_per_cycle)
    dense = simulate(swatcost.trace(module, input_shape=(4, 16, 12)), method="dense")
    assert dense.of("grad_weight").slots.busy == pytest.approx(exact.grad_weight.dense)
    assert dense.training.sparse == dense.training.dense


def test_command(capsys):
    assert main(["simulate", "cifar_resnet18", "--weights", "0.9"]) == 0
    assert "grad_weight" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--arch", "tactical"], "did you mean bit-tactical"),
        (["--shape", "Q3"], "give one such as T2,5"),
        (["--shape", "T0,3"], "without lookahead"),
        (["--masks", "nowhere.pt"], "nowhere.pt"),
        (["--masks", "nowhere.jsonl"], "checkpoint beside its record"),
        (["--filter-spread", "-1"], "standard deviation"),
        (["--seed", "-1"], "seed -1"),
    ],
)
def test_misuse(arguments, said, capsys):
    assert main(["simulate", "cifar_resnet18", "--weights", "0.8", *arguments]) == 2
    captured = capsys.readouterr()
    assert said in captured.err
    assert captured.err.count("\n") == 1
    assert not captured.out


def test_damaged_architecture(tmp_path):
    (tmp_path / "mine.toml").write_text("name = 'mine'\nlanes = 65")
    with pytest.raises(SwatcostError, match=r"mine\.toml is not a usable architecture"):
        load_architecture(tmp_path / "mine.toml")


def test_a_misspelt_setting_of_an_architecture_is_not_left_at_its_default(tmp_path):
    from importlib.resources import files

    text = (files("swatcost.accelerator") / "bit-tactical.toml").read_text()
    for right, wrong, named in (
        ("lookaside", "lookasides", "lookasides"),
        ("topk_passes = 4", "topk_passes = 4\nbanks = 2", "banks"),
    ):
        (tmp_path / "mine.toml").write_text(text.replace(right, wrong))
        with pytest.raises(SwatcostError, match=f"usable architecture: '{named}'"):
            load_architecture(tmp_path / "mine.toml")


def test_an_estimate_on_an_architecture_is_simulated(tmp_path):
    ideal = swatcost.estimate("cifar_resnet18", weights=0.8, acts=0.8)
    found = swatcost.estimate("cifar_resnet18", weights=0.8, acts=0.8, device="bit-tactical")
    step = simulate("cifar_resnet18", weights=0.8, acts=0.8)
    assert found.training_reduction == ideal.training_reduction
    assert found.speedup == pytest.approx(step.speedup)
    assert found.speedup < 3 < ideal.speedup_limit  # two lines of lookahead
    assert any("Cycles are simulated" in each for each in found.assumptions)


def test_an_architecture_of_ones_own(tmp_path, capsys):
    from importlib.resources import files

    text = (files("swatcost.accelerator") / "bit-tactical.toml").read_text().replace("tiles = 4", "tiles = 1")
    (tmp_path / "mine.toml").write_text(text)
    one, four = (
        simulate("cifar_resnet18", weights=0.8, arch=arch) for arch in (tmp_path / "mine.toml", "bit-tactical")
    )
    # every layer has a multiple of 64 filters, but for fc: 10 filters of 512 / 16 lines in either case
    assert one.of("forward").dense == 4 * (four.of("forward").dense - 32) + 32
    assert main(["cifar_resnet18", "--weights", "0.8", "--device", str(tmp_path / "mine.toml"), "--notes"]) == 0
    assert "simulated, not measured" in capsys.readouterr().out.replace("\n  ", " ")


def test_no_folder_can_be_written(tmp_path):
    """Neither the package's nor the user's: what is compiled is not kept then."""
    package = Path(swatcost.__file__).parent
    shutil.copytree(package, tmp_path / "swatcost", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "swatcost" / "accelerator" / "__pycache__").write_text("")  # a file, where the cache's folder would be
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "HOME": os.devnull, "XDG_CACHE_HOME": os.devnull}
    environment.pop("NUMBA_CACHE_DIR", None)
    program = "import swatcost; print(swatcost.__file__, swatcost.accelerator.simulate('cifar_resnet18', weights=0.9))"
    done = subprocess.run(
        [sys.executable, "-c", f"import swatcost.accelerator; {program}"],
        env=environment, cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path))
    assert "speedup" in done.stdout
