package openapi_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest/interop/openapi/oapicodegen"
)

func oapiCodegen(t *testing.T, url, header, value string) *oapicodegen.ClientWithResponses {
	t.Helper()
	client, err := oapicodegen.NewClientWithResponses(url, oapicodegen.WithHTTPClient(validated(t)),
		oapicodegen.WithRequestEditorFn(func(_ context.Context, r *http.Request) error {
			r.Header.Set(header, value)
			return nil
		}))
	require.NoError(t, err)
	return client
}

func TestOapiCodegenEvents(t *testing.T) {
	ctx := t.Context()
	client := oapiCodegen(t, startServer(t), "X-API-KEY", apiKey)

	created, err := client.IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, event))
	require.NoError(t, err)
	require.NotNil(t, created.JSON201, string(created.Body))
	stored := created.JSON201
	require.Equal(t, lowerCase, stored.Timestamp)
	require.Equal(t, "00012345678901234567890123456789012.50", stored.Value.Amount.Quantity)
	require.Nil(t, stored.CustomerReference)
	require.Equal(t, oapicodegen.StoredChargeEventObjectTypeCHARGEDATA, stored.ObjectType)
	require.Nil(t, created.Headers201.IdempotentReplayed)

	several, err := client.IngestChargeEventsWithResponse(ctx, nil, as[oapicodegen.ChargeEvents](t, batch))
	require.NoError(t, err)
	require.NotNil(t, several.JSON201, string(several.Body))
	require.Len(t, several.JSON201.ChargeDatas, 3)
	require.Equal(t, *stored, several.JSON201.ChargeDatas[0])
	require.Equal(t, 1, several.Headers201.IdempotentReplayedCount)

	read, err := client.GetChargeEventWithResponse(ctx, stored.Id, nil)
	require.NoError(t, err)
	require.Equal(t, stored, read.JSON200)
	head, err := client.HeadChargeEventWithResponse(ctx, stored.Id, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusOK, head.StatusCode())

	var all []oapicodegen.StoredChargeEvent
	order, limit := oapicodegen.ListChargeEventsParamsOrder("asc"), 2
	for after := (*oapicodegen.Cursor)(nil); ; {
		page, err := client.ListChargeEventsWithResponse(ctx, &oapicodegen.ListChargeEventsParams{Order: &order, Limit: &limit, After: after})
		require.NoError(t, err)
		require.NotNil(t, page.JSON200, string(page.Body))
		require.NotNil(t, page.JSON200.Position)
		all = append(all, page.JSON200.Data...)
		if after = page.JSON200.Next; after == nil {
			break
		}
	}
	require.Equal(t, several.JSON201.ChargeDatas, all)

	replayed, err := client.IngestChargeEventWithResponse(ctx, nil, again[oapicodegen.ChargeEvent](t, all[0]))
	require.NoError(t, err)
	require.Equal(t, stored, replayed.JSON201, string(replayed.Body))
	require.True(t, *replayed.Headers201.IdempotentReplayed)
}

func TestOapiCodegenErrors(t *testing.T) {
	ctx := t.Context()
	url := startServer(t)
	client := oapiCodegen(t, url, "X-API-KEY", apiKey)
	first, err := client.IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, event))
	require.NoError(t, err)

	rejected, err := client.IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, invalid))
	require.NoError(t, err)
	require.NotNil(t, rejected.JSON400, string(rejected.Body))
	require.Equal(t, oapicodegen.INVALIDREQUEST, rejected.JSON400.Type)
	require.Equal(t, oapicodegen.INVALIDFIELD, rejected.JSON400.Code)
	require.Equal(t, "value.number", *rejected.JSON400.Field)
	require.Len(t, *rejected.JSON400.Errors, 2)
	require.Equal(t, "timestamp", (*rejected.JSON400.Errors)[1].Field)

	rejected, err = oapiCodegen(t, url, "X-API-KEY", "wrong").IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, event))
	require.NoError(t, err)
	require.Equal(t, oapicodegen.UNAUTHORISED, rejected.JSON401.Code)
	require.Equal(t, "Bearer", rejected.Headers401.WWWAuthenticate)

	rejected, err = oapiCodegen(t, url, "X-API-KEY", viewKey).IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, event))
	require.NoError(t, err)
	require.Equal(t, oapicodegen.USERNOTALLOWED, rejected.JSON403.Code)

	missing, err := client.GetChargeEventWithResponse(ctx, unknownID, nil)
	require.NoError(t, err)
	require.Equal(t, oapicodegen.RESOURCENOTFOUND, missing.JSON404.Code)
	require.Equal(t, unknownID, *missing.JSON404.ResourceId)
	head, err := client.HeadChargeEventWithResponse(ctx, unknownID, nil)
	require.NoError(t, err)
	require.Equal(t, http.StatusNotFound, head.StatusCode())

	rejected, err = client.IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, changed))
	require.NoError(t, err)
	require.Equal(t, oapicodegen.RESOURCEALREADYEXISTS, rejected.JSON409.Code)
	require.Equal(t, first.JSON201.Id, *rejected.JSON409.ResourceId)
	require.Equal(t, oapicodegen.ErrorResourceTypeCHARGEDATA, *rejected.JSON409.ResourceType)

	rejected, err = client.IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, tooLarge))
	require.NoError(t, err)
	require.Equal(t, oapicodegen.BADREQUEST, rejected.JSON413.Code)

	page, err := client.ListChargeEventsWithResponse(ctx, &oapicodegen.ListChargeEventsParams{Limit: new(1001)})
	require.NoError(t, err)
	require.Equal(t, "limit", *page.JSON400.Field)

	rejected, err = oapiCodegen(t, url, "Authorization", "Bearer "+token).IngestChargeEventWithResponse(ctx, nil, as[oapicodegen.ChargeEvent](t, event))
	require.NoError(t, err)
	require.NotNil(t, rejected.JSON503, string(rejected.Body))
	require.Equal(t, oapicodegen.INTERNALERROR, rejected.JSON503.Code)
	require.True(t, rejected.Headers503.IdempotencyRetryable)
	require.Positive(t, rejected.Headers503.RetryAfter)
}

func TestOapiCodegenUnknownFields(t *testing.T) {
	client := oapiCodegen(t, keepingServer(t), "X-API-KEY", apiKey)
	page, err := client.ListChargeEventsWithResponse(t.Context(), nil)
	require.NoError(t, err)
	require.NotNil(t, page.JSON200, string(page.Body))
	require.Equal(t, "1", page.JSON200.Data[0].Value.Amount.Quantity)
}
