import numpy as np
import torch

from jointdiff.modalities import Audio, Image, Text
from jointdiff.report import FRAME, beside, grid_picture, titled

KINDS = {"image": Image((16, 16), "RGB"), "text": Text((16, 16), (5, 8)), "audio": Audio((16, 16), fold=(2, 1))}


def test_a_row_a_sample_a_column_a_modality_and_frames_around_the_given():
    red = torch.tensor([1.0, -1.0, -1.0]).view(1, 3, 1, 1).expand(3, 3, 16, 16)
    channels = {
        "image": red,
        "text": KINDS["text"].encode(["one", "two", "six"]),
        "audio": torch.full((3, 2, 16, 16), -1.0),
    }
    picture = grid_picture(KINDS, channels, ["text"])
    height, width = picture.shape[0] // 3, picture.shape[1]
    assert picture.shape[0] % 3 == 0
    is_red = (picture == (255, 0, 0)).all(-1)
    assert is_red.sum() == 3 * 96 * 96  # 16 pixels six times larger, three samples
    framed = (picture == FRAME).all(-1)
    columns = np.flatnonzero(framed.any(0))
    assert framed.any() and columns.min() > np.flatnonzero(is_red.any(0)).max() and columns.max() < width - 48
    assert not (grid_picture(KINDS, channels, []) == FRAME).all(-1).any()
    assert np.array_equal(picture[:height][is_red[:height]], picture[height : 2 * height][is_red[height : 2 * height]])


def test_low_frequencies_lie_at_the_bottom():
    tone = np.sin(2 * np.pi * 300 * np.arange(6000) / 8000).astype(np.float32)
    picture = KINDS["audio"].picture(KINDS["audio"].encode([tone]))[0].astype(int).sum(-1)
    assert picture.mean(1).argmax() > 0.7 * len(picture)


def test_titles_and_panels():
    panel = np.zeros((20, 30, 3), np.uint8)
    one = titled(panel, "text -> image")
    assert one.shape[0] == 50 and (one[:30] != 255).any() and (one[30:, :30] == 0).all()
    both = beside([one, panel])
    assert both.shape == (50, one.shape[1] + 30 + 48, 3)
