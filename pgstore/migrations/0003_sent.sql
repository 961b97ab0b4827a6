-- The content that a request sent for each event, as JSON, or null if it has the same
-- digest as the stored content. Under ReturnOriginal these can differ.
ALTER TABLE requests ADD COLUMN IF NOT EXISTS sent text[];
