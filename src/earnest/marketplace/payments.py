"""Paying for a job: a checkout session at the payment provider (spec 3.1, D2)."""

from typing import Any

import msgspec
from litestar import Response, Router, post
from litestar.params import FromPath, JSONBody

from earnest.actions import payments
from earnest.actions.checkout_sessions import ProviderRefused, ProviderUnavailable, Urls
from earnest.actions.core import ANY_ACTION
from earnest.domain.hiring import (
    ContractWasCanceled,
    FreelancerNotFound,
    HireYourself,
    JobNotFound,
    JobNotOpen,
    NotApplied,
    NotYourJob,
    OtherFreelancerBeingPaid,
    PaidAlready,
    PaymentWaits,
)
from earnest.domain.party import Role
from earnest.domain.payment import Payment
from earnest.domain.pricing import FeesExceedAmount
from earnest.ids import parse_public_id
from earnest.store.idempotency import Reply
from earnest.web.auth import actor, only
from earnest.web.guard import EarnestRequest
from earnest.web.idempotency import once, respond
from earnest.web.shapes import Line
from earnest.web.wire import encode


class PaymentWanted(msgspec.Struct):
    """Whom to pay. What it costs comes from the contract or the job: `title` and `rate`, which
    clients also send, are not read."""

    freelancerId: Line  # noqa: N815


class Session(msgspec.Struct):
    """The provider's checkout session; send the payer to `url`."""

    id: str
    url: str


@post(
    "/payment/{job_id:str}",
    status_code=200,
    access=only(Role.CLIENT),
    refuses=(
        JobNotFound,
        NotYourJob,
        FreelancerNotFound,
        HireYourself,
        JobNotOpen,
        NotApplied,
        OtherFreelancerBeingPaid,
        PaidAlready,
        PaymentWaits,
        ContractWasCanceled,
        FeesExceedAmount,
        ProviderUnavailable,
        ProviderRefused,
        *ANY_ACTION,
    ),
)
async def open_payment(
    request: EarnestRequest, job_id: FromPath[str], data: JSONBody[PaymentWanted]
) -> Response[Session]:
    """Open the checkout of a job, or get the one that is open already."""
    caller = actor(request)

    def render(payment: Payment) -> Reply:
        return Reply(200, encode(Session(payment.session_id or "", payment.session_url)))

    return respond(
        await payments.open_payment(
            request.app.state.core,
            caller,
            parse_public_id(job_id, "jobId"),
            parse_public_id(data.freelancerId, "freelancerId"),
            _urls(request),
            await once(request, caller, moves_money=True),
            render,
        )
    )


def _urls(request: Any) -> Urls:
    settings = request.app.state.settings
    base = (settings.client_url or settings.public_url).rstrip("/")
    return Urls(
        f"{base}/client/contract/payment-success", f"{base}/client/jobs/home?cancelled=true"
    )


router = Router("/api/client/job", route_handlers=[open_payment], tags=["Payments"])
