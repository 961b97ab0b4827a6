-- What a request sent for each event, as JSON; null if the stored content has the
-- same digest. Under AcceptAll these can differ.
ALTER TABLE requests ADD COLUMN IF NOT EXISTS sent text[];
