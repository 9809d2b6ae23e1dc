-- For analysts: transitions by month, views, and a comment on every column. Needs Postgres 14.
--
-- It runs while readers read. What takes long (a check of all times, an index) is done under locks that let them
-- read, in transactions of their own; what locks them out is a change of names, tried for a third of a second at a
-- time, so that nobody queues behind a reader who takes long. The rows stay where they are: the table as it was
-- becomes the first partition, so whoever began to read before reads on after. A part before the last that ran and
-- was cut off is run again.

CREATE OR REPLACE FUNCTION sendtrace_lock_briefly(relations text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    FOR try IN 1 .. 1200 LOOP
        BEGIN
            -- Shorter than deadlock_timeout: it is this side that gives way.
            SET LOCAL lock_timeout = '300ms';
            EXECUTE 'LOCK TABLE ' || relations || ' IN ACCESS EXCLUSIVE MODE';
            SET LOCAL lock_timeout = 0;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            PERFORM pg_sleep(0.2);
        END;
    END LOOP;
    RAISE EXCEPTION 'somebody has been reading % for ten minutes; end what they run, then start again', relations;
END
$$;
COMMENT ON FUNCTION sendtrace_lock_briefly IS 'For migrations: locks out readers without making any wait long.';

-- Of a clock that ran months ahead; there is to be room for the months to come.
WITH wrong AS (
    DELETE FROM transitions AS t
    WHERE received_at >= (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC'
    RETURNING t.*
)
INSERT INTO set_aside (table_name, record_id, reason, record)
SELECT 'transitions', left(transition_id, 200), 'received_at is months ahead', to_jsonb(wrong)::text FROM wrong
ON CONFLICT DO NOTHING;

SELECT sendtrace_lock_briefly('transitions');
ALTER TABLE transitions DROP CONSTRAINT IF EXISTS transitions_until;
DO $$
BEGIN
    EXECUTE format(
        'ALTER TABLE transitions ADD CONSTRAINT transitions_until CHECK (received_at < %L) NOT VALID',
        (date_trunc('month', now() AT TIME ZONE 'UTC') + interval '2 months') AT TIME ZONE 'UTC'
    );
END
$$;

-- part: the long ones

ALTER TABLE transitions VALIDATE CONSTRAINT transitions_until;
CREATE UNIQUE INDEX IF NOT EXISTS transitions_by_seq ON transitions (seq, received_at);
-- What the views and `sendtrace report` ask for by time.
CREATE INDEX IF NOT EXISTS messages_by_hour
    ON messages (date_bin('1 hour', first_received_at, timestamptz '2000-01-01 00:00:00+00'));
CREATE INDEX IF NOT EXISTS dead_letters_by_time ON dead_letters (received_at);

-- Comments that 0001 and 0002 have not; those on transitions go to failures, those on messages to open_messages.
COMMENT ON COLUMN messages.message_id IS 'Id of the message: a hash of source, dispatch_id and external_send_id.';
COMMENT ON COLUMN messages.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN messages.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN messages.channel IS 'email, sms, … as the provider said; NULL where it did not.';
COMMENT ON COLUMN messages.dispatch_id IS 'The provider''s id of one dispatch; 360NRS calls it id.';
COMMENT ON COLUMN messages.external_send_id IS 'The id the sender gave; several messages may share it.';
COMMENT ON COLUMN messages.reference IS 'What a journey is known under: external_send_id, or the reference given when the send was registered.';
COMMENT ON COLUMN messages.campaign_id IS 'The provider''s id of the campaign; NULL where it named none.';
COMMENT ON COLUMN messages.first_received_at IS 'When the gateway took the first postback of it.';
COMMENT ON COLUMN messages.last_received_at IS 'When the gateway took the last postback of it, repeats included.';
COMMENT ON COLUMN messages.requested_at IS 'Earliest time of this status that the sender gave; NULL where it gave none.';
COMMENT ON COLUMN messages.processed_at IS 'Earliest time of this status that the provider gave; NULL where it gave none.';
COMMENT ON COLUMN messages.delivered_at IS 'Earliest time of this status that the provider gave; NULL where it gave none. Set also where a bounce came after it.';
COMMENT ON COLUMN messages.failed_at IS 'Time the provider gave with the failure that decides the status; NULL where it gave none.';
COMMENT ON COLUMN transitions.message_id IS 'Id of the message: a hash of source, dispatch_id and external_send_id.';
COMMENT ON COLUMN transitions.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN transitions.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN transitions.channel IS 'email, sms, … as the provider said; NULL where it did not.';
COMMENT ON COLUMN transitions.dispatch_id IS 'The provider''s id of one dispatch; 360NRS calls it id.';
COMMENT ON COLUMN transitions.external_send_id IS 'The id the sender gave; several messages may share it.';
COMMENT ON COLUMN transitions.reference IS 'What a journey is known under: external_send_id, or the reference given when the send was registered.';
COMMENT ON COLUMN transitions.campaign_id IS 'The provider''s id of the campaign; NULL where it named none.';
COMMENT ON COLUMN transitions.transition_id IS 'message_id and the id of the fact: the same wherever it is computed.';
COMMENT ON COLUMN transitions.from_status IS 'The message''s status before it; NULL: this was the first of it.';
COMMENT ON COLUMN transitions.outcome IS 'The message''s outcome after it: pending, delivered or failed.';
COMMENT ON COLUMN transitions.provider_status IS 'The provider''s own word.';
COMMENT ON COLUMN transitions.reason IS 'The provider''s text with it.';
COMMENT ON COLUMN transitions.bounce_class IS 'Why it failed or was deferred, in words of ours; NULL for other words.';
COMMENT ON COLUMN transitions.conflict IS 'The message''s facts contradict each other after it.';
COMMENT ON COLUMN transitions.version IS 'Postbacks of the message up to this one, repeats included.';
COMMENT ON COLUMN facts.message_id IS 'Id of the message: a hash of source, dispatch_id and external_send_id.';
COMMENT ON COLUMN facts.fact_id IS 'Hash of what was said; the same fact said again has the same.';
COMMENT ON COLUMN facts.status IS 'What was said, in words of ours.';
COMMENT ON COLUMN facts.provider_status IS 'The provider''s own word.';
COMMENT ON COLUMN facts.provider_time IS 'When it happened, as far as the provider said.';
COMMENT ON COLUMN facts.received_at IS 'When the gateway took the first postback that said so.';
COMMENT ON COLUMN facts.reason IS 'The provider''s text with it.';
COMMENT ON COLUMN facts.bounce_class IS 'Why it failed or was deferred, in words of ours.';
COMMENT ON COLUMN facts.duplicates IS 'How often it was said again.';
COMMENT ON COLUMN postbacks.receipt_id IS 'Id of one body that was answered 200; in order of time.';
COMMENT ON COLUMN postbacks.received_at IS 'When the gateway took the body.';
COMMENT ON COLUMN postbacks.content_type IS 'The request''s Content-Type.';
COMMENT ON COLUMN identifiers.identifier IS 'The name, as the provider sent it.';
COMMENT ON COLUMN identifiers.message_id IS 'The message that has it.';
COMMENT ON COLUMN dead_letters.dead_id IS 'Id of the dead letter: its receipt_id.';
COMMENT ON COLUMN dead_letters.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN dead_letters.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN dead_letters.stage IS 'Where it was refused: normalize, or process for one that brought the processor down.';
COMMENT ON COLUMN dead_letters.detail IS 'What was found and what was expected, in a sentence.';
COMMENT ON COLUMN dead_letters.receipt_id IS 'Id of one body that was answered 200; in order of time.';
COMMENT ON COLUMN dead_letters.received_at IS 'When the gateway took the body.';
COMMENT ON COLUMN dead_letters.content_type IS 'The request''s Content-Type.';
COMMENT ON COLUMN dead_letters.content_encoding IS 'The request''s Content-Encoding; empty without one.';
COMMENT ON COLUMN dead_letters.body IS 'The exact bytes.';
COMMENT ON COLUMN audit.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN audit.hour IS 'Start of the hour in which the gateway took them, UTC.';
COMMENT ON COLUMN audit.applied IS 'Bodies that added a fact.';
COMMENT ON COLUMN audit.duplicates IS 'Bodies that said nothing new.';
COMMENT ON COLUMN audit.dead IS 'Bodies that were not understood.';
COMMENT ON COLUMN positions.partition IS 'Number of the partition.';
COMMENT ON COLUMN positions.next_offset IS 'Where to read on: everything before it is in the tables.';
COMMENT ON COLUMN set_aside.table_name IS 'Where the row was to go.';
COMMENT ON COLUMN set_aside.reason IS 'What the database said.';
COMMENT ON COLUMN set_aside.set_aside_at IS 'By the clock.';
COMMENT ON TABLE sendtrace_migrations IS 'Migrations that ran.';
COMMENT ON COLUMN sendtrace_migrations.number IS 'Number of the migration.';
COMMENT ON COLUMN sendtrace_migrations.name IS 'Name of its file.';
COMMENT ON COLUMN sendtrace_migrations.digest IS 'SHA-256 of the text that ran.';
COMMENT ON COLUMN incident_samples.message_id IS 'The message.';
COMMENT ON COLUMN incident_samples.incident_id IS 'The incident that has it as a sample.';
COMMENT ON COLUMN incident_changes.seq IS 'Order in which they were made.';
COMMENT ON COLUMN incident_changes.change_id IS 'Made of incident and change: the same change is there once.';
COMMENT ON COLUMN incident_changes.incident_id IS 'The incident.';
COMMENT ON COLUMN incident_changes.record IS 'The IncidentChange as JSON, with the incident as it was then.';
COMMENT ON COLUMN incident_groups.group_id IS 'What the group is about.';
COMMENT ON COLUMN incident_groups.due_ms IS 'When it must be looked at though nothing came, in Unix milliseconds of the time of the postbacks.';
COMMENT ON COLUMN incident_groups.state IS 'JSON of the incident step.';
COMMENT ON COLUMN incident_clock.one IS 'Always 1.';
COMMENT ON COLUMN incident_clock.watermark_ms IS 'Unix milliseconds.';
COMMENT ON COLUMN silences.silence_id IS 'Number of the silence.';
COMMENT ON COLUMN silences.label IS 'severity, source, provider, campaign_id, class, domain or rule.';
COMMENT ON COLUMN silences.value IS 'What the label must be.';
COMMENT ON COLUMN silences.until IS 'When it ends.';
COMMENT ON COLUMN silences.made_at IS 'By the clock.';

-- part: the names

-- A month's partition, unless something of its name is there. Empty as it is, it is attached without a look at rows
-- and without keeping anybody from reading; CREATE TABLE … PARTITION OF would lock readers out.
CREATE FUNCTION sendtrace_make_month(month timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    first timestamp := date_trunc('month', month AT TIME ZONE 'UTC');
    name  text := 'transitions_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass(quote_ident(name)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE %I (LIKE transitions INCLUDING DEFAULTS INCLUDING COMMENTS)', name);
    EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'One month of transitions, by received_at in UTC.');
    EXECUTE format(
        'ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
        name, first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC'
    );
END
$$;
COMMENT ON FUNCTION sendtrace_make_month IS 'For the sink: makes the partition of transitions that a time lies in.';

SELECT sendtrace_lock_briefly('failures, transitions');
DROP VIEW failures;
DO $$
DECLARE
    theirs text := (
        SELECT string_agg(DISTINCT r.ev_class::regclass::text, ', ')
        FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
        WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = 'transitions'::regclass
    );
    until timestamptz := (
        SELECT (regexp_match(pg_get_constraintdef(oid), '''(.+)'''))[1]::timestamptz
        FROM pg_constraint WHERE conrelid = 'transitions'::regclass AND conname = 'transitions_until'
    );
    before  text := 'transitions_until_' || to_char(until AT TIME ZONE 'UTC', 'YYYY_MM');
    is_empty boolean := NOT EXISTS (SELECT FROM transitions);
    allowed record;
BEGIN
    IF theirs IS NOT NULL THEN
        RAISE EXCEPTION 'the view % of yours reads transitions, which gets partitions: drop it, and create it again once this has run', theirs;
    END IF;
    EXECUTE format('ALTER TABLE transitions RENAME TO %I', before);
    EXECUTE format('ALTER INDEX transitions_by_message RENAME TO %I', before || '_by_message');
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT transitions_pkey', before);
    EXECUTE format('ALTER TABLE %I ADD CONSTRAINT %I PRIMARY KEY USING INDEX transitions_by_seq', before, before || '_pkey');
    EXECUTE format('CREATE TABLE transitions (LIKE %I INCLUDING COMMENTS) PARTITION BY RANGE (received_at)', before);
    ALTER TABLE transitions ADD PRIMARY KEY (seq, received_at);
    CREATE INDEX transitions_by_message ON transitions (message_id, seq);
    FOR allowed IN
        SELECT a.privilege_type AS what, CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS whom
        FROM pg_class AS c, aclexplode(c.relacl) AS a
        WHERE c.oid = to_regclass(quote_ident(before)) AND a.grantee <> c.relowner
    LOOP
        EXECUTE format('GRANT %s ON transitions TO %s', allowed.what, allowed.whom);
    END LOOP;
    IF is_empty THEN
        EXECUTE format('DROP TABLE %I', before);
        RETURN;
    END IF;
    EXECUTE format('COMMENT ON TABLE %I IS %L', before, 'Transitions from before each month had its partition.');
    EXECUTE format('ALTER TABLE transitions ATTACH PARTITION %I FOR VALUES FROM (MINVALUE) TO (%L)', before, until);
    EXECUTE format('ALTER TABLE %I DROP CONSTRAINT transitions_until', before);
END
$$;
COMMENT ON TABLE transitions IS 'One row for every postback that added a fact: what it changed. A partition a month, by received_at in UTC.';

-- Numbers are never given twice, also where retention drops the newest: whoever reads on from one would miss rows.
CREATE TABLE transitions_dropped (
    one      integer PRIMARY KEY CHECK (one = 1),
    last_seq bigint NOT NULL
);
COMMENT ON TABLE transitions_dropped IS 'How far transitions were numbered when months were last dropped; one row or none.';
COMMENT ON COLUMN transitions_dropped.one IS 'Always 1.';
COMMENT ON COLUMN transitions_dropped.last_seq IS 'The largest seq there was.';

CREATE VIEW failures AS
SELECT * FROM transitions
WHERE outcome = 'failed'
  AND (from_status IS NULL OR from_status NOT IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced'));

CREATE VIEW campaign_hourly AS
SELECT hour, source, provider, channel, campaign_id, messages, pending, delivered, failed,
       requested, sent, processed, deferred, unknown, undelivered, expired, rejected, aborted, bounced,
       conflicts, overdue,
       delivered::double precision / nullif(delivered + failed, 0) AS delivery_rate,
       bounced::double precision / nullif(delivered + failed, 0) AS bounce_rate,
       aborted::double precision / nullif(delivered + failed, 0) AS abort_rate
FROM (
    SELECT date_bin('1 hour', first_received_at, timestamptz '2000-01-01 00:00:00+00') AS hour,
           source, provider, channel, campaign_id, count(*) AS messages,
           count(*) FILTER (WHERE outcome = 'pending') AS pending,
           count(*) FILTER (WHERE outcome = 'delivered') AS delivered,
           count(*) FILTER (WHERE outcome = 'failed') AS failed,
           count(*) FILTER (WHERE status = 'requested') AS requested,
           count(*) FILTER (WHERE status = 'sent') AS sent,
           count(*) FILTER (WHERE status = 'processed') AS processed,
           count(*) FILTER (WHERE status = 'deferred') AS deferred,
           count(*) FILTER (WHERE status = 'unknown') AS unknown,
           count(*) FILTER (WHERE status = 'undelivered') AS undelivered,
           count(*) FILTER (WHERE status = 'expired') AS expired,
           count(*) FILTER (WHERE status = 'rejected') AS rejected,
           count(*) FILTER (WHERE status = 'aborted') AS aborted,
           count(*) FILTER (WHERE status = 'bounced') AS bounced,
           count(*) FILTER (WHERE conflict) AS conflicts,
           count(*) FILTER (WHERE overdue) AS overdue
    FROM messages
    GROUP BY 1, source, provider, channel, campaign_id
) AS counted;

CREATE VIEW delivery_latency AS
SELECT (sent_at AT TIME ZONE 'UTC')::date AS day, source, provider, campaign_id,
       count(*) FILTER (WHERE seconds >= 0) AS messages,
       count(*) FILTER (WHERE seconds < 0) AS negative,
       percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE seconds >= 0) AS p50_seconds,
       percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE seconds >= 0) AS p95_seconds,
       percentile_cont(0.99) WITHIN GROUP (ORDER BY seconds) FILTER (WHERE seconds >= 0) AS p99_seconds
FROM (
    SELECT sent_at, source, provider, campaign_id,
           extract(epoch FROM delivered_at - sent_at)::double precision AS seconds
    FROM messages
    WHERE sent_at IS NOT NULL AND delivered_at IS NOT NULL
) AS measured
GROUP BY 1, source, provider, campaign_id;

CREATE VIEW failure_reasons AS
SELECT counted.source, counted.provider, counted.channel, counted.campaign_id, counted.bounce_class, counted.reason,
       counted.messages, counted.first_seen, counted.last_seen, newest.message_id AS example_message_id
FROM (
    SELECT source, provider, channel, campaign_id, bounce_class, reason, count(*) AS messages,
           min(seen) AS first_seen, max(seen) AS last_seen, max(seq) AS seq
    FROM (
        SELECT seq, source, provider, channel, campaign_id, bounce_class, reason,
               coalesce(
                   (jsonb_path_query_first(facts, '$[*] ? (@.effect == "current")') ->> 'received_at')::timestamptz,
                   last_received_at
               ) AS seen
        FROM messages
        WHERE status IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced')
    ) AS failed
    GROUP BY source, provider, channel, campaign_id, bounce_class, reason
) AS counted
JOIN messages AS newest USING (seq);

CREATE VIEW open_messages AS
SELECT message_id, source, provider, channel, dispatch_id, external_send_id, reference, campaign_id, status, overdue,
       first_received_at, last_received_at,
       extract(epoch FROM now() - last_received_at)::double precision AS age_seconds
FROM messages
WHERE status IN ('requested', 'sent', 'processed', 'deferred', 'unknown');

COMMENT ON VIEW campaign_hourly IS 'What became of the messages of each hour, source, channel and campaign, as known now: late news changes earlier hours.';
COMMENT ON COLUMN campaign_hourly.hour IS 'Start of the hour in which the gateway took the message''s first postback, UTC: first_received_at cut to the hour.';
COMMENT ON COLUMN campaign_hourly.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN campaign_hourly.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN campaign_hourly.channel IS 'email, sms, … as the provider said; NULL where it did not.';
COMMENT ON COLUMN campaign_hourly.campaign_id IS 'The provider''s id of the campaign; NULL where it named none.';
COMMENT ON COLUMN campaign_hourly.messages IS 'Messages first heard of in this hour: pending + delivered + failed.';
COMMENT ON COLUMN campaign_hourly.pending IS 'Those without an outcome yet: requested + sent + processed + deferred + unknown.';
COMMENT ON COLUMN campaign_hourly.delivered IS 'Those whose status is delivered now.';
COMMENT ON COLUMN campaign_hourly.failed IS 'Those that failed: undelivered + expired + rejected + aborted + bounced.';
COMMENT ON COLUMN campaign_hourly.requested IS 'Those whose status is requested now.';
COMMENT ON COLUMN campaign_hourly.sent IS 'Those whose status is sent now.';
COMMENT ON COLUMN campaign_hourly.processed IS 'Those whose status is processed now.';
COMMENT ON COLUMN campaign_hourly.deferred IS 'Those whose status is deferred now.';
COMMENT ON COLUMN campaign_hourly.unknown IS 'Those whose status is unknown now.';
COMMENT ON COLUMN campaign_hourly.undelivered IS 'Those whose status is undelivered now.';
COMMENT ON COLUMN campaign_hourly.expired IS 'Those whose status is expired now.';
COMMENT ON COLUMN campaign_hourly.rejected IS 'Those whose status is rejected now.';
COMMENT ON COLUMN campaign_hourly.aborted IS 'Those whose status is aborted now.';
COMMENT ON COLUMN campaign_hourly.bounced IS 'Those whose status is bounced now.';
COMMENT ON COLUMN campaign_hourly.conflicts IS 'Those whose facts contradict each other, such as a bounce after a delivery.';
COMMENT ON COLUMN campaign_hourly.overdue IS 'Those of which news was due and has not come.';
COMMENT ON COLUMN campaign_hourly.delivery_rate IS 'delivered / (delivered + failed), 0 to 1; NULL while none has an outcome.';
COMMENT ON COLUMN campaign_hourly.bounce_rate IS 'bounced / (delivered + failed), 0 to 1; NULL while none has an outcome.';
COMMENT ON COLUMN campaign_hourly.abort_rate IS 'aborted / (delivered + failed), 0 to 1; NULL while none has an outcome.';
COMMENT ON VIEW delivery_latency IS 'How long deliveries took by the provider''s own clock, sent_at to delivered_at, for each day, source and campaign.';
COMMENT ON COLUMN delivery_latency.day IS 'Day of sent_at, UTC.';
COMMENT ON COLUMN delivery_latency.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN delivery_latency.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN delivery_latency.campaign_id IS 'The provider''s id of the campaign; NULL where it named none.';
COMMENT ON COLUMN delivery_latency.messages IS 'Messages with both times, delivered_at not before sent_at: those the percentiles are of.';
COMMENT ON COLUMN delivery_latency.negative IS 'Messages left out because the provider gave a delivered_at before sent_at.';
COMMENT ON COLUMN delivery_latency.p50_seconds IS 'Median, between two neighbours in proportion (percentile_cont); NULL where messages is 0.';
COMMENT ON COLUMN delivery_latency.p95_seconds IS '95 of 100 took at most so long; as p50_seconds.';
COMMENT ON COLUMN delivery_latency.p99_seconds IS '99 of 100 took at most so long; as p50_seconds.';
COMMENT ON VIEW failure_reasons IS 'Why messages failed: one row for each source, channel, campaign, class and text of the provider, as known now.';
COMMENT ON COLUMN failure_reasons.source IS 'Name of the source in the settings: one account at a provider.';
COMMENT ON COLUMN failure_reasons.provider IS 'The provider of the source, such as braze or nrs360.';
COMMENT ON COLUMN failure_reasons.channel IS 'email, sms, … as the provider said; NULL where it did not.';
COMMENT ON COLUMN failure_reasons.campaign_id IS 'The provider''s id of the campaign; NULL where it named none.';
COMMENT ON COLUMN failure_reasons.bounce_class IS 'Why they failed, in words of ours.';
COMMENT ON COLUMN failure_reasons.reason IS 'The provider''s text as it came, which may name an address; NULL where it gave none.';
COMMENT ON COLUMN failure_reasons.messages IS 'Messages whose status is decided by such a failure.';
COMMENT ON COLUMN failure_reasons.first_seen IS 'When the gateway took the first of these failures.';
COMMENT ON COLUMN failure_reasons.last_seen IS 'When the gateway took the last of these failures.';
COMMENT ON COLUMN failure_reasons.example_message_id IS 'The newest of these messages, by first sight.';
COMMENT ON VIEW open_messages IS 'Messages without an outcome yet, and how long ago there was news of each.';
COMMENT ON COLUMN open_messages.age_seconds IS 'Seconds since last_received_at, by the database''s clock.';
COMMENT ON VIEW failures IS 'One row for every message that failed: its transition into the failed outcome.';
DO $$
DECLARE
    known record;
BEGIN
    FOR known IN
        SELECT pair.view, a.attname AS name, col_description(a.attrelid, a.attnum) AS comment
        FROM (VALUES ('failures', 'transitions'), ('open_messages', 'messages')) AS pair (view, of)
        JOIN pg_attribute AS a ON a.attrelid = pair.of::regclass AND a.attnum > 0 AND NOT a.attisdropped
        JOIN pg_attribute AS v ON v.attrelid = pair.view::regclass AND v.attname = a.attname
    LOOP
        EXECUTE format('COMMENT ON COLUMN %I.%I IS %L', known.view, known.name, known.comment);
    END LOOP;
END
$$;
