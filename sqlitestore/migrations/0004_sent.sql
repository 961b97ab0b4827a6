-- What the request sent for the event, as JSON, if the stored content has another
-- digest: under AcceptAll these can differ.
ALTER TABLE request_events ADD COLUMN sent TEXT;
