import numpy as np
import PIL.Image
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from jointdiff.modalities import Image


def gradient(h, w):
    return np.linspace(0, 255, h * w).reshape(h, w).astype(np.uint8)


def test_every_pixel_value_survives_at_the_grids_size():
    grey = gradient(16, 16)[None]
    assert np.array_equal(Image((16, 16)).decode(Image((16, 16)).encode(grey)), grey)
    colour = np.stack([gradient(16, 16), 255 - gradient(16, 16), gradient(16, 16).T], -1)[None]
    kind = Image((16, 16), "RGB")
    assert np.array_equal(kind.decode(kind.encode(colour)), colour)
    assert kind.encode(colour).min() == -1 and kind.encode(colour).max() == 1


@settings(deadline=None, max_examples=30)
@given(h=st.integers(1, 90), w=st.integers(1, 90), grid=st.tuples(st.integers(4, 40), st.integers(4, 40)))
def test_any_size_fits_any_grid_and_a_flat_picture_stays_flat(h, w, grid):
    x = Image(grid).encode(np.full((2, h, w), 77, np.uint8))
    assert x.shape == (2, 1, *grid)
    assert (Image(grid).decode(x) == 77).all()


def test_scaling_keeps_the_centre_and_the_aspect():
    """A 20 x 60 picture on a square grid: its middle third remains."""
    wide = np.zeros((1, 20, 60), np.uint8)
    wide[:, :, 20:40] = 255
    assert (Image((20, 20)).encode(wide) == 1).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "HSV", "I", "F", "I;16"])
def test_pictures_of_every_mode_are_read(mode, tmp_path):
    """A picture that is bright on the left and dark on the right stays so."""
    values = np.zeros((12, 12), np.uint8)
    values[:, :6] = 255
    if mode == "I;16":
        picture = PIL.Image.fromarray(values.astype(np.uint16) * 257)
    else:
        picture = (
            PIL.Image.fromarray(values).convert("RGB").convert(mode)
            if mode not in ("I", "F")
            else PIL.Image.fromarray(values).convert(mode)
        )
    path = tmp_path / ("x.tiff" if mode in ("CMYK", "F", "I") else "x.png")
    if mode in ("HSV", "YCbCr"):  # no file of these can be read by every Pillow
        got = Image((12, 12)).convert(picture)
    else:
        picture.save(path)
        got = Image((12, 12)).read(str(path))[0]
    assert got.dtype == np.uint8 and got.shape == (12, 12)
    assert abs(got[:, :6].astype(int) - 255).max() <= 15 and got[:, 6:].max() <= 10


def test_transparency_lies_on_white(tmp_path):
    picture = PIL.Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    picture.putpixel((0, 0), (0, 0, 0, 255))
    picture.save(tmp_path / "x.png")
    got = Image((8, 8)).read(str(tmp_path / "x.png"))[0]
    assert got[0, 0] == 0 and (got.flatten()[1:] == 255).all()
    indexed = picture.convert("P")
    indexed.info["transparency"] = indexed.getpixel((5, 5))
    indexed.save(tmp_path / "p.png")
    assert Image((8, 8)).read(str(tmp_path / "p.png"))[0][5, 5] == 255


def test_exif_rotation_is_applied(tmp_path):
    values = np.zeros((16, 16, 3), np.uint8)
    values[:8] = 255  # bright above
    exif = PIL.Image.Exif()
    exif[0x0112] = 6  # the camera was turned: rotate by 90 degrees clockwise to see it upright
    PIL.Image.fromarray(values).save(tmp_path / "x.png", exif=exif)
    got = Image((16, 16)).read(str(tmp_path / "x.png"))[0]
    assert (got[:, 8:] == 255).all() and (got[:, :8] == 0).all()


def test_bad_input_says_what_was_expected(tmp_path):
    (tmp_path / "x.png").write_bytes(b"not a picture")
    with pytest.raises(ValueError, match="not a picture that can be read"):
        Image((8, 8)).read(str(tmp_path / "x.png"))
    with pytest.raises(ValueError, match="no picture at"):
        Image((8, 8)).read(str(tmp_path / "y.png"))
    with pytest.raises(ValueError, match=r"uint8 \(N, h, w, 3\), got float64"):
        Image((8, 8), "RGB").encode(np.zeros((1, 8, 8, 3)))
    with pytest.raises(ValueError, match="mode 'CMYK' is unknown"):
        Image((8, 8), "CMYK")


def test_out_of_range_channels_are_clipped():
    x = torch.tensor([-3.0, -1.0, 0.0, 1.0, 9.0, 0.5]).view(1, 1, 2, 3)
    assert Image((2, 3)).decode(x).flatten().tolist() == [0, 0, 128, 255, 255, 191]
