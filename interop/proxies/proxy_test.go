//go:build proxies && linux

package proxies_test

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	documentListens = "127.0.0.1:8000"
	documentServer  = "127.0.0.1:8080"
	documentSocket  = "unix:/run/chargeingest.sock"
)

var upstream = regexp.MustCompile(`(?s)upstream charges \{.*?\n\}\n`)

// documented returns the n configurations of a proxy in docs/proxies.md.
func documented(t *testing.T, name string, n int) []string {
	t.Helper()
	text, err := os.ReadFile("../../docs/proxies.md")
	require.NoError(t, err)
	found := regexp.MustCompile("(?s)```"+name+"\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	require.Len(t, found, n, "configurations of %s", name)
	var configs []string
	for _, f := range found {
		configs = append(configs, f[1])
	}
	return configs
}

type proxy func(t *testing.T, server string) (address string)

func nginx(edits ...string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		config := edit(edits).apply(t, documented(t, "nginx", 3)[0])
		return startNginx(t, edit{documentServer, server}.apply(t, config))
	}
}

func nginxOverUnix(t *testing.T, server string) string {
	t.Helper()
	configs := documented(t, "nginx", 3)
	config := edit{upstream.FindString(configs[0]), configs[1], documentSocket, server}.apply(t, configs[0])
	return startNginx(t, config)
}

func plainNginx(settings string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		return startNginx(t, "server { listen "+documentListens+"; "+settings+" location / { proxy_pass http://"+server+"; } }")
	}
}

func startNginx(t *testing.T, config string) string {
	t.Helper()
	return startProxy(t, "nginx", func(listen string) string {
		user := ""
		if os.Geteuid() == 0 {
			user = "user root;" // others cannot read the test directory
		}
		return user + `daemon off; worker_processes 2; pid pid; error_log stderr error; events {} http { access_log off;
			client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
			` + edit{documentListens, listen}.apply(t, config) + "}\n"
	})
}

func haproxy(edits ...string) proxy {
	return func(t *testing.T, server string) string {
		t.Helper()
		config := edit(edits).apply(t, documented(t, "haproxy", 1)[0])
		return startProxy(t, "haproxy", func(string) string {
			return edit{documentListens, "fd@3", documentServer, server}.apply(t, config)
		})
	}
}

// These proxies repeat POSTs, nginx only to another server.
var (
	twoServers     = []string{"server 127.0.0.1:8080;", "server 127.0.0.1:8080 max_fails=0; server 127.0.0.1:8080 max_fails=0;"}
	repeatingNginx = nginx(append(twoServers, "error timeout;", "error timeout non_idempotent;", "proxy_request_buffering off;", "")...)

	repeatingHAProxy = haproxy("retry-on conn-failure", "retry-on all-retryable-errors")
)

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
