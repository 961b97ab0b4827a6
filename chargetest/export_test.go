package chargetest

import (
	"maps"
	"slices"
)

func ControlOperations(s *Server) map[string][]string {
	operations := make(map[string][]string)
	for path, methods := range s.Control().(controlAPI).operations {
		operations[path] = slices.Sorted(maps.Keys(methods))
	}
	return operations
}
