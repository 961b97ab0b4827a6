package memstore

import (
	"context"
	"maps"
	"slices"

	"example.com/chargeingest/relay"
)

var _ relay.PlatformLister = (*Store)(nil)

// Platforms implements [relay.PlatformLister].
func (s *Store) Platforms(ctx context.Context, after string, limit int) ([]string, error) {
	_, unlock, err := s.read(ctx, "")
	if err != nil {
		return nil, err
	}
	defer unlock()
	names := slices.Sorted(maps.Keys(s.platforms))
	i, found := slices.BinarySearch(names, after)
	if found {
		i++
	}
	return names[i:min(i+limit, len(names))], nil
}
