// Moves every entry of a file as Renovate would, one at a time, and prints the results as JSON:
//   node replace.mjs RENOVATE_DIST RENOVATE_JSON FOLDER FILE
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [dist, config, folder, packageFile] = process.argv.slice(2);
const load = (path) => import(pathToFileURL(join(dist, path)).href);
const { GlobalConfig } = await load("config/global.js");
const { extractPackageFile } = await load("modules/manager/custom/regex/index.js");
const { doAutoReplace } = await load("workers/repository/update/branch/auto-replace.js");

GlobalConfig.set({ localDir: folder });
const content = readFileSync(join(folder, packageFile), "utf8");
const results = [];
for (const manager of JSON.parse(readFileSync(config, "utf8")).customManagers) {
  const { deps } = await extractPackageFile(content, packageFile, manager);
  for (const [depIndex, dep] of deps.entries()) {
    const update = { newValue: dep.currentValue + "9" };
    if (dep.datasource === "docker") update.newDigest = "sha256:" + "f".repeat(64);
    if (dep.datasource === "github-tags") update.newDigest = "f".repeat(40);
    const upgrade = { ...manager, ...dep, ...update, manager: "regex", packageFile, depIndex };
    results.push({ dep, update, content: await doAutoReplace(upgrade, content, false) });
  }
}
console.log(JSON.stringify(results));
