package relay

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"
	"unicode/utf8"
)

const minLeaseTime = 100 * time.Millisecond

func (c *Config) complete() (PlatformLister, error) {
	if n := utf8.RuneCountInString(c.Name); n < 1 || n > 256 || !utf8.ValidString(c.Name) {
		return nil, errors.New("Config.Name must have 1 to 256 characters")
	}
	for _, required := range []struct {
		name    string
		missing bool
	}{{"Source", c.Source == nil}, {"Journal", c.Journal == nil}, {"Sink", c.Sink == nil}} {
		if required.missing {
			return nil, fmt.Errorf("%s is required", "Config."+required.name)
		}
	}
	for _, n := range []struct {
		name     string
		value    *int
		standard int
	}{
		{"BatchSize", &c.BatchSize, 50},
		{"BatchBytes", &c.BatchBytes, 3 << 20},
		{"Concurrency", &c.Concurrency, 8},
	} {
		if err := setDefault(n.name, n.value, n.standard); err != nil {
			return nil, err
		}
	}
	for _, d := range []struct {
		name     string
		value    *time.Duration
		standard time.Duration
	}{
		{"Schedule.Min", &c.Schedule.Min, time.Second},
		{"Schedule.Max", &c.Schedule.Max, max(10*time.Minute, c.Schedule.Min)},
		{"Schedule.MaxAge", &c.Schedule.MaxAge, 72 * time.Hour},
		{"PollInterval", &c.PollInterval, time.Second},
		{"LeaseTime", &c.LeaseTime, 6 * time.Second},
	} {
		if err := setDefault(d.name, d.value, d.standard); err != nil {
			return nil, err
		}
	}
	if c.LeaseTime < minLeaseTime {
		return nil, fmt.Errorf("Config.LeaseTime is less than %s", minLeaseTime)
	}
	if c.Schedule.Max < c.Schedule.Min {
		return nil, errors.New("Config.Schedule.Max is less than Config.Schedule.Min")
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c.completePlatforms()
}

func (c *Config) completePlatforms() (PlatformLister, error) {
	if slices.Contains(c.Platforms, "") {
		return nil, errors.New("Config.Platforms has an empty platform")
	}
	if c.Start.position != "" && len(c.Platforms) != 1 {
		return nil, errors.New("Config.Platforms must have exactly one platform if Config.Start is a position")
	}
	if len(c.Platforms) > 0 {
		c.Platforms = slices.Clone(c.Platforms)
		return nil, nil
	}
	lister, ok := c.Source.(PlatformLister)
	if !ok {
		return nil, errors.New("Config.Platforms is required, because Config.Source does not implement PlatformLister")
	}
	return lister, nil
}

func setDefault[T int | time.Duration](name string, value *T, standard T) error {
	if *value < 0 {
		return fmt.Errorf("%s is negative", "Config."+name)
	}
	if *value == 0 {
		*value = standard
	}
	return nil
}
