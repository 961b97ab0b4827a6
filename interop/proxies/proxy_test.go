//go:build proxies && linux

package proxies_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// The addresses in the document's configurations.
const (
	documentListens = "127.0.0.1:8000"
	documentServer  = "127.0.0.1:8080"
)

// documented returns the document's configuration of a proxy.
func documented(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile("../../docs/proxies.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```"+name+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, found, 1, "configurations of %s", name)
	return found[0][1]
}

// A proxy starts a proxy in front of a server.
type proxy func(t *testing.T, server string) (address string)

// nginx is the nginx of the document, with edits.
func nginx(edits ...string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		return startNginx(t, server, edit(edits).apply(t, documented(t, "nginx")))
	}
}

// plainNginx has only a proxy_pass, and settings for the server block.
func plainNginx(settings string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		return startNginx(t, server,
			"server { listen "+documentListens+"; "+settings+" location / { proxy_pass http://"+documentServer+"; } }")
	}
}

func startNginx(t *testing.T, server, config string) string {
	t.Helper()
	return startProxy(t, "nginx", func(listen string) string {
		user := ""
		if os.Geteuid() == 0 {
			user = "user root;" // another has no access to the directory of a test
		}
		return user + `daemon off; worker_processes 2; pid pid; error_log stderr error; events {} http { access_log off;
			client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
			` + edit{documentListens, listen, documentServer, server}.apply(t, config) + "}\n"
	})
}

// haproxy is the haproxy of the document, with edits.
func haproxy(edits ...string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		config := edit(edits).apply(t, documented(t, "haproxy"))
		return startProxy(t, "haproxy", func(string) string {
			return edit{documentListens, "fd@3", documentServer, server}.apply(t, config)
		})
	}
}

// Proxies that repeat POSTs. nginx repeats them only to another server.
var (
	twoServers     = []string{"server 127.0.0.1:8080;", "server 127.0.0.1:8080 max_fails=0; server 127.0.0.1:8080 max_fails=0;"}
	repeatingNginx = nginx(append(twoServers, "error timeout;", "error timeout non_idempotent;", "proxy_request_buffering off;", "")...)

	repeatingHAProxy = haproxy("retry-on conn-failure", "retry-on all-retryable-errors")
)

// everyProxy is each kind of proxy that refusals must pass.
var everyProxy = map[string]proxy{
	"nginx":                  nginx(),
	"nginx that buffers":     nginx("proxy_request_buffering off;", ""),
	"nginx of one directive": plainNginx("client_max_body_size 16m;"),
	"haproxy":                haproxy(),
}

func event(reference string) string {
	return strings.ReplaceAll(`{"product_item_id":"proi_1","pricing_id":"pric_1","pricing_item_id":"prii_1","pricing_item_config_id":"pico_1",`+
		`"reference":REFERENCE,"value":{"number":"1"}}`, "REFERENCE", reference)
}
