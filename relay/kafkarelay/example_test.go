package kafkarelay_test

import (
	"context"
	"log"

	"github.com/twmb/franz-go/pkg/kgo"

	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/relay/kafkarelay"
)

func Example() {
	client, err := kgo.NewClient(kgo.SeedBrokers("localhost:9092"), kgo.AllowIdempotentProduceCancellation())
	if err != nil {
		log.Fatal(err)
	}
	sink, err := kafkarelay.New(kafkarelay.Config{Client: client, Topic: "charges"})
	if err != nil {
		log.Fatal(err)
	}
	store := memstore.New()
	r, err := relay.New(relay.Config{Name: "kafka:charges", Source: store, Journal: store.Journal(), Sink: sink})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
