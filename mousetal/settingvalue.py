"""One setting's text and where it came from, and the ways to read it: each raises SettingsError when it can't."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mousetal.errors import SettingsError
from mousetal.settingkeys import Key

TRUE_WORDS = ("1", "true", "yes", "on")
FALSE_WORDS = ("0", "false", "no", "off")


@dataclass(frozen=True, slots=True)
class Value:
    """``place`` is where the text came from, for messages; ``base`` the folder at which its relative paths start."""

    key: Key
    text: str
    place: str
    base: Path

    def wrong(self, expected: str) -> SettingsError:
        """The error that says what was expected, what came and from where."""
        return SettingsError(f"{self.key.name}: expected {expected}, got {self.text!r} ({self.place}).")

    def path(self) -> Path | None:
        """An absolute path, links left as they are; None where nothing is set."""
        return Path(os.path.normpath(self.base / Path(self.text).expanduser())) if self.text else None

    def required_path(self) -> Path:
        """A path that must be set."""
        path = self.path()
        if path is None:
            raise SettingsError(
                f"{self.key.name} is not set: expected {self.key.help}. "
                f"Set it in .env or the environment, or give {self.key.flag}."
            )
        return path

    def number(self, low: float, high: float) -> float:
        """A number from ``low`` to ``high``."""
        try:
            number = float(self.text)
        except ValueError:
            raise self.wrong(f"a number from {low:g} to {high:g}") from None
        if not low <= number <= high:
            raise self.wrong(f"a number from {low:g} to {high:g}")
        return number

    def whole(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``."""
        number = self.number(low, high)
        if not number.is_integer():
            raise self.wrong("a whole number")
        return int(number)

    def whole_or_auto(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, or 0 for "auto"."""
        if self.text.lower() == "auto":
            return 0
        try:
            return self.whole(low, high)
        except SettingsError:
            raise self.wrong(f"auto or a whole number from {low} to {high}") from None

    def switch(self) -> bool:
        """On or off."""
        word = self.text.lower()
        if word not in TRUE_WORDS + FALSE_WORDS:
            raise self.wrong("0 or 1")
        return word in TRUE_WORDS

    def choice(self) -> str:
        """One of the key's choices, upper or lower case alike."""
        found = {choice.lower(): choice for choice in self.key.choices}.get(self.text.lower())
        if found is None:
            raise self.wrong(f"one of {', '.join(self.key.choices)}")
        return found

    def names(self) -> tuple[str, ...]:
        """Names separated by commas, each once; out of the key's choices if it has any."""
        names = tuple(name.strip() for name in self.text.split(",") if name.strip())
        if len(set(names)) != len(names):
            raise self.wrong("different names, separated by commas")
        if unknown := [name for name in names if self.key.choices and name not in self.key.choices]:
            raise self.wrong(f"names out of {', '.join(self.key.choices)} (unknown: {', '.join(unknown)})")
        return names

    def device(self) -> str:
        """auto, cpu, cuda or cuda:N."""
        word = self.text.lower()
        if word not in ("auto", "cpu", "cuda") and not (word.startswith("cuda:") and word[5:].isdigit()):
            raise self.wrong("auto, cpu, cuda or cuda:N")
        return word

    def address(self) -> str:
        """host:port, unix:PATH, or nothing."""
        if self.text.startswith("unix:") and len(self.text) > len("unix:"):
            return self.text
        host, colon, port = self.text.rpartition(":")
        if self.text and not (host and colon and port.isdigit() and int(port) < 65536):
            raise self.wrong("host:port or unix:PATH")
        return self.text
