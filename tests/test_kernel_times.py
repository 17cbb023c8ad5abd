"""Times of sparse kernels over dense ones between and beyond measurements, by hand."""

from __future__ import annotations

import numpy
import pytest

from swatcost.devices import device_names, load_device
from swatcost.devices.kernels import Kernel, KernelPoint
from swatcost.timing.kernel_times import KernelTimes


def times_of(*points: tuple[tuple[int, int, int], float, float]) -> KernelTimes:
    """Sizes, density and ratio of each point."""
    return KernelTimes(tuple(KernelPoint("forward", *sizes, density, ratio) for sizes, density, ratio in points))


SMALL, LARGE = (64, 64, 64), (64, 64, 4096)
MIDDLE = (64, 64, 512)  # the geometric mean of 64 and 4096
TIMES = times_of((SMALL, 0.1, 0.5), (SMALL, 0.4, 2.0), (LARGE, 0.1, 0.125), (LARGE, 0.4, 0.5))


def test_measured_points_are_met() -> None:
    """The other shape is ln 64 = 4.16 away: its weight is 1 / (17.3 + 0.02)², against 1 / 0.02² = 2500."""
    for point in TIMES.points:
        found = TIMES.at(point[1:4], point.density)
        assert found.over_dense == pytest.approx(point.time_over_dense, rel=1e-5)
        assert found.covered
    alone = times_of((SMALL, 0.1, 0.5))
    assert alone.at(SMALL, 0.1).over_dense == pytest.approx(0.5)


def test_between_densities() -> None:
    """0.2 is the geometric mean of 0.1 and 0.4, and 1 that of 0.5 and 2."""
    only = times_of((SMALL, 0.4, 2.0), (SMALL, 0.1, 0.5))  # in any order
    assert only.at(SMALL, 0.2) == (pytest.approx(1.0), True)
    assert only.at(SMALL, 0.05) == (pytest.approx(0.5), False)  # no faster than at the least density measured
    assert only.at(SMALL, 0.8) == (pytest.approx(4.0), False)  # twice the non-zeros of the densest measured


def test_between_shapes() -> None:
    """Half way both weigh the same: √(0.5 · 0.125) = 0.25 and √(2 · 0.5) = 1, and √(0.25 · 1) at density 0.2."""
    assert TIMES.at(MIDDLE, 0.1) == (pytest.approx(0.25), True)
    assert TIMES.at(MIDDLE, 0.2) == (pytest.approx(0.5), True)
    for beyond in ((63, 64, 512), (64, 65, 512), (64, 64, 32), (64, 64, 4097)):
        assert not TIMES.at(beyond, 0.2).covered


def test_weights_of_distances() -> None:
    """A quarter of the way in logarithms, at 64 · 2.828 = 181: distances 1.04 and 3.12, squared 1.081 and 9.729."""
    place = (64, 64, 181)
    near, far = (numpy.log([place[2] / 64, 4096 / place[2]]) ** 2 + 0.02) ** -2.0
    expected = (near * numpy.log(0.5) + far * numpy.log(0.125)) / (near + far)
    assert TIMES.at(place, 0.1).over_dense == pytest.approx(numpy.exp(expected))
    assert near / far == pytest.approx((9.729 / 1.081) ** 2, rel=0.05)


def test_arrays_of_densities() -> None:
    densities = numpy.array([0.05, 0.1, 0.2, 0.3, 0.4, 0.9])
    found = TIMES.at(MIDDLE, densities).over_dense
    assert found == pytest.approx([TIMES.at(MIDDLE, float(each)).over_dense for each in densities])


def test_each_shape_from_the_others() -> None:
    """0.5 from 0.125 and back, at the same densities: 0.5 / 0.125 − 1 and 0.125 / 0.5 − 1."""
    assert TIMES.left_out() == pytest.approx([3, 3, -0.75, -0.75])
    assert times_of((SMALL, 0.1, 0.5), (SMALL, 0.4, 2.0)).left_out() == []


def test_images_are_a_size_where_they_were_measured() -> None:
    """As many rows of 4 and of 64 images; 16 is the geometric mean, and so is √(0.5 · 0.125) = 0.25 of the ratios."""
    points = tuple(KernelPoint("forward", *SMALL, 0.1, ratio, images) for images, ratio in ((4, 0.5), (64, 0.125)))
    times = KernelTimes(points)
    assert times.at((*SMALL, 16), 0.1) == (pytest.approx(0.25), True)
    assert not times.at((*SMALL, 65), 0.1).covered
    assert times.left_out() == pytest.approx([3, -0.75])
    assert TIMES.at((*MIDDLE, 16), 0.1) == TIMES.at(MIDDLE, 0.1)  # where they were not, they are of no account


def test_a_kernel_has_images_in_all_points_or_none() -> None:
    points = (KernelPoint("forward", *SMALL, 0.5, 0.25, 4), KernelPoint("forward", *LARGE, 0.5, 0.75))
    with pytest.raises(ValueError, match="kernel k has images in some points and not in others"):
        Kernel(
            name="k", title="", pattern="unstructured", operand="weights", kinds=("conv",), measures="", source="",
            points=points,
        )  # fmt: skip


def test_a_pass_has_its_own_points() -> None:
    points = (KernelPoint("forward", *SMALL, 0.5, 0.25), KernelPoint("training", *SMALL, 0.5, 0.75))
    kernel = Kernel(
        name="k", title="", pattern="unstructured", operand="weights", kinds=("linear",), measures="", source="",
        points=points,
    )  # fmt: skip
    found = KernelTimes.of(kernel, "forward")
    assert found is not None
    assert found.at(SMALL, 0.5).over_dense == pytest.approx(0.25)
    assert KernelTimes.of(kernel, "grad_weight") is None


def test_shipped_kernels_meet_their_points() -> None:
    """Shapes of one kernel that are near each other share the weight: 10 % at most here."""
    for device in map(load_device, device_names()):
        for kernel in device.kernels:
            for point in kernel.points:
                times = KernelTimes.of(kernel, point.in_pass)
                assert times is not None
                found = times.at(point.sizes, point.density)
                assert found.over_dense == pytest.approx(point.time_over_dense, rel=0.1)
                assert found.covered
