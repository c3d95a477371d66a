"""Request bodies that no operation accepts."""

from __future__ import annotations

import orjson

# The descriptions of those that are not JSON, or not JSON that every reader takes.
MALFORMED_BODIES = frozenset(
    {
        "spaces", "half a body", "two bodies", "NaN", "infinity", "a number past all bounds",
        "a number of 5,000 digits", "not UTF-8", "UTF-8 of a surrogate", "UTF-16", "10,000 lists", "10,000 objects",
        "lists that never end", "comments", "a form", "a name twice",
    }
)  # fmt: skip
# By description. No operation accepts one of them.
HOSTILE_BODIES: dict[str, bytes] = {
    "nothing": b"",
    "spaces": b"  \n",
    "half a body": b'{"name": "Grow',
    "two bodies": b"{}{}",
    "a list": b"[]",
    "a list of bodies": b"[{}]",
    "a text": b'"name"',
    "a number": b"5",
    "null": b"null",
    "NaN": b'{"name": NaN}',
    "infinity": b'{"name": -Infinity}',
    "a number past all bounds": b'{"name": 1e400}',
    "a number of 5,000 digits": b'{"name": ' + b"9" * 5000 + b"}",
    "a lone high surrogate": b'{"name": "\\ud800"}',
    "a lone low surrogate": b'{"name": "a\\udfffb"}',
    "a lone surrogate as a name": b'{"\\ud800": 1}',
    "not UTF-8": b'{"name": "\xff\xfe"}',
    "UTF-8 of a surrogate": b'{"name": "\xed\xa0\x80"}',
    "UTF-16": '{"name": "Growfin"}'.encode("utf-16"),
    "10,000 lists": b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}",
    "10,000 objects": b'{"name": ' * 10_000 + b"1" + b"}" * 10_000,
    "lists that never end": b"[" * 10_000,
    "1,000 objects": b'{"name": ' * 1000 + b"1" + b"}" * 1000,
    "a name twice": b'{"name": "Growfin", "name": "Growfin"}',
    "a NUL": b'{"name": "a\\u0000b", "\\u0000": 1}',
    "comments": b'{"name": "Growfin" /* ours */}',
    "a form": b"name=Growfin&domain=growfin.com",
    "many unknown fields": orjson.dumps({f"field{number}": number for number in range(2000)}),
    "an unknown field with a long name": orjson.dumps({"x" * 10_000: 1}),
    "a prototype": b'{"__proto__": {"role": "ADMIN"}, "constructor": 1}',
}
