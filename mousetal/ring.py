"""The decoded frames that windows still to come may need."""

from __future__ import annotations

import threading

from mousetal.types import Frame, UInt8Array


class FrameRing:
    """Holds frames by number until they are dropped; one thread may add while another looks and drops."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._images: dict[int, UInt8Array] = {}

    def add(self, frame: Frame) -> None:
        with self._lock:
            self._images[frame.index] = frame.rgb

    def get(self, frame_index: int) -> UInt8Array | None:
        """The frame's pixels, None when it never came."""
        with self._lock:
            return self._images.get(frame_index)

    def held(self, frame_index: int) -> UInt8Array:
        """The pixels of a frame that came and was not dropped, else ValueError."""
        image = self.get(frame_index)
        if image is None:
            raise ValueError(f"frame {frame_index} is not held any more")
        return image

    def drop_before(self, frame_index: int) -> None:
        with self._lock:
            for index in [index for index in self._images if index < frame_index]:
                del self._images[index]

    def __len__(self) -> int:
        with self._lock:
            return len(self._images)
