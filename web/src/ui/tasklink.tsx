/** A task by its name, as a link to its page. */

import { shortId } from "../format";
import { taskSignal, titleOf } from "../store/tasks";
import { useLoad } from "./parts";

export function TaskLink({ id, title }: { id: string; title?: string }) {
  return <a class={title ? "" : "mono"} href={`#/tasks/${id}`} dir="auto">{title || shortId(id)}</a>;
}

/** One whose name is not at hand: it is asked for. */
export function TaskName({ id }: { id: string }) {
  const { data } = useLoad(() => titleOf(id), id);
  return <TaskLink id={id} title={taskSignal(id)?.value.title || data || ""} />;
}
