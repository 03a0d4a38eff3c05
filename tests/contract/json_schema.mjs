// Validates JSON values against JSON Schemas (2020-12): node json_schema.mjs FILE… Each line on
// standard input is ["urn of the schema", value]; the answer is one line, "valid" or the faults.
// A file may be an AsyncAPI document: its components' schemas are then the urn's `$defs`.
// The validator is in .cache/tools (tests/tools/setup.sh puts it there).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";

const from = createRequire(new URL("../../.cache/tools/", import.meta.url));
const Ajv = from("ajv/dist/2020").default;
const addFormats = from("ajv-formats").default;

const ajv = new Ajv({ strict: true, strictTypes: false, allErrors: true });
addFormats(ajv);
for (const file of process.argv.slice(2)) {
  const text = readFileSync(file, "utf8").replaceAll("#/components/schemas/", "#/$defs/");
  const document = JSON.parse(text);
  const schemas = document.components?.schemas;
  ajv.addSchema(schemas ? { $id: document.id, $defs: schemas } : document);
}

for await (const line of createInterface({ input: process.stdin })) {
  const [urn, value] = JSON.parse(line);
  const validate = ajv.getSchema(urn);
  if (!validate) console.log(`no schema is called ${urn}`);
  else if (validate(value)) console.log("valid");
  else console.log(validate.errors.map((one) => `${one.instancePath} ${one.message}`).join("; "));
}
