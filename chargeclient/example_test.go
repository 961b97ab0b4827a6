package chargeclient_test

import (
	"context"
	"errors"
	"fmt"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
	"example.com/chargeingest/chargetest"
)

func Example() {
	ctx := context.Background()
	server := startServer()
	defer server.Close()

	client, err := chargeclient.New(chargeclient.Config{URL: server.URL(), APIKey: server.APIKey()})
	if err != nil {
		panic(err)
	}
	event := chargeingest.ChargeEvent{
		ProductItemID: "proi_1", PricingID: "pric_1", PricingItemID: "prii_1", PricingItemConfigID: "pico_1",
		CustomerReference: new("acme"),
		Reference:         new("order-42"),
		Value:             &chargeingest.Value{Amount: &chargeingest.Amount{Quantity: "12.50", Currency: "EUR"}},
	}
	stored, replayed, err := client.Send(ctx, event)
	if err != nil {
		panic(err)
	}
	fmt.Println(*stored.Reference, *stored.Timestamp, replayed)
	// Output: order-42 2026-01-01T00:00:00Z false
}

func ExampleClient_SendBatch() {
	ctx := context.Background()
	server := startServer()
	defer server.Close()
	client := exampleClient(server)
	first, second := chargetest.Sample("order-1"), chargetest.Sample("order-2")
	second.Value.Amount.Currency = "euro"
	events := []chargeingest.ChargeEvent{first, second}

	result, err := client.SendBatch(ctx, events)
	var rejection *chargeclient.Error
	switch {
	case err == nil:
		fmt.Println("stored", len(result.Events), "of these earlier", result.Replayed)
	case errors.Is(err, chargeingest.ErrOutcomeUnknown):
		fmt.Println("send the same events again later:", err)
	case errors.As(err, &rejection):
		for _, v := range rejection.Violations {
			fmt.Println(v.Code, v.Message)
		}
	default:
		fmt.Println(err)
	}
	// Output: INVALID_FIELD charge_datas.1.value.amount.currency must be a currency code of three capital letters A–Z, such as "EUR"
}

func ExampleClient_Follow() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	server := startServer()
	defer server.Close()
	client := exampleClient(server)
	if _, err := client.SendBatch(ctx, []chargeingest.ChargeEvent{chargetest.Sample("order-1"), chargetest.Sample("order-2")}); err != nil {
		panic(err)
	}

	saved := "" // in your database
	err := client.Follow(ctx, saved, func(page chargeclient.Page) error {
		for _, e := range page.Events {
			fmt.Println(*e.Reference, e.Value.Amount.Quantity)
		}
		saved = page.Position
		cancel() // for this example
		return nil
	})
	fmt.Println(errors.Is(err, context.Canceled))
	// Output:
	// order-1 12.50
	// order-2 12.50
	// true
}

func startServer() *chargetest.Server { return chargetest.New(new(exampleTB)) }

func exampleClient(server *chargetest.Server) *chargeclient.Client {
	client, err := chargeclient.New(chargeclient.Config{URL: server.URL(), APIKey: server.APIKey()})
	if err != nil {
		panic(err)
	}
	return client
}

type exampleTB struct{}

func (*exampleTB) Helper()                   {}
func (*exampleTB) Cleanup(func())            {}
func (*exampleTB) Logf(string, ...any)       {}
func (*exampleTB) Errorf(f string, a ...any) { fmt.Printf(f+"\n", a...) }
