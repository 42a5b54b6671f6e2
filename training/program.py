"""How every program here ends: an exit code, one line for what was expected to go wrong, a report for what was not.

0 all well   1 the input failed   2 wrong usage or settings   3 a defect of ours   130 interrupted
"""

from __future__ import annotations

import platform
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path

from mousetal import __version__, atomic
from mousetal.errors import MousetalError, SettingsError

OK, FAILED, USAGE, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130


def run(work: Callable[[], int]) -> int:
    """What ``work`` returns, or the exit code of what it raised."""
    try:
        return work()
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE
    except MousetalError as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        print("Interrupted. What is finished is kept; run the same command again to go on.", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:  # noqa: BLE001  the last door: whatever is left is ours, and ends in one line and a report
        path = Path(tempfile.gettempdir()) / "mousetal-defect.txt"
        about = f"mousetal {__version__}, Python {platform.python_version()}, {platform.platform()}"
        atomic.write_text(path, f"{about}\n{traceback.format_exc()}")
        print(f"error: a defect of mousetal ({error!r}). Please report it with {path}.", file=sys.stderr)
        return DEFECT
