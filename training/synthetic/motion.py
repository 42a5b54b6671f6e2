"""What the synthetic mouse does, and when: a seeded performance as channels sampled 300 times a second.

A performance is a chain of short acts (walk, pause, rear, turn, dart, groom, twitch). Each act extends the channels
from where the last one ended, so that the animal never jumps. Behaviours that count as truth are grooming and
twitching; sniffing, head turns, darts, rearing and hunched rest are there to be confused with them:

    grooming   hunched, head and forepaws stroke at 5-7 Hz for seconds        sniffing  2-4 Hz, a third as large
    twitch     shake or jerk of 0.1-0.4 s that comes back to where it began   head turn just as quick, but stays there

Lengths are centimetres, angles radians (0 = along x, y points down as in the picture), times seconds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

SELF_GROOMING = "Self-Grooming"
TWITCH = "Head/Body TWITCH"
RATE = 300  # channel samples per second: a whole number of them per frame at 25, 30, 50 and 60 frames per second

CHANNELS = (
    "x",  # centre of the body
    "y",
    "heading",  # of the body
    "neck",  # head against body
    "reach",  # head pushed forward along its own direction, cm
    "hunch",  # 0 stretched .. 1 round like a ball
    "rear",  # 0 on all fours .. 1 upright
    "paws",  # 0 forepaws under the body .. 1 at the face
    "stroke",  # forepaws along the face, -1 .. 1
    "gait",  # phase of the walking limbs
)
POSTURE = ("hunch", "rear", "paws")  # acts set these at once; muscles take a moment
Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Act:
    """A stretch of truth: ``behavior`` from ``start`` to ``end``, in seconds."""

    behavior: str
    start: float
    end: float


@dataclass(frozen=True, eq=False)
class Performance:
    """``channels`` maps each name of CHANNELS to float64 (samples,); ``acts`` are the true bouts in order."""

    channels: dict[str, Array]
    acts: tuple[Act, ...]

    def at(self, seconds: float) -> dict[str, float]:
        """The pose at a time, held at the ends."""
        last = len(self.channels["x"]) - 1
        i = min(max(round(seconds * RATE), 0), last)
        return {name: float(values[i]) for name, values in self.channels.items()}


class Stage:
    """The performance so far. ``width`` and ``height``, cm: the floor open to the body's centre, around 0, 0."""

    def __init__(self, rng: np.random.Generator, width: float, height: float, is_round: bool) -> None:
        self.rng, self.width, self.height, self.is_round = rng, width, height, is_round
        self.pose = dict.fromkeys(CHANNELS, 0.0)
        self.pose["x"], self.pose["y"] = self.place()
        self.pose["heading"] = float(rng.uniform(-np.pi, np.pi))
        self.parts: list[dict[str, Array]] = []
        self.acts: list[Act] = []
        self.samples = 0

    @property
    def seconds(self) -> float:
        return self.samples / RATE

    def place(self) -> tuple[float, float]:
        """A random place on the floor, often near a wall, as mice like it."""
        if self.is_round:
            angle, radius = self.rng.uniform(0, 2 * np.pi), self.rng.uniform(0, 1) ** 0.4
            return float(radius * np.cos(angle) * self.width / 2), float(radius * np.sin(angle) * self.height / 2)
        u = np.sign(self.rng.uniform(-1, 1, 2)) * self.rng.uniform(0, 1, 2) ** 0.6
        return float(u[0] * self.width / 2), float(u[1] * self.height / 2)

    def append(self, seconds: float, behavior: str | None = None, **channels: Array) -> None:
        """Add one act; channels not given stay where they are."""
        n = max(1, round(seconds * RATE))
        part = {name: channels.get(name, np.full(n, self.pose[name])) for name in CHANNELS}
        if behavior is not None:
            self.acts.append(Act(behavior, self.seconds, (self.samples + n) / RATE))
        self.parts.append(part)
        self.pose = {name: float(values[-1]) for name, values in part.items()}
        self.samples += n

    def finish(self) -> Performance:
        channels = {name: np.concatenate([part[name] for part in self.parts]) for name in CHANNELS}
        for name in POSTURE:
            channels[name] = smooth(channels[name], 0.08 * RATE, "edge")
        return Performance(channels, tuple(self.acts))


def smooth(values: Array, sigma: float, edges: Literal["edge", "wrap"]) -> Array:
    """Gaussian smoothing of the same length; beyond the ends the values are held ("edge") or begin again ("wrap")."""
    reach = int(4 * sigma + 0.5)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return np.convolve(np.pad(values, reach, mode=edges), kernel / kernel.sum(), mode="valid")


def ease(n: int) -> Array:
    """0 to 1 over n samples, starting and ending at rest."""
    t = np.linspace(0, 1, n)
    return np.asarray(t * t * (3 - 2 * t))


def wander(rng: np.random.Generator, n: int, seconds: float) -> Array:
    """Smooth noise of unit spread that changes over about ``seconds`` and begins and ends at 0."""
    sigma = seconds * RATE / 2
    noise = smooth(rng.standard_normal(n + 8 * round(sigma)), sigma, "edge")[4 * round(sigma) :][:n]
    noise *= math.sqrt(2 * sigma * math.sqrt(math.pi))  # smoothing shrinks white noise by this
    fade = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.25 * RATE))
    return np.asarray(noise * fade)


def swing(rng: np.random.Generator, n: int, low_hz: float, high_hz: float) -> Array:
    """A sine whose frequency drifts between two bounds, of amplitude 1, faded in and out."""
    drift = np.clip(0.5 + 0.3 * smooth(rng.standard_normal(n), 0.3 * RATE, "wrap") * 9, 0, 1)
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.cumsum(low_hz + (high_hz - low_hz) * drift) / RATE
    fade = np.minimum(1, np.minimum(np.arange(n), np.arange(n)[::-1]) / (0.08 * RATE))
    return np.asarray(np.sin(phase) * fade)


def turn_to(stage: Stage, heading: float) -> None:
    """Turn on the spot towards a heading, head first."""
    change = (heading - stage.pose["heading"] + np.pi) % (2 * np.pi) - np.pi
    seconds = 0.25 + abs(change) / stage.rng.uniform(3, 7)
    n = round(seconds * RATE)
    lead = 0.5 * np.sin(np.pi * np.linspace(0, 1, n)) * change
    stage.append(
        seconds, heading=stage.pose["heading"] + ease(n) * change, neck=stage.pose["neck"] * (1 - ease(n)) + lead
    )


def travel(stage: Stage, speed: float, shortest: float) -> None:
    """Go to another place along a curve that starts in the present direction; ``speed`` in cm/s."""
    start = np.array([stage.pose["x"], stage.pose["y"]])
    goal = np.array(stage.place())
    while np.hypot(*(goal - start)) < shortest:
        goal = np.array(stage.place())
    bearing = float(np.arctan2(*(goal - start)[::-1]))
    off = (bearing - stage.pose["heading"] + np.pi) % (2 * np.pi) - np.pi
    if abs(off) > 0.9:
        turn_to(stage, bearing - np.sign(off) * stage.rng.uniform(0, 0.4))
    distance = float(np.hypot(*(goal - start)))
    forward = np.array([np.cos(stage.pose["heading"]), np.sin(stage.pose["heading"])])
    middle = start + forward * distance * 0.45
    n = max(40, round(distance / speed * RATE))
    t = ease(n)[:, None]
    path = (1 - t) ** 2 * start + 2 * t * (1 - t) * middle + t**2 * goal
    tangent = 2 * (1 - t) * (middle - start) + 2 * t * (goal - middle)
    heading = np.unwrap(np.arctan2(tangent[:, 1], tangent[:, 0]))
    heading += 2 * np.pi * round((stage.pose["heading"] - heading[0]) / (2 * np.pi))
    steps = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(path, axis=0).T))])
    gait = stage.pose["gait"] + steps * 2 * np.pi / 5.5  # a stride is 5.5 cm
    stage.append(
        n / RATE, x=path[:, 0], y=path[:, 1], gait=gait,
        heading=heading + 0.04 * np.sin(gait) * np.sin(np.pi * t[:, 0]),
        neck=stage.pose["neck"] * (1 - ease(n)) + 0.2 * wander(stage.rng, n, 0.8),
        reach=stage.pose["reach"] * (1 - ease(n)) + 0.05 * np.sin(2 * gait) * np.sin(np.pi * t[:, 0]),
    )  # fmt: skip


def walk(stage: Stage) -> None:
    travel(stage, stage.rng.uniform(5, 16), 5)


def dart(stage: Stage) -> None:
    """A quick start: abrupt, but it leads somewhere."""
    travel(stage, stage.rng.uniform(28, 50), 8)


def pause(stage: Stage, seconds: float | None = None) -> None:
    """Stand and look about, often sniffing: small slow bobs of the head."""
    rng = stage.rng
    seconds = seconds or rng.uniform(0.6, 3.0)
    n = round(seconds * RATE)
    sniff = rng.uniform(0.03, 0.14) * swing(rng, n, 2, 4) if rng.random() < 0.6 else np.zeros(n)
    stage.append(
        seconds,
        neck=stage.pose["neck"] * (1 - ease(n)) + rng.uniform(0.05, 0.35) * wander(rng, n, 0.7),
        reach=stage.pose["reach"] * (1 - ease(n)) + sniff,
        hunch=np.full(n, rng.uniform(0.5, 0.9) if rng.random() < 0.2 else rng.uniform(0, 0.25)),
    )
    stage.pose["hunch"] = 0.1


def look(stage: Stage) -> None:
    """Turn the head as fast as in a twitch, leave it there for a while, bring it back slowly."""
    rng = stage.rng
    seconds = rng.uniform(0.12, 0.3)
    side = rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
    there, back = round(seconds * RATE), round(rng.uniform(0.4, 0.9) * RATE)
    first = stage.pose["neck"]
    stage.append(seconds, neck=first + ease(there) * (side - first))
    stage.append(rng.uniform(0.4, 1.2))
    stage.append(back / RATE, neck=side * (1 - ease(back)))


def rear(stage: Stage) -> None:
    """Stand up: from above the body gets short and the head large."""
    rng = stage.rng
    seconds = rng.uniform(0.8, 2.5)
    n = round(seconds * RATE)
    stage.append(
        seconds, rear=np.full(n, rng.uniform(0.6, 1.0)), reach=0.15 * wander(rng, n, 0.4),
        neck=stage.pose["neck"] * (1 - ease(n)) + 0.3 * wander(rng, n, 0.5),
        heading=stage.pose["heading"] + 0.12 * wander(rng, n, 0.8),
    )  # fmt: skip
    stage.pose["rear"] = 0.0


def groom(stage: Stage) -> None:
    """Sit up round and wash: licked paws, strokes over the face, then perhaps the flank."""
    rng = stage.rng
    begin = stage.samples
    for phase in rng.permutation(["face", "face", "flank"])[: rng.integers(1, 4)]:
        seconds = rng.uniform(1.2, 3.0)
        n = round(seconds * RATE)
        beat = swing(rng, n, 5, 7)
        side = float(rng.choice([-1, 1])) * rng.uniform(0.75, 1.2) if phase == "flank" else 0.0
        turn = np.minimum(1, np.arange(n) / (0.25 * RATE))
        strength = rng.uniform(0.24, 0.4) * (1 + 0.25 * wander(rng, n, 0.5))
        stage.append(
            seconds, hunch=np.full(n, rng.uniform(0.75, 1.0)), reach=strength * beat - 0.15,
            neck=stage.pose["neck"] + turn * (side - stage.pose["neck"]) + rng.uniform(0.03, 0.12) * beat,
            paws=np.full(n, 0.25 if phase == "flank" else 1.0), stroke=beat,
        )  # fmt: skip
    stage.acts.append(Act(SELF_GROOMING, begin / RATE, stage.seconds))
    stage.pose.update(hunch=0.15, paws=0.0, stroke=0.0)
    settle = round(0.25 * RATE)
    stage.append(
        0.25, reach=stage.pose["reach"] * (1 - ease(settle)), neck=stage.pose["neck"] * (1 - 0.5 * ease(settle))
    )


def twitch(stage: Stage) -> None:
    """A head shake, a jerk of the body or a shake of all of it; the animal ends where it began."""
    rng = stage.rng
    pause(stage, rng.uniform(0.5, 1.4))
    kind = rng.choice(["head", "jerk", "body"], p=[0.5, 0.25, 0.25])
    seconds = rng.uniform(0.2, 0.4) if kind == "body" else rng.uniform(0.1, 0.4)
    n = round(seconds * RATE)
    t = np.linspace(0, 1, n)
    envelope = np.sin(np.pi * t) ** 0.5
    shake = envelope * np.sin(2 * np.pi * (rng.uniform(9, 14) * t * seconds) + rng.uniform(0, 2 * np.pi))
    side = rng.choice([-1, 1])
    pose = stage.pose
    if kind == "head":
        stage.append(seconds, TWITCH, neck=pose["neck"] + rng.uniform(0.32, 0.6) * shake,
                     reach=pose["reach"] + 0.12 * envelope * side)  # fmt: skip
    elif kind == "body":
        stage.append(seconds, TWITCH, heading=pose["heading"] + rng.uniform(0.14, 0.24) * shake,
                     neck=pose["neck"] - rng.uniform(0.2, 0.4) * shake)  # fmt: skip
    else:
        jerk = side * np.sin(2 * np.pi * t) * np.sin(np.pi * t)
        direction = rng.uniform(0, 2 * np.pi)
        far = rng.uniform(0.6, 1.0)
        stage.append(
            seconds, TWITCH, x=pose["x"] + far * jerk * np.cos(direction), y=pose["y"] + far * jerk * np.sin(direction),
            heading=pose["heading"] + rng.uniform(0.12, 0.25) * jerk, neck=pose["neck"] + rng.uniform(0.1, 0.4) * jerk,
        )  # fmt: skip
    pause(stage, rng.uniform(0.6, 1.4))


ACTS: dict[Callable[[Stage], None], float] = {walk: 5, pause: 3, groom: 2.2, twitch: 3, rear: 1.5, look: 1.2, dart: 1}


def perform(rng: np.random.Generator, seconds: float, width: float, height: float, is_round: bool) -> Performance:
    """A performance at least ``seconds`` long that holds both behaviours, on a floor of width x height cm."""
    stage = Stage(rng, width, height, is_round)
    pause(stage, 0.7)
    choices, weights = list(ACTS), np.array(list(ACTS.values()))
    must = [groom, twitch] if rng.random() < 0.5 else [twitch, groom]
    while stage.seconds < seconds:
        if must and rng.random() < max(0.4, 2 * stage.seconds / seconds):
            must.pop(0)(stage)
        else:
            choices[rng.choice(len(choices), p=weights / weights.sum())](stage)
    return stage.finish()
