package inspector

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"example.com/chargeingest"
)

const (
	activeMinutes = 60

	// maxRefusalKinds limits the kinds of refusals of one platform. The field of any others is
	// otherField.
	maxRefusalKinds    = 200
	maxAllRefusalKinds = 10_000
	otherField         = "…other"
)

type minute struct {
	start    time.Time
	accepted int // new events
	replayed int // events
	rejected int // requests
}

type refusal struct {
	code, field string // without the index of a batch: charge_datas.*.value.number
	count       int
}

type counters struct {
	swept     int64 // minute
	platforms map[string]*activity
	refusals  int // of all
}

type activity struct {
	slots    [activeMinutes]slot
	refusals map[refusal]*[activeMinutes]uint32
}

type slot struct {
	minute                       int64
	accepted, replayed, rejected int
}

func (c *counters) add(r *record, ended time.Time) {
	var s slot
	if route := r.stats.Route; route == chargeingest.RouteSingle || route == chargeingest.RouteBatch {
		s.accepted, s.replayed = r.stats.Events-r.stats.Replayed, r.stats.Replayed
	}
	if r.stats.Code != "" || r.stats.Status == 0 && r.status >= 400 {
		s.rejected = 1
	}
	if s == (slot{}) {
		return
	}
	s.minute = minuteOf(ended)
	c.sweep(s.minute)
	a := c.platforms[r.stats.Platform]
	if a == nil {
		if c.platforms == nil {
			c.platforms = make(map[string]*activity)
		}
		a = new(activity)
		c.platforms[strings.Clone(r.stats.Platform)] = a
	}
	i := indexOf(s.minute)
	if a.slots[i].minute != s.minute {
		a.slots[i] = slot{minute: s.minute}
		c.refusals -= a.clear(i)
	}
	a.slots[i].accepted += s.accepted
	a.slots[i].replayed += s.replayed
	a.slots[i].rejected += s.rejected
	if r.stats.Code != "" {
		c.addRefusal(a, i, refusal{code: string(r.stats.Code), field: withoutIndexes(r.stats.Field)})
	}
}

func (c *counters) sweep(now int64) {
	if now <= c.swept && now > c.swept-activeMinutes {
		return
	}
	c.swept = now
	for platform, a := range c.platforms {
		if !slices.ContainsFunc(a.slots[:], func(s slot) bool { return s.isWithin(now) }) {
			c.refusals -= len(a.refusals)
			delete(c.platforms, platform)
		}
	}
}

func (s slot) isWithin(now int64) bool {
	return s.minute > now-activeMinutes && s.minute < now+activeMinutes && s != (slot{})
}

func (c *counters) addRefusal(a *activity, i int, key refusal) {
	counts := a.refusals[key]
	if counts == nil && (len(a.refusals) >= maxRefusalKinds || c.refusals >= maxAllRefusalKinds) {
		key.field = otherField
		counts = a.refusals[key]
	}
	if counts == nil {
		if a.refusals == nil {
			a.refusals = make(map[refusal]*[activeMinutes]uint32)
		}
		key.code, key.field = strings.Clone(key.code), strings.Clone(key.field)
		counts = new([activeMinutes]uint32)
		a.refusals[key] = counts
		c.refusals++
	}
	counts[i]++
}

func (a *activity) clear(i int) (dropped int) {
	for key, counts := range a.refusals {
		if counts[i] = 0; *counts == [activeMinutes]uint32{} {
			delete(a.refusals, key)
			dropped++
		}
	}
	return dropped
}

func (c *counters) activity(s scope, now time.Time) ([]minute, []refusal) {
	first := minuteOf(now) - activeMinutes + 1
	minutes := make([]minute, activeMinutes)
	for i := range minutes {
		minutes[i].start = time.Unix((first+int64(i))*60, 0).UTC()
	}
	totals := make(map[refusal]int)
	for _, platform := range s.platforms() {
		a := c.platforms[platform]
		if a == nil {
			continue
		}
		var recent [activeMinutes]bool
		for i, counted := range a.slots {
			position := counted.minute - first
			if position < 0 || position >= activeMinutes {
				continue
			}
			m := &minutes[position]
			m.accepted += counted.accepted
			m.replayed += counted.replayed
			m.rejected += counted.rejected
			recent[i] = true
		}
		for key, counts := range a.refusals {
			total := totals[key]
			for i, count := range counts {
				if recent[i] {
					total += int(count)
				}
			}
			totals[key] = total
		}
	}
	return minutes, sorted(totals)
}

func sorted(totals map[refusal]int) []refusal {
	refusals := make([]refusal, 0, len(totals))
	for r, count := range totals {
		if count > 0 {
			r.count = count
			refusals = append(refusals, r)
		}
	}
	slices.SortFunc(refusals, func(a, b refusal) int {
		return cmp.Or(b.count-a.count, strings.Compare(a.code, b.code), strings.Compare(a.field, b.field))
	})
	return refusals
}

func minuteOf(t time.Time) int64 { return (t.Unix() - modulo(t.Unix(), 60)) / 60 }

func indexOf(minute int64) int { return int(modulo(minute, activeMinutes)) }

func modulo(x, n int64) int64 { return (x%n + n) % n }

func withoutIndexes(field string) string {
	if !strings.ContainsAny(field, "0123456789") {
		return field
	}
	segments := strings.Split(field, ".")
	for i, segment := range segments {
		if i > 0 && segment != "" && strings.Trim(segment, "0123456789") == "" {
			segments[i] = "*"
		}
	}
	return strings.Join(segments, ".")
}
