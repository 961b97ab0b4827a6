//go:build proxies && linux

package proxies_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

type response struct {
	status int
	header http.Header
	body   string
}

func newClient(t *testing.T) *http.Client {
	t.Helper()
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func send(client *http.Client, method, url, body string, headers ...string) (response, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return response{}, err
	}
	req.Header.Set("X-Api-Key", ingestKey)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	res, err := client.Do(req)
	if err != nil {
		return response{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return response{res.StatusCode, res.Header, string(text)}, err
}

func post(t *testing.T, address, event string, headers ...string) response {
	t.Helper()
	r, err := send(newClient(t), http.MethodPost, "http://"+address+eventPath, event, headers...)
	require.NoError(t, err)
	return r
}

type stored struct {
	ID          string
	Reference   string
	Description string
}

func events(t *testing.T, address string) (all []stored) {
	t.Helper()
	client := newClient(t)
	for after := ""; ; {
		r, err := send(client, http.MethodGet, "http://"+address+eventPath+"?order=asc&limit=1000"+after, "")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, r.status, r.body)
		var page struct {
			Data []stored
			Next *string
		}
		require.NoError(t, json.Unmarshal([]byte(r.body), &page))
		all = append(all, page.Data...)
		if page.Next == nil {
			return all
		}
		after = "&after=" + *page.Next
	}
}
