"""How found boxes are scored: as COCO's evaluator does, undefined where there is nothing to find."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from training import boxscores
from training.boxscores import Found, average_precision_of, best_threshold, matched
from training.coco_scores import coco_scores
from training.filmpictures import film_images
from training.pictures import Images
from training.synthetic import Film


@pytest.fixture(scope="module")
def images() -> Images:
    return film_images(Film(1, 2.0, size=(160, 120)), 64, count=6)


def found_by_chance(rng: np.random.Generator, classes: int) -> Found:
    def boxes(count: int) -> np.ndarray:
        corner = rng.uniform(0, 60, (count, 2))
        return np.concatenate([corner, corner + rng.uniform(10, 40, (count, 2))], axis=1)

    truth = boxes(int(rng.integers(0, 4)))
    near = truth + rng.normal(0, 4, truth.shape)
    found = np.concatenate([near, boxes(int(rng.integers(0, 4)))])
    labels = rng.integers(0, classes, len(truth))
    guesses = np.concatenate([labels, rng.integers(0, classes, len(found) - len(truth))])
    return Found(found, rng.random(len(found)), guesses, truth, labels)


@pytest.mark.parametrize("seed", range(4))
def test_our_average_precision_agrees_with_cocos_evaluator(seed: int) -> None:
    """COCO's takes 101 points of the curve, ours all of it: with many boxes the two come close."""
    rng = np.random.default_rng(seed)
    found = [found_by_chance(rng, 1) for _ in range(60)]
    theirs = coco_scores(found, ("mouse",))
    assert average_precision_of(found) == pytest.approx(theirs["AP50"], abs=0.01)
    assert average_precision_of(found, 0.75) == pytest.approx(theirs["AP75"], abs=0.01)
    assert theirs["recall"] >= theirs["AP"]  # type: ignore[operator]


def test_scores_are_undefined_without_truth_and_nought_without_answers(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)
    truth = np.array([[0.0, 0.0, 5.0, 5.0]]), np.zeros(1, np.int64)
    assert coco_scores([Found(*nothing, np.zeros((0, 4)), np.zeros(0, np.int64))], ("mouse",))["AP"] is None
    assert coco_scores([Found(*nothing, *truth)], ("mouse",))["AP"] == 0.0
    assert coco_scores([Found(truth[0], np.ones(1), truth[1], *truth)], ("mouse",))["AP"] == pytest.approx(1.0)
    assert best_threshold([Found(*nothing, *truth)]) is None
    assert capsys.readouterr().out == ""  # the evaluator's chatter is kept in


def test_the_threshold_is_where_f1_is_best() -> None:
    truth = np.array([[0.0, 0.0, 10.0, 10.0]])
    far = truth + 50
    found = [
        Found(
            np.concatenate([truth, far]), np.array([score, false]), np.zeros(2, np.int64), truth, np.zeros(1, np.int64)
        )
        for score, false in ((0.9, 0.1), (0.8, 0.3), (0.6, 0.5))
    ]
    threshold, f1 = best_threshold(found)  # type: ignore[misc]
    assert 0.5 < threshold < 0.6
    assert f1 == 1.0
    scores, hits, truths = matched(found)
    assert truths == 3
    assert hits[scores >= threshold].all()


def test_average_precision_is_one_for_perfect_boxes_and_less_for_a_missed_picture(images: Images) -> None:
    class Known(nn.Module):
        def __init__(self, boxes: np.ndarray) -> None:
            super().__init__()
            self.boxes = torch.from_numpy(boxes)

        def forward(self, pixel_values: torch.Tensor) -> object:
            class Output:
                logits = torch.tensor([[[2.0], [-2.0]]]).repeat(len(pixel_values), 1, 1)
                pred_boxes = torch.stack([self.boxes, torch.full_like(self.boxes, 0.01)], dim=1)

            return Output()

    assert boxscores.average_precision(Known(images.boxes), images) == 1
    wrong = images.boxes.copy()
    wrong[0] = 0.01
    assert 0.5 < boxscores.average_precision(Known(wrong), images) < 1
