"""The inference server that ships inside every image, as the package `packager_runtime`.

It serves ONNX models over the Open Inference Protocol v2 and trusts nothing that it was started
with: files, signatures, execution provider and region are compared with `server.json` before the
server says that it is ready. It is an island: it imports nothing of the packager, only the standard
library, numpy, onnxruntime, httptools and orjson; `server.json` is the whole contract.

Reading order: `configuration` (what was declared) → `integrity`, `session`, `golden` (is it true?)
→ `protocol`, `responses`, `tensors` (what clients say) → `routes`, `application` (what happens to
every request) → `waiting`, `scheduler`, `inference` (to the model and back) → `listening`,
`connection` (the wire) → `server` (all of it, from the open port to the exit code).
"""

VERSION = "1.0.0"
