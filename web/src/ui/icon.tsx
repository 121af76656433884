/** Our own icons: strokes on a 20 × 20 grid, in the colour of the text around them. */

const PATHS = {
  board: "M3.5 4.5h4v11h-4zM8.5 4.5h4v7h-4zM13.5 4.5h3v9h-3z",
  chat: "M3 4h14v10h-6l-4 3v-3H3z",
  hand: "M10 2.8 16.5 5v5c0 3.6-2.7 6.1-6.5 7.4C6.2 16.1 3.5 13.6 3.5 10V5zM7.2 10l2 2 3.6-4",
  repeat: "M4 9.5A6 6 0 0 1 14.6 6M16 10.5A6 6 0 0 1 5.4 14M14.8 2.8V6.2h-3.4M5.2 17.2v-3.4h3.4",
  calendar: "M4 5h12v11.5H4zM4 8.5h12M7.2 3v3.2M12.8 3v3.2",
  chart: "M3.5 16.5h13M6 13.5v-4M10 13.5v-8M14 13.5v-5.5",
  book: "M5 2.5h10.5v15H5zM5 14.5h10.5M8 6h4.5",
  audit: "M5.5 2.5h7l3 3v12h-10zM12.5 2.5v3h3M8 9h5M8 12h5M8 15h3",
  people: "M10 9.5a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM4 16.5c.6-3 3-4.5 6-4.5s5.4 1.5 6 4.5",
  device: "M5 2.5h10v15H5zM9 14.8h2",
  settings: "M4 6h12M4 14h12M13 4v4M7 12v4",
  plus: "M10 4v12M4 10h12",
  close: "M5 5l10 10M15 5L5 15",
  pause: "M7 4.5v11M13 4.5v11",
  play: "M6.5 4l9 6-9 6z",
  retry: "M15.5 10A5.5 5.5 0 1 1 13.6 5.8M14.2 2.8v3.4h-3.4",
  stop: "M5.5 5.5h9v9h-9z",
  check: "M4.5 10.5l3.6 3.6 7.4-8",
  search: "M9 14.5a5.5 5.5 0 1 0 0-11 5.5 5.5 0 0 0 0 11zM13 13l4 4",
  clock: "M10 17a7 7 0 1 0 0-14 7 7 0 0 0 0 14zM10 6v4.2l2.8 1.8",
  more: "M4.5 10h.01M10 10h.01M15.5 10h.01",
  right: "M8 5l5 5-5 5",
  left: "M12 5l-5 5 5 5",
  down: "M5 8l5 5 5-5",
  send: "M3.5 10 16.5 4l-4 12.5-3-5z M9.5 11.5l7-7.5",
  bell: "M5.5 13.5V9a4.5 4.5 0 0 1 9 0v4.5l1.3 1.5H4.2zM8.5 17h3",
  out: "M8 4H4.5v12H8M9 10h7.5M13.5 7l3 3-3 3",
  copy: "M7 7h9v9H7zM4 13V4h9",
  download: "M10 3.5v9M6.5 9.5l3.5 3.5 3.5-3.5M4 16.5h12",
  alert: "M10 3.5 17.5 16h-15zM10 8.5v3.2M10 13.9v.1",
  bolt: "M11 2.5 5 11.5h4.5L9 17.5l6-9h-4.5z",
  eye: "M2.5 10S5.5 5 10 5s7.5 5 7.5 5-3 5-7.5 5-7.5-5-7.5-5zM10 12.2a2.2 2.2 0 1 0 0-4.4 2.2 2.2 0 0 0 0 4.4z",
  list: "M7 5.5h10M7 10h10M7 14.5h10M3.5 5.5h.01M3.5 10h.01M3.5 14.5h.01",
  edit: "M4 16l.8-3.4L13.4 4l2.6 2.6-8.6 8.6z",
  trash: "M4 5.5h12M8 5.5V3.5h4v2M5.5 5.5l.8 11h7.4l.8-11",
  spark: "M10 3l1.6 4.4L16 9l-4.4 1.6L10 15l-1.6-4.4L4 9l4.4-1.6z",
  tool: "M7 5l-4 5 4 5M13 5l4 5-4 5",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { name: IconName; size?: number }) {
  return (
    <svg class="icon" viewBox="0 0 20 20" width={size} height={size} aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark: an owl's two eyes under one brow, the right one a progress ring. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg class="mark" viewBox="0 0 32 32" width={size} height={size} aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="9" class="mark-ground" />
      <path d="M5.5 8.5c3.5 0 7.5 1 10.5 4 3-3 7-4 10.5-4" class="mark-line" />
      <circle cx="10.5" cy="17.5" r="4.5" class="mark-line" />
      <circle cx="10.5" cy="17.5" r="1.5" class="mark-dot" />
      <circle cx="21.5" cy="17.5" r="4.5" class="mark-line mark-faint" />
      <path d="M21.5 13a4.5 4.5 0 1 1-4.3 5.8" class="mark-line" />
      <circle cx="21.5" cy="17.5" r="1.5" class="mark-dot" />
      <path d="M14.6 22.5 16 25l1.4-2.5" class="mark-line" />
    </svg>
  );
}
