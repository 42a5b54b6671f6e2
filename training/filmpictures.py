"""Pictures of drawn films with the true boxes, for measuring a detector and for tests."""

from __future__ import annotations

import cv2
import numpy as np

from mousetal.geometry import resize_for_detector
from training.boxaugment import to_shares
from training.pictures import Images
from training.synthetic import Film


def film_images(film: Film, input_size: int, count: int = 12) -> Images:
    """Pictures at random moments of a film, at the detector's input size, after JPEG of random quality."""
    rng = np.random.default_rng((film.seed, 2))
    images, boxes = [], []
    for number in rng.choice(film.num_frames, count, replace=False):
        rgb, box = film.frame(int(number))
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 96))]
        again = cv2.imdecode(cv2.imencode(".jpg", rgb, quality)[1], cv2.IMREAD_COLOR)
        assert again is not None  # just made
        images.append(resize_for_detector(np.asarray(again, np.uint8), input_size))
        boxes.append(to_shares(np.array(box), film.width, film.height))
    return Images(np.stack(images), np.stack(boxes))
