// Package storekit provides the parts that every [chargeingest.EventStore] needs:
// duplicate resolution and event ids.
//
// A store calls [Append] with a function that runs one transaction. In it, the function
// calls [Attempt.Decide], inserts the new events with [Decision.Apply], and stores the
// [IdempotencyRecord] of the batch. Package storetest checks the result.
package storekit
