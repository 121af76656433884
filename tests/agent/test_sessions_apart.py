"""What was said in one session is in no other: many at once, over compaction and a restart."""

import asyncio
import re
from typing import Any

from tawny.ledger import sessions
from tawny.testing import ScriptedModel

from .conftest import Chat, OpenChat

SESSIONS, ROUNDS = 6, 3


def seen_in(messages: list[Any]) -> str:
    """The model's answer: every canary it has been shown."""
    return "I know " + " ".join(sorted(set(re.findall(r"canary-\d+", str(messages))))) + "."


async def test_a_canary_of_one_session_is_shown_to_no_other(chat: OpenChat) -> None:
    async def talk(app: Chat, number: int, life: int) -> None:
        for turn in range(ROUNDS):
            text = f"keep canary-{number} to yourself" if turn == 0 else "what do you know?"
            reply = await app.say(text, session=f"s{number}", event_id=f"{life}-{number}-{turn}", wait=60)
            assert reply.text.strip() == f"I know canary-{number}.", (number, turn)

    for life in range(2):
        script = ScriptedModel([seen_in] * (SESSIONS * (ROUNDS + 2)))
        async with chat(script) as app:
            await asyncio.gather(*(talk(app, number, life) for number in range(SESSIONS)))
            await app.say("/compact", session="s0", event_id=f"compact-{life}", wait=60)
            for number in range(SESSIONS):
                kept = await app.read(lambda tx, n=number: sessions.entries(tx, f"s{n}"))
                assert set(re.findall(r"canary-\d+", str(kept))) == {f"canary-{number}"}
