"""The kind `make_subtitles`: a transcript with times (Whisper's JSON) becomes an .srt file."""

import textwrap
from collections.abc import Awaitable, Callable
from pathlib import Path, PurePath
from typing import Annotated

import msgspec

from tawny.api import (
    SECOND,
    Context,
    Effect,
    InvalidInput,
    Json,
    Kind,
    NotFound,
    PermanentError,
    Result,
    Root,
    file_of,
)

Post = Callable[[str, dict[str, Json], str], Awaitable[None]]
"""POSTs a JSON body to a URL with an `Idempotency-Key`, under the network list."""

_UNSURE = -1.0  # Whisper's own threshold for a segment that is probably wrong
_TOO_UNSURE = 0.5
_LINES = 2


class MakeSubtitles(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`file` lies in the workspace. `seconds` are slept first, in place of listening; `effect_url` is told once."""

    file: Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]
    width: Annotated[int, msgspec.Meta(ge=16, le=200)] = 42
    seconds: Annotated[float, msgspec.Meta(ge=0, le=3600)] = 0
    effect_url: str | None = None


class Segment(msgspec.Struct, frozen=True):
    """A stretch of speech: seconds from the start, what was said, and how sure the listener was (log probability)."""

    start: float
    end: float
    text: str
    avg_logprob: float = 0.0


class Transcript(msgspec.Struct, frozen=True):
    segments: list[Segment]


def make_subtitles(workspace: Path, post: Post) -> Kind:
    """The kind over transcripts in `workspace`, with its way to the outside."""

    async def run(ctx: Context, params: MakeSubtitles) -> Result:
        path, root = PurePath(params.file), Root(workspace)
        root.exists(params.file)  # refuses what lies outside before a step is begun

        async def body() -> Json:
            if params.seconds:
                await ctx.clock.sleep_until(ctx.clock.now() + int(params.seconds * SECOND))
            return subtitles(_read(root, params.file), width=params.width)

        made = await ctx.step("subtitles", body, input=params.file, name=f"Subtitles of {path.name}")
        if params.effect_url is not None:
            await _tell(ctx, params, post)
        name = file_of(ctx, f"{path.stem}.srt")
        await ctx.artifact(name, made, media_type="application/x-subrip")
        return {"text": f"Subtitled {path.name}.", "file": name, "lines": made.count(" --> ")}

    return Kind(
        name="make_subtitles",
        params=MakeSubtitles,
        run=run,
        description="A transcript with times (Whisper's JSON) becomes an .srt file.",
        title=lambda params: f"Subtitles for {Path(params.file).name}",
    )


async def _tell(ctx: Context, params: MakeSubtitles, post: Post) -> None:
    async def body() -> Json:
        assert params.effect_url is not None
        document = {"task_id": ctx.task.task_id, "file": params.file}
        await post(params.effect_url, document, ctx.idempotency_key("told"))
        return None

    await ctx.step("told", body, input=params.effect_url, effect=Effect.IDEMPOTENT, name="Hand over")


def _read(workspace: Root, name: str) -> Transcript:
    try:
        return msgspec.json.decode(workspace.read(name), type=Transcript)
    except (NotFound, PermanentError) as error:
        raise InvalidInput(
            f"{PurePath(name).name} cannot be read: {error.message}", hint="give a file there is"
        ) from error
    except msgspec.DecodeError as error:
        raise InvalidInput(
            f"{PurePath(name).name} is no transcript: {error}",
            hint="make it with whisper --output_format json",
        ) from error


def subtitles(transcript: Transcript, *, width: int) -> str:
    """The transcript in SubRip's format, lines no wider than `width`.

    Raises:
        PermanentError: too much of it was not understood.
    """
    spoken = [segment for segment in transcript.segments if segment.text.strip()]
    if not spoken:
        raise PermanentError("audio quality issue: no speech was recognised")
    total = sum(max(segment.end - segment.start, 0) for segment in spoken) or 1
    unsure = sum(segment.end - segment.start for segment in spoken if segment.avg_logprob < _UNSURE)
    if unsure / total > _TOO_UNSURE:
        raise PermanentError(
            f"audio quality issue: {100 * unsure / total:.0f} % of the speech is not understandable"
        )
    blocks: list[str] = []
    for segment in spoken:
        lines = textwrap.wrap(" ".join(segment.text.split()), width) or [""]
        shown = [lines[n : n + _LINES] for n in range(0, len(lines), _LINES)]
        share = (segment.end - segment.start) / len(shown)
        for part, words in enumerate(shown):
            begin = segment.start + part * share
            span = f"{_time(begin)} --> {_time(begin + share)}"
            blocks.append("\n".join([str(len(blocks) + 1), span, *words]))
    return "\n\n".join(blocks) + "\n"


def _time(seconds: float) -> str:
    millis = round(seconds * 1000)
    hours, rest = divmod(millis, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    return f"{hours:02d}:{minutes:02d}:{rest // 1000:02d},{rest % 1000:03d}"
