// Calls a gRPC port by node's own HTTP/2 client (nghttp2): http2_calls.mjs PORT BODY CALLS
// BODY is the file of a framed message. Every third call is reset at once. The last line of stdout
// is JSON: how many ended how, and what the session said.
import http2 from "node:http2";
import { readFileSync } from "node:fs";

const [port, file, count] = process.argv.slice(2);
const body = readFileSync(file);
const session = http2.connect(`http://127.0.0.1:${port}`, {
  settings: { enablePush: false, initialWindowSize: 1 << 16 },
  maxHeaderListPairs: 64,
});
const told = { statuses: {}, reset: 0, bytes: 0, errors: [] };
session.on("error", (error) => told.errors.push(String(error)));
await new Promise((resolve) => session.once("remoteSettings", resolve));

function call(number) {
  return new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.GRPCInferenceService/ModelInfer",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.on("error", (error) => told.errors.push(String(error)));
    stream.on("data", (chunk) => (told.bytes += chunk.length));
    stream.on("trailers", (fields) => {
      const status = fields["grpc-status"];
      told.statuses[status] = (told.statuses[status] ?? 0) + 1;
    });
    stream.on("close", () => resolve());
    // In pieces, so that frames and windows are node's own choice.
    stream.write(body.subarray(0, 7));
    if (number % 3 === 2) {
      stream.close(http2.constants.NGHTTP2_CANCEL, () => (told.reset += 1));
    } else {
      stream.end(body.subarray(7));
    }
  });
}

await Promise.all(Array.from({ length: Number(count) }, (_, number) => call(number)));
told.ping = await new Promise((resolve) => session.ping((error) => resolve(error === null)));
session.close();
console.log(JSON.stringify(told));
