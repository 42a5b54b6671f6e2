"""How a training program ends: the same codes as the driver's, and a sentence instead of a traceback.

0 all well, 1 some or all input failed, 2 wrong usage or settings, 3 a defect of ours, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable
from typing import NoReturn

from mousetal.errors import MousetalError, SettingsError

OK, FAILED, USAGE, DEFECT, INTERRUPTED = 0, 1, 2, 3, 130


GOES_ON = "What is finished is kept; run the same command again to go on."


def guarded(program: Callable[[], int], too_large: str = "", stopped: str = GOES_ON) -> int:
    """Run the program; its exit code, whatever happens in it.

    ``too_large`` says what to lower when memory runs out, ``stopped`` what is left when a person interrupts it.
    """
    try:
        return program()
    except KeyboardInterrupt:
        print(f"Interrupted. {stopped}", file=sys.stderr)
        return INTERRUPTED
    except MousetalError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE if isinstance(error, SettingsError) else FAILED
    except Exception as error:  # noqa: BLE001  the one place where a defect is told from an expected failure
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which not every program imports
            print(f"out of memory on the GPU ({str(error).splitlines()[0]}). {too_large}".strip(), file=sys.stderr)
            return FAILED
        traceback.print_exc()
        print("this is a defect of mousetal: please report it with the lines above", file=sys.stderr)
        return DEFECT


def end(code: int) -> NoReturn:
    """End the program with this code.

    One of several processes ends without Python's own clean-up: threads that torch.distributed leaves behind sometimes
    abort it there ("terminate called without an active exception"), and the launcher would call a whole run failed.
    """
    if int(os.environ.get("WORLD_SIZE") or 1) > 1:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
