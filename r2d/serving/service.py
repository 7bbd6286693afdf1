"""The HTTP service: `POST /v1/decide`, the same as a stream, health, metrics. No text of a request is ever logged."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, StreamingResponse
from fastapi.routing import APIRoute
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from pydantic import BaseModel, ConfigDict, Field
from pydantic_core import from_json
from starlette.exceptions import HTTPException as StarletteHTTPException

from r2d.config.serving import ServingConfig
from r2d.errors import R2DError
from r2d.inference.calls import Call
from r2d.serving.audit import AuditLog
from r2d.serving.batching import Batcher, QueueFullError, ServedModel, VersionedAnswer
from r2d.serving.limits import OPEN_PATHS, Guard, Refuse, json_refusal

logger = logging.getLogger(__name__)

NOTICE = "Decision support for professionals, not a decision."
MOST_KEY_CHARACTERS = 40
"""Of a key that a fault names."""
LATENCY_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5, 3.0, 6.0, 12.0, 30.0)


class CallBody(BaseModel):
    """One call."""

    model_config = ConfigDict(extra="forbid")
    text: str
    """The note."""
    options: list[str] | None = None
    """The labels it can have, for a model that was trained with options in the rows."""
    attributes: dict[str, str] | None = None
    """Attribute -> value, for a model whose thresholds are for the values of an attribute."""
    id: Annotated[str, Field(max_length=200)] | None = None
    """Repeated in the answer."""


class DecideBody(BaseModel):
    """The calls of one request."""

    model_config = ConfigDict(extra="forbid")
    calls: Annotated[list[CallBody], Field(min_length=1)]


class AnswerBody(BaseModel):
    """The answer to one call."""

    id: str | None
    decision: str | None
    """The label, where it is shown; null where a person decides."""
    handed_over: bool
    """Whether a person decides."""
    why: str | None
    """Why, a key of docs/serving.md."""
    label: str | None
    """The most probable label. Of a call that is handed over it is no decision."""
    valid: bool
    label_probabilities: dict[str, float]
    rationale: str | None
    contradicted_findings: list[str]
    """Findings that the rationale claims and the text denies, or the reverse."""
    unmentioned_findings: list[str]
    """Findings that the rationale claims or denies, and the text does not mention."""
    other_labels_stated: list[str]
    remarks: list[str]
    model: str
    """The version that answered."""


class DecideAnswer(BaseModel):
    """The answers of one request, in the order of its calls."""

    answers: list[AnswerBody]
    latency_ms: float
    notice: str = NOTICE


class FaultBody(BaseModel):
    """What is wrong with a request, without what was found there: that may be a note."""

    place: list[str]
    """Keys and numbers that lead to it, `body` first."""
    fault: str


class FaultsBody(BaseModel):
    """The first ten faults of a request."""

    detail: list[FaultBody]


class RefusalBody(BaseModel):
    """Why a request is not answered."""

    detail: str


class Metrics:
    """What Prometheus reads of a service."""

    def __init__(self, num_waiting: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        self.seconds = Histogram(
            "r2d_request_seconds", "From a whole request to its answer.", ["route", "status"],
            buckets=LATENCY_BUCKETS, registry=self.registry,
        )  # fmt: skip
        self.calls = Counter(
            "r2d_calls", "Calls answered.", ["model", "label", "handed_over", "why"], registry=self.registry
        )
        self.batch = Histogram(
            "r2d_batch_calls", "Calls decided at a time.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=self.registry
        )
        self.model = Gauge("r2d_served_model", "1 for the version that is served.", ["model"], registry=self.registry)
        self.reloads = Counter("r2d_reloads", "Looks at the registry.", ["outcome"], registry=self.registry)
        waiting = Gauge("r2d_queue_calls", "Calls that wait.", registry=self.registry)
        waiting.set_function(num_waiting)

    def count(self, answers: list[VersionedAnswer]) -> None:
        """Count answers; a label that is not declared is counted as none."""
        for answer, version in answers:
            shown = answer.decision.label if answer.decision is not None and answer.decision.valid else ""
            self.calls.labels(version, shown, str(answer.why is not None).lower(), answer.why or "").inc()

    def serve(self, version: str) -> None:
        """Name the version that is served from now on."""
        self.model.clear()
        self.model.labels(version).set(1)


@dataclass
class Service:
    """A model behind HTTP."""

    config: ServingConfig
    model: ServedModel
    token: str | None = None
    newer_model: Callable[[str], ServedModel | None] = lambda version: None
    """Gives the model that is to be served in place of a version, None where that is the right one; it may take its
    time, and runs in a thread."""
    batcher: Batcher = field(init=False)
    metrics: Metrics = field(init=False)
    is_ready: bool = False
    audit: AuditLog | None = None
    add_pages: Callable[[FastAPI], object] = lambda app: None
    """Adds further routes to the application."""
    refuse: Refuse = json_refusal
    open_paths: tuple[str, ...] = OPEN_PATHS
    """As `Guard.open_paths`."""

    def __post_init__(self) -> None:
        config = self.config
        self.batcher = Batcher(
            self.model, config.max_batch, config.batch_wait_ms / 1000, config.max_queue,
            on_batch=lambda num_calls: self.metrics.batch.observe(num_calls),
        )  # fmt: skip
        self.metrics = Metrics(lambda: float(self.batcher.num_waiting))
        self.audit = None if config.audit is None else AuditLog(config.audit)

    @asynccontextmanager
    async def lifespan(self, app: FastAPI) -> AsyncIterator[None]:
        """Work between start and end; what was taken is answered before it ends."""
        self.batcher.start()
        self.metrics.serve(self.model.version)
        follower = asyncio.create_task(self._follow())
        self.is_ready = True
        try:
            yield
        finally:
            self.is_ready = False
            follower.cancel()
            await self.batcher.stop()

    async def decide(self, calls: list[Call], user: str) -> list[VersionedAnswer]:
        """Answers, counted and logged.

        Raises:
            QueueFullError: as `Batcher.answer`.
            HTTPException: they are not to be had in time.
        """
        try:
            async with asyncio.timeout(self.config.request_seconds):
                answers = await self.batcher.answer(calls)
        except TimeoutError:
            raise HTTPException(
                503, f"no answer within {self.config.request_seconds:g} s", {"retry-after": "5"}
            ) from None
        await self._keep(user, calls, answers)
        return answers

    async def stream(self, call: Call, user: str) -> AsyncIterator[str]:
        """Events: `label`, the answer without its rationale; `rationale`, a piece of it; `answer`, the whole."""
        events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
        answering = asyncio.create_task(
            self.batcher.stream(
                call,
                on_label=lambda answered: events.put_nowait(("label", answer_body(call, answered).model_dump())),
                on_text=lambda piece: events.put_nowait(("rationale", {"text": piece})),
            )
        )
        answering.add_done_callback(lambda _: events.put_nowait(("end", None)))
        try:
            while (event := await events.get())[0] != "end":
                yield _event(*event)
            if (error := answering.exception()) is not None:
                logger.error("a stream ended in %s", type(error).__name__)
                yield _event("error", {"detail": "the service failed; nothing of the call was kept"})
                return
            await self._keep(user, [call], [answering.result()])
            yield _event("answer", answer_body(call, answering.result()).model_dump())
        finally:
            answering.cancel()

    async def _keep(self, user: str, calls: list[Call], answers: list[VersionedAnswer]) -> None:
        self.metrics.count(answers)
        if self.audit is not None:
            await asyncio.to_thread(self.audit.write, user, calls, answers)

    async def _follow(self) -> None:
        """Serve what the alias points to. Where that cannot be had, the model that is here goes on."""
        while True:
            await asyncio.sleep(self.config.refresh_seconds)
            try:
                newer = await asyncio.to_thread(self.newer_model, self.batcher.model.version)
            except Exception as error:
                self.metrics.reloads.labels("failed").inc()
                message = str(error) if isinstance(error, R2DError) else type(error).__name__
                logger.warning("%s is served on: %s", self.batcher.model.version, message)
                continue
            self.metrics.reloads.labels("same" if newer is None else "newer").inc()
            if newer is not None:
                logger.info("%s is served in place of %s", newer.version, self.batcher.model.version)
                self.batcher.model = newer
                self.metrics.serve(newer.version)


def answer_body(call: Call, answered: VersionedAnswer) -> AnswerBody:
    """An answer as JSON gives it."""
    row = answered.answer.as_row()
    decision = None if row["handed_over"] else row["label"]
    return AnswerBody.model_validate({"id": call.id, "decision": decision, "model": answered.version} | row)


def make_app(service: Service) -> Guard:
    """The ASGI application of a service."""
    config = service.config
    app = FastAPI(
        title="Reason2Decide",
        description=f"A small language model that decides and explains. {NOTICE}",
        version="1",
        docs_url=None,  # its page would load scripts from another host
        redoc_url=None,
        lifespan=service.lifespan,
    )
    app.router.route_class = _StrictRoute

    @app.exception_handler(RequestValidationError)
    async def unreadable(request: Request, error: RequestValidationError) -> JSONResponse:
        found = [
            FaultBody(place=[_shown_key(key) for key in fault["loc"]], fault=fault["msg"])
            for fault in error.errors()[:10]
        ]
        return JSONResponse(FaultsBody(detail=found).model_dump(), status_code=422)

    @app.exception_handler(QueueFullError)
    async def full(request: Request, error: QueueFullError) -> Response:
        return service.refuse(request, 429, str(error), {"retry-after": str(error.retry_after)})

    @app.exception_handler(StarletteHTTPException)
    async def refused(request: Request, error: StarletteHTTPException) -> Response:
        return service.refuse(request, error.status_code, str(error.detail), error.headers or {})

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:
        return service.refuse(request, 500, "the service failed; nothing of the request was kept", {})

    def checked(body: DecideBody) -> list[Call]:
        if len(body.calls) > config.max_calls:
            raise HTTPException(413, f"{len(body.calls)} calls; at most {config.max_calls} a request")
        for number, call in enumerate(body.calls):
            if len(call.text) > config.max_characters:
                raise HTTPException(
                    413, f"calls.{number}.text: {len(call.text):,} characters; at most {config.max_characters:,}"
                )
        return [Call(call.id, call.text, call.options, call.attributes) for call in body.calls]

    reasons = {
        400: "No HTTP, or its end is given twice.",
        401: "No token, or a wrong one.", 408: "The body came too slowly.", 413: "Too large.",
        415: "No JSON by its content type.", 429: "Too much at once; see Retry-After.", 500: "The service failed.",
        503: "No answer in time.",
    }  # fmt: skip
    refusals: dict[int | str, dict[str, Any]] = {
        status: {"description": reason, "model": RefusalBody} for status, reason in reasons.items()
    }
    refusals[422] = {"description": "Not as this document says.", "model": FaultsBody}

    @app.post("/v1/decide", response_model=DecideAnswer, responses=refusals)
    async def decide(body: DecideBody, request: Request) -> Response:
        """Decide and explain calls: label and rationale, or that a person decides and why."""
        started = time.perf_counter()
        calls = checked(body)
        answers = await service.decide(calls, request.state.user)
        bodies = [answer_body(*pair) for pair in zip(calls, answers, strict=True)]
        answer = DecideAnswer(answers=bodies, latency_ms=round(1000 * (time.perf_counter() - started), 1))
        return Response(answer.model_dump_json(), media_type="application/json")  # FastAPI would validate it again

    @app.post(
        "/v1/decide/stream",
        response_class=StreamingResponse,
        responses=refusals | {200: {"description": "label, rationale, answer", "content": {"text/event-stream": {}}}},
    )
    async def stream(body: CallBody, request: Request) -> StreamingResponse:
        """One call, as server-sent events: `label` first, `rationale` in pieces, then the whole `answer`."""
        [call] = checked(DecideBody(calls=[body]))
        service.batcher.require_room(1)  # here, for a stream that has begun has its status
        return StreamingResponse(service.stream(call, request.state.user), media_type="text/event-stream")

    @app.get("/healthz", response_class=PlainTextResponse)
    async def healthz() -> str:
        """Whether the process lives."""
        return "ok\n"

    @app.get(
        "/readyz", response_class=PlainTextResponse, responses={503: {"description": "It ends, or is not yet up."}}
    )
    async def readyz() -> Response:
        """Whether it takes requests."""
        return PlainTextResponse("ready\n" if service.is_ready else "not ready\n", 200 if service.is_ready else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def show_metrics() -> Response:
        """Latency, queue, shares of labels and of calls handed over, version: for Prometheus."""
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_PLAIN_0_0_4)

    service.add_pages(app)

    def measure(route: str, status: int, seconds: float) -> None:
        service.metrics.seconds.labels(route, str(status)).observe(seconds)

    return Guard(app, config, service.token, service.refuse, on_answered=measure, open_paths=service.open_paths)


class _StrictRequest(Request):
    """A request whose JSON is refused where it is nested too deep, as any other that cannot be read."""

    async def json(self) -> Any:
        try:
            return from_json(await self.body())
        except ValueError:
            raise json.JSONDecodeError("it cannot be read", "", 0) from None


class _StrictRoute(APIRoute):
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def strictly(request: Request) -> Response:
            return await handle(_StrictRequest(request.scope, request.receive))

        return strictly


def _shown_key(key: str | int) -> str:
    """A key as a fault names it: one that is no word may be a note."""
    return str(key) if isinstance(key, int) or (key.isidentifier() and len(key) <= MOST_KEY_CHARACTERS) else "..."


def _event(name: str, data: Any) -> str:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n"
