"""Synthetic videos of a mouse from above, with exact truth. See `film` for use."""

from training.synthetic.drawing import write_videos
from training.synthetic.film import BEHAVIORS, TRUTH_SUFFIX, Film, Truth, read_truth, write_video

__all__ = ["BEHAVIORS", "TRUTH_SUFFIX", "Film", "Truth", "read_truth", "write_video", "write_videos"]
