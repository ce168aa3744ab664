-- Paying out by schedule.

-- A business whose schedule is not manual has everybody paid once a period (a day, a week, a month,
-- UTC), in a round. `looked_to` is the party whom its last turn came to, -1 before it has looked at
-- the business itself; people come in the order of their keys. `due_at` is when its next turn is, or
-- when the turn that is under way is taken for dead; null when the round is over.
CREATE TABLE payout_round (
    business_id integer PRIMARY KEY,
    period_at timestamptz NOT NULL,
    began_at timestamptz NOT NULL,
    looked_to bigint NOT NULL,
    tries smallint NOT NULL,
    due_at timestamptz,
    CONSTRAINT payout_round_business_fk FOREIGN KEY (business_id) REFERENCES business (id)
);
CREATE INDEX payout_round_due ON payout_round (due_at) WHERE due_at IS NOT NULL;

GRANT SELECT, INSERT, UPDATE ON payout_round TO earnest_app;
