// What the built panel weighs, compressed as a server would send it.
import { readdirSync, readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const root = new URL("../../src/tawny/gateway/panel/", import.meta.url);
const weigh = (name) => gzipSync(readFileSync(new URL(name, root)), { level: 9 }).length;
const assets = readdirSync(new URL("assets/", root)).map((name) => `assets/${name}`);
const all = ["index.html", ...assets];
const kB = (names) => (names.map(weigh).reduce((sum, one) => sum + one, 0) / 1000).toFixed(1);
for (const name of all) console.log(`${(weigh(name) / 1000).toFixed(1).padStart(6)} kB  ${name}`);
console.log(`${kB(all.filter((name) => !name.includes("/zh-"))).padStart(6)} kB  every page, in English`);
console.log(`${kB(all).padStart(6)} kB  everything`);
