package main

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"example.com/chargeingest"
)

func newRandom(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

func randomDecimal(r *rand.Rand) string {
	var digits strings.Builder
	for range 1 + r.IntN(maxDecimalDigits) {
		digits.WriteByte(byte('0' + r.IntN(10)))
	}
	text := digits.String()
	if point := r.IntN(len(text)); point > 0 {
		text = text[:point] + "." + text[point:]
	}
	if r.IntN(3) == 0 {
		text = "-" + text
	}
	return text
}

func TestDecimalSum(t *testing.T) {
	nines := strings.Repeat("9", 38)
	for _, c := range []struct{ terms, sum string }{
		{"", "0"},
		{"-0", "0"},
		{"-0.00", "0.00"},
		{"0.1 0.20", "0.30"},
		{"1.5 -1.5", "0.0"},
		{"-0.05", "-0.05"},
		{"-0.05 0.049", "-0.001"},
		{"007", "7"},
		{nines + " 1", "1" + strings.Repeat("0", 38)},
		{nines + " 0." + nines[1:], nines + "." + nines[1:]},
		{"-" + nines + " -" + nines, "-1" + strings.Repeat("9", 37) + "8"},
	} {
		var sum decimalSum
		for _, term := range strings.Fields(c.terms) {
			sum.add(term)
		}
		require.Equal(t, c.sum, sum.String(), c.terms)
	}
}

func TestDecimalSumIsExact(t *testing.T) {
	r := newRandom(t)
	var sum, reversed decimalSum
	exact := new(big.Rat)
	var terms []string
	for range 2000 {
		term := randomDecimal(r)
		terms = append(terms, term)
		n, ok := new(big.Rat).SetString(term)
		require.True(t, ok, term)
		exact.Add(exact, n)
		sum.add(term)
		require.Equal(t, exact.FloatString(sum.scale), sum.String(), term)
	}
	for i := range terms {
		reversed.add(terms[len(terms)-1-i])
	}
	require.Equal(t, sum.String(), reversed.String())
	require.True(t, sum.minus(&reversed).isZero())
}

func TestTotals(t *testing.T) {
	var total totals
	amount := func(quantity, currency string) *chargeingest.Value {
		return &chargeingest.Value{Amount: &chargeingest.Amount{Quantity: quantity, Currency: currency}}
	}
	for _, v := range []*chargeingest.Value{
		nil, {}, amount("1.10", "EUR"), amount("2", "EUR"), amount("-3", "USD"),
		{Number: new("0.5"), Count: new("7")},
	} {
		require.NoError(t, total.add(&chargeingest.ChargeEvent{Value: v}))
	}
	for field, v := range map[string]*chargeingest.Value{
		"value.amount.quantity": amount("1e3", "EUR"),
		"value.amount.currency": amount("1", "€€€"),
		"value.number":          {Amount: amount("1", "EUR").Amount, Number: new("1,5")},
		"value.count":           {Number: new("1"), Count: new(strings.Repeat("1", 39))},
	} {
		require.ErrorContains(t, total.add(&chargeingest.ChargeEvent{Value: v}), field+" must be")
	}
	require.Equal(t, 6, total.events)
	var list []string
	for _, s := range total.sums("GBP") {
		list = append(list, fmt.Sprintf("%s %s", s.name, s.sum))
	}
	require.Equal(t, []string{"amount EUR 3.10", "amount GBP 0", "amount USD -3", "number 0.5", "count 7"}, list)
}
