-- What the tables sink on Kafka needs beside what the embedded pipeline writes; empty there.

-- Where to read on in each partition of each topic; `raw`: how far its records have been handled.
CREATE TABLE positions (
    topic       TEXT NOT NULL,              -- without the prefix of the settings
    partition   INTEGER NOT NULL,
    next_offset INTEGER NOT NULL,
    PRIMARY KEY (topic, partition)
) STRICT, WITHOUT ROWID;

-- Records of the topic `raw` by source and hour, and those of them that were a body known already.
ALTER TABLE audit ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
ALTER TABLE audit ADD COLUMN repeated INTEGER NOT NULL DEFAULT 0;

-- Rows these tables would not take, for a person to look at.
CREATE TABLE set_aside (
    table_name   TEXT NOT NULL,
    reason       TEXT NOT NULL,
    record       TEXT NOT NULL,             -- JSON
    set_aside_at TEXT NOT NULL
) STRICT;
