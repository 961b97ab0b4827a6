package chargetest

import (
	"maps"
	"slices"
)

// ControlOperations returns the methods of each path of the control API.
func ControlOperations(s *Server) map[string][]string {
	operations := make(map[string][]string)
	for path, methods := range s.Control().(controlAPI).operations {
		operations[path] = slices.Sorted(maps.Keys(methods))
	}
	return operations
}
