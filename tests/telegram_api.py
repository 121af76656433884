"""A faithful fake of the Bot API: every request is checked against the schema that python-telegram-bot carries.

Methods, parameters and their types come from the library's signatures; limits and error texts from the published
documentation. What breaks the schema is answered as Telegram does and noted in `violations`.
"""

import asyncio
import inspect
import itertools
import json
from html.parser import HTMLParser
from typing import Any

import telegram

from fake_http import FakeHttp, Request, Response

_LIBRARY_ONLY = {
    "self", "read_timeout", "write_timeout", "connect_timeout", "pool_timeout", "api_kwargs", "filename",
    "allow_sending_without_reply", "reply_to_message_id", "disable_web_page_preview", "contact", "location", "venue",
}  # fmt: skip
_TAGS = {"b", "strong", "i", "em", "u", "s", "code", "pre", "a", "blockquote", "tg-spoiler", "tg-emoji"}
_OBJECTS: dict[str, Any] = {
    "reply_markup": telegram.InlineKeyboardMarkup,
    "link_preview_options": telegram.LinkPreviewOptions,
    "reply_parameters": telegram.ReplyParameters,
}


def _snake(method: str) -> str:
    return "".join("_" + char.lower() if char.isupper() else char for char in method)


def units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


class _Html(HTMLParser):
    """Reads Telegram's HTML strictly: known tags only, properly nested."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.error = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.error = f'Unsupported start tag "{tag}"'
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.error = f'Unmatched end tag "{tag}"'

    def handle_data(self, data: str) -> None:
        self.text += data


class FakeTelegram:
    """One bot and the chats it is in. `arrived` is what people see."""

    def __init__(self, token: str = "4242:SECRET-TOKEN") -> None:
        self.token = token
        self.me = {"id": 4242, "is_bot": True, "first_name": "Tawny", "username": "tawny_bot"}
        self.http = FakeHttp(self._handle)
        self.http.applies = lambda request: any(word in request.path for word in ("/send", "/edit"))
        self.violations: list[str] = []
        self.arrived: list[dict[str, Any]] = []
        self.edits: list[dict[str, Any]] = []
        self.answered: list[str] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.blocked: set[int] = set()
        self.files: dict[str, bytes] = {}
        self.webhook: dict[str, Any] | None = None
        self.confirmed = 0
        self._updates: list[dict[str, Any]] = []
        self._news = asyncio.Event()
        self._ids = itertools.count(100)
        self._update_ids = itertools.count(7000)

    # --- what people do

    def message(
        self, text: str = "", *, sender: int = 12345678, chat: int | None = None, **more: Any
    ) -> dict[str, Any]:
        chat_id = sender if chat is None else chat
        group = chat_id < 0
        made = {
            "message_id": next(self._ids),
            "date": 1_772_438_400,
            "chat": {"id": chat_id, "type": "supergroup" if group else "private", "title": "G"},
            "from": {"id": sender, "is_bot": False, "first_name": more.pop("name", "Owner")},
            **more,
        }
        if text:
            made["text"] = text
            at = text.find("@")
            if at >= 0:
                handle = text[at:].split()[0]
                made["entities"] = [{"type": "mention", "offset": units(text[:at]), "length": units(handle)}]
        return made

    def push(self, update_id: int | None = None, **content: Any) -> int:
        """Somebody does something: one field of an Update."""
        update_id = next(self._update_ids) if update_id is None else update_id
        self._updates.append({"update_id": update_id, **content})
        self._news.set()
        return update_id

    def say(self, text: str, *, update_id: int | None = None, **more: Any) -> int:
        return self.push(update_id, message=self.message(text, **more))

    def tap(self, message: dict[str, Any], label: str, *, sender: int = 12345678) -> int:
        """Somebody taps a button of a message that arrived."""
        for row in message["reply_markup"]["inline_keyboard"]:
            for button in row:
                if button["text"] == label:
                    return self.push(
                        callback_query={
                            "id": str(next(self._ids)),
                            "from": {"id": sender, "is_bot": False, "first_name": "Owner"},
                            "chat_instance": "1",
                            "message": {key: value for key, value in message.items() if key != "file"},
                            "data": button["callback_data"],
                        }
                    )
        raise AssertionError(f"there is no button {label!r}")

    # --- the server

    async def _handle(self, request: Request) -> Response:
        if request.path.startswith(f"/file/bot{self.token}/"):
            return Response(200, self.files[request.path.rpartition("/")[2]])
        prefix = "/bot"
        token, _, method = request.path.removeprefix(prefix).rpartition("/")
        if token != self.token:
            return _error(401, "Unauthorized")
        parameters = request.form() if request.body else request.query
        self.calls.append((method, parameters))
        checked = self._check(method, parameters)
        if isinstance(checked, Response):
            return checked
        answer = getattr(self, f"_on_{_snake(method)}", None)
        if answer is None:
            self.violations.append(f"{method} is not faked")
            return _error(404, "Not Found: method not found")
        result = answer(checked)
        if inspect.isawaitable(result):
            result = await result
        return result if isinstance(result, Response) else Response(200, {"ok": True, "result": result})

    def _check(self, method: str, parameters: dict[str, Any]) -> dict[str, Any] | Response:
        call = getattr(telegram.Bot, _snake(method), None)
        if call is None:
            self.violations.append(f"{method}: no such method")
            return _error(404, "Not Found")
        known = {
            name: parameter
            for name, parameter in inspect.signature(call).parameters.items()
            if name not in _LIBRARY_ONLY
        }
        checked: dict[str, Any] = {}
        for name, value in parameters.items():
            if name not in known:
                self.violations.append(f"{method}: unknown parameter {name}")
                continue
            checked[name] = self._typed(method, name, value, str(known[name].annotation))
        for name, parameter in known.items():
            if parameter.default is inspect.Parameter.empty and name not in parameters:
                self.violations.append(f"{method}: {name} is missing")
                return _error(400, f"Bad Request: {name} is required")
        return checked

    def _typed(self, method: str, name: str, value: Any, annotation: str) -> Any:
        if isinstance(value, tuple):
            return value
        if name in _OBJECTS:
            document = json.loads(value) if isinstance(value, str) else value
            parsed = _OBJECTS[name].de_json(document, None)
            if parsed.to_dict() != document:
                self.violations.append(f"{method}: {name} has fields Telegram does not know: {document}")
            return document
        if annotation.startswith(("int", "bool")) or "bool" in annotation:
            try:
                return json.loads(value) if isinstance(value, str) else value
            except ValueError:
                if not annotation.startswith("int | str"):
                    self.violations.append(f"{method}: {name}={value!r} is no {annotation}")
                return value
        if isinstance(value, str) and value[:1] in "[{" and "Sequence" in annotation:
            return json.loads(value)
        return value

    def _on_get_me(self, _: dict[str, Any]) -> Any:
        return {
            **self.me,
            "can_join_groups": True,
            "can_read_all_group_messages": False,
            "supports_inline_queries": False,
        }

    def _on_delete_webhook(self, _: dict[str, Any]) -> Any:
        self.webhook = None
        return True

    def _on_set_webhook(self, parameters: dict[str, Any]) -> Any:
        self.webhook = parameters
        return True

    async def _on_get_updates(self, parameters: dict[str, Any]) -> Any:
        offset = int(parameters.get("offset") or 0)
        self.confirmed = max(self.confirmed, offset)
        self._updates = [update for update in self._updates if update["update_id"] >= offset]
        wanted = parameters.get("allowed_updates")
        deadline = asyncio.get_running_loop().time() + min(int(parameters.get("timeout") or 0), 50)
        while True:
            batch = [
                update
                for update in self._updates
                if wanted is None or any(kind in wanted for kind in update if kind != "update_id")
            ]
            if batch or asyncio.get_running_loop().time() >= deadline:
                return batch[:100]
            self._news.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._news.wait()
            except TimeoutError:
                return []

    def _on_send_message(self, parameters: dict[str, Any]) -> Any:
        return self._arrive(parameters, text=parameters["text"], limit=4096, field="text")

    def _on_send_document(self, parameters: dict[str, Any]) -> Any:
        return self._arrive_file(parameters, "document")

    def _on_send_photo(self, parameters: dict[str, Any]) -> Any:
        _, _, data = parameters["photo"]
        if not data.startswith((b"\x89PNG", b"\xff\xd8")):
            return _error(400, "Bad Request: IMAGE_PROCESS_FAILED")
        return self._arrive_file(parameters, "photo")

    def _arrive_file(self, parameters: dict[str, Any], field: str) -> Any:
        name, media_type, data = parameters[field]
        made = self._arrive(
            parameters, text=parameters.get("caption", ""), limit=1024, field="caption", file=(name, data)
        )
        if isinstance(made, Response):
            return made
        size = {"file_id": f"f{made['message_id']}", "file_unique_id": "u", "file_size": len(data)}
        extra = (
            [{**size, "width": 1, "height": 1}]
            if field == "photo"
            else {**size, "file_name": name, "mime_type": media_type}
        )
        return {**{key: value for key, value in made.items() if key != "file"}, field: extra}

    def _arrive(
        self, parameters: dict[str, Any], *, text: str, limit: int, field: str, file: Any = None
    ) -> Any:
        chat_id = int(parameters["chat_id"])
        if chat_id in self.blocked:
            return _error(403, "Forbidden: bot was blocked by the user")
        if chat_id == 404:
            return _error(400, "Bad Request: chat not found")
        plain = text
        if parameters.get("parse_mode") == "HTML":
            reader = _Html()
            reader.feed(text)
            reader.close()
            if reader.error or reader.open:
                return _error(400, f"Bad Request: can't parse entities: {reader.error or 'unclosed tag'}")
            plain = reader.text
        if not plain.strip() and file is None:
            return _error(400, "Bad Request: message text is empty")
        if units(plain) > limit:
            self.violations.append(f"a {field} of {units(plain)} units is over {limit}")
            return _error(400, "Bad Request: message is too long")
        for row in (parameters.get("reply_markup") or {}).get("inline_keyboard", []):
            for button in row:
                data = button.get("callback_data")
                if ("url" in button) == (data is not None) or not button["text"]:
                    self.violations.append(f"a button needs a text and exactly one action: {button}")
                if data is not None and not 1 <= len(data.encode()) <= 64:
                    self.violations.append(f"callback_data {data!r} is not 1 to 64 bytes")
                    return _error(400, "Bad Request: BUTTON_DATA_INVALID")
        message = {
            "message_id": next(self._ids),
            "date": 1_772_438_400,
            "chat": {"id": chat_id, "type": "supergroup" if chat_id < 0 else "private"},
            "from": self.me,
            field: plain,
        }
        if parameters.get("message_thread_id"):
            message |= {"message_thread_id": parameters["message_thread_id"], "is_topic_message": True}
        if parameters.get("reply_markup"):
            message["reply_markup"] = parameters["reply_markup"]
        self.arrived.append({**message, "markup": text, "file": file})
        return message

    def _on_edit_message_text(self, parameters: dict[str, Any]) -> Any:
        for message in self.arrived:
            if message["message_id"] == int(parameters["message_id"]) and message["chat"]["id"] == int(
                parameters["chat_id"]
            ):
                if message["markup"] == parameters["text"]:
                    return _error(
                        400,
                        "Bad Request: message is not modified: specified new message content is exactly the same",
                    )
                reader = _Html()
                reader.feed(parameters["text"])
                message["markup"], message["text"] = parameters["text"], reader.text
                message.pop("reply_markup", None)
                self.edits.append(parameters)
                return {key: value for key, value in message.items() if key not in ("file", "markup")}
        return _error(400, "Bad Request: message to edit not found")

    def _on_answer_callback_query(self, parameters: dict[str, Any]) -> Any:
        self.answered.append(parameters["callback_query_id"])
        return True

    def _on_get_file(self, parameters: dict[str, Any]) -> Any:
        file_id = parameters["file_id"]
        if file_id not in self.files:
            return _error(400, "Bad Request: invalid file_id")
        return {
            "file_id": file_id,
            "file_unique_id": "u",
            "file_size": len(self.files[file_id]),
            "file_path": f"documents/{file_id}",
        }


def _error(status: int, description: str, **parameters: Any) -> Response:
    body: dict[str, Any] = {"ok": False, "error_code": status, "description": description}
    if parameters:
        body["parameters"] = parameters
    return Response(status, body)


def slow_down(seconds: int) -> Response:
    return _error(429, f"Too Many Requests: retry after {seconds}", retry_after=seconds)
