-- An index that begins with the platform can be taken for a way to all that is
-- found by platform and sequence, and leads past all events of the platform then.
DROP INDEX IF EXISTS events_id;
DROP INDEX IF EXISTS events_platform_id_idx; -- as it was called on partitions
CREATE INDEX events_by_id ON events (id);
