"""Temporal action localization for laboratory-animal video: boxes, windows, bouts, and the files that hold them."""

__version__ = "0.1.0"
