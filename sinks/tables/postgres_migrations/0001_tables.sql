-- The tables of the pipeline on Kafka. Columns have the names they have in SQLite, where both have them.
-- Nothing refers to another table by a key that is enforced: a row that is refused must not take others with it.

CREATE TABLE messages (
    seq               bigint PRIMARY KEY,
    message_id        text NOT NULL UNIQUE,
    source            text NOT NULL,
    provider          text NOT NULL,
    channel           text,
    dispatch_id       text,
    external_send_id  text,
    reference         text,
    campaign_id       text,
    status            text NOT NULL,
    outcome           text NOT NULL,
    conflict          boolean NOT NULL,
    overdue           boolean NOT NULL,
    reason            text,
    bounce_class      text,
    first_received_at timestamptz NOT NULL,
    last_received_at  timestamptz NOT NULL,
    requested_at      timestamptz,
    sent_at           timestamptz,
    processed_at      timestamptz,
    delivered_at      timestamptz,
    failed_at         timestamptz,
    facts             jsonb NOT NULL CHECK (jsonb_typeof(facts) = 'array'),
    duplicates        bigint NOT NULL,
    version           bigint NOT NULL,
    repeated_until    jsonb NOT NULL
);
-- Each ends in seq, so that a page of what is found is read from the index in the order of the list.
CREATE INDEX messages_by_dispatch_id ON messages (dispatch_id, seq) WHERE dispatch_id IS NOT NULL;
CREATE INDEX messages_by_external_send_id ON messages (external_send_id, seq) WHERE external_send_id IS NOT NULL;
CREATE INDEX messages_by_status ON messages (status, seq);
CREATE INDEX messages_by_campaign_id ON messages (campaign_id, status, seq) WHERE campaign_id IS NOT NULL;
CREATE INDEX messages_by_source ON messages (source, seq);

COMMENT ON TABLE messages IS 'One row a message: its latest state.';
COMMENT ON COLUMN messages.seq IS 'Order of first sight, from 1 without gaps.';
COMMENT ON COLUMN messages.status IS 'Derived from all facts; the order in which they arrived does not matter.';
COMMENT ON COLUMN messages.outcome IS 'pending, delivered or failed.';
COMMENT ON COLUMN messages.conflict IS 'Its facts contradict each other.';
COMMENT ON COLUMN messages.overdue IS 'News was due and has not come.';
COMMENT ON COLUMN messages.reason IS 'The provider''s text beside the fact that decides the status.';
COMMENT ON COLUMN messages.bounce_class IS 'Why it failed, in words of ours; beside reason.';
COMMENT ON COLUMN messages.sent_at IS 'Earliest time of this status that the provider gave; NULL where it gave none.';
COMMENT ON COLUMN messages.facts IS 'An array of objects, each a distinct thing the provider said; the view facts has a row for each.';
COMMENT ON COLUMN messages.duplicates IS 'Postbacks that added no fact.';
COMMENT ON COLUMN messages.version IS 'Postbacks folded in, repeats included.';
COMMENT ON COLUMN messages.repeated_until IS 'The processor''s own: the last repeat of engagement that comes without a time.';

CREATE TABLE transitions (
    seq              bigint PRIMARY KEY,
    transition_id    text NOT NULL,
    kind             text NOT NULL,
    message_id       text NOT NULL,
    source           text NOT NULL,
    provider         text NOT NULL,
    channel          text,
    dispatch_id      text,
    external_send_id text,
    reference        text,
    campaign_id      text,
    from_status      text,
    status           text NOT NULL,
    outcome          text NOT NULL,
    provider_status  text NOT NULL,
    provider_time    timestamptz,
    received_at      timestamptz NOT NULL,
    reason           text,
    bounce_class     text,
    conflict         boolean NOT NULL,
    receipt_id       text NOT NULL,
    version          bigint NOT NULL
);
CREATE INDEX transitions_by_message ON transitions (message_id, seq);

COMMENT ON TABLE transitions IS 'One row for every postback that added a fact: what it changed.';
COMMENT ON COLUMN transitions.seq IS 'Order of writing. There is one writer, so rows become visible in this order.';
COMMENT ON COLUMN transitions.kind IS 'status, engagement, conflict, overdue or recovered.';
COMMENT ON COLUMN transitions.status IS 'The message''s status after it.';
COMMENT ON COLUMN transitions.provider_time IS 'When it happened, as far as the provider said.';
COMMENT ON COLUMN transitions.received_at IS 'When the gateway took the postback.';
COMMENT ON COLUMN transitions.receipt_id IS 'The postback, in postbacks.';

CREATE VIEW facts AS
SELECT m.message_id, f.fact ->> 'fact_id' AS fact_id, f.fact ->> 'status' AS status,
       f.fact ->> 'provider_status' AS provider_status,
       (f.fact ->> 'provider_time')::timestamptz AS provider_time,
       (f.fact ->> 'received_at')::timestamptz AS received_at, f.fact ->> 'reason' AS reason,
       f.fact ->> 'class' AS bounce_class, f.fact ->> 'effect' AS effect,
       (f.fact ->> 'duplicates')::bigint AS duplicates
FROM messages AS m CROSS JOIN LATERAL jsonb_array_elements(m.facts) AS f (fact);

COMMENT ON VIEW facts IS 'One row a fact of every message.';
COMMENT ON COLUMN facts.effect IS 'current (decides the status), history, engagement, conflicting or unknown.';

CREATE TABLE postbacks (
    position     bigint PRIMARY KEY,
    receipt_id   text NOT NULL UNIQUE,
    message_id   text,
    received_at  timestamptz NOT NULL,
    content_type text NOT NULL,
    effect       text NOT NULL,
    flags        jsonb NOT NULL CHECK (jsonb_typeof(flags) = 'array')
);
CREATE INDEX postbacks_by_message ON postbacks (message_id, position) WHERE message_id IS NOT NULL;

COMMENT ON TABLE postbacks IS 'One row for every body that was answered 200, however often it lies on the raw topic.';
COMMENT ON COLUMN postbacks.position IS 'Its first place on the raw topic: partition * 2^48 + offset.';
COMMENT ON COLUMN postbacks.message_id IS 'NULL: a dead letter.';
COMMENT ON COLUMN postbacks.effect IS 'What it did on arrival: applied, duplicate or dead.';
COMMENT ON COLUMN postbacks.flags IS 'An array of words: what was odd and survived.';

CREATE TABLE identifiers (
    identifier text NOT NULL,
    message_id text NOT NULL,
    PRIMARY KEY (identifier, message_id)
);

COMMENT ON TABLE identifiers IS 'Further names under which a message is looked up: contact and form ids.';

CREATE TABLE dead_letters (
    position           bigint PRIMARY KEY,
    dead_id            text NOT NULL UNIQUE,
    source             text NOT NULL,
    provider           text NOT NULL,
    stage              text NOT NULL,
    reason             text NOT NULL,
    detail             text NOT NULL,
    receipt_id         text NOT NULL,
    received_at        timestamptz NOT NULL,
    content_type       text NOT NULL,
    content_encoding   text NOT NULL,
    body               bytea NOT NULL,
    retry_requested_at timestamptz,
    retried_at         timestamptz
);
CREATE INDEX dead_letters_open ON dead_letters (position, reason, source) WHERE retried_at IS NULL;

COMMENT ON TABLE dead_letters IS 'Bodies that were kept and not understood.';
COMMENT ON COLUMN dead_letters.position IS 'Its first place on the raw topic: partition * 2^48 + offset.';
COMMENT ON COLUMN dead_letters.reason IS 'A word of a catalogue; detail is a sentence.';
COMMENT ON COLUMN dead_letters.retry_requested_at IS 'Set when another try was asked for, cleared when it was made.';
COMMENT ON COLUMN dead_letters.retried_at IS 'Set when another try applied it.';

CREATE TABLE audit (
    source     text NOT NULL,
    hour       timestamptz NOT NULL,
    accepted   bigint NOT NULL DEFAULT 0,
    applied    bigint NOT NULL DEFAULT 0,
    duplicates bigint NOT NULL DEFAULT 0,
    dead       bigint NOT NULL DEFAULT 0,
    repeated   bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source, hour)
);

COMMENT ON TABLE audit IS 'What became of the bodies of each source and hour: accepted - repeated = applied + duplicates + dead + pending.';
COMMENT ON COLUMN audit.accepted IS 'Records counted on the raw topic; a body may lie there more than once.';
COMMENT ON COLUMN audit.repeated IS 'Records of bodies that were there already.';

CREATE TABLE positions (
    topic       text NOT NULL,
    partition   integer NOT NULL,
    next_offset bigint NOT NULL,
    PRIMARY KEY (topic, partition)
);

COMMENT ON TABLE positions IS 'How far each partition was read; written with everything that was read, or not at all.';
COMMENT ON COLUMN positions.topic IS 'Without the prefix. raw: how far the raw topic was handled.';

CREATE TABLE set_aside (
    table_name   text NOT NULL,
    record_id    text NOT NULL,
    reason       text NOT NULL,
    record       text NOT NULL,
    effect       text,
    set_aside_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (table_name, record_id)
);

COMMENT ON TABLE set_aside IS 'Rows that Postgres refused, such as a text with U+0000. Everything else was kept.';
COMMENT ON COLUMN set_aside.record_id IS 'The record''s id, escaped; a long one is cut and ends in its SHA-256.';
COMMENT ON COLUMN set_aside.record IS 'The whole record as JSON in ASCII, everything else escaped.';
COMMENT ON COLUMN set_aside.effect IS 'Of a postback, so that its repeats are known: applied, duplicate or dead.';
