"""Instances written by a language model behind an OpenAI-compatible endpoint, when one is named. Off by default.

Only the input's prompt is sent. The key is read from the environment when a request is made; it is in no settings, no
message and no file, and redirects are refused, because they would carry it elsewhere.
"""

import http.client
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from intently.build.knowledge.instances import Instance, Task, language_of, parse_response
from intently.errors import InputError, SettingsError
from intently.settings import check_range

_MAX_BYTES = 1 << 20  # of an answer: a longer one is none
_MAX_WAIT_S = 30.0
_PASSING = (408, 409, 429)  # besides 5xx: the same request may succeed later
_EXAMPLES = 4  # handwritten ones that are shown with each request


@dataclass(frozen=True)
class EndpointSettings:
    """Which endpoint writes instances, and how many. Without a `url` none does."""

    url: str | None = None  # up to /v1, or in full: http://localhost:8000/v1
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"  # name of the environment variable with the key; not set: no key is sent
    max_instances: int = 0  # over all tasks
    timeout_s: float = 60
    num_retries: int = 3
    wait_s: float = 1  # before the first retry; doubles with each
    temperature: float = 0.7

    def __post_init__(self) -> None:
        check_range(self, "max_instances", "num_retries")
        check_range(self, "timeout_s", exclusive=True)
        check_range(self, "wait_s", "temperature")
        if self.url is None:
            return
        try:
            parts = urlsplit(self.url)
            whole = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
        except ValueError:
            whole = False
        if not whole or parts.username is not None or parts.password is not None:  # not shown: it may hold a key
            raise SettingsError("'url' takes http://… or https://… with a host, and no user or key in it")
        if not self.model:
            raise SettingsError("'model' is empty; name the model that the endpoint serves")

    @property
    def completions_url(self) -> str:
        """The address that requests go to."""
        parts = urlsplit(self.url or "")
        path = parts.path.rstrip("/")
        if not path.endswith("/chat/completions"):
            path += "/chat/completions" if path.endswith("/v1") else "/v1/chat/completions"
        return parts._replace(path=path, fragment="").geturl()

    @property
    def shown_url(self) -> str:
        """The address as messages name it: without its query, which may hold a key."""
        return urlsplit(self.completions_url)._replace(query="").geturl()


@dataclass(frozen=True)
class Completion:
    """What the model said, "" for an answer that is not what the protocol promises, and the tokens it counted."""

    text: str
    tokens_in: int = 0  # 0 where the endpoint does not say
    tokens_out: int = 0


class Endpoint:
    """Asks the endpoint, retries what may pass, and counts the answers that were no use."""

    def __init__(self, settings: EndpointSettings, examples: Iterable[Instance], max_intentions: int) -> None:
        self.settings = settings
        self.num_invalid = 0
        self._max_intentions = max_intentions
        self._examples: dict[tuple[Task, str], list[Instance]] = {}
        for example in examples:
            shown = self._examples.setdefault((example.task, example.language), [])
            if len(shown) < _EXAMPLES and example.reasoning:
                shown.append(example)
        self._opener = urllib.request.build_opener(_NoRedirect)

    def write(self, task: Task, inputs: Iterable[str], progress: Callable[[], None]) -> Iterator[Instance]:
        """Yield one instance an input whose answer is valid. Raises InputError when the endpoint does not answer."""
        for text in inputs:
            answer, reasoning = parse_response(self._ask(task, text))
            progress()
            try:
                instance = Instance(task, language_of(text), text, answer, reasoning, "endpoint")
            except InputError:
                self.num_invalid += 1
                continue
            if len(instance.intentions) > self._max_intentions or len(reasoning) > 300:
                self.num_invalid += 1
                continue
            yield instance

    def complete(self, messages: Sequence[Mapping[str, str]], temperature: float) -> Completion:
        """Return what the model answers to `messages`. Raises InputError when the endpoint does not answer."""
        body = {"model": self.settings.model, "temperature": temperature, "messages": list(messages)}
        try:
            answer: Any = json.loads(self._post(json.dumps(body).encode()))
            content: Any = answer["choices"][0]["message"]["content"]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            return Completion("")
        used: Any = answer.get("usage")
        counts = [used.get(name) if isinstance(used, dict) else 0 for name in ("prompt_tokens", "completion_tokens")]
        return Completion(
            content if isinstance(content, str) else "", *(count if isinstance(count, int) else 0 for count in counts)
        )

    def _ask(self, task: Task, text: str) -> str:
        """Return what the model says; "" for an answer that is not what the protocol promises."""
        language = language_of(text)
        messages = []
        for example in self._examples.get((task, language), []):
            messages.append({"role": "user", "content": example.prompt})
            messages.append({"role": "assistant", "content": example.response})
        messages.append({"role": "user", "content": Instance(task, language, text, "-").prompt})
        return self.complete(messages, self.settings.temperature).text

    def _post(self, body: bytes) -> bytes:
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.settings.api_key_env, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        problem = ""
        for attempt in range(self.settings.num_retries + 1):
            try:
                request = urllib.request.Request(self.settings.completions_url, body, headers)
                with self._opener.open(request, timeout=self.settings.timeout_s) as answer:
                    raw: bytes = answer.read(_MAX_BYTES + 1)
                    return raw if len(raw) <= _MAX_BYTES else b""
            except urllib.error.HTTPError as error:
                error.close()
                problem, asked_wait = f"answers with status {error.code}", _seconds(error.headers)
                if error.code < 500 and error.code not in _PASSING:
                    raise InputError(problem, cure=self._cure(error.code), path=self.settings.shown_url) from None
            except (OSError, http.client.HTTPException) as error:
                reason = getattr(error, "reason", error)
                problem, asked_wait = f"does not answer ({type(reason).__name__})", 0.0
            except ValueError:  # of http.client: a header value, so the key, and its message would show it
                cure = f"check what the environment variable {self.settings.api_key_env} holds"
                raise InputError("the key cannot be sent", cure=cure, path=self.settings.shown_url) from None
            if attempt < self.settings.num_retries:
                time.sleep(min(max(self.settings.wait_s * 2**attempt, asked_wait), _MAX_WAIT_S))
        cure = "check that it runs, or set max_instances = 0 to go without"
        raise InputError(f"{problem}, {attempt + 1} times", cure=cure, path=self.settings.shown_url)

    def _cure(self, status: int) -> str:
        if status in (401, 403):
            return f"put a valid key into the environment variable {self.settings.api_key_env}"
        return "check url and model under [endpoint] in the settings"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> None:
        return None  # the redirect becomes an HTTPError with its status


def _seconds(headers: Message) -> float:
    """Return how long the server asks to wait, when it says so in seconds."""
    asked = str(headers.get("Retry-After", ""))
    return float(asked) if asked.isascii() and asked.isdigit() else 0.0
