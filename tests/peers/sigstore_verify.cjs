// Verifies a sigstore bundle with npm's @sigstore/verify and one public key; no trusted root, no
// transparency log. Arguments: the bundle, the public key, and the file that it is about, if it is
// about a file.
const fs = require("fs");
const crypto = require("crypto");
const { bundleFromJSON } = require("@sigstore/bundle");
const { Verifier, toSignedEntity, toTrustMaterial } = require("@sigstore/verify");

const [bundlePath, keyPath, filePath] = process.argv.slice(2);
const bundle = bundleFromJSON(JSON.parse(fs.readFileSync(bundlePath)));
const publicKey = crypto.createPublicKey(fs.readFileSync(keyPath));
const root = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
const trust = toTrustMaterial(root, () => ({ publicKey, validFor: () => true }));
const verifier = new Verifier(trust, { ctlogThreshold: 0, tlogThreshold: 0, tsaThreshold: 0 });
const data = filePath ? fs.readFileSync(filePath) : undefined;
verifier.verify(toSignedEntity(bundle, data));
console.log("verified");
