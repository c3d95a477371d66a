"""Measure how much a noisy organisation slows down quiet ones.

Quiet organisations send one request at a time, beside a load on many connections. The load comes either from many
organisations, or from a single noisy one. The two alternate, so that a slow phase of the machine affects both.
"""

from __future__ import annotations

import http.client
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import orjson

from benchmarks import processes, quiet, requests
from benchmarks.data import Dataset
from benchmarks.measure import cpu_seconds
from benchmarks.processes import Place, Web
from benchmarks.quiet import Latencies
from benchmarks.requests import CREATE, LIST, READ, SEARCH, Request

QUIET = 4  # organisations; further ones make the noise
CONNECTIONS, MANY_CONNECTIONS = 32, 200  # of the noise
MIN_SAMPLES = 1000  # of the quiet organisations on each side: 10 requests above the p99
MIN_ROUNDS, MAX_ROUNDS = 4, 10
ROUND_SECONDS = 6
WARM_UP = 2  # seconds
TICKETS_PER_ORGANISATION = 10  # that the spread load of replies changes; the noisy organisation changes one

MakeNoise = Callable[[Web, Dataset, str, int], Sequence[Request]]


@dataclass(frozen=True)
class Noise:
    """A kind of load. `make` returns its requests from the organisations of a dataset."""

    name: str
    make: MakeNoise
    connections: int = CONNECTIONS


@dataclass
class Side:
    """The results beside one load: of the quiet organisations, and of the load itself."""

    quiet: Latencies = field(default_factory=Latencies)
    requests: int = 0
    seconds: float = 0
    failed: int = 0
    cpu: float = 0
    """Seconds of CPU time of the web process."""

    @property
    def rate(self) -> float:
        """Requests of the load per second."""
        return self.requests / self.seconds

    @property
    def busy(self) -> float:
        """The share of one processor that the web process used."""
        return self.cpu / self.seconds


@dataclass(frozen=True)
class Neighbours:
    """The result of a kind of noise: beside many organisations, and beside a single one."""

    name: str
    connections: int
    many: Side
    one: Side

    def growth(self, percent: int) -> float:
        """Return by which factor a percentile of the quiet organisations' latencies grows beside the noisy one."""
        return self.one.quiet.percentile(percent) / self.many.quiet.percentile(percent)


def measure(content: Dataset, where: Place, web: Web, noise: Noise) -> Neighbours:
    """Measure one kind of noise, with a running worker as in production."""
    noisy, calm = content.organisations[0], content.organisations[-QUIET:]
    others = replace(content, organisations=content.organisations[1:-QUIET])
    clients = [make_quiet(replace(content, organisations=[one]), where.secret_key) for one in calm]
    sides = [
        (Side(), noise.make(web, others, where.secret_key, TICKETS_PER_ORGANISATION)),
        (Side(), noise.make(web, replace(content, organisations=[noisy]), where.secret_key, 1)),
    ]
    with processes.worker(where):
        for _side, load in sides:
            quiet.run_beside_load(web.port, clients, load, noise.connections, WARM_UP)
        for number in range(MAX_ROUNDS):
            if number >= MIN_ROUNDS and all(len(side.quiet.times) >= MIN_SAMPLES for side, _load in sides):
                break
            for side, load in sides:
                _run(side, web, clients, load, noise.connections)
    (many, _), (one, _) = sides
    return Neighbours(noise.name, noise.connections, many, one)


def _run(side: Side, web: Web, clients: Sequence[Sequence[Request]], load: Sequence[Request], connections: int) -> None:
    before = cpu_seconds(web.pid)
    latencies, sent = quiet.run_beside_load(web.port, clients, load, connections, ROUND_SECONDS)
    side.cpu += cpu_seconds(web.pid) - before
    side.quiet.extend(latencies)
    side.requests += sent.requests
    side.seconds += sent.seconds
    side.failed += sent.failed


def make_quiet(content: Dataset, secret_key: str) -> list[Request]:
    """Return the requests of a quiet organisation: create, read and list, in turn."""
    each = [requests.make(content, secret_key, operation) for operation in (CREATE, READ, LIST)]
    return [request for turn in zip(*each, strict=True) for request in turn]


def _create(_web: Web, content: Dataset, secret_key: str, _tickets: int) -> Sequence[Request]:
    return requests.make(content, secret_key, CREATE)


def _search(_web: Web, content: Dataset, secret_key: str, _tickets: int) -> Sequence[Request]:
    return requests.make(content, secret_key, SEARCH)


def _list_100(_web: Web, content: Dataset, secret_key: str, _tickets: int) -> Sequence[Request]:
    return [replace(one, path="/tickets?limit=100") for one in requests.make(content, secret_key, LIST)]


def _change(web: Web, content: Dataset, secret_key: str, tickets: int) -> Sequence[Request]:
    """Return replies to new tickets and changes of them, with this number of tickets for each organisation."""
    changes: list[list[Request]] = []
    headers = {request.org_id: request.headers for request in requests.make(content, secret_key, LIST)}
    for one in content.organisations:
        opened = requests.make(replace(content, organisations=[one]), secret_key, CREATE)[:tickets]
        for ticket_id in _open(web, opened):
            path = f"/tickets/{ticket_id}"
            bodies = [
                (f"{path}/respond", "POST", {"message": "We fixed the export: please try again."}),
                (path, "PATCH", {"priority": "LOW"}),
                (f"{path}/respond", "POST", {"message": "The fix is in the next version."}),
                (path, "PATCH", {"priority": "HIGH"}),
            ]
            changes.append(
                [
                    Request(one.id, method, address, headers[one.id], orjson.dumps(body))
                    for address, method, body in bodies
                ]
            )
    return [request for turn in zip(*changes, strict=True) for request in turn]


def _open(web: Web, opened: Sequence[Request]) -> list[str]:
    """Open tickets; return their ids."""
    connection = http.client.HTTPConnection("127.0.0.1", web.port)
    ids = []
    for request in opened:
        connection.request(request.method, request.path, request.body, {"Content-Type": "application/json"})
        ids.append(orjson.loads(connection.getresponse().read())["id"])
    connection.close()
    return ids


NOISES = (
    Noise("POST /tickets", _create),
    Noise("GET /tickets?limit=100", _list_100),
    Noise("GET /tickets?q=…", _search),
    Noise("replies and changes (the noisy one: of one ticket)", _change),
    Noise("POST /tickets", _create, MANY_CONNECTIONS),
)
