-- The event that the request sent, as JSON, if the stored content has another
-- digest, which ReturnOriginal permits.
ALTER TABLE request_events ADD COLUMN sent TEXT;
