-- Webhooks out: what the worker does with endpoints and deliveries, a statement each.
--
-- As in commit_changes, plans are made once per connection, maybe when a table had three rows: so
-- whole tables are never walked.

-- Endpoints with something due that no worker has, SKIP LOCKED, become this worker's until its
-- lease ends (real time). Reads one index entry for each endpoint with anything pending, due or
-- not. NO KEY: commits go on inserting deliveries for an endpoint that is being taken.
CREATE FUNCTION take_endpoints(
    worker uuid, lease_seconds double precision, endpoints_max integer
) RETURNS SETOF uuid
LANGUAGE plpgsql
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH RECURSIVE waiting (endpoint_id) AS (
        (
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.state = 'pending'
            ORDER BY d.endpoint_id
            LIMIT 1
        )
        UNION ALL
        SELECT (
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.state = 'pending' AND d.endpoint_id > w.endpoint_id
            ORDER BY d.endpoint_id
            LIMIT 1
        )
        FROM waiting AS w
        WHERE w.endpoint_id IS NOT NULL
    ), free AS MATERIALIZED (
        SELECT e.id
        FROM waiting AS w
        INNER JOIN webhook_endpoint AS e ON w.endpoint_id = e.id
        WHERE e.is_active AND e.deleted_at IS NULL AND e.leased_until <= now()
        AND EXISTS (
            SELECT FROM delivery AS d
            WHERE d.state = 'pending' AND d.endpoint_id = e.id AND d.next_attempt_at <= business_now()
        )
        LIMIT endpoints_max
        FOR NO KEY UPDATE OF e SKIP LOCKED
    )
    UPDATE webhook_endpoint AS e
    SET leased_by = worker, leased_until = now() + make_interval(secs => lease_seconds)
    FROM free
    WHERE e.id = free.id
    RETURNING e.id;
END $$;

-- What is due at endpoints that this worker holds: `rooms` at each, without what is `in_hand`.
-- `before_id` is the delivery that must go first, the last pending one before it in its contract.
CREATE FUNCTION due_deliveries(
    worker uuid, endpoints uuid [], rooms integer [], in_hand uuid []
) RETURNS TABLE (
    id uuid, endpoint_id uuid, business_id integer, series smallint, attempts smallint,
    type text, body bytea, created_at timestamptz, url text, secret bytea, old_secret bytea,
    failed_attempts integer, before_id uuid, before_at timestamptz,
    contract_id bigint, event_key bigint, event_body text, recorded_at timestamptz,
    number text, amount_minor bigint, currency text, terms text, now timestamptz
)
LANGUAGE plpgsql STABLE
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    SELECT
        d.id, d.endpoint_id, d.business_id, d.series, d.attempts, d.type, d.body, d.created_at,
        w.url, w.secret, CASE WHEN w.old_secret_until > business_now() THEN w.old_secret END,
        w.failed_attempts, b.id, b.next_attempt_at, d.contract_id, e.id, e.body,
        e.recorded_at, c.number, c.amount_minor, c.currency, t.terms, business_now()
    FROM unnest(endpoints, rooms) AS q (endpoint_id, room)
    INNER JOIN webhook_endpoint AS w ON q.endpoint_id = w.id
    CROSS JOIN LATERAL (
        SELECT i.* FROM delivery AS i
        WHERE
            i.state = 'pending' AND i.endpoint_id = w.id AND i.next_attempt_at <= business_now()
            AND i.id <> ALL (in_hand)
        ORDER BY i.next_attempt_at, i.seq
        LIMIT q.room
    ) AS d
    LEFT JOIN LATERAL (
        SELECT i.id, i.next_attempt_at FROM delivery AS i
        WHERE
            i.state = 'pending' AND i.contract_id = d.contract_id AND i.seq < d.seq
            AND i.endpoint_id = d.endpoint_id
        ORDER BY i.seq DESC
        LIMIT 1
    ) AS b ON TRUE
    LEFT JOIN event AS e ON d.event_id = e.id
    LEFT JOIN contract AS c ON d.contract_id = c.id
    LEFT JOIN contract_terms AS t ON d.contract_id = t.contract_id
    WHERE
        w.leased_by = worker AND w.leased_until > now() AND w.is_active AND w.deleted_at IS NULL;
END $$;

-- What became of attempts: `told` in the order in which they ended, with a verdict each (succeeded,
-- retry after `delays` seconds, or why it failed for good) and the body that was sent.
--
-- A delivery moves only if it is still where its attempt began, so an attempt of a worker that lost
-- its lease, or of a series that was replaced, leaves its row and nothing else. An endpoint is
-- judged by attempts at the URL that it has now.
--
-- Endpoints are locked before their deliveries, as by everybody who changes both.
CREATE FUNCTION record_attempts(
    told delivery_attempt [], verdicts text [], delays integer [], bodies bytea [],
    failures_max integer
) RETURNS TABLE (endpoint_id uuid, disabled_for text)
LANGUAGE plpgsql
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_seqscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
BEGIN
    PERFORM FROM webhook_endpoint AS w
    WHERE
        w.id = ANY (ARRAY(
            SELECT d.endpoint_id FROM delivery AS d
            WHERE d.id = ANY (ARRAY(SELECT i.delivery_id FROM unnest(told) AS i))
        ))
    ORDER BY w.id
    FOR NO KEY UPDATE;
    RETURN QUERY
    WITH ended AS MATERIALIZED (
        SELECT t.*
        FROM ROWS FROM (unnest(told), unnest(verdicts), unnest(delays), unnest(bodies))
        WITH ORDINALITY AS t (
            id, delivery_id, business_id, series, number, url, http_status, is_success, error,
            duration_ms, created_at, verdict, delay_seconds, body, position
        )
    ), logged AS (
        INSERT INTO delivery_attempt (
            id, delivery_id, business_id, series, number, url, http_status, is_success, error,
            duration_ms, created_at
        )
        SELECT
            t.id, t.delivery_id, t.business_id, t.series, t.number, t.url, t.http_status,
            t.is_success, t.error, t.duration_ms, t.created_at
        FROM ended AS t
        ON CONFLICT ON CONSTRAINT delivery_attempt_once DO NOTHING
    ), moved AS (
        UPDATE delivery AS d SET
            state = CASE t.verdict
                WHEN 'succeeded' THEN 'succeeded' WHEN 'retry' THEN 'pending' ELSE 'failed'
            END,
            attempts = t.number,
            next_attempt_at = CASE
                WHEN t.verdict = 'retry' THEN business_now() + make_interval(secs => t.delay_seconds)
            END,
            done_at = CASE WHEN t.verdict <> 'retry' THEN business_now() END,
            failed_for = CASE
                WHEN t.verdict IN ('succeeded', 'retry') THEN ''
                WHEN t.verdict = 'gone' THEN 'refused'
                ELSE t.verdict
            END,
            body = coalesce(d.body, t.body)
        FROM ended AS t
        WHERE
            d.id = ANY (ARRAY(SELECT i.delivery_id FROM unnest(told) AS i)) AND d.id = t.delivery_id
            AND d.state = 'pending' AND d.series = t.series AND d.attempts = t.number - 1
        RETURNING
            d.endpoint_id, d.contract_id, d.seq, d.state, d.next_attempt_at, t.position, t.verdict,
            t.is_success, t.url, t.created_at
    ), followed AS (
        -- What follows in the contract is not due before this is again, and at once if it never is.
        UPDATE delivery AS d
        SET next_attempt_at = coalesce(m.next_attempt_at, business_now())
        FROM moved AS m
        WHERE
            d.state = 'pending' AND d.contract_id = m.contract_id AND d.seq > m.seq
            AND d.endpoint_id = m.endpoint_id
            AND CASE
                WHEN m.state = 'pending' THEN d.next_attempt_at < m.next_attempt_at
                ELSE d.attempts = 0 AND d.next_attempt_at > business_now()
            END
    ), heard AS (
        SELECT
            m.*,
            coalesce(
                max(m.position) FILTER (WHERE m.is_success) OVER (PARTITION BY m.endpoint_id, m.url), 0
            ) AS won
        FROM moved AS m
    ), health AS (
        SELECT
            h.endpoint_id, h.url,
            bool_or(h.is_success) AS is_well,
            bool_or(h.verdict = 'gone') AS is_gone,
            count(*) FILTER (WHERE h.state = 'failed' AND h.position > h.won) AS failures,
            count(*) FILTER (WHERE h.position > h.won) AS failed_attempts,
            max(h.created_at) FILTER (WHERE h.is_success) AS last_success_at,
            max(h.created_at) FILTER (WHERE NOT h.is_success) AS last_failure_at
        FROM heard AS h
        GROUP BY h.endpoint_id, h.url
    ), judged AS (
        SELECT
            w.id, h.last_success_at, h.last_failure_at,
            CASE WHEN h.is_well THEN 0 ELSE w.consecutive_failures END + h.failures AS failures,
            CASE WHEN h.is_well THEN 0 ELSE w.failed_attempts END
            + h.failed_attempts AS failed_attempts,
            h.is_gone
        FROM health AS h
        INNER JOIN webhook_endpoint AS w ON h.endpoint_id = w.id AND h.url = w.url
        WHERE w.is_active AND w.deleted_at IS NULL
        ORDER BY w.id
        FOR NO KEY UPDATE OF w
    ), changed AS (
        UPDATE webhook_endpoint AS w SET
            consecutive_failures = j.failures,
            failed_attempts = j.failed_attempts,
            last_success_at = coalesce(j.last_success_at, w.last_success_at),
            last_failure_at = coalesce(j.last_failure_at, w.last_failure_at),
            is_active = NOT (j.is_gone OR j.failures >= failures_max),
            disabled_at = CASE WHEN j.is_gone OR j.failures >= failures_max THEN business_now() END,
            disabled_for = CASE
                WHEN j.is_gone THEN 'gone' WHEN j.failures >= failures_max THEN 'failures' ELSE ''
            END
        FROM judged AS j
        WHERE w.id = j.id
        RETURNING w.id, w.disabled_for
    )
    SELECT c.id, c.disabled_for FROM changed AS c WHERE c.disabled_for <> '';
END $$;

REVOKE EXECUTE ON FUNCTION take_endpoints, due_deliveries, record_attempts FROM PUBLIC;
GRANT EXECUTE ON FUNCTION take_endpoints, due_deliveries, record_attempts TO earnest_app;
