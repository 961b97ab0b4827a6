package chargeclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

var errLost = errors.New("lost")

var faults = map[string]func(*chargetest.Server){
	"Status":           failWith(chargetest.Status(503)),
	"Reset":            failWith(chargetest.Reset()),
	"Delay":            failWith(chargetest.Delay(time.Hour)),
	"StoreError":       failWith(chargetest.StoreError(errLost)),
	"Truncated":        failWith(chargetest.Truncated()),
	"Malformed":        failWith(chargetest.Malformed()),
	"SlowBody":         failWith(chargetest.SlowBody(time.Hour)),
	"Fault.RetryAfter": failWith(chargetest.Status(429).RetryAfter(time.Hour)),
	"Fault.Code":       failWith(chargetest.Status(400).Code(chargeingest.CodeInvalidField)),
	"Fault.Message":    failWith(chargetest.Status(500).Message("injected")),
	"Fault.Field":      failWith(chargetest.Status(409).Field("charge_datas.0.reference")),
	"Fault.Delay":      failWith(chargetest.Status(504).Delay(time.Minute)),
	"Fault.AfterCommit": func(srv *chargetest.Server) {
		for _, f := range []chargetest.Fault{
			chargetest.Status(500), chargetest.Status(503), chargetest.Reset(),
			chargetest.Delay(time.Hour), chargetest.StoreError(errLost),
		} {
			srv.FailNext(2, f.AfterCommit())
		}
	},
	"Server.FailNext":      func(srv *chargetest.Server) { srv.FailNext(20, chargetest.Status(502)) },
	"Server.FailFor":       func(srv *chargetest.Server) { srv.FailFor(time.Hour, chargetest.Status(503)) },
	"Server.FailSometimes": func(srv *chargetest.Server) { srv.FailSometimes(0.9, 1, chargetest.Truncated()) },
	"Server.Quota":         func(srv *chargetest.Server) { srv.Quota(1, 10*time.Second) },
	"Server.Restart": func(srv *chargetest.Server) {
		srv.FailNext(1, chargetest.Delay(time.Minute))
		srv.FailNext(1, chargetest.Delay(time.Minute).AfterCommit())
		go func() {
			for range 2 {
				time.Sleep(40 * time.Second)
				srv.Restart()
			}
		}()
	},
}

func failWith(f chargetest.Fault) func(*chargetest.Server) {
	return func(srv *chargetest.Server) { srv.FailNext(1, f) }
}

func TestFaultsAreComplete(t *testing.T) {
	files, err := filepath.Glob("../chargetest/*.go")
	require.NoError(t, err)
	var exported []string
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		require.NoError(t, err)
		for _, d := range file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() {
				continue
			}
			receiver := ""
			if f.Recv != nil {
				receiver = typeName(f.Recv.List[0].Type) + "."
			}
			injects := f.Type.Results != nil && slices.Contains([]string{"Fault", "Rule"}, typeName(f.Type.Results.List[0].Type))
			if injects || receiver+f.Name.Name == "Server.Restart" {
				exported = append(exported, receiver+f.Name.Name)
			}
		}
	}
	slices.Sort(exported)
	require.Equal(t, exported, slices.Sorted(maps.Keys(faults)))
}

func typeName(e ast.Expr) string {
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if name, ok := e.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// application delivers events as docs/client.md demands.
type application struct {
	t      *testing.T
	server *chargetest.Server
	client *chargeclient.Client
	sent   int
}

func newApplication(t *testing.T) *application {
	srv := chargetest.NewWith(t, chargetest.Options{RunningClock: true})
	return &application{t: t, server: srv, client: newClient(t, srv)}
}

type form struct {
	name       string
	send       func(context.Context, *chargeclient.Client, []chargeingest.ChargeEvent) (chargeclient.Result, error)
	events     int
	references func(i int) bool
}

var forms = []form{
	{"one event with a reference", sendSingle, 1, always},
	{"one event without a reference", sendSingle, 1, never},
	{"a batch with references", sendBatch, 5, always},
	{"a batch without references", sendBatch, 5, never},
	{"a batch with some references", sendBatch, 5, func(i int) bool { return i%2 == 0 }},
	{"JSON with references", sendJSON, 3, always},
	{"JSON without references", sendJSON, 3, never},
}

func always(int) bool { return true }
func never(int) bool  { return false }

func sendSingle(ctx context.Context, c *chargeclient.Client, events []chargeingest.ChargeEvent) (chargeclient.Result, error) {
	e, _, err := c.Send(ctx, events[0])
	if err != nil {
		return chargeclient.Result{}, err
	}
	return chargeclient.Result{Events: []chargeclient.Event{e}}, nil
}

func sendBatch(ctx context.Context, c *chargeclient.Client, events []chargeingest.ChargeEvent) (chargeclient.Result, error) {
	return c.SendBatch(ctx, events)
}

func sendJSON(ctx context.Context, c *chargeclient.Client, events []chargeingest.ChargeEvent) (chargeclient.Result, error) {
	var r chargeclient.Request
	for _, e := range events {
		text, err := json.Marshal(e)
		if err != nil {
			return chargeclient.Result{}, err
		}
		r.Events = append(r.Events, text)
	}
	return c.SendJSON(ctx, r)
}

func (a *application) deliver(f form) {
	customer := fmt.Sprintf("customer-%d", a.sent)
	var events []chargeingest.ChargeEvent
	for i := range f.events {
		a.sent++
		name := fmt.Sprintf("event-%d", a.sent)
		e := chargetest.Sample("")
		if f.references(i) {
			e.Reference = &name
		}
		e.Description, e.CustomerReference = &name, &customer
		events = append(events, e)
	}
	for range 50 {
		result, err := f.send(a.t.Context(), a.client, events)
		var failed *chargeclient.Error
		switch {
		case err == nil:
			require.Len(a.t, result.Events, len(events))
			for i, e := range result.Events {
				require.Equal(a.t, *events[i].Description, *e.Description)
			}
			return
		case !errors.Is(err, chargeingest.ErrOutcomeUnknown):
			require.ErrorAs(a.t, err, &failed)
			events = events[len(result.Events):]
		case slices.ContainsFunc(events, func(e chargeingest.ChargeEvent) bool { return e.Reference == nil }):
			events = a.notStored(customer, events)
			if len(events) == 0 {
				return
			}
		}
	}
	require.Fail(a.t, "not delivered")
}

func (a *application) notStored(customer string, events []chargeingest.ChargeEvent) []chargeingest.ChargeEvent {
	var page chargeclient.Page
	require.Eventually(a.t, func() bool {
		var err error
		page, err = a.client.List(a.t.Context(), chargeclient.Query{CustomerReference: customer})
		return err == nil
	}, time.Hour, time.Second)
	return slices.DeleteFunc(slices.Clone(events), func(e chargeingest.ChargeEvent) bool {
		return slices.ContainsFunc(page.Events, func(stored chargeclient.Event) bool { return *stored.Description == *e.Description })
	})
}

func (a *application) requireEachStoredOnce() {
	count := make(map[string]int)
	for _, e := range a.server.Events() {
		count[*e.Description]++
	}
	for i := range a.sent {
		name := fmt.Sprintf("event-%d", i+1)
		if count[name] != 1 {
			for _, r := range a.server.Requests() {
				if slices.ContainsFunc(r.Events, func(e chargeingest.ChargeEvent) bool { return *e.Description == name }) {
					a.t.Log(r.ReceivedAt.Format(time.TimeOnly), r)
				}
			}
		}
		require.Equal(a.t, 1, count[name], name)
	}
	require.Len(a.t, count, a.sent)
}

func TestEachFault(t *testing.T) {
	for name, inject := range faults {
		for _, f := range forms {
			t.Run(name+"/"+f.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a := newApplication(t)
					inject(a.server)
					a.deliver(f)
					a.deliver(f)
					a.requireEachStoredOnce()
				})
			})
		}
	}
}

// randomFault returns no 4xx after the commit, which the contract excludes.
func randomFault(r *rand.Rand) chargetest.Fault {
	delay := time.Duration(r.Int64N(int64(5 * time.Minute)))
	f := []chargetest.Fault{
		chargetest.Status([]int{400, 401, 403, 404, 405, 408, 409, 413, 415, 429}[r.IntN(10)]).RetryAfter(delay),
		chargetest.Status([]int{500, 501, 502, 503, 504, 507}[r.IntN(6)]).RetryAfter(delay),
		chargetest.Reset(),
		chargetest.Delay(1 + delay),
		chargetest.StoreError(errLost),
		chargetest.StoreError(chargeingest.ErrOverloaded),
		chargetest.Truncated(),
		chargetest.Malformed(),
		chargetest.SlowBody(1 + delay),
	}
	i := r.IntN(len(f))
	if mayCommit := []int{1, 2, 3, 4}; slices.Contains(mayCommit, i) && r.IntN(2) == 0 {
		return f[i].AfterCommit()
	}
	return f[i]
}

var seedFlag = flag.Uint64("seed", 0, "seed of the random faults; 0 means random")

func TestThousandRandomFaults(t *testing.T) {
	const wanted = 1000
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(seed, 0))
		a := newApplication(t)
		injected := 0
		for injected < wanted {
			var rules []*chargetest.Rule
			for range 1 + r.IntN(4) {
				rules = append(rules, a.server.FailNext(1, randomFault(r)))
			}
			if r.IntN(10) == 0 {
				go func() {
					time.Sleep(time.Second)
					a.server.Restart()
				}()
			}
			a.deliver(forms[r.IntN(len(forms))])
			for _, rule := range rules {
				injected += rule.Hits()
				rule.Remove()
			}
		}
		a.requireEachStoredOnce()
		t.Logf("%d events, %d faults, %d requests", a.sent, injected, len(a.server.Requests()))
	})
}
