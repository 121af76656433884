/** Every text by its place, in each language; after them, `name TAB text`, what only the server names. The build puts lists without names here: see dev/catalogue.ts. */

import { en } from "./en";

const order = Object.keys(en) as (keyof typeof en)[];

export const places: Record<string, number> = Object.fromEntries(order.map((key, place) => [key, place]));
export const english: readonly string[] = Object.values(en);
export const others: Record<string, () => Promise<readonly string[]>> = {
  zh: async () => {
    const [{ zh }, { zhServer }] = await Promise.all([import("./zh"), import("./zh-server")]);
    return [...order.map((key) => zh[key]), ...Object.entries(zhServer).map((entry) => entry.join("\t"))];
  },
};
