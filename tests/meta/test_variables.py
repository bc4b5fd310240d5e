"""Every `SHEAF_…` variable that the repository speaks of is known to the program, which warns of others."""

import re

from sheaf.cli.variables import DAEMON, OTHERS, RELAY
from tests.support.repository import committed_texts

NO_VARIABLES = {"SHEAF_NAMEPLATES"}  # a stream in NATS
SPEAKS_OF_WRONG_ONES = {
    "tests/unit/cli/test_variables.py",
    "daemon/sheaf/cli/variables.py",
    "docs/decisions/0066-settings-by-variable.md",
}


def test_every_variable_that_is_spoken_of_is_known() -> None:
    known = DAEMON | RELAY | OTHERS | NO_VARIABLES
    unknown = {
        (name, variable)
        for name, text in committed_texts()
        if name not in SPEAKS_OF_WRONG_ONES
        for variable in re.findall(r"\bSHEAF_[A-Z_]*[A-Z]\b", text)
        if variable not in known
    }
    assert unknown == set()
