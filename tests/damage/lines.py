"""Damages to what was booked of the provider's lines (17, 24)."""

from damage.finds import Damage

COMMIT = "SELECT min(commit_id) FROM booked_line"
DAY = "format('%s %s %s', provider_account_id, day, currency)"

LINES = (
    Damage(
        "lines that were booked, and of which another number is told",
        17,
        "booked_line",
        COMMIT,
        ("UPDATE event SET body = replace(body, '\"lines\":', '\"lines\":1') WHERE id = :row",),
    ),
    Damage(
        "a fee that was booked in another amount",
        24,
        "booked_line",
        "SELECT min(line_id) FROM booked_line WHERE kind = 'fee'",
        ("UPDATE booked_line SET amount_minor = amount_minor + 1 WHERE line_id = ':row'",),
    ),
    Damage(
        "a line that was booked and never told",
        24,
        "booked_line",
        "SELECT min(line_id) FROM booked_line",
        ("DELETE FROM balance_line WHERE ':row' IN (line_id, line_id || '#fee')",),
    ),
    Damage(
        "fees that moved another amount",
        24,
        "booked_line",
        COMMIT,
        (
            (
                "UPDATE transfer SET amount_minor = amount_minor + 1"
                " WHERE commit_id = :row AND debit >> 57 = 10"
            ),
        ),
    ),
    Damage(
        "a fee that nobody booked",
        24,
        "transfer",
        "SELECT min(id) FROM transfer WHERE movement = 'funded'",
        (
            (
                "UPDATE transfer SET credit = (10::bigint << 57) | (credit & (1::bigint << 57) - 1)"
                " WHERE id = :row"
            ),
        ),
    ),
    Damage(
        "a drift that its differences do not explain",
        24,
        "reconciliation",
        f"SELECT min({DAY}) FROM reconciliation",
        (
            (
                "UPDATE reconciliation SET there_closing_minor = there_closing_minor + 1,"
                f" drift_minor = drift_minor + 1, state = 'different' WHERE {DAY} = ':row'"
            ),
        ),
    ),
)
