"""Builds the library's model for a spec. The only place that knows providers; each SDK is loaded when first needed."""

from collections.abc import AsyncIterator, Callable
from typing import NamedTuple

import httpx2
from pydantic_ai.models import Model

from tawny.models.demo import demo_model
from tawny.models.failures import ModelFailure, failure
from tawny.models.spec import ModelSpec

_CONNECT_SECONDS = 10.0
_MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of one answer on the wire; no honest one is longer."""


class AnswerTooLong(Exception):
    """The server sent more than any honest answer needs."""


class _CountedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = _MAX_ANSWER
        async for chunk in self._stream:
            left -= len(chunk)
            if left < 0:
                raise AnswerTooLong(f"more than {_MAX_ANSWER // 1024 // 1024} MB in one answer")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _CountedTransport(httpx2.AsyncHTTPTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        response = await super().handle_async_request(request)
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_CountedStream(response.stream),
            extensions=response.extensions,
        )


class Built(NamedTuple):
    """The library's model, and the HTTP client behind it, which whoever built it closes."""

    model: Model
    client: httpx2.AsyncClient | None = None


def _client(spec: ModelSpec) -> httpx2.AsyncClient:
    """`timeout` counts to the first byte and between bytes. Redirects are not followed, with the key in hand."""
    timeout = httpx2.Timeout(spec.timeout, connect=min(_CONNECT_SECONDS, spec.timeout))
    plain = spec.base_url.startswith("http://")
    return httpx2.AsyncClient(
        timeout=timeout,
        transport=_CountedTransport(verify=not plain, limits=httpx2.Limits(max_connections=100)),
        follow_redirects=False,
    )


def _openai(spec: ModelSpec, key: str, client: httpx2.AsyncClient) -> Model:
    from openai import AsyncOpenAI  # noqa: PLC0415 - an extra, loaded when a model of it is used
    from pydantic_ai.models.openai import OpenAIChatModel  # noqa: PLC0415
    from pydantic_ai.providers.ollama import OllamaProvider  # noqa: PLC0415
    from pydantic_ai.providers.openai import OpenAIProvider  # noqa: PLC0415
    from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider  # noqa: PLC0415

    from tawny.models.lean import LeanCompletions  # noqa: PLC0415

    sdk = AsyncOpenAI(
        base_url=spec.base_url or None,
        api_key=key or "none",
        http_client=client,
        max_retries=0,
    )
    vars(sdk.chat)["completions"] = LeanCompletions(sdk)
    if spec.provider == "ollama":
        return OpenAIChatModel(spec.model, provider=OllamaProvider(openai_client=sdk))
    if spec.base_url:
        # Such servers take JSON schemas as they are; rewriting ours for every request cost a tenth of a turn.
        plain = OpenAICompatibleProvider(
            "compatible", openai_client=sdk, profile={"json_schema_transformer": None}
        )
        return OpenAIChatModel(spec.model, provider=plain)
    return OpenAIChatModel(spec.model, provider=OpenAIProvider(openai_client=sdk))


def _anthropic(spec: ModelSpec, key: str, client: httpx2.AsyncClient) -> Model:
    from anthropic import AsyncAnthropic  # noqa: PLC0415 - an extra, loaded when a model of it is used
    from pydantic_ai.models.anthropic import AnthropicModel  # noqa: PLC0415
    from pydantic_ai.providers.anthropic import AnthropicProvider  # noqa: PLC0415

    sdk = AsyncAnthropic(
        base_url=spec.base_url or None,
        api_key=key or "none",
        http_client=client,
        max_retries=0,
    )
    return AnthropicModel(spec.model, provider=AnthropicProvider(anthropic_client=sdk))


def _google(spec: ModelSpec, key: str, client: httpx2.AsyncClient) -> Model:
    from pydantic_ai.models.google import GoogleModel  # noqa: PLC0415 - an extra, loaded when a model of it is used
    from pydantic_ai.providers.google import GoogleProvider  # noqa: PLC0415

    provider = GoogleProvider(api_key=key or "none", base_url=spec.base_url or None, http_client=client)
    return GoogleModel(spec.model, provider=provider)


_BUILDERS: dict[str, Callable[[ModelSpec, str, httpx2.AsyncClient], Model]] = {
    "openai": _openai,
    "ollama": _openai,
    "anthropic": _anthropic,
    "google": _google,
}


def build(spec: ModelSpec, key: str) -> Built:
    """The library's model for `spec`, with the resolved `key` (empty where none is needed).

    Raises:
        ModelFailure: the provider's SDK is missing, or a key is.
    """
    if spec.provider == "demo":
        return Built(demo_model())
    builder = _BUILDERS.get(spec.provider)
    if builder is None:
        raise failure("setup", spec.label)
    if not key and not spec.base_url:
        raise ModelFailure(
            "auth",
            f"{spec.label} needs a key, and {spec.key or '[model] api_key'} holds none",
            hint="set it, or run 'tawny config set model.name demo' to do without",
        )
    client = _client(spec)
    try:
        return Built(builder(spec, key, client), client)
    except ImportError as error:
        extra = "openai" if spec.provider == "ollama" else spec.provider
        raise ModelFailure(
            "setup", f"{spec.label} needs the extra '{extra}'", hint=f"pip install 'tawny[{extra}]'"
        ) from error
