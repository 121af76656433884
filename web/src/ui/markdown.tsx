/** Markdown as elements, never as HTML text: what a model writes cannot become markup, scripts or loaded images. */

import type { ComponentChildren, VNode } from "preact";
import { shortId } from "../format";

const INLINE = /\\([\\`*_{}[\]()#+\-.!|<>~])|\b(task_[0-9a-z]{20,})\b|(`+)(.+?)\3|\*\*(.+?)\*\*|__(.+?)__|(?<![\w*])\*([^*\s](?:[^*]*[^*\s])?)\*(?!\w)|(?<!\w)_([^_\s](?:[^_]*[^_\s])?)_(?!\w)|~~(.+?)~~|\[([^\]]*)\]\(([^)\s]+)\)|(https?:\/\/[^\s<>()]+[^\s<>().,;:!?'"])/g;

function link(address: string, text: ComponentChildren): ComponentChildren {
  // Only the web and mail: no javascript:, data: or file: address ever becomes a link.
  if (!/^(https?:\/\/|mailto:)/i.test(address)) return <>{text} ({address})</>;
  return <a href={address} target="_blank" rel="noopener noreferrer nofollow">{text}</a>;
}

export function inline(text: string): ComponentChildren[] {
  const out: ComponentChildren[] = [];
  let last = 0;
  for (const match of text.matchAll(INLINE)) {
    if (match.index > last) out.push(text.slice(last, match.index));
    const [whole, escaped, task, , code, strong, strong2, em, em2, strike, label, address, bare] = match;
    if (escaped !== undefined) out.push(escaped);
    else if (task !== undefined) out.push(<a class="mono" href={`#/tasks/${task}`}>{shortId(task)}</a>);
    else if (code !== undefined) out.push(<code>{code.trim()}</code>);
    else if (strong ?? strong2) out.push(<strong>{inline((strong ?? strong2)!)}</strong>);
    else if (em ?? em2) out.push(<em>{inline((em ?? em2)!)}</em>);
    else if (strike) out.push(<del>{inline(strike)}</del>);
    else if (address !== undefined) out.push(link(address, label || address));
    else if (bare) out.push(link(bare, bare));
    last = match.index + whole.length;
  }
  if (last < text.length) out.push(text.slice(last));
  return out;
}

const ITEM = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const cells = (line: string): string[] => line.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());

interface Item { text: string; children: string[] }

function list(lines: string[]): VNode {
  const first = ITEM.exec(lines[0]!)!;
  const indent = first[1]!.length;
  const items: Item[] = [];
  for (const line of lines) {
    const match = ITEM.exec(line);
    if (match && match[1]!.length <= indent) items.push({ text: match[3]!, children: [] });
    else items.at(-1)?.children.push(line);
  }
  const body = items.map((item) => {
    const box = /^\[([ xX])\]\s+(.*)$/.exec(item.text);
    const nested = item.children.some((line) => ITEM.test(line));
    const rest = item.children.filter((line) => line.trim());
    return (
      <li class={box ? "box" : undefined}>
        {box ? <><input type="checkbox" checked={box[1] !== " "} disabled aria-label={box[2]} /> {inline(box[2]!)}</> : inline(item.text)}
        {rest.length > 0 && (nested ? blocks(dedent(rest)) : <> {inline(rest.map((line) => line.trim()).join(" "))}</>)}
      </li>
    );
  });
  return /\d/.test(first[2]!) ? <ol start={Number.parseInt(first[2]!, 10)}>{body}</ol> : <ul>{body}</ul>;
}

function dedent(lines: string[]): string[] {
  const least = Math.min(...lines.map((line) => /^\s*/.exec(line)![0].length));
  return lines.map((line) => line.slice(least));
}

function blocks(lines: string[]): VNode[] {
  const out: VNode[] = [];
  let n = 0;
  while (n < lines.length) {
    const line = lines[n]!;
    const fence = /^\s*(```|~~~)/.exec(line);
    if (fence) {
      const end = lines.findIndex((one, place) => place > n && one.trim().startsWith(fence[1]!));
      const stop = end < 0 ? lines.length : end;
      out.push(<pre class="plain" tabIndex={0}>{lines.slice(n + 1, stop).join("\n")}</pre>);
      n = stop + 1;
    } else if (!line.trim()) {
      n += 1;
    } else if (/^#{1,6}\s/.test(line)) {
      const level = line.indexOf(" ");
      const text = inline(line.slice(level + 1).replace(/\s#+\s*$/, ""));
      out.push(level <= 1 ? <h2>{text}</h2> : level === 2 ? <h3>{text}</h3> : <h4>{text}</h4>);
      n += 1;
    } else if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) {
      out.push(<hr />);
      n += 1;
    } else if (line.includes("|") && /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/.test(lines[n + 1] ?? "") && (lines[n + 1] ?? "").includes("-")) {
      let end = n + 2;
      while (end < lines.length && lines[end]!.includes("|")) end += 1;
      const head = cells(line);
      out.push(<div class="table-wrap" tabIndex={0}><table><thead><tr>{head.map((cell) => <th>{inline(cell)}</th>)}</tr></thead>
        <tbody>{lines.slice(n + 2, end).map((row) => <tr>{cells(row).map((cell) => <td>{inline(cell)}</td>)}</tr>)}</tbody></table></div>);
      n = end;
    } else if (/^\s*>/.test(line)) {
      let end = n;
      while (end < lines.length && /^\s*>/.test(lines[end]!)) end += 1;
      out.push(<blockquote>{blocks(lines.slice(n, end).map((one) => one.replace(/^\s*> ?/, "")))}</blockquote>);
      n = end;
    } else if (ITEM.test(line)) {
      let end = n + 1;
      while (end < lines.length && (ITEM.test(lines[end]!) || /^\s{2,}\S/.test(lines[end]!))) end += 1;
      out.push(list(lines.slice(n, end)));
      n = end;
    } else {
      let end = n + 1;
      while (end < lines.length && lines[end]!.trim() && !/^(#{1,6}\s|\s*(```|~~~|>))/.test(lines[end]!) && !ITEM.test(lines[end]!)) end += 1;
      const paragraph = lines.slice(n, end);
      out.push(<p>{paragraph.flatMap((one, place) => [...(place ? [/(\s{2}|\\)$/.test(paragraph[place - 1]!) ? <br /> : "\n"] : []), ...inline(one.replace(/\\$/, "").trim())])}</p>);
      n = end;
    }
  }
  return out;
}

export function Markdown({ text }: { text: string }) {
  return <div class="markdown">{blocks(text.replace(/\r\n?/g, "\n").split("\n"))}</div>;
}
