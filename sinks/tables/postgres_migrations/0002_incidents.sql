-- Incidents: what they are and what people did about them. What they are computed from are topics.

CREATE VIEW failures AS
SELECT * FROM transitions
WHERE outcome = 'failed'
  AND (from_status IS NULL OR from_status NOT IN ('undelivered', 'expired', 'rejected', 'aborted', 'bounced'));

COMMENT ON VIEW failures IS 'One row for every message that failed: its transition into the failed outcome.';

CREATE TABLE incidents (
    incident_id       text PRIMARY KEY,
    rule              text NOT NULL,
    kind              text NOT NULL,
    severity          text NOT NULL,
    state             text NOT NULL,
    source            text,
    provider          text,
    campaign_id       text,
    class             text,
    domain            text,
    count             bigint NOT NULL,
    total             bigint,
    first_seen        timestamptz NOT NULL,
    last_seen         timestamptz NOT NULL,
    opened_at         timestamptz NOT NULL,
    resolved_at       timestamptz,
    title             text NOT NULL,
    advice            text NOT NULL,
    samples           jsonb NOT NULL CHECK (jsonb_typeof(samples) = 'array'),
    acknowledged_at   timestamptz,
    silenced_until    timestamptz,
    closed_by_hand_at timestamptz
);
CREATE INDEX incidents_by_state ON incidents (state, last_seen);

COMMENT ON TABLE incidents IS 'One row for every incident: its latest state.';
COMMENT ON COLUMN incidents.incident_id IS 'Made of what it is about: the same trouble is the same incident wherever it is computed.';
COMMENT ON COLUMN incidents.rule IS 'Name of the rule of the settings.';
COMMENT ON COLUMN incidents.kind IS 'count, rate or silence.';
COMMENT ON COLUMN incidents.severity IS 'info, warning, error or critical.';
COMMENT ON COLUMN incidents.state IS 'open or resolved.';
COMMENT ON COLUMN incidents.source IS 'The source of the settings it is about; NULL where it is about more than one.';
COMMENT ON COLUMN incidents.provider IS 'The provider of the source.';
COMMENT ON COLUMN incidents.campaign_id IS 'The campaign it is about, where the rule tells campaigns apart.';
COMMENT ON COLUMN incidents.class IS 'Why messages failed, in words of ours, where the rule tells classes apart.';
COMMENT ON COLUMN incidents.domain IS 'The receiving domain, where the rule tells domains apart and the reason names one.';
COMMENT ON COLUMN incidents.count IS 'Of the present spell of trouble; after quiet a return begins a new one.';
COMMENT ON COLUMN incidents.total IS 'What count is held against, where the rule is a rate.';
COMMENT ON COLUMN incidents.first_seen IS 'First postback of the present spell, by the time it was received.';
COMMENT ON COLUMN incidents.last_seen IS 'Last postback of the present spell, by the time it was received.';
COMMENT ON COLUMN incidents.opened_at IS 'When the rule was met, in the time of the postbacks.';
COMMENT ON COLUMN incidents.resolved_at IS 'When it had been quiet for long enough, or somebody resolved it; NULL while open.';
COMMENT ON COLUMN incidents.title IS 'What happened, in one line.';
COMMENT ON COLUMN incidents.advice IS 'What to do about it.';
COMMENT ON COLUMN incidents.samples IS 'Up to ten postbacks behind it: message_id, receipt_id, received_at, status, reason.';
COMMENT ON COLUMN incidents.acknowledged_at IS 'When somebody took it on.';
COMMENT ON COLUMN incidents.silenced_until IS 'Nobody is told of it until then.';
COMMENT ON COLUMN incidents.closed_by_hand_at IS 'When somebody resolved it: trouble before that counts no more.';

CREATE TABLE incident_samples (
    message_id  text NOT NULL,
    incident_id text NOT NULL,
    PRIMARY KEY (message_id, incident_id)
);

COMMENT ON TABLE incident_samples IS 'Which messages an incident has as samples.';

CREATE TABLE incident_changes (
    seq          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    change_id    text NOT NULL UNIQUE,
    incident_id  text NOT NULL,
    change       text NOT NULL,
    at           timestamptz NOT NULL,
    record       jsonb NOT NULL,
    made_at      timestamptz NOT NULL DEFAULT now(),
    published_at timestamptz
);
CREATE INDEX incident_changes_by_incident ON incident_changes (incident_id, seq);
CREATE INDEX incident_changes_unpublished ON incident_changes (seq) WHERE published_at IS NULL;

COMMENT ON TABLE incident_changes IS 'What happened to incidents, in order; what people are told of.';
COMMENT ON COLUMN incident_changes.change IS 'opened, updated, escalated, resolved or reopened.';
COMMENT ON COLUMN incident_changes.at IS 'In the time of the postbacks.';
COMMENT ON COLUMN incident_changes.made_at IS 'By the clock.';
COMMENT ON COLUMN incident_changes.published_at IS 'When topic alerts had it.';

CREATE TABLE incident_groups (
    group_id text PRIMARY KEY,
    due_ms   bigint,
    state    bytea NOT NULL
);
CREATE INDEX incident_groups_due ON incident_groups (due_ms) WHERE due_ms IS NOT NULL;

COMMENT ON TABLE incident_groups IS 'What the incident step remembers of each group; nobody else''s business.';

CREATE TABLE incident_clock (
    one          integer PRIMARY KEY CHECK (one = 1),
    watermark_ms bigint NOT NULL
);

COMMENT ON TABLE incident_clock IS 'How far the incident step is in the time of the postbacks; one row.';

CREATE TABLE silences (
    silence_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    label      text NOT NULL,
    value      text NOT NULL,
    until      timestamptz NOT NULL,
    made_at    timestamptz NOT NULL DEFAULT now()
);

COMMENT ON TABLE silences IS 'Nobody is told of incidents with this label and value until then.';
