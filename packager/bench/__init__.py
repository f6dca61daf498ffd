"""The load generator: what a server gives under a load that is known.

Reading order: `connection` (one HTTP/1.1 connection) → `asking` (whom, with what, and one question
at a time) → `question` (a body from the model's own metadata) → `load` (closed and open loop) →
`figures` (what came of a step) → `benching` (a sweep) → `report` (for people).

It runs in one process and one thread, and says when that was the limit instead of the server.
"""
