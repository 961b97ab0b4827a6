package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
)

var relayTime = time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)

type relayServer struct {
	t       *testing.T
	journal *memstore.Journal
	handler http.Handler
	ids     []string
}

func newRelayServer(t *testing.T, destinations ...string) *relayServer {
	t.Helper()
	store := memstore.New()
	s := &relayServer{t: t, journal: store.Journal()}
	keys, err := chargeingest.NewKeys(chargeingest.Key{Secret: apiKey, Subject: "ada", Platforms: []string{chargeingest.DefaultPlatform, "acme"},
		Permissions: []chargeingest.Permission{chargeingest.PermissionIngest, chargeingest.PermissionView}})
	require.NoError(t, err)
	api, err := relay.NewAPI(relay.APIConfig{Ledger: s.journal, Authorizer: keys, Now: func() time.Time { return relayTime }})
	require.NoError(t, err)
	mux := http.NewServeMux()
	mux.Handle("/relay/", http.StripPrefix("/relay", api))
	s.handler = mux
	for range 4 {
		r, err := store.Append(t.Context(), chargeingest.Batch{Platform: chargeingest.DefaultPlatform, Events: []chargeingest.NewEvent{{Content: `{}`}}})
		require.NoError(t, err)
		s.ids = append(s.ids, r.Outcomes[0].ID)
	}
	for _, name := range destinations {
		s.save(name, relay.Progress{LastEventID: s.ids[3], Delivered: 7, Entries: []relay.EntryChange{
			{EventID: s.ids[0], State: relay.Dead, Attempt: relay.Attempt{At: relayTime, Outcome: "rejected",
				Reason: relay.Reason{Status: 400, Code: "INVALID_FIELD", Field: "value.number", Message: "must be\na \x1b[31mdecimal"}}},
			{EventID: s.ids[1], State: relay.Dead, Attempt: relay.Attempt{At: relayTime, Outcome: "expired", Reason: relay.Reason{Code: "OTHER"}}},
			{EventID: s.ids[2], State: relay.Parked, NextAttempt: relayTime.Add(time.Hour), Attempt: relay.Attempt{At: relayTime, Outcome: "deferred"}},
		}})
	}
	return s
}

func (s *relayServer) save(destination string, p relay.Progress) {
	s.t.Helper()
	name := relay.Stream{Destination: destination, Platform: chargeingest.DefaultPlatform}
	state, err := s.journal.Lease(s.t.Context(), name, relay.LeaseRequest{Holder: "test", TTL: time.Minute})
	require.NoError(s.t, err)
	p.Token = state.Token
	require.NoError(s.t, s.journal.Save(s.t.Context(), name, p))
}

func (s *relayServer) state(destination string, i int) relay.EntryState {
	s.t.Helper()
	page, err := s.journal.Entries(s.t.Context(), relay.EntryQuery{EventID: s.ids[i], Limit: 1,
		Stream: relay.Stream{Destination: destination, Platform: chargeingest.DefaultPlatform}})
	require.NoError(s.t, err)
	return page.Entries[0].State
}

func (s *relayServer) run(args string) (status int, out, log string) {
	s.t.Helper()
	tp := newOfflineProgram(s.handler)
	status = tp.run(s.t.Context(), append([]string{"relay"}, append(strings.Fields(args), "-url", offline, "-api-key", apiKey)...))
	return status, tp.out.String(), tp.log.String()
}

func (s *relayServer) ok(args string) string {
	s.t.Helper()
	status, out, log := s.run(args)
	require.Equal(s.t, 0, status, log)
	require.Empty(s.t, log)
	return out
}

func TestRelayStatus(t *testing.T) {
	s := newRelayServer(t, "vendor")
	s.save("kafka:charges", relay.Progress{Failure: new("no\x1b[0m broker")})
	lines := strings.Split(s.ok("status"), "\n")
	require.Regexp(t, `^DESTINATION +STATE +LAG +OLDEST +PARKED +DEAD +SKIPPED +DELIVERED +REPEATED +LAST EVENT$`, lines[0])
	require.Regexp(t, `^kafka:charges +down +4 .* 0 +0 +0 +0 +0 +-$`, lines[1])
	require.Regexp(t, `^vendor +up +4 .* 1 +2 +0 +7 +0 +`+s.ids[3]+`$`, lines[2])
	require.Regexp(t, `^kafka:charges: down since 20.*: no\\u001b\[0m broker$`, lines[3])

	var status relay.Status
	require.NoError(t, json.Unmarshal([]byte(s.ok("status -format json -destination vendor")), &status))
	require.Equal(t, int64(2), status.Dead)
	require.Equal(t, "no relay has delivered events of this platform\n", s.ok("status -platform acme"))
	code, _, log := s.run("status -destination none")
	require.Equal(t, 1, code)
	require.Equal(t, "chargectl: relay status: there is no destination \"none\"; there are: \"kafka:charges\", \"vendor\"\n", log)
}

func TestRelayAttempts(t *testing.T) {
	s := newRelayServer(t, "a", "b")
	s.ok("skip -destination a " + s.ids[0])
	want := "a: skipped, 1 attempt\n" +
		"  2026-09-01T12:00:00Z  rejected   status 400: INVALID_FIELD: value.number: must be a \\u001b[31mdecimal\n" +
		"  2026-09-01T12:00:00Z  skip       by ada\n"
	require.Equal(t, want, s.ok("dead -destination a "+s.ids[0]))
	require.True(t, strings.HasPrefix(s.ok("status "+s.ids[0]), want+"b: dead, 1 attempt\n"))
	require.Equal(t, "a: parked, 1 attempt, next at 2026-09-01T13:00:00Z\n  2026-09-01T12:00:00Z  deferred   -\n", s.ok("status -destination a "+s.ids[2]))
	require.Equal(t, 2, strings.Count(s.ok("status -format json "+s.ids[0]), "\n"))
	code, _, log := s.run("status none")
	require.Equal(t, 1, code)
	require.Contains(t, log, "404 RESOURCE_NOT_FOUND")
}

func TestRelayDead(t *testing.T) {
	s := newRelayServer(t, "vendor")
	require.Equal(t, s.ids[0]+"  dead       2026-09-01T12:00:00Z     1 attempt  status 400: INVALID_FIELD: value.number: must be a \\u001b[31mdecimal\n"+
		s.ids[1]+"  dead       2026-09-01T12:00:00Z     1 attempt  OTHER\n", s.ok("dead"))
	require.Equal(t, 1, strings.Count(s.ok("dead -code OTHER"), "\n"))
	require.Contains(t, s.ok("dead -state parked"), s.ids[2])
	require.Empty(t, s.ok("dead -state skipped"))
	var e relay.Entry
	require.NoError(t, json.Unmarshal([]byte(s.ok("dead -code OTHER -format json")), &e))
	require.Equal(t, s.ids[1], e.EventID)
}

func TestRelayPages(t *testing.T) {
	s := newRelayServer(t)
	var p relay.Progress
	for i := range 2500 {
		p.Entries = append(p.Entries, relay.EntryChange{EventID: fmt.Sprint("event-", i), State: relay.Dead, Attempt: relay.Attempt{At: relayTime}})
	}
	s.save("vendor", p)
	lines := strings.Split(strings.TrimSpace(s.ok("dead")), "\n")
	require.Len(t, lines, 2500)
	var ids []string
	for i, line := range lines {
		require.True(t, strings.HasPrefix(line, fmt.Sprintf("event-%d ", i)), line)
		ids = append(ids, strings.Fields(line)[0])
	}
	require.Equal(t, "2500 events skipped for vendor\n", s.ok("skip "+strings.Join(ids, " ")))
}

func TestRelayResolve(t *testing.T) {
	s := newRelayServer(t, "vendor")
	require.Equal(t, "1 event will be sent again to vendor\n", s.ok("retry "+s.ids[0]))
	require.Equal(t, relay.Parked, s.state("vendor", 0))
	require.Equal(t, "{\"changed\":1}\n", s.ok("skip -code OTHER -format json"))
	require.Equal(t, relay.Skipped, s.state("vendor", 1))
	require.Equal(t, "2 events skipped for vendor\n", s.ok("skip -state parked"))
	require.Equal(t, "0 events will be sent again to vendor\n", s.ok("retry -all"))
	require.Equal(t, "3 events will be sent again to vendor\n", s.ok("retry -all -state skipped"))
	code, out, log := s.run("retry " + s.ids[0] + " none")
	require.Equal(t, 1, code)
	require.Equal(t, "1 event will be sent again to vendor\n", out)
	require.Contains(t, log, "not changed: 1 of 2 events; vendor has no entry")
	code, out, log = s.run("retire -destination none")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, log, "no relay has delivered events of the platform to this destination")
	require.Equal(t, "vendor is retired\n", s.ok("retire -destination vendor"))
	code, out, log = s.run("retry -all -state skipped")
	require.Equal(t, 1, code)
	require.Empty(t, out)
	require.Contains(t, log, "the destination was retired: nothing is sent to it any more")
	require.Contains(t, s.ok("status"), "vendor: retired by ada at 2026-09-01T12:00:00Z\n")
}

func TestRelayUsage(t *testing.T) {
	s := newRelayServer(t, "a", "b")
	for args, want := range map[string]string{
		"dead":                   `relay dead: -destination must be given; there are: "a", "b"`,
		"retry -all":             `relay retry: -destination must be given; there are: "a", "b"`,
		"retry":                  "relay retry: IDs, -all, -state or -code must be given",
		"skip x -all":            "relay skip: -all, -state and -code do not apply together with IDs",
		"status a b":             "relay status: one ID must be given, not 2",
		"dead a -code x":         "relay dead: -state and -code do not apply together with an ID",
		"dead -state pending":    `-state: must be dead or parked or skipped or delivered, not "pending"`,
		"retire":                 "relay retire: -destination must be given",
		"retire x":               `relay retire: unexpected argument "x"`,
		"status -format csv":     `-format: must be text or json, not "csv"`,
		"unknown -destination a": `unknown command "relay unknown"; ` + listCommands(),
	} {
		code, out, log := s.run(args)
		require.Equal(t, 2, code, args)
		require.Equal(t, "chargectl: "+want+"\n", log)
		require.Empty(t, out)
	}
}

func TestRelayFailures(t *testing.T) {
	for name, c := range map[string]struct {
		handler http.HandlerFunc
		want    string
	}{
		"no relay":   {http.NotFound, "the server has no relay at this URL"},
		"not JSON":   {func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, "the response is not from a relay"},
		"proxy":      {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }, "502 Bad Gateway"},
		"redirect":   {http.RedirectHandler("http://other/", http.StatusFound).ServeHTTP, "302 Found"},
		"cut off":    {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, "connection closed"},
		"rejections": {newRelayServer(t).handler.ServeHTTP, "401 UNAUTHORISED: invalid API key or token"},
	} {
		t.Run(name, func(t *testing.T) {
			tp := newOfflineProgram(c.handler)
			require.Equal(t, 1, tp.run(t.Context(), []string{"relay", "status", "-url", offline + "/", "-api-key", "wrong"}))
			require.Contains(t, tp.log.String(), "chargectl: relay status: ")
			require.Contains(t, tp.log.String(), c.want)
		})
	}
}

func TestRelayDocument(t *testing.T) {
	text, err := os.ReadFile("../../docs/data.md")
	require.NoError(t, err)
	const heading = "Relay"
	_, section, found := strings.Cut(string(text), "\n## "+heading+"\n")
	require.True(t, found)
	_, block, _ := strings.Cut(section, "```sh\n")
	block, _, _ = strings.Cut(block, "```")
	s := newRelayServer(t, "vendor")
	for line := range strings.Lines(block) {
		command, _, _ := strings.Cut(line, "#")
		args, isRelay := strings.CutPrefix(strings.TrimSpace(command), "chargectl relay ")
		require.True(t, isRelay, line)
		s.ok(strings.ReplaceAll(args, `"$ID"`, s.ids[0]))
	}
}
