"""`earnest verify` against a forger who knows how the chain is made: only what may be is told."""

import asyncpg
import pytest

from damage import RELEASED, STARTED, deal
from damage.forgeries import FORGERIES, RULED_OUT, Forgery
from damage.relink import forge
from earnest.store.verify import check
from earnest.store.verify_contracts import walk_contracts


async def test_it_sees_a_step_that_was_skipped(attacker: asyncpg.Connection) -> None:
    contract = await forge(
        attacker,
        RELEASED,
        "DELETE FROM event WHERE contract_id = :row AND type = 'contract.approved'",
    )
    report = await check(attacker)
    found = report.violation
    assert found is not None
    assert (found.invariant, found.table) == (10, "event")
    assert (found.expected, found.found) == ("work before not_started", "started")
    assert 19 not in {violation.invariant for violation in report.violations}, "it is well forged"
    assert found.public_id is not None
    assert int(found.public_id[8:18], 16) == contract


async def test_it_sees_a_release_that_no_admin_granted(
    attacker: asyncpg.Connection,
) -> None:
    await forge(
        attacker,
        RELEASED,
        "UPDATE event SET actor = 'client:' || (SELECT buyer_id FROM contract WHERE id = :row)"
        " WHERE contract_id = :row AND type = 'contract.released'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert (found.invariant, found.table) == (11, "event")
    assert found.expected == "a step that admin may take here"
    assert "Unauthorized Access" in found.found


async def test_it_sees_a_release_before_the_work_was_done(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        RELEASED,
        'DELETE FROM event WHERE contract_id = :row AND body LIKE \'%"to":"completed"%\'',
        "DELETE FROM event WHERE contract_id = :row AND type = 'release.requested'",
    )
    found = (await check(attacker, only={11})).violation
    assert found is not None
    assert "contract.released by admin" in found.found


@pytest.mark.parametrize("type_", ["contract.created", "contract.refunded"])
async def test_it_names_an_event_that_cannot_be_read(
    attacker: asyncpg.Connection, type_: str
) -> None:
    await forge(
        attacker,
        "SELECT min(contract_id) FROM event JOIN contract AS c ON c.id = contract_id"
        f" WHERE type = '{type_}' AND c.business_id <> 1",
        f"UPDATE event SET body = '[]' WHERE contract_id = :row AND type = '{type_}'",
    )
    report = await check(attacker)
    expected = {violation.expected for violation in report.violations}
    assert "events that can be read" in expected
    assert (type_ == "contract.created") is ("a first event that can be read" in expected)


async def test_it_sees_a_step_by_a_stranger(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        STARTED,
        "UPDATE event SET actor = 'freelancer:'"
        " || (SELECT id FROM party WHERE name = 'Mallet')"
        " WHERE contract_id = :row AND type = 'contract.approved'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert found.invariant == 10
    assert found.found.endswith("This contract is not yours.")


async def test_it_sees_terms_that_nobody_agreed_to(attacker: asyncpg.Connection) -> None:
    """Terms and amount changed together still differ from what the first event says."""
    contract = await forge(
        attacker,
        "SELECT min(id) FROM contract WHERE tranches = '{unfunded}' AND agreement = 'pending'",
        "UPDATE contract SET created_at = created_at - INTERVAL '1 second' WHERE id = :row",
        "UPDATE contract_terms SET terms = replace(terms, 'Logo', 'Gold') WHERE contract_id = :row",
    )
    report = await check(attacker)
    assert report.violation is not None
    assert (report.violation.invariant, report.violation.row) == (19, str(contract))
    assert "Gold for a bakery" in report.violation.found
    assert len(report.violations) == 1


async def test_it_sees_an_event_that_it_does_not_know(attacker: asyncpg.Connection) -> None:
    await forge(
        attacker,
        STARTED,
        "UPDATE event SET type = 'contract.blessed'"
        " WHERE contract_id = :row AND type = 'contract.approved'",
    )
    found = (await check(attacker)).violation
    assert found is not None
    assert (found.invariant, found.found) == (10, "contract.blessed")


# -- partners' contracts -----------------------------------------------------------------------


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda forgery: forgery.name)
async def test_it_sees_what_a_forger_made_of_a_partners_contract(
    attacker: asyncpg.Connection, forgery: Forgery
) -> None:
    contract = await forge(attacker, deal(forgery.reference), *forgery.do)
    found = {one.invariant: one for one in await walk_contracts(attacker, lambda _: None)}
    assert 19 not in found, "it is well forged"
    violation = found[forgery.invariant]
    assert violation.table == "event"
    assert violation.public_id is not None
    assert int(violation.public_id[8:18], 16) == contract
    assert violation.expected.startswith(forgery.expected)
    assert forgery.found in violation.found


async def test_it_sees_a_refund_by_other_rules_than_the_partners(
    attacker: asyncpg.Connection,
) -> None:
    """A retention that is left to the seller: events, refund, postings and balances agree."""
    contract = await forge(attacker, deal("partial"), *RULED_OUT)
    report = await check(attacker)
    assert [one.invariant for one in report.violations] == [8]
    found = report.violation
    assert found is not None
    assert (found.table, found.row) == ("contract", str(contract))
    assert found.expected == "the parts of a partial refund"
