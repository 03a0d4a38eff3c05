// Validates AsyncAPI documents: node tests/tools/asyncapi.mjs FILE... Tells each one's faults, one
// JSON list of texts a line, and how many remarks there are besides; exit code 1 when one is not
// valid. The validator is in .cache/tools (tests/tools/setup.sh puts it there).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const root = new URL("../../.cache/tools/", import.meta.url);
const { Parser } = createRequire(root)("@asyncapi/parser");
const ERROR = 0;

let found = 0;
for (const file of process.argv.slice(2)) {
  const diagnostics = await new Parser().validate(readFileSync(file, "utf8"));
  const faults = diagnostics.filter((one) => one.severity === ERROR);
  found += faults.length;
  console.log(JSON.stringify(faults.map((one) => `${one.path.join(".")}: ${one.code}: ${one.message}`)));
  console.error(`${file}: ${faults.length} errors, ${diagnostics.length - faults.length} remarks`);
}
process.exit(found ? 1 : 0);
