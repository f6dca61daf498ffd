"""The Open Inference Protocol over gRPC, in images whose release asks for it (`server: {grpc:}`).

It needs grpcio and protobuf, which other images do not carry; nothing outside of this folder
imports either. Reading order: `messages` (the protocol's messages) → `conversion` (to and from what
the rest of the server speaks) → `service` (the calls) → `listening` (the port).
"""
