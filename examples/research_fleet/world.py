"""What the fleet works with: a simulated model, a real web server, a real folder."""

from __future__ import annotations

import json
import random
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Dict, List

TOPICS = ("perovskite cells", "heat pumps", "grid batteries", "tidal turbines", "green hydrogen", "wind forecasts")


@dataclass
class Answer:
    """What a model said, and what that cost."""

    text: str
    cost_usd: float


class Model:
    """Answers of models without a model: lengths from a seed, prices from a recorded list."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._prices: Dict[str, Dict[str, float]] = json.loads(
            (Path(__file__).parent / "prices.json").read_text(encoding="utf-8")
        )["models"]

    def price(self, model: str, input_tokens: int, output_tokens: int) -> float:
        """US dollars."""
        price = self._prices[model]
        return (input_tokens * price["input"] + output_tokens * price["output"]) / 1_000_000

    def answer(self, model: str, prompt: str) -> Answer:
        """An answer to a prompt."""
        tokens_in, tokens_out = tokens(prompt), self._random.randint(400, 1_600)
        return Answer(f"[{model}] notes on {prompt[:60]}", self.price(model, tokens_in, tokens_out))


def tokens(text: str) -> int:
    """About as many tokens as a text has."""
    return max(1, len(text) // 4)


class Site:
    """A web server on this machine with a page for each topic."""

    def __init__(self) -> None:
        site = self
        self.requests: List[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.requests.append(self.path)
                body = f"<h1>{self.path}</h1>{'A measured fact. ' * 40}".encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


def furnish(folder: Path) -> None:
    """The files that the fleet finds, some of which are none of its business."""
    (folder / "notes").mkdir(parents=True)
    (folder / "reports").mkdir()
    for number, topic in enumerate(TOPICS):
        (folder / "notes" / f"{number}.md").write_text(f"# {topic}\n\nWhat we know so far.\n" * 20, encoding="utf-8")
    (folder / ".env").write_text("API_KEY=not-a-real-one\n", encoding="utf-8")
    (folder / "server.pem").write_text("not a real key\n", encoding="utf-8")
