/**
 * A QR code for a short text (ISO/IEC 18004): bytes, error correction M, versions 1 to 6, mask 0.
 *
 * A reader accepts any mask, and a pairing address fits into version 6 (106 bytes); so this is all we need of it.
 */

const TOTAL = [26, 44, 70, 100, 134, 172];
const CORRECTION = [10, 16, 26, 18, 24, 16];
const BLOCKS = [1, 1, 1, 2, 2, 4];

const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let n = 0, value = 1; n < 255; n += 1) {
  EXP[n] = EXP[n + 255] = value;
  LOG[value] = n;
  value = value & 128 ? (value << 1) ^ 0x11d : value << 1;
}
const times = (a: number, b: number): number => (a && b ? EXP[LOG[a]! + LOG[b]!]! : 0);

/** The remainder of the data, shifted, by the generator polynomial of that many correction words. */
function correctionOf(data: number[], words: number): number[] {
  let generator = [1];
  for (let n = 0; n < words; n += 1) generator = [...generator, 0].map((value, place) => value ^ times(generator[place - 1] ?? 0, EXP[n]!));
  const rest = [...data, ...Array<number>(words).fill(0)];
  for (let n = 0; n < data.length; n += 1) {
    const factor = rest[n]!;
    generator.forEach((value, place) => (rest[n + place]! ^= times(value, factor)));
  }
  return rest.slice(data.length);
}

function codewords(bytes: Uint8Array, version: number): number[] {
  const capacity = TOTAL[version]! - CORRECTION[version]! * BLOCKS[version]!;
  const bits: number[] = [];
  const push = (value: number, length: number) => {
    for (let n = length - 1; n >= 0; n -= 1) bits.push((value >> n) & 1);
  };
  push(4, 4);
  push(bytes.length, 8);
  bytes.forEach((byte) => push(byte, 8));
  push(0, Math.min(4, capacity * 8 - bits.length));
  while (bits.length % 8) bits.push(0);
  for (let pad = 0xec; bits.length < capacity * 8; pad ^= 0xec ^ 0x11) push(pad, 8);
  const data = Array.from({ length: capacity }, (_, n) => Number.parseInt(bits.slice(n * 8, n * 8 + 8).join(""), 2));
  const size = capacity / BLOCKS[version]!;
  const blocks = Array.from({ length: BLOCKS[version]! }, (_, n) => data.slice(n * size, (n + 1) * size));
  const corrections = blocks.map((block) => correctionOf(block, CORRECTION[version]!));
  const woven = (lists: number[][]) => lists[0]!.flatMap((_, n) => lists.map((list) => list[n]!));
  return [...woven(blocks), ...woven(corrections)];
}

/** The modules, row by row, true for dark; `null` where the text is too long. */
export function qr(text: string): boolean[][] | null {
  const bytes = new TextEncoder().encode(text);
  const version = TOTAL.findIndex((total, n) => bytes.length + 2 <= total - CORRECTION[n]! * BLOCKS[n]!);
  if (version < 0) return null;
  const size = 21 + 4 * version;
  const grid: (boolean | null)[][] = Array.from({ length: size }, () => Array<boolean | null>(size).fill(null));
  const set = (row: number, column: number, dark: boolean) => {
    if (grid[row] && column >= 0 && column < size) grid[row]![column] = dark;
  };
  for (const [top, left] of [[0, 0], [0, size - 7], [size - 7, 0]] as const) {
    for (let row = -1; row < 8; row += 1) for (let column = -1; column < 8; column += 1) {
      const ring = Math.max(Math.abs(row - 3), Math.abs(column - 3));
      set(top + row, left + column, ring !== 2 && ring !== 4);
    }
  }
  if (version > 0) {
    const middle = size - 7;
    for (let row = -2; row <= 2; row += 1) for (let column = -2; column <= 2; column += 1) set(middle + row, middle + column, Math.max(Math.abs(row), Math.abs(column)) !== 1);
  }
  for (let n = 8; n < size - 8; n += 1) {
    set(6, n, n % 2 === 0);
    set(n, 6, n % 2 === 0);
  }
  // Correction level M and mask 0 are all zeros, so is their checksum: what remains is the fixed pattern.
  const format = 0x5412;
  for (let n = 0; n < 15; n += 1) {
    const dark = Boolean((format >> n) & 1);
    if (n < 6) set(n, 8, dark);
    else if (n < 8) set(n + 1, 8, dark);
    else if (n === 8) set(8, 7, dark);
    else set(8, 14 - n, dark);
    if (n < 8) set(8, size - 1 - n, dark);
    else set(size - 15 + n, 8, dark);
  }
  set(size - 8, 8, true);
  const words = codewords(bytes, version);
  let place = 0;
  for (let right = size - 1; right > 0; right -= 2) {
    if (right === 6) right = 5;
    for (let n = 0; n < size; n += 1) {
      const row = ((right + 1) & 2) === 0 ? size - 1 - n : n;
      for (const column of [right, right - 1]) {
        if (grid[row]![column] !== null) continue;
        const bit = ((words[place >> 3] ?? 0) >> (7 - (place & 7))) & 1;
        grid[row]![column] = Boolean(bit) !== ((row + column) % 2 === 0);
        place += 1;
      }
    }
  }
  return grid as boolean[][];
}

/** The code as the address of an SVG image, with the quiet border that readers need. */
export function qrImage(text: string): string | null {
  const grid = qr(text);
  if (!grid) return null;
  const path = grid.flatMap((row, y) => row.map((dark, x) => (dark ? `M${x + 4} ${y + 4}h1v1h-1z` : ""))).join("");
  const size = grid.length + 8;
  return `data:image/svg+xml,${encodeURIComponent(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size} ${size}" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${size}v${size}H0z"/><path d="${path}"/></svg>`)}`;
}
