// What the built panel weighs, compressed as the gateway sends it.
import { readdirSync, readFileSync } from "node:fs";

const root = new URL("../../src/tawny/gateway/panel/", import.meta.url);
const weigh = (name) => readFileSync(new URL(`${name}.gz`, root)).length;
const assets = readdirSync(new URL("assets/", root)).filter((name) => !name.endsWith(".gz")).map((name) => `assets/${name}`);
const all = ["index.html", ...assets];
const kB = (names) => (names.map(weigh).reduce((sum, one) => sum + one, 0) / 1000).toFixed(1);
for (const name of all) console.log(`${(weigh(name) / 1000).toFixed(1).padStart(6)} kB  ${name}`);
console.log(`${kB(all.filter((name) => !name.includes("/zh-"))).padStart(6)} kB  every page, in English`);
console.log(`${kB(all).padStart(6)} kB  everything`);
