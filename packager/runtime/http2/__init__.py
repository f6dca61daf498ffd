"""HTTP/2 (RFC 9113) for the gRPC port: frames, streams and windows, and a bound on everything.

Header compression is hpack's (python-hyper); the rest is ours: docs/adr/0033. Nothing in here knows
of gRPC. Reading order: `faults` and `frames` (what lies on the wire) → `fields` and `peer_settings`
(what it says) → `allowance` (how much of what costs a peer nothing is put up with) → `streams` →
`output` (what goes out, within the peer's windows) → `intake` (what comes in, within ours) →
`ending` (patience, and how a connection closes) → `connection`.
"""
