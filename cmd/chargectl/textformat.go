package main

import (
	"fmt"
	"strings"

	"example.com/chargeingest"
	"example.com/chargeingest/chargeclient"
)

func appendText(dst []byte, e *chargeclient.Event) []byte {
	customer := e.CustomerReference
	if customer == nil {
		customer = e.CustomerID
	}
	return fmt.Appendf(dst, "%-25s  %-31s  %-24s  %-24s  %s",
		cell(e.Timestamp), cell(&e.ID), cell(e.Reference), cell(customer), cell(quantities(e.Value)))
}

func cell(s *string) string {
	if s == nil || *s == "" {
		return "-"
	}
	return string(escapeForTerminal(nil, []byte(*s)))
}

func plural[T int | int64](n T, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

func quantities(v *chargeingest.Value) *string {
	if v == nil {
		return nil
	}
	var list []string
	if v.Number != nil {
		list = append(list, "number "+*v.Number)
	}
	if v.Amount != nil {
		list = append(list, "amount "+v.Amount.Quantity+" "+v.Amount.Currency)
	}
	if v.Count != nil {
		list = append(list, "count "+*v.Count)
	}
	text := strings.Join(list, ", ")
	return &text
}
