"""OpenVINO without its report of use.

    openvino = imported()                                     # instead of `import openvino`

By itself it sends an event over the network when it is imported, unless a file in the user's home forbids that, and
makes a file there by which it knows the user again. What sends is a package of its own, without which OpenVINO does.
"""

from __future__ import annotations

import sys
from types import ModuleType

REPORTER = "openvino_telemetry"


def silence() -> None:
    """Before the first import in a process, by whomever: there is no reporter."""
    sys.modules.setdefault(REPORTER, None)  # type: ignore[arg-type]  # how Python marks what is not to be found


def imported() -> ModuleType:
    """The package, imported so that it reports nothing. Raises ImportError where it is not installed."""
    silence()
    import openvino  # optional, and slow to import

    module: ModuleType = openvino
    return module
