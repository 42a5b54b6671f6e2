"""Augmentation: operations as Pillow does them, the same for all frames, and mixing whose targets fit its pixels."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps

from mousetal.errors import SettingsError
from mousetal.geometry import crop_clip, square, union
from training import randaugment
from training.mixing import Mix, draw_mix, mix_clips, mix_targets
from training.randaugment import OPERATIONS, Operation, Policy
from training.views import Disturbance, cut, draw_erasure, erase, resized_crop, view

SEEDS = st.integers(0, 2**32 - 1)


def a_picture(seed: int = 0, size: int = 48) -> np.ndarray:
    """Smooth colours with some noise, uint8 (size, size, 3)."""
    rng = np.random.default_rng(seed)
    coarse = np.kron(rng.integers(20, 220, (6, 6, 3)), np.ones((size // 6, size // 6, 1)))
    return (coarse + rng.integers(-15, 15, (size, size, 3))).clip(0, 255).astype(np.uint8)


def by_pillow(name: str, picture: np.ndarray, u: float) -> np.ndarray:
    """The operation as Pillow carries it out."""
    image = Image.fromarray(picture)
    size = picture.shape[0]
    affine = {
        "ShearX": (1, 0.3 * u, 0, 0, 1, 0), "ShearY": (1, 0, 0, 0.3 * u, 1, 0),
        "TranslateX": (1, 0, 0.45 * u * size, 0, 1, 0), "TranslateY": (1, 0, 0, 0, 1, 0.45 * u * size),
    }  # fmt: skip
    if name in affine:
        done = image.transform(
            image.size, Image.Transform.AFFINE, affine[name], Image.Resampling.BICUBIC, fillcolor=randaugment.GREY
        )
    elif name == "Rotate":
        done = image.rotate(30 * u, Image.Resampling.BICUBIC, fillcolor=randaugment.GREY)
    elif name in ("Color", "Contrast", "Brightness", "Sharpness"):
        done = getattr(ImageEnhance, name)(image).enhance(1 + 0.9 * u)
    elif name == "SolarizeAdd":
        done = image.point([min(255, i + int(110 * u)) if i < 128 else i for i in range(256)] * 3)
    else:
        done = {
            "AutoContrast": ImageOps.autocontrast,
            "Equalize": ImageOps.equalize,
            "Invert": ImageOps.invert,
            "Posterize": lambda i: ImageOps.posterize(i, 4 - int(4 * u)),
            "Solarize": lambda i: ImageOps.solarize(i, 256 - int(256 * u)),
        }[name](image)
    return np.asarray(done)


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_operation_does_what_pillow_does(name: str) -> None:
    for u in (0.3, 0.7, 0.95):
        for sign in (1, -1) if name in randaugment.TWO_SIDED else (1,):
            for seed in (1, 2):
                picture = a_picture(seed)
                ours = OPERATIONS[name](picture[None], sign * u)[0].astype(int)
                theirs = by_pillow(name, picture, sign * u)
                # The two libraries' cubic kernels differ; everything else is one level of rounding at most.
                mean, most = (4.0, 255) if name.startswith(("Rotate", "Shear", "Translate")) else (0.5, 1)
                assert np.abs(ours - theirs).mean() <= mean, (u, sign)
                assert np.abs(ours - theirs).max() <= most, (u, sign)
                assert name in ("AutoContrast",) or np.abs(ours - picture).mean() > 0.5


@given(SEEDS)
@settings(max_examples=25, deadline=None)
def test_all_frames_of_a_view_are_treated_alike(seed: int) -> None:
    clip = np.repeat(a_picture(3)[None], 3, axis=0)
    rng = np.random.default_rng(seed)
    done = randaugment.apply(clip, randaugment.draw(Policy(7, 4, 0.5), rng))
    assert done.shape == clip.shape
    assert done.dtype == np.uint8
    assert (done == done[:1]).all()


def test_operations_are_drawn_at_the_magnitude_asked_for() -> None:
    policy = randaugment.parse("rand-m7-n4-mstd0.5-inc1")
    assert policy == Policy(7, 4, 0.5)
    rng = np.random.default_rng(0)
    drawn = [one for _ in range(500) for one in randaugment.draw(policy, rng)]
    assert len(drawn) / 500 == pytest.approx(2, abs=0.15)
    assert {one.name for one in drawn} == set(OPERATIONS)
    assert np.mean([abs(one.strength) for one in drawn]) == pytest.approx(0.7, abs=0.01)
    turned = [one.strength for one in drawn if one.name in randaugment.TWO_SIDED]
    assert np.mean(np.array(turned) > 0) == pytest.approx(0.5, abs=0.1)
    assert all(one.strength >= 0 for one in drawn if one.name not in randaugment.TWO_SIDED)


@pytest.mark.parametrize("text", ["rand", "rand-m11-n2", "augmix-m3-n2", "rand-m7-n4-mstd0.5-inc2"])
def test_a_policy_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="auto_augment"):
        randaugment.parse(text)


def test_posterizing_keeps_fewer_and_fewer_bits() -> None:
    for strength, levels in ((0.0, 16), (0.5, 4), (1.0, 1)):
        ramp = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
        assert len(np.unique(randaugment.apply(ramp, [Operation("Posterize", strength)]))) == levels


@given(SEEDS, st.integers(8, 40), st.sampled_from([(0.8, 0.0), (0.0, 1.0), (0.8, 1.0)]))
@settings(max_examples=60, deadline=None)
def test_the_targets_share_is_the_share_of_the_pixels(seed: int, size: int, alphas: tuple[float, float]) -> None:
    """Own clips are 1 and partners 0, so the mean over any frame is the share of the own clip."""
    mix = draw_mix(np.random.default_rng(seed), size, *alphas, probability=1.0, cutmix_share=0.5)
    assert mix is not None
    assert 0 <= mix.share <= 1
    assert (mix.box is None) or alphas[1] > 0
    clips = torch.stack([torch.ones(3, 4, size, size), torch.zeros(3, 4, size, size)])
    mixed = mix_clips(clips, mix)
    assert torch.allclose(mixed[0].mean(dim=(0, 2, 3)), torch.full((4,), mix.share), atol=1e-5)
    targets = mix_targets(torch.eye(2), mix)
    assert float(targets[0, 0]) == pytest.approx(mix.share, abs=1e-6)
    assert torch.allclose(targets.sum(dim=1), torch.ones(2))


@given(SEEDS)
@settings(max_examples=40, deadline=None)
def test_cutmix_cuts_the_same_rectangle_out_of_every_frame(seed: int) -> None:
    mix = draw_mix(np.random.default_rng(seed), 16, 0.0, 1.0, probability=1.0, cutmix_share=1.0)
    assert mix is not None
    clips = torch.stack([torch.zeros(3, 5, 16, 16), torch.ones(3, 5, 16, 16)])
    foreign = mix_clips(clips, mix)[0] == 1
    assert (foreign == foreign[:1, :1]).all()
    rows, columns = foreign[0, 0].any(dim=1).sum(), foreign[0, 0].any(dim=0).sum()
    assert int(rows * columns) == int(foreign[0, 0].sum())


def test_mixing_happens_as_often_as_asked_for() -> None:
    rng = np.random.default_rng(0)
    drawn = [draw_mix(rng, 16, 0.8, 1.0, probability=0.3, cutmix_share=0.5) for _ in range(2000)]
    mixed = [one for one in drawn if one is not None]
    assert len(mixed) / 2000 == pytest.approx(0.3, abs=0.04)
    assert np.mean([one.box is not None for one in mixed]) == pytest.approx(0.5, abs=0.06)
    assert mix_clips(torch.ones(2, 3, 2, 4, 4), None).sum() == 2 * 3 * 2 * 16
    assert draw_mix(rng, 16, 0.0, 0.0, probability=1.0, cutmix_share=0.5) is None


def test_mixup_blends() -> None:
    clips = torch.rand(3, 3, 2, 4, 4)
    torch.testing.assert_close(mix_clips(clips, Mix(0.7))[0], 0.7 * clips[0] + 0.3 * clips[2])


def boxed_frames() -> tuple[np.ndarray, np.ndarray]:
    frames = np.stack([a_picture(seed, 60) for seed in range(4)])
    boxes = np.array([[20, 15, 35, 30], [np.nan] * 4, [22, 18, 40, 31], [19, 16, 36, 33]], np.float32)
    return frames, boxes


def test_a_view_without_disturbance_is_what_inference_sees() -> None:
    frames, boxes = boxed_frames()
    as_inferred = crop_clip(list(frames), square(union(boxes[[0, 2, 3]]), 0.05), 24)
    np.testing.assert_array_equal(cut(frames, boxes, 0.05, 24), as_inferred)
    seen, is_backwards = view(frames, boxes, 0.05, 24, Disturbance(), np.random.default_rng(0))
    np.testing.assert_array_equal(seen, as_inferred)
    assert not is_backwards


def test_a_view_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    frames, boxes = boxed_frames()
    how = Disturbance(Policy(7, 4, 0.5), (0.7, 1.2), (0.75, 1.33), 0.03, 0.5, True, 0.5, 0.3)
    first, again, other = (view(frames, boxes, 0.05, 24, how, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert (first[0] != other[0]).any()
    assert first[0].flags["C_CONTIGUOUS"]


def test_mirrored_turned_and_reversed_views_hold_the_same_pixels() -> None:
    frames, boxes = boxed_frames()
    plain = cut(frames, boxes, 0.05, 24)
    how = Disturbance(mirror=1.0, turns=True, backwards=1.0)
    for seed in range(6):
        seen, is_backwards = view(frames, boxes, 0.05, 24, how, np.random.default_rng(seed))
        assert is_backwards
        for one, other in zip(seen[::-1], plain, strict=True):
            np.testing.assert_array_equal(np.sort(one, axis=None), np.sort(other, axis=None))


@given(SEEDS, st.integers(4, 300))
@settings(max_examples=80, deadline=None)
def test_a_resized_crop_lies_in_the_square_and_has_the_area_asked_for(seed: int, side: int) -> None:
    left, top, right, bottom = resized_crop((10, -5, 10 + side, -5 + side), (0.7, 1.0), (0.75, 4 / 3),
                                            np.random.default_rng(seed))  # fmt: skip
    assert 10 <= left < right <= 10 + side
    assert -5 <= top < bottom <= -5 + side
    rounding = 2 * side + 1
    assert 0.7 * side**2 - rounding <= (right - left) * (bottom - top) <= side**2


def test_a_crop_of_more_than_the_square_holds_the_square() -> None:
    for seed in range(20):
        x1, y1, x2, y2 = resized_crop((0, 0, 40, 40), (1.2, 1.5), (1.0, 1.0), np.random.default_rng(seed))
        assert x1 <= 0
        assert y1 <= 0
        assert x2 >= 40
        assert y2 >= 40


def test_erasing_fills_one_rectangle_with_noise_that_changes_with_the_frame() -> None:
    rng = np.random.default_rng(3)
    rectangles = [draw_erasure(rng, 20, 0.5) for _ in range(400)]
    areas = np.array([(b - t) * (r - le) / 400 for t, b, le, r in rectangles])
    assert np.mean(areas > 0) == pytest.approx(0.5, abs=0.08)
    assert 0.01 < areas[areas > 0].min() < areas.max() < 0.36
    chosen = next(one for one in rectangles if one[1])
    clips = erase(torch.full((2, 3, 4, 20, 20), 9.0), torch.tensor([chosen, (0, 0, 0, 0)]),
                  torch.Generator().manual_seed(0))  # fmt: skip
    hole = clips[0] != 9
    assert (clips[1] == 9).all()
    assert (hole == hole[:1, :1]).all()
    top, bottom, left, right = chosen
    noise = clips[0, :, :, top:bottom, left:right]
    assert abs(float(noise.mean())) < 0.5
    assert (noise[:, 0] != noise[:, 1]).all()
