import { readdirSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { arranged } from "../dev/catalogue";
import { en } from "../src/i18n/en";

const SRC = resolve(__dirname, "../src");
const files = readdirSync(SRC, { recursive: true, encoding: "utf8" }).filter((name) => /\.tsx?$/.test(name)).map((name) => resolve(SRC, name));

/** What each module imports, types left aside: those are gone when it runs. */
const imports = new Map(files.map((file) => {
  const found = [...readFileSync(file, "utf8").matchAll(/^import (?!type )[^;]*?from "(\.[^"]+)";/gm)].map(([, path]) => resolve(dirname(file), path!));
  return [file, found.flatMap((path) => [`${path}.ts`, `${path}.tsx`, `${path}/index.ts`].filter((one) => files.includes(one)))] as const;
}));

function circle(from: string, path: string[] = []): string[] | null {
  if (path.includes(from)) return [...path.slice(path.indexOf(from)), from];
  for (const next of imports.get(from) ?? []) {
    const found = circle(next, [...path, from]);
    if (found) return found;
  }
  return null;
}

describe("the modules", () => {
  it("import each other in no circle", () => {
    expect(circle(resolve(SRC, "main.tsx"))?.map((file) => relative(SRC, file)) ?? null).toBeNull();
  });
  it("keep the names of texts that are put together, and only those", () => {
    const { order, named } = arranged(['t("nav.board") + t(`status.${one}`) + word("wait", kind)', 'const label = "nav.chat"; t("task.state")']);
    const names = order.slice(0, named);
    expect(names).toContain("status.failed");
    expect(names).toContain("wait.timer");
    expect(names).toContain("nav.chat");
    expect(names).not.toContain("nav.board");
    expect([...order].sort()).toEqual(Object.keys(en).sort());
  });
});
