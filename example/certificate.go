package main

import (
	"crypto/tls"
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

type certificate struct {
	certFile, keyFile string
	content           digest // at the start
	current           atomic.Pointer[tls.Certificate]
}

func (c *certificate) read() error {
	var contents [][]byte
	for _, path := range []string{c.certFile, c.keyFile} {
		content, err := readLimited(path)
		if err != nil {
			return fmt.Errorf("-tls-cert, -tls-key: %w", err)
		}
		contents = append(contents, content)
	}
	c.content = digestOf(contents...)
	_, err := c.replace(contents)
	return err
}

func (c *certificate) replace(contents [][]byte) (attrs []any, err error) {
	pair, err := tls.X509KeyPair(contents[0], contents[1])
	if err != nil {
		return nil, fmt.Errorf("-tls-cert, -tls-key: %w", err)
	}
	c.current.Store(&pair)
	return []any{"not_after", pair.Leaf.NotAfter}, nil
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.current.Load(), nil },
	}
}

func (c *certificate) register(r prometheus.Registerer) {
	r.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "chargeingest_certificate_expiry_timestamp_seconds", Help: "When the TLS certificate in use expires.",
	}, func() float64 { return float64(c.current.Load().Leaf.NotAfter.Unix()) }))
}
