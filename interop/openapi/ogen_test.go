package openapi_test

import (
	"context"
	"testing"

	"github.com/ogen-go/ogen/ogenerrors"
	"github.com/stretchr/testify/require"

	"example.com/chargeingest/interop/openapi/ogen"
)

type credentials struct{ apiKey, token string }

func (c credentials) ApiKey(context.Context, ogen.OperationName) (ogen.ApiKey, error) { //nolint:revive // as ogen names it
	if c.apiKey == "" {
		return ogen.ApiKey{}, ogenerrors.ErrSkipClientSecurity
	}
	return ogen.ApiKey{APIKey: c.apiKey}, nil
}

func (c credentials) Bearer(context.Context, ogen.OperationName) (ogen.Bearer, error) {
	if c.token == "" {
		return ogen.Bearer{}, ogenerrors.ErrSkipClientSecurity
	}
	return ogen.Bearer{Token: c.token}, nil
}

func ogenClient(t *testing.T, url string, c credentials) *ogen.Client {
	t.Helper()
	client, err := ogen.NewClient(url, c, ogen.WithClient(validated(t)))
	require.NoError(t, err)
	return client
}

func is[T any](t *testing.T) func(response any, err error) T {
	t.Helper()
	return func(response any, err error) T {
		t.Helper()
		require.NoError(t, err)
		require.IsType(t, *new(T), response, "%+v", response)
		return response.(T)
	}
}

func TestOgenEvents(t *testing.T) {
	ctx := t.Context()
	client := ogenClient(t, startServer(t), credentials{apiKey: apiKey})
	ingest := func(event ogen.ChargeEvent) (any, error) {
		return client.IngestChargeEvent(ctx, &event, ogen.IngestChargeEventParams{})
	}

	created := is[*ogen.StoredChargeEventHeaders](t)(ingest(as[ogen.ChargeEvent](t, event)))
	stored := created.Response
	require.EqualValues(t, lowerCase, stored.Timestamp)
	require.EqualValues(t, "00012345678901234567890123456789012.50", stored.Value.Value.Amount.Value.Quantity)
	require.True(t, stored.CustomerReference.Null)
	require.Equal(t, "CHARGE_DATA", stored.ObjectType)
	require.False(t, created.IdempotentReplayed.Set)

	events := as[ogen.ChargeEvents](t, batch)
	several := is[*ogen.StoredChargeEventsHeaders](t)(client.IngestChargeEvents(ctx, &events, ogen.IngestChargeEventsParams{}))
	require.Len(t, several.Response.ChargeDatas, 3)
	require.Equal(t, stored, several.Response.ChargeDatas[0])
	require.Equal(t, 1, several.IdempotentReplayedCount)

	read := is[*ogen.GetChargeEventOKHeaders](t)(client.GetChargeEvent(ctx, ogen.GetChargeEventParams{ID: stored.ID}))
	require.Equal(t, stored, read.Response)
	is[*ogen.HeadChargeEventOK](t)(client.HeadChargeEvent(ctx, ogen.HeadChargeEventParams{ID: stored.ID}))

	var all []ogen.StoredChargeEvent
	params := ogen.ListChargeEventsParams{Order: ogen.NewOptOrder(ogen.OrderAsc), Limit: ogen.NewOptInt(2)}
	for more := true; more; more = params.After.Set {
		page := is[*ogen.ChargeEventListHeaders](t)(client.ListChargeEvents(ctx, params))
		require.True(t, page.Response.Position.Set)
		all = append(all, page.Response.Data...)
		params.After = ogen.OptCursor{Value: page.Response.Next.Value, Set: !page.Response.Next.Null}
	}
	require.Equal(t, several.Response.ChargeDatas, all)

	replayed := is[*ogen.StoredChargeEventHeaders](t)(ingest(again[ogen.ChargeEvent](t, &all[0])))
	require.Equal(t, stored, replayed.Response)
	require.True(t, replayed.IdempotentReplayed.Value)
}

func TestOgenErrors(t *testing.T) {
	ctx := t.Context()
	url := startServer(t)
	ingestAs := func(c credentials, text string) (any, error) {
		event := as[ogen.ChargeEvent](t, text)
		return ogenClient(t, url, c).IngestChargeEvent(ctx, &event, ogen.IngestChargeEventParams{})
	}
	valid := credentials{apiKey: apiKey}
	client := ogenClient(t, url, valid)
	first := is[*ogen.StoredChargeEventHeaders](t)(ingestAs(valid, event))

	rejected := is[*ogen.BadRequestHeaders](t)(ingestAs(valid, invalid)).Response
	require.Equal(t, ogen.ErrorTypeINVALIDREQUEST, rejected.Type)
	require.Equal(t, ogen.ErrorCodeINVALIDFIELD, rejected.Code)
	require.Equal(t, "value.number", rejected.Field.Value)
	require.Len(t, rejected.Errors, 2)
	require.Equal(t, "timestamp", rejected.Errors[1].Field)

	unauthorised := is[*ogen.UnauthorisedHeaders](t)(ingestAs(credentials{apiKey: "wrong"}, event))
	require.Equal(t, ogen.ErrorCodeUNAUTHORISED, unauthorised.Response.Code)
	require.Equal(t, "Bearer", unauthorised.WWWAuthenticate)

	forbidden := is[*ogen.ForbiddenHeaders](t)(ingestAs(credentials{apiKey: viewKey}, event))
	require.Equal(t, ogen.ErrorCodeUSERNOTALLOWED, forbidden.Response.Code)

	missing := is[*ogen.NoSuchEventHeaders](t)(client.GetChargeEvent(ctx, ogen.GetChargeEventParams{ID: unknownID}))
	require.Equal(t, unknownID, missing.Response.ResourceID.Value)
	is[*ogen.HeadNotFound](t)(client.HeadChargeEvent(ctx, ogen.HeadChargeEventParams{ID: unknownID}))

	conflict := is[*ogen.ConflictHeaders](t)(ingestAs(valid, changed)).Response
	require.Equal(t, ogen.ErrorCodeRESOURCEALREADYEXISTS, conflict.Code)
	require.Equal(t, first.Response.ID, conflict.ResourceID.Value)

	is[*ogen.TooLargeHeaders](t)(ingestAs(valid, tooLarge))

	page := is[*ogen.BadQueryHeaders](t)(client.ListChargeEvents(ctx, ogen.ListChargeEventsParams{Limit: ogen.NewOptInt(1001)}))
	require.Equal(t, "limit", page.Response.Field.Value)

	unavailable := is[*ogen.UnavailableHeaders](t)(ingestAs(credentials{token: token}, event))
	require.True(t, unavailable.IdempotencyRetryable)
	require.Positive(t, unavailable.RetryAfter)
}

func TestOgenUnknownFields(t *testing.T) {
	client := ogenClient(t, keepingServer(t), credentials{apiKey: apiKey})
	page := is[*ogen.ChargeEventListHeaders](t)(client.ListChargeEvents(t.Context(), ogen.ListChargeEventsParams{}))
	require.EqualValues(t, "1", page.Response.Data[0].Value.Value.Amount.Value.Quantity)
}
