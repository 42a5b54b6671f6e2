"""Write requirements/*.txt, the exact versions that are tested, from requirements/*.in: `make lock`.

`dev` is resolved first; the images' files are resolved under its versions, so that what is tested is what is shipped.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# torch pulls these on Linux when it comes with CUDA. Which of them, and their versions, follow from torch's own pin.
FOLLOWS_TORCH = ("nvidia-", "cuda-", "triton")


def resolve(name: str, *constraints: str) -> list[str]:
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet", "--report", "-"]
    command += ["-r", str(HERE / f"{name}.in")]
    for constraint in constraints:
        command += ["-c", str(HERE / constraint)]
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    packages = {item["metadata"]["name"].lower(): item["metadata"]["version"] for item in report["install"]}
    # A local label such as +cpu says where the file came from; the version is what we pin.
    return sorted(f"{n}=={v.split('+')[0]}" for n, v in packages.items() if not n.startswith(FOLLOWS_TORCH))


def main() -> None:
    for name in ("dev", "app", "driver", "detector", "mvd", "training"):
        lines = resolve(name, *([] if name == "dev" else ["dev.txt"]))
        header = f"# Written by requirements/lock.py from {name}.in; change that file and run `make lock`.\n"
        (HERE / f"{name}.txt").write_text(header + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
