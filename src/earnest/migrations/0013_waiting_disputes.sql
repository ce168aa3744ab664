-- without a transaction
-- Events that overtook another one.

-- An event about a dispute may come before the one that tells of the payment. It is parked, with the
-- provider's payment as its session_id, until that payment is known; its audit event names the
-- dispute.
CREATE INDEX CONCURRENTLY IF NOT EXISTS provider_event_waiting ON provider_event (session_id)
WHERE outcome = 'parked' AND NOT took_money;
