"""Command line: `python -m jointdiff.main --mode=train|sample|evaluate`. Flags and dispatch only."""

import os
import sys

from absl import app, flags, logging
from ml_collections import config_flags

FLAGS = flags.FLAGS
config_flags.DEFINE_config_file("config", None, "Training config, a file in configs/.", lock_config=True)
flags.DEFINE_string("workdir", None, "Folder of the run.")


def main(argv):
    import torch

    from .train import Trainer

    Trainer(FLAGS.config, FLAGS.workdir).run()


if __name__ == "__main__":
    app.run(main)
