import { encode } from "uqr";
import { describe, expect, it } from "vitest";
import { qr } from "../src/ui/qr";

describe("a QR code", () => {
  it("is what another encoder draws, in every version we use", () => {
    for (const length of [1, 14, 15, 26, 27, 42, 43, 62, 63, 84, 85, 106]) {
      const text = "http://192.168.1.20:8765/#pair=7f3k-9qmx-".repeat(3).slice(0, length);
      const other = encode(text, { ecc: "M", maskPattern: 0, boostEcc: false, border: 0 });
      expect(qr(text), `${length} bytes`).toEqual(other.data);
    }
  });
  it("is not made of a text that does not fit", () => expect(qr("x".repeat(107))).toBeNull());
});
