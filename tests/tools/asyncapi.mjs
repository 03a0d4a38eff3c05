// Validates an AsyncAPI document: node tests/tools/asyncapi.mjs FILE. Exit code 1 and one line a
// fault when it is not valid. The validator is in .cache/tools (tests/tools/setup.sh puts it there).
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const root = new URL("../../.cache/tools/", import.meta.url);
const { Parser } = createRequire(root)("@asyncapi/parser");
const ERROR = 0;

const diagnostics = await new Parser().validate(readFileSync(process.argv[2], "utf8"));
const faults = diagnostics.filter((one) => one.severity === ERROR);
for (const one of faults) console.error(`${one.path.join(".")}: ${one.code}: ${one.message}`);
console.log(`${faults.length} errors, ${diagnostics.length - faults.length} remarks`);
process.exit(faults.length ? 1 : 0);
