// Holds documents for operators to the types that those operators are written in, as the packages
// @kubernetes-models/* of npm carry them: the validators generated from their schemas, and
// TypeScript's own check of the types, which knows no field that is not there. Documents come as a
// JSON list on standard input; a list of lists of complaints goes to standard output.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";

const root = process.argv[2];
const require = createRequire(`${root}/package.json`);
const ts = require("typescript");
const homes = {
  "source.toolkit.fluxcd.io": "flux-cd",
  "kustomize.toolkit.fluxcd.io": "flux-cd",
  "argoproj.io": "argo-cd",
  "keda.sh": "keda",
  "monitoring.coreos.com": "prometheus-operator",
};

const moduleOf = ({ apiVersion, kind }) => {
  const home = homes[apiVersion.split("/")[0]];
  if (!home) throw new Error(`no types for ${apiVersion}`);
  return `@kubernetes-models/${home}/${apiVersion}/${kind}`;
};

const validated = async (document) => {
  const path = `${root}/node_modules/${moduleOf(document)}.js`;
  const found = await import(pathToFileURL(path).href);
  try {
    new found[document.kind](document).validate();
    return [];
  } catch (error) {
    return [String(error.message)];
  }
};

const typed = (documents) => {
  const name = `${root}/documents.ts`;
  const text = documents
    .map((document, number) => {
      const from = `${root}/node_modules/${moduleOf(document)}.js`;
      const value = JSON.stringify(document);
      return `import type { I${document.kind} as T${number} } from ${JSON.stringify(from)};` +
        ` export const d${number}: T${number} = ${value};`;
    })
    .join("\n");
  const options = {
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    noEmit: true, skipLibCheck: true, strict: true, target: ts.ScriptTarget.ES2022, types: [],
  };
  const host = ts.createCompilerHost(options);
  const read = host.getSourceFile.bind(host);
  host.getSourceFile = (file, language, ...more) =>
    file === name ? ts.createSourceFile(file, text, language) : read(file, language, ...more);
  const program = ts.createProgram([name], options, host);
  const complaints = documents.map(() => []);
  for (const told of ts.getPreEmitDiagnostics(program)) {
    const line = told.file ? told.file.getLineAndCharacterOfPosition(told.start).line : 0;
    const text = ts.flattenDiagnosticMessageText(told.messageText, " ");
    const place = told.file?.fileName === name ? "" : `${told.file?.fileName}: `;
    complaints[line < complaints.length ? line : 0].push(place + text);
  }
  return complaints;
};

const documents = JSON.parse(readFileSync(0, "utf8"));
const first = await Promise.all(documents.map(validated));
const second = typed(documents);
console.log(JSON.stringify(first.map((found, number) => [...found, ...second[number]])));
