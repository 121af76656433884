"""How long an account at a model provider rests after a failure, and what a failure means."""

import msgspec

from tawny.clock import DAY, HOUR, MINUTE, SECOND, Instant

LADDER = (MINUTE, 5 * MINUTE, 25 * MINUTE, 60 * MINUTE)
BILLING_FIRST, BILLING_LONGEST = 5 * HOUR, 24 * HOUR
LONGEST_ASKED = DAY
"""No server is let off for longer, whatever it asks for: a date far off is a slip, and would silence it for good."""
FORGIVEN_AFTER = DAY

RESTING = frozenset({"auth", "rate_limit", "billing", "timeout", "overloaded", "connection", "format"})
"""Failures that speak against the account or its server, not against the request."""

PASSING = frozenset({"timeout", "overloaded", "connection", "format"})
"""Failures that may have hit one request alone: an account that rests for one is still better than nobody."""


class Rest(msgspec.Struct, frozen=True, kw_only=True):
    """Where one account stands: `strikes` failures in a row, resting `until`, for `reason`."""

    account: str
    reason: str
    strikes: int
    until: Instant
    updated_at: Instant


def rest_for(reason: str, strikes: int) -> int:
    """How long (µs) the account rests after its `strikes`-th failure in a row, counted from 1."""
    if reason == "billing":
        return min(BILLING_FIRST << min(strikes - 1, 8), BILLING_LONGEST)
    return LADDER[min(strikes, len(LADDER)) - 1]


def after_failure(
    before: Rest | None, *, account: str, reason: str, now: Instant, retry_after: float | None = None
) -> Rest:
    """The account's new state after a failure. A clean day before it forgives what was.

    `retry_after` (seconds, from the server) lengthens the rest to a day at most, and never shortens it. The same
    failure within the rest is the same strike: of requests that were under way together, each fails.
    """
    asked = 0 if retry_after is None else int(min(retry_after, LONGEST_ASKED / SECOND) * SECOND)
    if (
        before is not None
        and before.reason == reason
        and now < before.updated_at + rest_for(before.reason, before.strikes)
    ):
        return msgspec.structs.replace(before, until=max(before.until, now + asked))
    forgiven = before is None or now - before.updated_at >= FORGIVEN_AFTER + rest_for(
        before.reason, before.strikes
    )
    strikes = 1 if forgiven or before is None else before.strikes + 1
    length = max(rest_for(reason, strikes), asked)
    return Rest(account=account, reason=reason, strikes=strikes, until=now + length, updated_at=now)


def probe(rest: Rest, now: Instant) -> Rest | None:
    """The state while one request tries whether the account works again; `None` while it rests.

    The rest is drawn out by another window first, so that whoever asks meanwhile is refused: one probe a window.
    """
    if now < rest.until:
        return None
    return Rest(
        account=rest.account,
        reason=rest.reason,
        strikes=rest.strikes,
        until=now + rest_for(rest.reason, rest.strikes),
        updated_at=rest.updated_at,
    )
