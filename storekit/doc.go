// Package storekit provides the parts that every [chargeingest.EventStore] needs:
// duplicate resolution and event ids. A store calls [Append]. Package storetest checks
// the result.
package storekit
