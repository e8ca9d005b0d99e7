import re
from xml.etree import ElementTree

import numpy as np
import pytest

from warpaint.client.compare.charts import POINTS, Chart, chart_svg

Points = list[tuple[float, float]]


def drawn(chart: Chart) -> ElementTree.Element:
    """The chart, which must be well-formed."""
    return ElementTree.fromstring(chart_svg(chart))


def lines(svg: ElementTree.Element, film: int = 0) -> list[Points]:
    """The stretches of a film's curve."""
    found = [each for each in svg.iter("polyline") if each.get("class") == f"film{film}"]
    return [
        [(float(x), float(y)) for x, y in re.findall(r"([\d.-]+),([\d.-]+)", each.get("points", ""))] for each in found
    ]


def words(svg: ElementTree.Element) -> list[str]:
    return [each.text or "" for each in svg.iter("text")]


def chart(*curves: list[float], **options: object) -> Chart:
    given = [np.array(curve, np.float64) for curve in curves]
    return Chart(title="a & b", unit="levels", curves=given, rate=10, frames=len(given[0]), **options)  # type: ignore[arg-type]


def test_larger_values_are_higher_and_later_ones_to_the_right() -> None:
    [[first, second, third]] = lines(drawn(chart([0, 4, 2])))
    assert first[0] < second[0] < third[0]
    assert second[1] < third[1] < first[1]
    assert second[0] - first[0] == pytest.approx(third[0] - second[0], abs=0.11)
    assert first[1] - third[1] == pytest.approx(third[1] - second[1], abs=0.11)


def test_a_gap_is_not_drawn_over() -> None:
    assert [len(points) for points in lines(drawn(chart([1, 2, np.nan, 4, 5, 6, np.inf])))] == [2, 3]


def test_ticks_are_round_and_cover_what_there_is() -> None:
    told = words(drawn(chart([0.013, 0.19] * 11)))
    assert [each for each in told if not each.endswith(" s")] == ["0", "0.05", "0.1", "0.15", "0.2"]
    assert [each for each in told if each.endswith(" s")] == ["0 s", "0.5 s", "1 s", "1.5 s", "2 s"]


def test_bounds_are_always_seen() -> None:
    svg = drawn(chart([1, 2, 1], bounds=[8.0]))
    [bound] = [each for each in svg.iter("line") if each.get("class") == "bound"]
    assert 0 < float(bound.get("y1", "nan")) < 220


def test_cuts_and_keyframes_are_marked() -> None:
    svg = drawn(chart([1] * 11, [2] * 11, cuts=[5], marks=[[0, 10], [5]]))
    middle = [float(each.get("x1", "nan")) for each in svg.iter("line") if each.get("class") == "cut"]
    dots = [(each.get("class"), float(each.get("cx", "nan"))) for each in svg.iter("circle")]
    assert [film for film, _ in dots] == ["film0", "film0", "film1"]
    assert middle == [dots[2][1]] == pytest.approx([(dots[0][1] + dots[1][1]) / 2])


def test_of_a_long_curve_the_peaks_stay() -> None:
    curve = [1.0] * 50_000
    curve[31_337] = 9.0
    [points] = lines(drawn(chart(curve)))
    assert len(points) <= POINTS
    heights = [y for _, y in points]
    assert sum(y < max(heights) - 50 for y in heights) == 1


def test_a_curve_without_values_is_said_to_be_none() -> None:
    assert "nothing to draw" in chart_svg(chart([np.nan, np.nan]))


def test_an_even_curve_has_a_range_all_the_same() -> None:
    [points] = lines(drawn(chart([3, 3, 3], from_zero=False)))
    assert all(np.isfinite(points).ravel())
