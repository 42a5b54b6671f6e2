"""How the report writes times, shares, flags and reasons: for people who were not there when the code was written."""

from __future__ import annotations

from mousetal.types import BoutRule, ClassifierSpec

NONE = "–"

# What a flag of a bout means.
FLAG_WORDS = {
    "touches_start": "under way when the video begins",
    "touches_end": "still under way when the video ends",
    "near_not_scored": "next to time that was not scored, may have lasted longer",
    "damaged": "some of its frames could not be decoded",
    "no_animal": "no animal in sight, the whole frame was classified",
    "borrowed_box": "on some frames the animal's place comes from neighbouring ones",
    "missing_box": "on some frames the animal was not found",
    "scene_cut": "a hard cut is near: the animal is not followed across it",
    "ignored_box": "something away from the animal was detected too and left out",
}
# Of these the table of bouts tells; they are no reason to doubt a video.
HARMLESS_FLAGS = {"touches_start", "touches_end", "borrowed_box"}


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


def sentence(text: str) -> str:
    """``text`` with a capital and a full stop. Names of files keep their case: only a plain word is capitalised."""
    first = text.split(" ", 1)[0]
    begin = text[:1].upper() + text[1:] if first.isalpha() else text
    return begin if begin.endswith((".", "!", "?")) else f"{begin}."


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
    """What the classifier looks at: "16 frames, one of every 2, at 30 frames per second (1.1 s)"."""
    rate = classifier.sampling_rate
    text = f"{classifier.num_frames} " + ("consecutive frames" if rate == 1 else f"frames, one of every {rate},")
    if not classifier.trained_fps:
        return text.rstrip(",")
    span_s = classifier.num_frames * rate / classifier.trained_fps
    return f"{text} at {classifier.trained_fps:g} frames per second ({span_s:.2g} s)"
