"""The Open Inference Protocol over gRPC, in images whose release asks for it (`server: {grpc:}`).

It needs protobuf and hpack, which other images do not carry; nothing outside of this folder and of
`http2` imports either. Reading order: `messages` (the protocol's messages) → `conversion` (to and
from what the rest of the server speaks) → `known_messages` (the same, quickly, for what was seen
before) → `framing` and `status` (what gRPC puts around messages) → `call` (one call) →
`inference`, `health` and `metadata` (the calls) → `service` (what happens to every call) →
`listening` (the port).
"""
