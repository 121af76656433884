"""The main jobs, and what the assistant has learnt to do, as prompts: for clients that show them as commands."""

import msgspec

from tawny.gateway.mcp.caller import BAD_PARAMS, Fault, Json


class Argument(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    description: str
    required: bool = False
    choices: tuple[str, ...] = ()


class Prompt(msgspec.Struct, frozen=True, kw_only=True):
    """`text` is what the model is asked, with the arguments in braces."""

    name: str
    title: str
    description: str
    text: str
    arguments: tuple[Argument, ...] = ()

    def document(self) -> Json:
        return {
            "name": self.name,
            "title": self.title,
            "description": self.description,
            "arguments": [
                {"name": one.name, "description": one.description, "required": one.required}
                for one in self.arguments
            ],
        }

    def messages(self, given: Json) -> list[Json]:
        """The messages, filled in.

        Raises:
            Fault: an argument is missing, unknown or no text.
        """
        values = {one.name: "" for one in self.arguments}
        for name, value in given.items():
            if name not in values or not isinstance(value, str):
                raise Fault(BAD_PARAMS, f"{self.name}: {name}: no such argument, or no text")
            values[name] = value
        for one in self.arguments:
            if one.required and not values[one.name].strip():
                raise Fault(BAD_PARAMS, f"{self.name}: {one.name} is missing")
        text = self.text
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return [{"role": "user", "content": {"type": "text", "text": text.strip()}}]


PROMPTS = (
    Prompt(
        name="daily_brief",
        title="Daily brief",
        description="The day in brief: calendar, to-dos, weather, mail that matters",
        text="Call tasks_run with kind generate_daily_brief and wait true, then show me its text. {focus}",
        arguments=(Argument(name="focus", description="What matters most today"),),
    ),
    Prompt(
        name="background_task",
        title="Do it in the background",
        description="Hand work over so that it is finished whatever happens here",
        text="Hand this over with tasks_run, kind agent_turn, its message in my words; tell me the task's id: {work}",
        arguments=(Argument(name="work", description="What is to be done", required=True),),
    ),
    Prompt(
        name="plan_regularly",
        title="Plan something regular",
        description="A standing order with a schedule",
        text=(
            "Make a standing order with automations_add: {what}, {when}. Write the schedule as cron with my timezone, "
            "the action as kind and parameters; then tell me its next times."
        ),
        arguments=(
            Argument(name="what", description="What is to be done each time", required=True),
            Argument(
                name="when",
                description="When, in words",
                required=True,
                choices=("every morning at 8", "every Monday at 9", "on weekdays at 18:00", "every hour"),
            ),
        ),
    ),
    Prompt(
        name="what_needs_me",
        title="What needs me?",
        description="Open questions, failures and what is running",
        text=(
            "Call approvals_list with status pending, tasks_list with status waiting,failed,timed_out,lost, then "
            "with status running. Tell me first what only I can answer, whole; then what went wrong; then what runs. "
            "Answer no approval for me."
        ),
    ),
)


def of_skill(skill: Json) -> Prompt:
    """A skill as a prompt: the work is handed over, and done by it in the background."""
    return Prompt(
        name=f"skill_{skill['name']}",
        title=skill["name"],
        description=skill["description"][:500],
        text=(
            "Hand this over with tasks_run, kind agent_turn, wait true, and then show me its text. Its message: "
            f"Use the skill {skill['name']}. {{work}}"
        ),
        arguments=(Argument(name="work", description="What it is to be used on"),),
    )


def complete(prompt: Prompt, argument: str, begun: str) -> list[str]:
    """What an argument is often given."""
    choices = next((one.choices for one in prompt.arguments if one.name == argument), ())
    return [choice for choice in choices if choice.startswith(begun)]
