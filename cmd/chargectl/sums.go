package main

import (
	"fmt"
	"maps"
	"math/big"
	"slices"
	"strings"

	"example.com/chargeingest"
)

const maxDecimalDigits = 38

func isDecimal(text string) bool {
	whole, fraction, hasPoint := strings.Cut(strings.TrimPrefix(text, "-"), ".")
	return isDigits(whole) && (!hasPoint || isDigits(fraction))
}

func isDigits(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// decimalSum is exact. Its scale is the largest of its terms.
type decimalSum struct {
	unscaled big.Int
	scale    int
}

func (s *decimalSum) add(decimal string) {
	whole, fraction, _ := strings.Cut(decimal, ".")
	term, _ := new(big.Int).SetString(whole+fraction, 10)
	scale := max(s.scale, len(fraction))
	s.unscaled.Add(rescale(&s.unscaled, scale-s.scale), rescale(term, scale-len(fraction)))
	s.scale = scale
}

func rescale(n *big.Int, digits int) *big.Int {
	if digits == 0 {
		return n
	}
	power := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(digits)), nil)
	return power.Mul(power, n)
}

func (s *decimalSum) minus(other *decimalSum) *decimalSum {
	d := &decimalSum{scale: max(s.scale, other.scale)}
	d.unscaled.Sub(rescale(&s.unscaled, d.scale-s.scale), rescale(&other.unscaled, d.scale-other.scale))
	return d
}

func (s *decimalSum) isZero() bool { return s.unscaled.Sign() == 0 }

func (s *decimalSum) String() string {
	digits := new(big.Int).Abs(&s.unscaled).String()
	if missing := s.scale + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	if point := len(digits) - s.scale; s.scale > 0 {
		digits = digits[:point] + "." + digits[point:]
	}
	if s.unscaled.Sign() < 0 {
		digits = "-" + digits
	}
	return digits
}

type totals struct {
	events  int
	amounts map[string]*decimalSum // by currency
	number  decimalSum
	count   decimalSum
}

func (t *totals) add(e *chargeingest.ChargeEvent) error {
	v := e.Value
	if v == nil {
		v = new(chargeingest.Value)
	}
	if v.Amount != nil {
		if c := v.Amount.Currency; len(c) != 3 || strings.Trim(c, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != "" {
			return fmt.Errorf("value.amount.currency must be three capital letters")
		}
		if err := checkDecimal("value.amount.quantity", &v.Amount.Quantity); err != nil {
			return err
		}
	}
	if err := checkDecimal("value.number", v.Number); err != nil {
		return err
	}
	if err := checkDecimal("value.count", v.Count); err != nil {
		return err
	}
	t.events++
	if v.Amount != nil {
		t.amount(v.Amount.Currency).add(v.Amount.Quantity)
	}
	if v.Number != nil {
		t.number.add(*v.Number)
	}
	if v.Count != nil {
		t.count.add(*v.Count)
	}
	return nil
}

func checkDecimal(field string, text *string) error {
	if text == nil {
		return nil
	}
	digits := len(*text) - strings.Count(*text, ".") - strings.Count(*text, "-")
	if digits > maxDecimalDigits || !isDecimal(*text) {
		return fmt.Errorf("%s must be a decimal number of at most %d digits", field, maxDecimalDigits)
	}
	return nil
}

func (t *totals) amount(currency string) *decimalSum {
	if t.amounts == nil {
		t.amounts = make(map[string]*decimalSum)
	}
	sum, ok := t.amounts[currency]
	if !ok {
		sum = new(decimalSum)
		t.amounts[currency] = sum
	}
	return sum
}

type namedSum struct {
	name string
	sum  *decimalSum
}

func (t *totals) currencies() []string { return slices.Collect(maps.Keys(t.amounts)) }

func (t *totals) sums(more ...string) []namedSum {
	currencies := append(t.currencies(), more...)
	slices.Sort(currencies)
	var list []namedSum
	for _, currency := range slices.Compact(currencies) {
		list = append(list, namedSum{"amount " + currency, t.amount(currency)})
	}
	return append(list, namedSum{"number", &t.number}, namedSum{"count", &t.count})
}
