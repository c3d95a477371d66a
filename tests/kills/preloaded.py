"""What the process that is forked does first, so that its forks need not: imports, and the work of their start.

Never imported by the tests themselves.
"""

from __future__ import annotations

import gc

import app.main
import app.operations.doctor
import app.worker  # noqa: F401 - the forks use it
from app.core.security import password_hashing, password_strength

password_hashing.warm_up()
password_strength.load_common_passwords()
gc.collect()
gc.freeze()  # so that collecting garbage in a fork does not visit, and thereby copy, these objects
