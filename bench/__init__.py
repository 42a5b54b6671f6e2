"""How fast it is, measured: `python -m bench` runs the same job in several ways, one after the other, round by round.

The way all others are compared with is the reference system's schedule (`schedule`), which is never tuned. For people
who work on mousetal; nothing that ships imports it.
"""
