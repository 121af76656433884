import { gzipAsync } from "@gfx/zopfli";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig, type Plugin } from "vite";
import { catalogue } from "./dev/catalogue";
import { shortNames } from "./dev/shortnames";

const out = "../src/tawny/gateway/panel";

/** Writes `sw.js` from its source, with the list of built files and a version that follows their content. */
function serviceWorker(): Plugin {
  return {
    name: "tawny-service-worker",
    apply: "build",
    generateBundle(_options, bundle) {
      const files = Object.keys(bundle).filter((name) => !name.endsWith(".map")).sort();
      const source = readFileSync(new URL("./src/sw.js", import.meta.url), "utf8");
      const digest = createHash("sha256").update(source);
      for (const name of files) {
        const item = bundle[name]!;
        digest.update(name).update(item.type === "chunk" ? item.code : item.source);
      }
      const version = digest.digest("hex").slice(0, 12);
      const shell = ["/", ...files.filter((name) => name !== "index.html").map((name) => `/${name}`), "/manifest.webmanifest", "/icon.svg"];
      this.emitFile({
        type: "asset",
        fileName: "sw.js",
        source: source.replace("__VERSION__", version).replace('"__SHELL__"', JSON.stringify(shell)),
      });
    },
  };
}

/** Puts each file's gzip beside it, made slowly: 4% fewer bytes than zlib's best, for every visitor. */
function compressed(): Plugin {
  return {
    name: "tawny-compressed",
    apply: "build",
    async writeBundle({ dir = "." }, bundle) {
      for (const name of Object.keys(bundle)) {
        const file = join(dir, name);
        writeFileSync(`${file}.gz`, await gzipAsync(readFileSync(file), { numiterations: 15 }));
      }
    },
  };
}

const gateway = process.env.TAWNY_URL ?? "http://127.0.0.1:8799";

export default defineConfig({
  // Children as arguments instead of a property: the same elements in fewer bytes.
  esbuild: { jsx: "transform", jsxFactory: "h", jsxFragment: "Fragment", jsxInject: 'import { Fragment, h } from "preact"', legalComments: "none" },
  build: {
    outDir: out,
    emptyOutDir: true,
    target: "es2022",
    modulePreload: false,
    assetsInlineLimit: 0,
    reportCompressedSize: true,
    cssCodeSplit: false,
    minify: "terser",
    terserOptions: { module: true, safari10: false, ecma: 2020, compress: { passes: 3, unsafe: true }, format: { comments: false } },
  },
  plugins: [catalogue(), shortNames(), serviceWorker(), compressed()],
  server: { port: 5173, proxy: { "/v1": { target: gateway, changeOrigin: true, headers: { origin: gateway } }, "/healthz": gateway } },
});
