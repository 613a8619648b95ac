"""What hatchling adds to a wheel: the compiled module where there is a C compiler, and the man pages.

The man pages are made from the program itself, so the build environment has what it needs at run time.
"""

from __future__ import annotations

import sys
from pathlib import Path

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))


class BuildHook(BuildHookInterface):
    """The wheel is this machine's where the module could be built, and anybody's otherwise."""

    def initialize(self, version: str, build_data: dict) -> None:
        import man  # noqa: PLC0415 - beside this file, and not needed for a source distribution
        import native  # noqa: PLC0415 - the same

        module = native.build()
        if module is not None:
            build_data["pure_python"] = False
            build_data["infer_tag"] = True
            build_data["artifacts"].append(f"/{module.relative_to(self.root)}")
        if version == "standard":
            folder = Path(self.root, "build", "man")
            for page in man.write(folder):
                build_data["shared_data"][str(page)] = f"share/man/{page.relative_to(folder).as_posix()}"
