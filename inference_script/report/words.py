"""How the report writes times, shares, flags and reasons: for people who were not there when the code was written."""

from __future__ import annotations

from mousetal.types import BoutRule, ClassifierSpec

NONE = "–"

# What a flag of a bout or a window means, in a sentence that stands after "n of m bouts:".
FLAG_WORDS = {
    "no_animal": "no animal was found in part of it",
    "damaged": "some of its frames could not be decoded",
    "borrowed": "the animal's place was borrowed from neighbouring frames",
    "interpolated": "the animal's place was interpolated between two sightings",
    "held": "the animal's place was held from the nearest sighting",
    "ignored_boxes": "the detector also saw something away from the animal, which was ignored",
    "padded": "the crop reached over the edge of the picture and was padded",
    "tail": "it lies in the last window, shifted back to end with the video",
    "short_video": "the video is shorter than one window; its last frame was repeated",
}


def clock(seconds: float, decimals: int = 1) -> str:
    """``m:ss.s`` below an hour, ``h:mm:ss.s`` above: 75.25 -> "1:15.3"."""
    ticks = round(seconds * 10**decimals)
    whole, fraction = divmod(ticks, 10**decimals)
    minutes, secs = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    tail = f".{fraction:0{decimals}d}" if decimals else ""
    return f"{hours}:{minutes:02d}:{secs:02d}{tail}" if hours else f"{minutes}:{secs:02d}{tail}"


def long_time(seconds: float) -> str:
    """A duration for running text: "42.0 s", "12 min 5 s", "3 h 4 min"."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def number(value: float | None, decimals: int = 1) -> str:
    """A number with a fixed count of decimals, or a dash where there is none."""
    return NONE if value is None else f"{value:.{decimals}f}"


def duration(seconds: float | None) -> str:
    """Seconds for a table: two decimals below ten seconds, where a frame still shows; one above."""
    return NONE if seconds is None else f"{seconds:.{2 if seconds < 10 else 1}f}"


def count(n: int, noun: str) -> str:
    """``count(1, "bout")`` is "1 bout", ``count(2, "bout")`` "2 bouts"."""
    return f"{n:,} {noun}{'' if n == 1 else 's'}"


def flag(name: str) -> str:
    """The plain meaning of a flag; an unknown one without its underscores."""
    return FLAG_WORDS.get(name, name.replace("_", " "))


def rule(bout_rule: BoutRule) -> str:
    """A bout rule as a sentence for the Methods of a paper."""
    text = f"a bout starts where the probability reaches {bout_rule.threshold:g}"
    if bout_rule.low_threshold < bout_rule.threshold:
        text += f" and lasts while it stays at or above {bout_rule.low_threshold:g}"
    else:
        text += " and lasts while it stays there"
    if bout_rule.bridge_gap_s > 0:
        text += f"; gaps of up to {bout_rule.bridge_gap_s:g} s are bridged"
    if bout_rule.min_duration_s > 0:
        text += f"; bouts shorter than {bout_rule.min_duration_s:g} s are dropped"
    return text


def window(classifier: ClassifierSpec) -> str:
    """What the classifier looks at, as a phrase: "16 frames (every 2nd) ..."."""
    every = "consecutive frames" if classifier.sampling_rate == 1 else f"frames, one in {classifier.sampling_rate}"
    text = f"{classifier.num_frames} {every}"
    if classifier.trained_fps:
        span_s = classifier.num_frames * classifier.sampling_rate / classifier.trained_fps
        text += f" at {classifier.trained_fps:g} frames per second ({span_s:.2g} s)"
    return text
