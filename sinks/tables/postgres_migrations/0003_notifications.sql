-- Telling people of incidents: what each target is to be told, what was, and what became of it.

CREATE TABLE notification_targets (
    target   text PRIMARY KEY,
    next_seq bigint NOT NULL,
    since    timestamptz NOT NULL
);

COMMENT ON TABLE notification_targets IS 'How far each target of the settings has read incident_changes; a new one begins at the end.';
COMMENT ON COLUMN notification_targets.target IS 'Its name in the settings.';
COMMENT ON COLUMN notification_targets.next_seq IS 'The rows of incident_changes before it were looked at.';
COMMENT ON COLUMN notification_targets.since IS 'When it was first seen in the settings.';

CREATE TABLE notification_messages (
    message_id text PRIMARY KEY,
    target     text NOT NULL,
    state      text NOT NULL,
    notice     jsonb NOT NULL,
    made_at    timestamptz NOT NULL,
    attempts   integer NOT NULL,
    tried_at   timestamptz,
    next_at    timestamptz,
    settled_at timestamptz,
    answer     text
);
CREATE INDEX notification_messages_by_target ON notification_messages (target, tried_at);
CREATE INDEX notification_messages_sending ON notification_messages (target) WHERE state = 'sending';

COMMENT ON TABLE notification_messages IS 'One row for every message that left for a target, or is about to.';
COMMENT ON COLUMN notification_messages.message_id IS 'The idempotency key, the same at every attempt.';
COMMENT ON COLUMN notification_messages.target IS 'Name of the target in the settings.';
COMMENT ON COLUMN notification_messages.state IS 'sending, delivered or parked.';
COMMENT ON COLUMN notification_messages.notice IS 'What it says, before it is put into the words of the target.';
COMMENT ON COLUMN notification_messages.made_at IS 'When it was made of the changes that waited.';
COMMENT ON COLUMN notification_messages.attempts IS 'How often it was tried.';
COMMENT ON COLUMN notification_messages.tried_at IS 'The last attempt.';
COMMENT ON COLUMN notification_messages.next_at IS 'The next attempt, while state is sending.';
COMMENT ON COLUMN notification_messages.settled_at IS 'When it was delivered or parked.';
COMMENT ON COLUMN notification_messages.answer IS 'The last answer of the target, or why there was none, in one line.';

CREATE TABLE deliveries (
    target      text NOT NULL,
    change_id   text NOT NULL,
    seq         bigint NOT NULL,
    incident_id text NOT NULL,
    change      text NOT NULL,
    severity    text NOT NULL,
    state       text NOT NULL,
    reason      text,
    held        integer NOT NULL,
    taken_at    timestamptz NOT NULL,
    not_before  timestamptz NOT NULL,
    message_id  text,
    settled_at  timestamptz,
    PRIMARY KEY (target, change_id)
);
CREATE INDEX deliveries_waiting ON deliveries (target, not_before) WHERE state = 'waiting' AND message_id IS NULL;
CREATE INDEX deliveries_by_incident ON deliveries (incident_id, seq);
CREATE INDEX deliveries_by_message ON deliveries (message_id) WHERE message_id IS NOT NULL;

COMMENT ON TABLE deliveries IS 'One row for every change of an incident and target it is for.';
COMMENT ON COLUMN deliveries.target IS 'Name of the target in the settings.';
COMMENT ON COLUMN deliveries.change_id IS 'The change, as in incident_changes.';
COMMENT ON COLUMN deliveries.seq IS 'The row of incident_changes.';
COMMENT ON COLUMN deliveries.incident_id IS 'The incident that changed.';
COMMENT ON COLUMN deliveries.change IS 'opened, escalated, resolved or reopened.';
COMMENT ON COLUMN deliveries.severity IS 'Severity of the incident at this change.';
COMMENT ON COLUMN deliveries.state IS 'waiting, delivered, parked or dropped.';
COMMENT ON COLUMN deliveries.reason IS 'Why it was parked or dropped.';
COMMENT ON COLUMN deliveries.held IS '1 once a silence held it back.';
COMMENT ON COLUMN deliveries.taken_at IS 'When it was seen to be for this target.';
COMMENT ON COLUMN deliveries.not_before IS 'Held back until then.';
COMMENT ON COLUMN deliveries.message_id IS 'The message that tells it.';
COMMENT ON COLUMN deliveries.settled_at IS 'When it came to its last state.';

CREATE TABLE notification_told (
    target      text NOT NULL,
    incident_id text NOT NULL,
    counted     integer NOT NULL,
    told_at     timestamptz NOT NULL,
    PRIMARY KEY (target, incident_id)
);

COMMENT ON TABLE notification_told IS 'The incidents a target knows to be open: their resolving is told there, of others it is not.';
COMMENT ON COLUMN notification_told.target IS 'Name of the target in the settings.';
COMMENT ON COLUMN notification_told.incident_id IS 'The incident.';
COMMENT ON COLUMN notification_told.counted IS '1 if it was only one of a number in a message.';
COMMENT ON COLUMN notification_told.told_at IS 'When the message that told it was delivered.';
