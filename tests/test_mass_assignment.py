"""A field that a body does not name is not taken from it: the whole model, sent with everything."""

import json
import re
from typing import Any

import httpx
import pytest

from life import Life, accepted
from web import Caller, Cast

MODEL = {
    "_id": "6" * 24,
    "id": "6" * 24,
    "__v": 9,
    "status": "Completed",
    "escrowPaid": True,
    "isApproved": True,
    "isDeleted": True,
    "isBlocked": True,
    "isListed": False,
    "isVerified": True,
    "clientId": "7" * 24,
    "userId": "7" * 24,
    "hiredFreelancer": "7" * 24,
    "applicants": ["7" * 24],
    "role": "admin",
    "amount": 1,
    "rate": 1,
    "balance": 1_000_000,
    "platformFee": 0,
    "freelancerEarning": 1_000_000,
    "clientRefund": 1_000_000,
    "releaseFundStatus": "Approved",
    "statusHistory": [],
    "contractId": "CON00000001",
    "transactions": [{"amount": 5, "type": "credit"}],
    "createdAt": "2001-01-01T00:00:00.000Z",
    "updatedAt": "2001-01-01T00:00:00.000Z",
    "password": "Changed$1",
    "email": "mallory@evil.example",
    "currency": "USD",
    "version": 99,
    "__proto__": {"isAdmin": True},
    "constructor": {"prototype": {}},
}
CHANGING = re.compile(r"[0-9a-f]{24}|CON[0-9]{8}|2[0-9]{3}-[0-9T:.-]+Z|(cs|pi)_test_[\w-]+")


async def test_no_field_of_the_model_is_taken_from_a_body_that_does_not_name_it(
    cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same story twice, once with every field of the model in every body."""
    plain = await story(cast, "Tiles")
    send = Caller.request

    async def send_all(self: Caller, method: str, url: Any, **sent: Any) -> httpx.Response:
        if method != "GET" and "content" not in sent:
            sent["json"] = {**MODEL, **(sent.get("json") or {})}
        return await send(self, method, url, **sent)

    monkeypatch.setattr(Caller, "request", send_all)
    assert await story(cast, "Paint") == plain


async def story(cast: Cast, label: str) -> list[str]:
    """Contracts from end to end, and all that their people see of them, without ids and times."""
    seen: list[httpx.Response] = []
    alice, bob, olga = cast.alice, cast.bob, cast.olga
    jobs = "/api/client/job"
    job = await cast.post_job(rate=300)
    edit = {"title": "New title", "status": "Open", "rate": 200}
    seen.append(await alice.put(f"{jobs}/update-job/{job}", json=edit))
    seen.append(await bob.post(f"/api/freelancer/jobs/apply-job/{job}"))
    applied = accepted(await bob.get("/api/freelancer/jobs/applied-jobs"))["applications"]
    newest = applied[0]["_id"]
    seen.append(await bob.delete(f"/api/freelancer/jobs/cancel-application/{newest}"))
    skill = await olga.post("/api/admin/skills/add-skills", json={"name": label})
    seen.append(skill)
    skill_id = accepted(skill, 201)["data"]["_id"]
    again = {"name": f"{label} again"}
    seen.append(await olga.put(f"/api/admin/skills/edit-skills/{skill_id}", json=again))
    seen.append(await olga.put(f"/api/admin/skills/unlist-skills/{skill_id}"))
    for point in ("released", "refunded"):
        life = await Life.at(cast, point, rate=1000)
        seen.append(await alice.get(f"/api/freelancer/contract/view-contract/{life.contract}"))
        seen.append(await alice.get(f"{jobs}/job-details/{life.job}"))
        seen.append(await olga.get("/api/admin/escrow/transactions?limit=1&page=1"))
        if point == "released":
            review = {"contractId": life.contract, "freelancerId": bob.id, "rating": 4}
            review |= {"description": "As agreed."}
            path = f"/api/client/review/rate-freelancer/{alice.id}"
            seen.append(await alice.post(path, json=review))
            assert seen[-1].status_code == 201, seen[-1].text
    for who, face in ((alice, "client"), (bob, "freelancer")):
        path = f"/api/{face}/profile/update-profile/{who.id}"
        seen.append(await who.put(path, json={"firstName": who.name, "country": "India"}))
        accepted(seen[-1])
        seen.append(await olga.get(f"/api/admin/users/get-{face}s"))
        accepted(seen[-1])
    seen.append(await bob.get(f"/api/freelancer/wallet/transactions/{await wallet_of(bob)}"))
    texts = [CHANGING.sub("*", answer.text).replace(label, "Label") for answer in seen[:-1]]
    newest_entry = accepted(seen[-1])["data"][0]
    return [*texts, CHANGING.sub("*", json.dumps(newest_entry))]


async def wallet_of(who: Caller) -> str:
    found = accepted(await who.get(f"/api/freelancer/wallet/earnings/{who.id}"))
    return str(found["data"]["_id"])
