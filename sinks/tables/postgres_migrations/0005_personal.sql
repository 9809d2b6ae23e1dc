-- Personal data of messages, never in clear, and the list of what was erased (docs/decisions/0011).

CREATE TABLE personal_data (
    message_id text NOT NULL,
    kind       text NOT NULL,
    digest     text NOT NULL,
    sealed     text,
    PRIMARY KEY (message_id, kind, digest)
);
CREATE INDEX personal_data_by_digest ON personal_data (digest);

COMMENT ON TABLE personal_data IS 'One row for every personal value a postback gave; never in clear.';
COMMENT ON COLUMN personal_data.message_id IS 'The message, in messages.';
COMMENT ON COLUMN personal_data.kind IS 'recipient, contact, ip or user_agent.';
COMMENT ON COLUMN personal_data.digest IS 'HMAC-SHA-256 of the normalized value, hexadecimal: equal for one recipient, and nothing without the key.';
COMMENT ON COLUMN personal_data.sealed IS 'AES-SIV of the value, base64; NULL where only the digest is kept.';

CREATE TABLE erasures (
    seq       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest    text NOT NULL UNIQUE,
    shape     text NOT NULL,
    chars     integer NOT NULL,
    key_id    text NOT NULL,
    erased_at timestamptz NOT NULL
);

COMMENT ON TABLE erasures IS 'What no row may hold again, whatever is replayed; never the recipient in clear.';
COMMENT ON COLUMN erasures.seq IS 'Order of erasing; the sink sees by the largest whether it knows the whole list.';
COMMENT ON COLUMN erasures.digest IS 'HMAC-SHA-256 of the normalized value, hexadecimal.';
COMMENT ON COLUMN erasures.shape IS 'address, phone, identifier, or message: the id of a message of an erased recipient.';
COMMENT ON COLUMN erasures.chars IS 'Length of the value, which bounds the search for it in texts.';
COMMENT ON COLUMN erasures.key_id IS 'Which key the digest was made with.';
COMMENT ON COLUMN erasures.erased_at IS 'When it was erased.';
