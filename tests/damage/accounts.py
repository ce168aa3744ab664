"""Damages to accounts and to what is known of people: invariant 26."""

from damage.finds import VERIFY, Damage

ACCOUNTS = (
    Damage(
        "an address with two accounts",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Mallory'",
        (
            "ALTER TABLE login DROP CONSTRAINT login_email_unique",
            "UPDATE login SET email_canonical = 'alice@example.com' WHERE party_id = :row",
        ),
    ),
    Damage(
        "an account under another address",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Olga'",
        ("UPDATE login SET email_canonical = 'mallory@example.net' WHERE party_id = :row",),
    ),
    Damage(
        "a seller who became an administrator",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Bob'",
        ("UPDATE login SET role = 'admin' WHERE party_id = :row",),
    ),
    Damage(
        "somebody who was verified by nobody",
        26,
        "kyc",
        "SELECT id FROM party WHERE name = 'Bob'",
        (VERIFY,),
    ),
    Damage(
        "an account blocked by nobody",
        26,
        "login",
        "SELECT id FROM party WHERE name = 'Mallory'",
        ("UPDATE login SET status = 'Blocked' WHERE party_id = :row",),
    ),
)
