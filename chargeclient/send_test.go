package chargeclient_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

func TestSend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		for _, reference := range []string{"order-42", ""} {
			stored, replayed, err := c.Send(t.Context(), chargetest.Sample(reference))
			require.NoError(t, err)
			require.False(t, replayed)
			require.Equal(t, srv.Events()[len(srv.Events())-1].ChargeEvent, stored.ChargeEvent)
			require.Equal(t, strings.TrimSpace(string(srv.Requests()[len(srv.Requests())-1].ResponseBody)), string(stored.JSON))
			got, err := c.Get(t.Context(), stored.ID)
			require.NoError(t, err)
			require.Equal(t, stored, got)
			_, replayed, err = c.Send(t.Context(), chargetest.Sample(reference))
			require.NoError(t, err)
			require.Equal(t, reference != "", replayed)
		}
		srv.AssertCount(t, 3)
		srv.AssertNoRejections(t)
		require.Equal(t, chargeingest.RouteSingle, srv.Requests()[0].Route)
	})
}

func TestSendBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		events := []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample(""), chargetest.Sample("b"), chargetest.Sample("a")}
		result, err := c.SendBatch(t.Context(), events)
		require.NoError(t, err)
		require.Equal(t, 1, result.Replayed)
		require.Len(t, result.Events, 4)
		require.Equal(t, result.Events[0], result.Events[3])
		srv.AssertCount(t, 3)
		page, err := c.List(t.Context(), chargeclient.Query{Ascending: true})
		require.NoError(t, err)
		require.Equal(t, result.Events[:3], page.Events)
		result, err = c.SendBatch(t.Context(), nil)
		require.NoError(t, err)
		require.Zero(t, result)
		require.Len(t, srv.Requests(), 2)
	})
}

func samples(n int) []chargeingest.ChargeEvent {
	events := make([]chargeingest.ChargeEvent, n)
	for i := range events {
		events[i] = chargetest.Sample("r-" + strconv.Itoa(i))
	}
	return events
}

func TestBatchesAreSplit(t *testing.T) {
	one, err := json.Marshal(samples(1)[0])
	require.NoError(t, err)
	limitEvents := func(n int) func(*chargeingest.Config) {
		return func(cfg *chargeingest.Config) { cfg.MaxBatchEvents = n }
	}
	limitBytes := func(n int64) func(*chargeingest.Config) {
		return func(cfg *chargeingest.Config) { cfg.MaxBodyBytes = n }
	}
	brackets := len(`{"charge_datas":[]}`)
	for _, c := range []struct {
		name   string
		client func(*chargeclient.Config)
		server func(*chargeingest.Config)
		want   []int
	}{
		{"by events", func(cfg *chargeclient.Config) { cfg.MaxBatchEvents = 4 }, nil, []int{4, 4, 2}},
		{"by bytes", func(cfg *chargeclient.Config) { cfg.MaxBatchBytes = brackets + 3*(len(one)+1) }, nil, []int{3, 3, 3, 1}},
		{"by one byte less", func(cfg *chargeclient.Config) { cfg.MaxBatchBytes = brackets + 3*(len(one)+1) - 1 }, nil, []int{2, 2, 2, 2, 2}},
		{"larger events alone", func(cfg *chargeclient.Config) { cfg.MaxBatchBytes = 1 }, nil, []int{1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"by the bytes of the server", nil, limitBytes(int64(brackets + 3*(len(one)+1))), []int{10, 5, 3, 3, 3, 1}},
		{"by the events of the server", nil, limitEvents(2), []int{10, 5, 3, 2, 2, 2, 2, 2}},
		{"down to single events", nil, limitEvents(1), []int{10, 5, 3, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}},
		{"not without a limit", nil, nil, []int{10}},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				srv := chargetest.NewWith(t, chargetest.Options{Configure: c.server})
				client := newClient(t, srv, func(cfg *chargeclient.Config) {
					if c.client != nil {
						c.client(cfg)
					}
				})
				result, err := client.SendBatch(t.Context(), samples(10))
				require.NoError(t, err)
				for i, e := range result.Events {
					require.Equal(t, "r-"+strconv.Itoa(i), *e.Reference)
				}
				require.Len(t, result.Events, 10)
				var sizes []int
				for _, r := range srv.Requests() {
					sizes = append(sizes, len(r.Events))
				}
				require.Equal(t, c.want, sizes)
				srv.AssertCount(t, 10)
				result, err = client.SendBatch(t.Context(), samples(10))
				require.NoError(t, err)
				require.Equal(t, 10, result.Replayed)
			})
		})
	}
	t.Run("an event that is too large is an error", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			events := samples(5)
			events[3].Description = new(strings.Repeat("x", 256))
			srv := chargetest.NewWith(t, chargetest.Options{Configure: limitBytes(int64(brackets + len(one) + 3))})
			result, err := newClient(t, srv).SendBatch(t.Context(), events)
			var failed *chargeclient.Error
			require.ErrorAs(t, err, &failed)
			require.Equal(t, http.StatusRequestEntityTooLarge, failed.Status)
			require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			require.Len(t, result.Events, 3)
			srv.AssertCount(t, 3)
		})
	})
}

func TestRejectedBatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.Seed(t, chargetest.Sample("r-9"))
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.MaxBatchEvents = 4 })
		events := samples(10)
		events[6].PricingID, events[7].Value.Amount.Currency = "", "euro"
		result, err := c.SendBatch(t.Context(), events)
		var failed *chargeclient.Error
		require.ErrorAs(t, err, &failed)
		require.NotErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
		require.Len(t, result.Events, 4)
		require.Equal(t, 400, failed.Status)
		require.Equal(t, chargeingest.CodeInvalidField, failed.Code)
		require.Equal(t, "charge_datas.6.pricing_id", failed.Field)
		require.Equal(t, "reqr_00000000000000000002", failed.RequestID)
		require.Equal(t, 1, failed.Attempts)
		require.Len(t, failed.Violations, 2)
		for i, field := range []string{"charge_datas.6.pricing_id", "charge_datas.7.value.amount.currency"} {
			require.Equal(t, field, failed.Violations[i].Field)
			require.True(t, strings.HasPrefix(failed.Violations[i].Message, field+" must"), failed.Violations[i].Message)
		}
		require.Equal(t, failed.Violations[0].Message, failed.Message)
		require.True(t, strings.HasPrefix(err.Error(), "response 400 Bad Request: INVALID_FIELD: charge_datas.6.pricing_id must"), err)
		require.True(t, strings.HasSuffix(err.Error(), " (and 1 more), request reqr_00000000000000000002"), err)

		events = samples(10)
		events[9].Value.Amount.Quantity = "1"
		result, err = c.SendBatch(t.Context(), events)
		require.ErrorAs(t, err, &failed)
		require.Len(t, result.Events, 8)
		require.Equal(t, 4, result.Replayed)
		require.Equal(t, chargeingest.CodeResourceAlreadyExists, failed.Code)
		require.Equal(t, "charge_datas.9.reference", failed.Field)
		stored, _ := srv.Event("r-9")
		require.Equal(t, stored.ID, failed.ResourceID)
	})
}

func TestSplitAfterLostResponse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(1, chargetest.Reset().AfterCommit())
		srv.FailNext(1, chargetest.Status(413))
		_, err := newClient(t, srv).SendBatch(t.Context(), []chargeingest.ChargeEvent{chargetest.Sample(""), chargetest.Sample("")})
		require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
		srv.AssertCount(t, 2)
	})
}

func TestKeyIsPerRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		srv.FailNext(2, chargetest.Truncated())
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.MaxBatchEvents = 2 })
		_, err := c.SendBatch(t.Context(), []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample(""), chargetest.Sample(""), chargetest.Sample("")})
		require.NoError(t, err)
		_, err = c.SendBatch(t.Context(), []chargeingest.ChargeEvent{chargetest.Sample("b"), chargetest.Sample("c")})
		require.NoError(t, err)
		var keys []string
		for _, r := range srv.Requests() {
			keys = append(keys, r.Header.Get("Idempotency-Key"))
		}
		require.Len(t, keys, 5)
		require.Equal(t, []string{keys[0], keys[0], keys[0]}, keys[:3], "the same for each attempt")
		require.Regexp(t, `^[A-Z2-7]{26}$`, keys[0])
		require.NotEqual(t, keys[0], keys[3])
		require.Empty(t, keys[4], "references are enough")
	})
}

func TestSendJSON(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv)
		raw := func(texts ...string) (list []json.RawMessage) {
			for _, text := range texts {
				list = append(list, json.RawMessage(text))
			}
			return list
		}
		text, err := json.Marshal(chargetest.Sample("a"))
		require.NoError(t, err)
		spaced := strings.Replace(string(text), ":", "\n : ", 1)
		result, err := c.SendJSON(t.Context(), chargeclient.Request{Events: raw(spaced), IdempotencyKey: "k"})
		require.NoError(t, err)
		require.Equal(t, "a", *result.Events[0].Reference)
		require.Equal(t, `{"charge_datas":[`+spaced+`]}`, string(srv.Requests()[0].Body))
		require.Equal(t, "k", srv.Requests()[0].Header.Get("Idempotency-Key"))

		for name, event := range map[string]string{
			"no reference": `{}`, "null": `{"reference":null}`, "empty": `{"reference":""}`, "a number": `{"reference":1}`,
			"another name": `{"Reference":"a"}`, "no object": `[]`,
		} {
			srv.Reset()
			_, err := c.SendJSON(t.Context(), chargeclient.Request{Events: raw(string(text), event)})
			require.Error(t, err)
			require.NotEmpty(t, srv.Requests()[0].Header.Get("Idempotency-Key"), name)
		}
		srv.Reset()
		_, err = c.SendJSON(t.Context(), chargeclient.Request{})
		require.EqualError(t, err, "chargeclient: Request.Events is empty")
		for _, invalid := range []string{"", "{", `{},{}`, `{}],"x":[{}`} {
			_, err = c.SendJSON(t.Context(), chargeclient.Request{Events: raw(string(text), invalid)})
			require.EqualError(t, err, "chargeclient: Request.Events: event 1 is not valid JSON")
		}
		for _, key := range []string{"a b", "é", "a\r\nb", strings.Repeat("x", 256)} {
			_, err = c.SendJSON(t.Context(), chargeclient.Request{Events: raw(string(text)), IdempotencyKey: key})
			require.EqualError(t, err, "chargeclient: Request.IdempotencyKey must be 1 to 255 visible ASCII characters")
		}
		require.Empty(t, srv.Requests())
	})
}

func TestUnencodableEventIsNotSent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		c := newClient(t, srv, func(cfg *chargeclient.Config) { cfg.MaxBatchEvents = 1 })
		for _, extra := range []chargeingest.ExtraField{{Name: "x", Value: json.RawMessage("{")}, {Name: "\xff", Value: json.RawMessage("1")}} {
			e := chargetest.Sample("a")
			e.Extra = []chargeingest.ExtraField{extra}
			_, _, err := c.Send(t.Context(), e)
			require.ErrorContains(t, err, "chargeclient: charge event:")
			_, err = c.SendBatch(t.Context(), []chargeingest.ChargeEvent{chargetest.Sample("b"), e})
			require.ErrorContains(t, err, "chargeclient: event 1: charge event:")
		}
		require.Empty(t, srv.Requests())
	})
}

func TestWrongBatchResponse(t *testing.T) {
	other := strings.Replace(storedSample, `"a"`, `"b"`, 1)
	count := "Idempotent-Replayed-Count: 0"
	for name, c := range map[string]struct {
		headers []string
		events  string
	}{
		"fewer events":          {[]string{count}, storedSample},
		"more events":           {[]string{count}, storedSample + "," + other + "," + other},
		"another order":         {[]string{count}, other + "," + storedSample},
		"an event of no id":     {[]string{count}, storedSample + `,{"reference":"b"}`},
		"no count":              {nil, storedSample + "," + other},
		"a negative count":      {[]string{"Idempotent-Replayed-Count: -1"}, storedSample + "," + other},
		"a count of too many":   {[]string{"Idempotent-Replayed-Count: 3"}, storedSample + "," + other},
		"something else inside": {[]string{count}, `1,2`},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClientOf(t, func(r *http.Request) (*http.Response, error) {
				return respond(r, 201, `{"charge_datas":[`+c.events+`]}`, c.headers...)
			})
			_, err := client.SendBatch(t.Context(), []chargeingest.ChargeEvent{chargetest.Sample("a"), chargetest.Sample("b")})
			require.ErrorIs(t, err, chargeingest.ErrOutcomeUnknown)
			require.ErrorContains(t, err, "response")
		})
	}
}

func TestEndlessResponse(t *testing.T) {
	endless := func(r *http.Request, status int) (*http.Response, error) {
		res, err := respond(r, status, "")
		res.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"message":"`), spaces{}))
		return res, err
	}
	for _, status := range []int{201, 400} {
		client := newClientOf(t, func(r *http.Request) (*http.Response, error) { return endless(r, status) })
		_, _, err := client.Send(t.Context(), chargetest.Sample("a"))
		require.ErrorContains(t, err, strconv.Itoa(status))
		require.Less(t, len(err.Error()), 1000)
	}
}

type spaces struct{}

func (spaces) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
}

func TestConcurrentCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := chargetest.New(t)
		for i, f := range []chargetest.Fault{chargetest.Reset().AfterCommit(), chargetest.Truncated(), chargetest.Status(503)} {
			srv.FailSometimes(0.2, uint64(i), f)
		}
		c := newClient(t, srv)
		var all sync.WaitGroup
		for worker := range 8 {
			all.Go(func() {
				for i := range 20 {
					e := chargetest.Sample("")
					e.Description = new(fmt.Sprintf("event-%d-%d", worker, i))
					if _, _, err := c.Send(t.Context(), e); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		srv.AssertCount(t, 160)
		var descriptions []string
		for _, e := range srv.Events() {
			descriptions = append(descriptions, *e.Description)
		}
		slices.Sort(descriptions)
		require.Len(t, slices.Compact(descriptions), 160)
	})
}
