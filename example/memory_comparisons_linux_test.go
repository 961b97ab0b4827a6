package main

import (
	"bytes"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMemoryOfComparisons(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("slow, and the race detector needs more memory")
	}
	const size = 3_900_000
	keep := []string{"-unknown-fields", "keep"}
	one := func(x string) string {
		return `{"product_item_id":"p","pricing_id":"p","pricing_item_id":"p","pricing_item_config_id":"p","reference":"r","x":` + x + `}`
	}
	numbers := func(last string) string { return `[` + strings.Repeat("0,", size/2) + last + `]` }
	withKey := func(request []byte) []byte {
		return bytes.Replace(request, []byte("Host: x\r\n"), []byte("Host: x\r\nIdempotency-Key: k\r\n"), 1)
	}
	for _, m := range []memoryAttack{
		{name: "conflicts of long lists", args: keep,
			before: func(t *testing.T, a *attacker) {
				require.Equal(t, http.StatusCreated, a.send(t, post("charge-data", one(numbers("1")))))
			},
			requests: func() [][]byte { return [][]byte{post("charge-data", one(numbers("2")))} }},
		{name: "small retries of what a key was used for", args: append(keep, "-duplicates", "return-original"),
			before: func(t *testing.T, a *attacker) {
				require.Equal(t, http.StatusCreated, a.send(t, post("charge-data", one("1"))))
				require.Equal(t, http.StatusCreated, a.send(t, withKey(post("charge-data", one(`"`+strings.Repeat("x", size)+`"`)))))
			},
			requests: func() [][]byte { return [][]byte{withKey(post("charge-data", one("2")))} }},
	} {
		t.Run(m.name, func(t *testing.T) { testMemory(t, m) })
	}
}

func TestMemoryOfDecodedBodies(t *testing.T) {
	if raceDetector || testing.Short() {
		t.Skip("slow, and the race detector needs more memory")
	}
	list := "[" + strings.Repeat("{},", 65) + "{}]"
	event := `{"pricing_plan_subscription_selector":{"data":` + list + `,"rules":` + list + `,"filters":` + list + `}}`
	body := `{"charge_datas":[` + strings.Repeat(event+",", 999) + event + "]}"
	testMemory(t, memoryAttack{name: "entries of selectors", requests: func() [][]byte { return [][]byte{post("charge-datas", body)} }})
}
