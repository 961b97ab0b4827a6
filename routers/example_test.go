package routers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
)

func demo(router http.Handler) {
	srv := httptest.NewServer(router)
	defer srv.Close()
	demoAt(srv.URL)
}

func demoAt(root string) {
	id := printStatus(http.MethodPost, root+"/billing/v1/ingest/charge-data", event("order-42", "3"))
	printStatus(http.MethodGet, root+"/api/v1/charges/"+id, "")
	printStatus(http.MethodGet, root+"/api/v2/charges/"+id, "")
}

func printStatus(method, url, body string) string {
	req, err := http.NewRequestWithContext(context.Background(), method, url, strings.NewReader(body))
	if err != nil {
		panic(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Cookie", sessionCookie+"=ada")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		panic(err)
	}
	defer res.Body.Close()
	var event struct{ ID string }
	if err := json.NewDecoder(res.Body).Decode(&event); err != nil {
		panic(err)
	}
	fmt.Println(res.Status)
	return event.ID
}
