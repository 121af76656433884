/** A task by its name, as a link to its page. */

import { shortId } from "../format";

export function TaskLink({ id, title }: { id: string; title?: string }) {
  return <a class={title ? "" : "mono"} href={`#/tasks/${id}`}>{title || shortId(id)}</a>;
}
