package natsrelay_test

import (
	"context"
	"log"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"example.com/chargeingest/memstore"
	"example.com/chargeingest/relay"
	"example.com/chargeingest/relay/natsrelay"
)

func Example() {
	conn, err := nats.Connect(nats.DefaultURL, nats.MaxReconnects(-1))
	if err != nil {
		log.Fatal(err)
	}
	js, err := jetstream.New(conn)
	if err != nil {
		log.Fatal(err)
	}
	sink, err := natsrelay.New(natsrelay.Config{JetStream: js, Subject: "charges"})
	if err != nil {
		log.Fatal(err)
	}
	store := memstore.New()
	r, err := relay.New(relay.Config{Name: "nats:charges", Source: store, Journal: store.Journal(), Sink: sink})
	if err != nil {
		log.Fatal(err)
	}
	if err := r.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
