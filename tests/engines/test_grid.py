import numpy as np

from support.scenes import noise_texture
from warpaint.engines.grid import inside, lengths, pixel_grid, resample, scaled_flow


def flow(dx: float, dy: float, size: tuple[int, int] = (40, 30)) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    w, h = size
    return np.tile(np.array([dx, dy], np.float32), (h, w, 1))


def test_a_flow_points_into_the_source() -> None:
    picture = noise_texture((40, 30), 1)
    moved = resample(picture, flow(3, -2))
    np.testing.assert_array_equal(moved[2:, :-3], picture[:-2, 3:])


def test_past_the_edge_the_edge_goes_on() -> None:
    picture = noise_texture((40, 30), 1)
    np.testing.assert_array_equal(resample(picture, flow(100, 0))[:, 0], picture[:, -1])


def test_inside_is_where_the_source_has_a_pixel() -> None:
    seen = inside(flow(3, -2))
    assert seen[2:, :-3].all()
    assert not seen[:2].any()
    assert not seen[:, -3:].any()


def test_a_flow_is_scaled_with_its_grid() -> None:
    larger = scaled_flow(flow(3, -2), (80, 90))
    assert larger.shape == (90, 80, 2)
    np.testing.assert_allclose(larger, np.tile([6, -6], (90, 80, 1)), atol=1e-5)


def test_the_grid_cannot_be_written_to() -> None:
    assert not pixel_grid(8, 8).flags.writeable


def test_lengths_do_not_depend_on_where_arrays_lie() -> None:
    """As those of cv2.magnitude do, in the last bit."""
    rng = np.random.default_rng(0)
    vectors = rng.normal(0, 3, (50, 70, 2)).astype(np.float32)
    room = np.empty(vectors.nbytes + 64, np.uint8)
    for offset in range(0, 64, 4):
        moved = room[offset : offset + vectors.nbytes].view(np.float32).reshape(vectors.shape)
        moved[:] = vectors
        np.testing.assert_array_equal(lengths(moved), lengths(vectors))
    np.testing.assert_allclose(lengths(vectors), np.linalg.norm(vectors.astype(float), axis=2), rtol=1e-6)
