import pathlib

import pytest
import torch

ROOT = pathlib.Path(__file__).parent.parent
torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)
