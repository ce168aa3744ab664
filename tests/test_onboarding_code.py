"""/onboarding: the one-time code, its tries, its times and its limits."""

import asyncio
import re

from earnest.actions.onboarding import Step
from earnest.providers.kyc import (
    WITHOUT_SIGNAL,
)
from earnest.store.limits import IDENTITY_CODE
from partners import Broker
from people import ANSWERS, PERSON, Visit, errors
from web import Caller


async def test_a_wrong_code_uses_up_a_try_and_after_five_none_is_right(visit: Visit) -> None:
    await visit.through(Step.CODE)
    code = await visit.code()
    wrong = f"{(int(code) + 1) % 10**6:06d}"
    for left in (4, 3, 2, 1, 0):
        page = await visit.send({"code": wrong})
        assert (page.status_code, errors(page)) == (400, ["code"])
        assert f"Tries left: {left}" in page.text
    page = await visit.send({"code": code})
    assert page.status_code == 400
    assert "no longer good" in page.text
    assert not (await visit.standing())["isVerified"]


async def test_a_hundred_guesses_at_once_are_five(visit: Visit) -> None:
    await visit.through(Step.CODE)
    code = await visit.code()
    guesses = [f"{(int(code) + at) % 10**6:06d}" for at in range(1, 101)]
    sent = [{"step": "code", "code": guess} for guess in guesses]
    pages = await asyncio.gather(*(visit.browser.post(visit.url, data=one) for one in sent))
    assert sum("Tries left" in page.text for page in pages) == 5
    assert sum("no longer good" in page.text for page in pages) == 95


async def test_another_code_may_be_asked_for_after_two_minutes(visit: Visit) -> None:
    await visit.through(Step.CODE)
    [first] = await visit.codes()
    page = await visit.send({"do": "send"})
    assert (page.status_code, errors(page)) == (429, ["code"])
    assert re.search(r"in 1?[0-9]{1,2} seconds", page.text)
    assert await visit.codes() == [first]
    await visit.advance(121)
    assert (await visit.send({"do": "send"})).status_code == 303
    second, _ = await visit.codes()
    if first != second:
        assert (await visit.send({"code": first})).status_code == 400
    assert (await visit.send({"code": second})).status_code == 303
    assert (await visit.standing())["isVerified"]


async def test_two_minutes_count_for_ten_who_ask_at_once(visit: Visit) -> None:
    await visit.through(Step.CODE)
    await visit.advance(121)
    sent = {"step": "code", "do": "send"}
    await asyncio.gather(*(visit.browser.post(visit.url, data=sent) for _ in range(10)))
    assert len(await visit.codes()) == 2


async def test_a_code_is_good_for_five_minutes(visit: Visit) -> None:
    await visit.through(Step.CODE)
    code = await visit.code()
    await visit.advance(301)
    page = await visit.send({"code": code})
    assert page.status_code == 400
    assert "no longer good" in page.text


async def test_a_code_of_somebody_else_is_wrong(visit: Visit, broker: Broker, api: Caller) -> None:
    await visit.through(Step.CODE)
    other = await Visit.begin(broker, api, phoneNumber="966500000003")
    await other.through(Step.CODE)
    if await other.code() != await visit.code():
        assert (await visit.send({"code": await other.code()})).status_code == 400
    assert (await visit.send({"code": await visit.code()})).status_code == 303


async def test_codes_are_limited_whatever_the_clock_says(visit: Visit) -> None:
    await visit.through(Step.CODE)
    for _ in range(IDENTITY_CODE.burst - 1):
        await visit.advance(121)
        await visit.renew()
        assert (await visit.send({"do": "send"})).status_code == 303
    await visit.advance(121)
    await visit.renew()
    page = await visit.send({"do": "send"})
    assert (page.status_code, errors(page)) == (429, ["form"])
    assert len(await visit.codes()) == IDENTITY_CODE.burst


async def test_a_code_that_cannot_be_sent_may_be_asked_for_again_at_once(visit: Visit) -> None:
    await visit.send(PERSON | {"national_id": WITHOUT_SIGNAL})
    await visit.send(ANSWERS)
    assert await visit.codes() == []
    for _ in range(2):
        page = await visit.send({"do": "send"})
        assert (page.status_code, errors(page)) == (400, ["code"])
        assert "could not send" in page.text
