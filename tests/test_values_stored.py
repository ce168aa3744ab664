"""What is kept as text in the database, word for word: rows of years ago must still be read."""

from typing import Any

import msgspec
import pytest

from earnest.domain.business import MARKETPLACE, PAYOUT_SCHEDULES, CancellationTier
from earnest.domain.contract import Terms
from earnest.domain.pricing import FeeRule, Line, LineType, Payee, Payer, PricedTranche
from earnest.store.migrate import MIGRATIONS

# Each word that a fee plan or a line may have, as rows of business and contract_terms say it.
LINE_TYPES = {
    "contractAmount": LineType.CONTRACT_AMOUNT,
    "escrowFee": LineType.ESCROW_FEE,
    "escrowFeeTax": LineType.ESCROW_FEE_TAX,
    "externalPlatformFee": LineType.PLATFORM_FEE,
    "externalPlatformFeeTax": LineType.PLATFORM_FEE_TAX,
    "retention": LineType.RETENTION,
}
PAYERS = {"buyer": Payer.BUYER, "seller": Payer.SELLER, "split": Payer.SPLIT}
PAYEES = {
    "escrow_fee_income": Payee.ESCROW_FEE_INCOME,
    "platform_fee_income": Payee.PLATFORM_FEE_INCOME,
    "tax_payable": Payee.TAX_PAYABLE,
    "partner_payable": Payee.PARTNER_PAYABLE,
}


@pytest.mark.parametrize(
    ("words", "kind"), [(LINE_TYPES, LineType), (PAYERS, Payer), (PAYEES, Payee)]
)
def test_the_words_of_pricing_are_the_ones_that_are_stored(
    words: dict[str, Any], kind: Any
) -> None:
    assert {str(one): one for one in kind} == words
    assert list(kind) == list(words.values())


def test_a_fee_rule_without_more_is_of_the_contract_amount_and_has_no_caps() -> None:
    stored = b'{"line":"escrowFee","rate_bps":250,"payer":"split","payee":"tax_payable"}'
    assert msgspec.json.decode(stored, type=FeeRule) == FeeRule(
        *(LineType.ESCROW_FEE, 250, Payer.SPLIT, Payee.TAX_PAYABLE, LineType.CONTRACT_AMOUNT),
        minor_min=0,
        minor_max=None,
    )


def test_terms_say_nothing_of_what_was_not_agreed() -> None:
    stored = (
        b'{"title":"Logo","tranches":[{"base_minor":900,"lines":[{"type":"escrowFee",'
        b'"payer":"buyer","payee":"tax_payable","amount_minor":9}]}],'
        b'"cancellation_policy":[{"work":"started","seller_bps":1500}]}'
    )
    terms = msgspec.json.decode(stored, type=Terms)
    line = Line(LineType.ESCROW_FEE, Payer.BUYER, Payee.TAX_PAYABLE, 9)
    assert terms == Terms(
        title="Logo",
        tranches=(PricedTranche(900, (line,)),),
        cancellation_policy=(CancellationTier("started", 1_500),),
        retention_bps=0,
        milestones=(),
        service_type="",
        description=None,
        notes=None,
        reference=None,
        metadata=None,
        callback_url="",
    )
    assert msgspec.json.encode(terms) == stored


def test_the_marketplace_is_the_business_that_the_first_migration_makes() -> None:
    made = f"INSERT INTO business (id, name, currency, settings) VALUES ({MARKETPLACE}, 'Market"
    assert made in (MIGRATIONS / "0001_core.sql").read_text()


def test_payouts_are_made_when_they_are_asked_for_or_by_one_of_three_schedules() -> None:
    assert PAYOUT_SCHEDULES == ("manual", "daily", "weekly", "monthly")
