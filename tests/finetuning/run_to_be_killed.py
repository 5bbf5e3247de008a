"""A fine-tuning run into the folder named, for the test that kills it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from finetuning.small import frame, small_base

import tsfm
from tsfm.finetuning import run

run.MOST_STEPS = 100
tsfm.finetune(frame(4, 160), 8, small_base(), "full", 600, sys.argv[1], windows=2)
