// Package crashtest kills processes that serve a store. The [History] checks that events are
// stored once and unchanged if they were acknowledged, at most once if their outcome is unknown.
package crashtest
