package sqlitestore

import (
	"errors"
	"fmt"
	"strings"

	"example.com/chargeingest"
)

type statements struct {
	all     []statement
	changed bool // whether the transaction changed rows other than events

	begin, commit, readWALState statement

	findPlatform, addPlatform, nextPlatforms, deleteUnusedPlatforms        statement
	findRequest, requestEvents, requestSeqs, oldRequest                    statement
	insertRequest, insertRequestEvent, deleteRequest                       statement
	eventWithReference, eventAt, receivedAt, oldEvents, deleteIfUnkeyed    statement
	addBackdated, oldBackdated                                             statement
	setMerged, setMark                                                     statement
	insertChunk, nextChunk, chunksBetween, deleteChunks                    statement
	insertRun, deleteRun, someChunks                                       statement
	findStream, addStream, saveStream, savePosition, retireStream          statement
	saveEntry, resolveEvents, nextEntries, resolveEntries, findUndelivered statement
	insertEvent, insertEvents                                              statement
}

func (s *statements) prepareAll(c conn) error {
	for _, p := range []struct {
		statement *statement
		query     string
	}{
		{&s.begin, "BEGIN IMMEDIATE"},
		{&s.commit, "COMMIT"},
		{&s.setMark, "UPDATE identity SET mark = ?"},
		{&s.readWALState, "PRAGMA wal_checkpoint(NOOP)"},
		{&s.findStream, findStreamSQL},
		{&s.addStream, addStreamSQL},
		{&s.saveStream, saveStreamSQL},
		{&s.savePosition, savePositionSQL},
		{&s.retireStream, retireStreamSQL},
		{&s.saveEntry, saveEntrySQL()},
		{&s.resolveEvents, resolveSQL("event_id IN (SELECT value FROM json_each(?5))")},
		{&s.nextEntries, nextEntriesSQL},
		{&s.resolveEntries, resolveSQL("state = ?5 AND ?6 IN ('', code) AND id > ?7 AND id <= ?8")},
		{&s.findPlatform, "SELECT id FROM platforms WHERE name = ?"},
		{&s.addPlatform, "INSERT INTO platforms (name) VALUES (?)"},
		{&s.findRequest, "SELECT id, route, digest FROM requests WHERE platform = ? AND key = ?"},
		{&s.requestEvents, "SELECT coalesce(sent, ''), " + eventColumns + " FROM request_events JOIN events ON seq = event WHERE request = ? ORDER BY position"},
		{&s.eventWithReference, "SELECT " + eventColumns + " FROM events WHERE seq = ? AND platform = ? AND " + fieldSQL("reference") + " = ?"},
		{&s.eventAt, "SELECT " + eventColumns + " FROM events WHERE seq = ?"},
		{&s.insertEvent, insertEventsSQL + eventRowSQL},
		{&s.insertEvents, insertEventsSQL + eventRowSQL + strings.Repeat(", "+eventRowSQL, bulkRows-1)},
		{&s.setMerged, "UPDATE merged SET seq = ?"},
		{&s.insertChunk, "INSERT INTO chunks (run, last, entries) VALUES (?, ?, ?)"},
		{&s.nextChunk, "SELECT last, entries FROM chunks WHERE run = ? AND last > ? ORDER BY last LIMIT 1"},
		{&s.someChunks, "SELECT run, last, entries FROM chunks WHERE (run, last) > (?, ?) ORDER BY run, last LIMIT ?"},
		{&s.chunksBetween, fmt.Sprintf(chunksBetweenSQL, "DESC")},
		{&s.deleteChunks, "DELETE FROM chunks WHERE rowid IN (SELECT rowid FROM chunks WHERE run = ? LIMIT 16)"},
		{&s.insertRun, "INSERT INTO runs (id) VALUES (?)"},
		{&s.deleteRun, "DELETE FROM runs WHERE id = ?"},
		{&s.insertRequest, "INSERT INTO requests (platform, key, route, digest, bound_ms) VALUES (?, ?, ?, ?, ?)"},
		{&s.insertRequestEvent, "INSERT INTO request_events (request, position, event, sent) VALUES (?2, ?3, iif(?4 > 0, ?4, " + seqByID + "), ?5)"},
		{&s.oldRequest, "SELECT id, bound_ms FROM requests WHERE bound_ms < ? AND (bound_ms, id) > (?, ?) ORDER BY bound_ms, id LIMIT 1"},
		{&s.requestSeqs, "SELECT DISTINCT event FROM request_events WHERE request = ?"},
		{&s.deleteRequest, "DELETE FROM requests WHERE id = ?"},
		{&s.oldEvents, "SELECT seq, " + receivedMilliseconds + " < ?2 FROM events WHERE seq > ?3 AND seq <= " + seqByID + " AND id < ?1 ORDER BY seq LIMIT ?4"},
		{&s.deleteIfUnkeyed, "DELETE FROM events WHERE seq = ? AND NOT EXISTS (SELECT 1 FROM request_events WHERE event = seq)"},
		{&s.findUndelivered, undeliveredSQL},
		{&s.addBackdated, "INSERT INTO backdated (received_ms, seq) VALUES (?, ?)"},
		{&s.oldBackdated, "SELECT received_ms, seq FROM backdated WHERE (received_ms, seq) > (?, ?) AND received_ms < ? ORDER BY received_ms, seq LIMIT ?"},
		{&s.receivedAt, "SELECT " + receivedMilliseconds + " FROM events WHERE seq = " + seqByID + " AND id = ?1"},
		{&s.nextPlatforms, "SELECT id FROM platforms WHERE id > ? ORDER BY id LIMIT ?"},
		{&s.deleteUnusedPlatforms, "DELETE FROM platforms WHERE id > ? AND id <= ? AND NOT EXISTS (SELECT 1 FROM events WHERE platform = platforms.id) " +
			"AND NOT EXISTS (SELECT 1 FROM requests WHERE platform = platforms.id)"},
	} {
		var err error
		if *p.statement, err = c.prepare(p.query); err != nil {
			return err
		}
		p.statement.changed = &s.changed
		s.all = append(s.all, *p.statement)
	}
	return nil
}

func (s *statements) closeAll() error {
	var errs []error
	for _, p := range s.all {
		errs = append(errs, p.Close())
	}
	return errors.Join(errs...)
}

const eventColumns = "id, content, timestamp_assigned, digest"

func scanEvent(scan func(...any) error, more ...any) (chargeingest.StoredEvent, error) {
	var e chargeingest.StoredEvent
	var digest []byte
	if err := scan(append(more, &e.ID, &e.Content, &e.TimestampAssigned, &digest)...); err != nil {
		return e, err
	}
	if len(digest) != len(e.Digest) {
		return e, fmt.Errorf("event %s has a digest of %d bytes", e.ID, len(digest))
	}
	copy(e.Digest[:], digest)
	return e, nil
}
