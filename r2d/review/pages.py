"""The review page, served beside `/v1/decide`: a queue, one case at a time, and what a reviewer does with it.

Every page is made here from a template, which escapes what it is given; the browser loads one style sheet and one
script of this service and nothing else, and its policy runs no other.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, NamedTuple
from urllib.parse import quote, unquote

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.exc import OperationalError, SQLAlchemyError

from r2d.config.review import ReviewConfig
from r2d.config.serving import ServingConfig
from r2d.errors import ConfigError
from r2d.modeling.deferral import DEFERRAL_REASONS
from r2d.reports.templates import templates_of
from r2d.review.agreement import FEWEST_CASES, Agreement, agreements
from r2d.review.evidence import PARTS_AT_A_TIME, Part, SimilarCases, parts_of, sentence_effects
from r2d.review.queue import REASONS
from r2d.review.store import Case, Event, EventValue, Kind, ReviewStore, StaleError, reviewer_name
from r2d.review.verdicts import (
    FEWEST_CHARACTERS,
    Verdict,
    correction_taken_back,
    is_edit_of,
    is_learnable,
    last_standing,
    verdicts_of,
    waiting_for,
)
from r2d.serving.batching import ServedModel
from r2d.serving.limits import json_refusal
from r2d.serving.service import NOTICE, Service

logger = logging.getLogger(__name__)

COOKIE = "r2d_reviewer"
SHOWN_CASES = 200
"""Most that wait, and most that are done, in the list."""
SHOWN_EFFECTS = 5
REMEMBERED_CASES = 512
"""Whose effects are kept in memory."""
MOST_CHARACTERS = 4_000
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
Line = Annotated[str, StringConstraints(strip_whitespace=True, max_length=MOST_CHARACTERS, pattern=r"^[^\x00]*$")]


class ActionBody(BaseModel):
    """What a reviewer does with a case."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind
    after: Annotated[int, Field(ge=0)]
    """The reviewer's last event of this case that the page knew of, 0 without one."""
    label: Line | None = None
    rationale: Line | None = None
    edits_the_model: bool = False
    reason: Line = ""


class NameBody(BaseModel):
    """Who reviews."""

    model_config = ConfigDict(extra="forbid")
    name: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f]*$")
    ]


class Standing(NamedTuple):
    """All that was done, and what follows from it."""

    events: list[Event]
    verdicts: dict[tuple[str, int], Verdict]


class Effects(NamedTuple):
    """What the parts of a note change."""

    parts: list[Part]
    sentences_each: int
    is_cut: bool
    """Whether the model reads the beginning of the note alone."""


def require_reviewable(config: ServingConfig, token: str | None) -> None:
    """Raises a ConfigError where a browser could not ask, or nobody would know who reviews."""
    if config.review is None or config.user_header is not None:
        return
    if not config.is_loopback:
        raise ConfigError(
            f"review: host {config.host} is off the loopback, and nothing says who reviews; name the header of a proxy "
            "that logs users in (user_header), or listen on 127.0.0.1"
        )
    if token is not None:
        raise ConfigError(
            "review: a token is set (R2D_SERVE_TOKEN), which no browser sends; unset it, or name the header of a proxy "
            "that sends it and logs users in (user_header)"
        )


class ReviewPages:
    """The pages of one service."""

    def __init__(
        self, config: ReviewConfig, store: ReviewStore, service: Service, similar: SimilarCases | None = None
    ) -> None:
        self.config, self.store, self.service, self.similar = config, store, service, similar
        self.cases: dict[int, Case] = {}
        self._last_standing = Standing([], {})
        self._last_agreements: tuple[dict[tuple[str, int], str], list[Agreement]] = {}, []
        """Of these blind labels."""
        self._effects: dict[tuple[str, int], Effects] = {}
        """(Version, number of the case) -> what was measured with it."""
        self._measuring = asyncio.Lock()

    def add_to(self, app: FastAPI) -> None:
        """Add the routes to an application."""
        routes = APIRouter(
            prefix="/review",
            include_in_schema=False,
            dependencies=[Depends(self._require_own_host)],
            route_class=app.router.route_class,
        )
        routes.get("")(self.show_queue)
        routes.get("/style.css")(self.style)
        routes.get("/review.js")(self.script)
        routes.post("/reviewer")(self.sign_in)
        routes.delete("/reviewer")(self.sign_out)
        routes.get("/agreement")(self.show_agreement)
        routes.get("/cases/{number:int}")(self.show_case)
        routes.get("/cases/{number:int}/evidence")(self.show_evidence)
        routes.post("/cases/{number:int}")(self.act)
        app.include_router(routes)
        app.add_exception_handler(SQLAlchemyError, self._without_database)
        self.service.refuse = self._refuse
        self.service.open_paths += ("/review/style.css", "/review/review.js")  # of the page of a refusal, too

    def show_queue(self, request: Request) -> HTMLResponse:
        """Who reviews, and what waits."""
        reviewer = self._reviewer(request)
        events, verdicts = self._standing()
        waiting = [] if reviewer is None else waiting_for(reviewer, list(self.cases.values()), verdicts)
        own = [] if reviewer is None else [verdict for (who, _), verdict in verdicts.items() if who == reviewer]
        done = sorted((one for one in own if one.is_done and one.number in self.cases), key=lambda one: -one.ordinal)
        rows = [(case, verdicts.get((reviewer or "", case.number))) for case in waiting[:SHOWN_CASES]]
        rows += [(self.cases[verdict.number], verdict) for verdict in done[:SHOWN_CASES]]
        last = last_standing(events, reviewer or "")
        return self._page(
            "queue.html.j2", request, reviewer, title="Review", rows=rows, num_waiting=len(waiting), num_done=len(done),
            has_labels=any(verdict.blind_label is not None for verdict in verdicts.values()), blind=self.config.blind,
            most=SHOWN_CASES, num_erased=self.store.num_erased,
            last=last, after=0 if last is None else _last_ordinal(events, last.reviewer, last.number),
        )  # fmt: skip

    def show_agreement(self, request: Request) -> Response:
        """How far reviewers agree with each other and with the model."""
        reviewer = self._reviewer(request)
        if reviewer is None:
            return RedirectResponse("/review", 303)
        return self._page(
            "agreement.html.j2", request, reviewer, title="Agreement", fewest=FEWEST_CASES,
            agreements=self._agreements(),
        )  # fmt: skip

    def show_case(self, number: int, request: Request) -> Response:
        """One case: the note, and as much of the model's answer as the reviewer may see yet."""
        reviewer, case = self._reviewer(request), self._case(number)
        if reviewer is None:
            return RedirectResponse("/review", 303)
        events, verdicts = self._standing()
        verdict = verdicts.get((reviewer, number)) or Verdict(reviewer, number)
        waiting = waiting_for(reviewer, list(self.cases.values()), verdicts)
        num_done = sum(who == reviewer and one.is_done for (who, _), one in verdicts.items())
        last, undone = last_standing(events, reviewer), correction_taken_back(events, reviewer, number)
        others = [one for (who, at), one in verdicts.items() if at == number and who != reviewer and one.is_done]
        return self._page(
            "case.html.j2", request, reviewer, title=f"Case {number}", case=case, verdict=verdict,
            is_shown=self._is_shown(verdict), answer=case.answer,
            why=DEFERRAL_REASONS.get(case.answer["why"] or "", ""),
            reasons=[REASONS[reason] for reason in case.reasons], others=others if self._is_shown(verdict) else [],
            num_waiting=len(waiting), num_done=num_done, after=_last_ordinal(events, reviewer, number), last=last,
            after_last=0 if last is None else _last_ordinal(events, reviewer, last.number),
            saved=None if last is None or last.number == number else verdicts[reviewer, last.number],
            taken_back=None if undone is None else undone.value,
        )  # fmt: skip

    async def show_evidence(self, number: int, request: Request) -> HTMLResponse:
        """What the label rests on in the note, and similar cases: a part of the page, asked for once the model's
        answer is shown."""
        standing = await asyncio.to_thread(self._standing)
        reviewer, case = await asyncio.to_thread(self._reviewer, request), self._case(number)
        verdict = standing.verdicts.get((reviewer or "", number)) or Verdict("", number)
        if reviewer is None or not self._is_shown(verdict):
            raise HTTPException(403, "give your own label first")
        model, similar = self.service.batcher.model, None
        if (effects := self._effects.get((model.version, number))) is None:
            async with self._measuring:
                effects = self._effects.get((model.version, number)) or await self._measure(model, case)
                self._effects[model.version, number] = effects
                while len(self._effects) > REMEMBERED_CASES:
                    del self._effects[next(iter(self._effects))]
        if self.similar is not None:
            similar = await asyncio.to_thread(self.similar.to, case.text, but=case.case_id)
        ranked = sorted(effects.parts, key=lambda part: -abs(part.effect))
        body = templates_of("r2d.review").get_template("evidence.html.j2").render(
            case=case, shown=[part for part in ranked if abs(part.effect) >= 0.01][:SHOWN_EFFECTS], effects=effects,
            similar=similar, served=model.version,
        )  # fmt: skip
        return HTMLResponse(body, headers=HEADERS)

    def act(self, number: int, body: ActionBody, request: Request) -> JSONResponse:
        """Record one action. Answers where to go next."""
        reviewer = self._reviewer(request)
        if reviewer is None:
            raise HTTPException(401, "say who you are first")
        while True:
            events, verdicts = self._standing()
            case = self._case(number)  # its person may have been forgotten
            if body.after != _last_ordinal(events, reviewer, number):
                raise HTTPException(
                    409, "this case was answered meanwhile, in another window or by a second click; nothing was changed"
                )
            verdict = verdicts.get((reviewer, number)) or Verdict(reviewer, number)
            if fault := self._fault(body, case, verdict):
                raise HTTPException(409, fault)
            value = _value_of(body, case, verdict)
            try:
                self.store.record(reviewer, case, body.kind, value, after=_last_ordinal(events, reviewer))
                break
            except StaleError:
                continue  # the reviewer acted on another case at the same time, or on this one
        if body.kind in ("label", "unsafe", "undo"):
            return JSONResponse({"next": f"/review/cases/{number}"})
        waiting = waiting_for(reviewer, list(self.cases.values()), self._standing().verdicts)
        return JSONResponse({"next": f"/review/cases/{waiting[0].number}" if waiting else "/review"})

    def sign_in(self, body: NameBody) -> JSONResponse:
        """Remember who reviews, where no proxy says so."""
        if self.service.config.user_header is not None:
            raise HTTPException(409, "the proxy says who reviews")
        answer = JSONResponse({"next": "/review"})
        answer.set_cookie(
            COOKIE,
            quote(body.name),
            httponly=True,
            samesite="strict",
            path="/review",
            max_age=12 * 3600,
            secure=self.service.config.tls is not None,
        )
        return answer

    def sign_out(self) -> JSONResponse:
        """Forget who reviews, for whoever comes next to this browser."""
        answer = JSONResponse({"next": "/review"})
        answer.delete_cookie(COOKIE, path="/review")
        return answer

    def style(self) -> Response:
        return Response(self._style, media_type="text/css", headers=HEADERS)

    def script(self) -> Response:
        return Response(self._script, media_type="text/javascript", headers=HEADERS)

    @cached_property
    def _style(self) -> str:
        return str(templates_of("r2d.review").get_template("review.css.j2").render())

    @cached_property
    def _script(self) -> str:
        return Path(__file__).with_name("review.js").read_text(encoding="utf-8")

    def _standing(self) -> Standing:
        """Events and verdicts; folded anew only where there are more events."""
        events = self.store.events()
        self._read_cases()  # after the events, so that each has its case
        if events != self._last_standing.events:
            self._last_standing = Standing(events, verdicts_of(events))
        return self._last_standing

    def _agreements(self) -> list[Agreement]:
        """Computed anew only where there are other blind labels."""
        verdicts = self._standing().verdicts
        blind = {key: verdict.blind_label for key, verdict in verdicts.items() if verdict.blind_label is not None}
        if blind != self._last_agreements[0]:
            self._last_agreements = blind, agreements(list(self.cases.values()), verdicts)
        return self._last_agreements[1]

    def _page(self, template: str, request: Request, reviewer: str | None, **values: Any) -> HTMLResponse:
        page = templates_of("r2d.review").get_template(template)
        is_named = self.service.config.user_header is not None
        return HTMLResponse(
            page.render(notice=NOTICE, reviewer=reviewer, is_named_by_proxy=is_named, **values), headers=HEADERS
        )

    def _without_database(self, request: Request, error: Exception) -> Response:
        # What the driver says of the operation: that it is locked, or the disk full. Of others it may quote a value.
        reason = error.orig if isinstance(error, OperationalError) else type(error).__name__
        logger.warning("the database of reviews did not answer: %s", reason)
        detail = "the database of reviews is busy, full or out of reach; load the page again to see what was saved"
        return self._refuse(request, 503, detail, {"retry-after": "5"})

    def _refuse(self, request: Request, status: int, detail: str, headers: Mapping[str, str]) -> Response:
        """A page that says why there is none, for people; JSON for all else that asks."""
        if request.method != "GET" or not request.url.path.startswith("/review"):
            return json_refusal(request, status, detail, headers)
        page = self._page("refusal.html.j2", request, None, title="This page cannot be shown", detail=detail)
        return HTMLResponse(page.body, status, HEADERS | dict(headers))

    def _is_shown(self, verdict: Verdict) -> bool:
        """Whether the reviewer may see the model's answer."""
        return not self.config.blind or verdict.sees_model

    def _fault(self, body: ActionBody, case: Case, verdict: Verdict) -> str | None:
        """Why an action is none for the case as it stands."""
        if body.kind == "undo":
            return None if verdict.ordinal else "there is nothing to undo"
        if verdict.is_done:
            return "you have done this case; undo first"
        if body.kind == "label" and self._is_shown(verdict):
            return "the model's answer was shown: accept or correct it"
        if body.kind in ("accept", "correct", "unsafe") and not self._is_shown(verdict):
            return "give your own label first"
        if body.kind in ("label", "correct") and body.label not in case.labels:
            return "choose one of the labels"
        if body.kind == "correct" and not is_learnable(_value_of(body, case, verdict).get("rationale", "")):
            return (
                f"no model is trained on a rationale of fewer than {FEWEST_CHARACTERS} characters, or on one that "
                "reads as none, such as NA; say more, or leave it empty"
            )
        if body.kind == "accept" and case.answer["label"] not in case.labels:
            return "the model gave none of the labels: correct it"
        return None

    async def _measure(self, model: ServedModel, case: Case) -> Effects:
        """The effects of the parts of a case's note on the label that was decided. The model's thread measures a few at
        a time, so that calls of others are decided in between."""
        predictor, on_thread = model.answerer.predictor, self.service.batcher.with_model
        options = None if predictor.labels.declared is not None else list(case.labels)
        parts = await on_thread(lambda _: parts_of(predictor, case.text))
        effects = sentence_effects(predictor, parts, str(case.answer["label"]), options)
        measured: list[Part] = []
        while some := await on_thread(lambda _: list(islice(effects, PARTS_AT_A_TIME))):
            measured += some
        return Effects(measured, parts.sentences_each, len(parts.read.rstrip()) < len(case.text.rstrip()))

    def _read_cases(self) -> None:
        """Take up the cases that this or another process has added, and let go of those that were erased."""
        self.cases = {case.number: case for case in self.store.cases()}
        self._effects = {key: effects for key, effects in self._effects.items() if key[1] in self.cases}

    def _case(self, number: int) -> Case:
        self._read_cases()
        if number not in self.cases:
            raise HTTPException(404, "there is no such case")
        return self.cases[number]

    def _reviewer(self, request: Request) -> str | None:
        if self.service.config.user_header is not None:
            given = str(request.state.user)[:200]
        else:
            given = unquote(request.cookies.get(COOKIE, ""))[:80]
        return self.store.spelling_of(reviewer_name(given)) or None

    def _require_own_host(self, request: Request) -> None:
        """Refuse a page of another name that leads to this address (DNS rebinding)."""
        allowed = {"127.0.0.1", "localhost", "::1", self.service.config.host}
        if self.service.config.is_loopback and request.url.hostname not in allowed:
            raise HTTPException(403, "ask by the address that the service printed")


def _value_of(body: ActionBody, case: Case, verdict: Verdict) -> EventValue:
    """What the event of an action holds."""
    match body.kind:
        case "label":
            return {"label": body.label}
        case "accept":
            return {"label": case.answer["label"]}
        case "correct":
            value: EventValue = {"label": body.label}
            if body.rationale and body.rationale != (case.answer["rationale"] or "").strip():
                is_edit = body.edits_the_model and is_edit_of(body.rationale, case.answer["rationale"] or "")
                value |= {"rationale": body.rationale, "edits_the_model": is_edit}
            return value
        case "unsafe":
            return {"reason": body.reason}
        case "undo":
            return {"undone": verdict.ordinal}
        case _:
            return {}


def _last_ordinal(events: list[Event], reviewer: str, number: int | None = None) -> int:
    """Of the reviewer's events, of one case or of all; 0 without one."""
    own = (event for event in events if event.reviewer == reviewer and number in (None, event.number))
    return max((event.ordinal for event in own), default=0)
