-- What the read API asks for and 0001 does not answer without a scan.

-- All messages of a campaign, and those of them with one status: "the bounces of campaign X".
CREATE INDEX messages_by_campaign_id ON messages (campaign_id, status) WHERE campaign_id IS NOT NULL;

-- A source that has been quiet for long, which is the one that gets looked at. Written once a message.
CREATE INDEX messages_by_source ON messages (source);

-- Open dead letters, newest first, by reason and source, without touching their bodies.
CREATE INDEX dead_letters_open ON dead_letters (position, reason, source, retried_at) WHERE retried_at IS NULL;
