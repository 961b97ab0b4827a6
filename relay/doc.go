// Package relay delivers stored charge events to a destination: a billing API, a message
// queue, or another charge event endpoint.
//
// A [Relay] follows the events of each platform in storage order and never skips one. A
// [Sink] sends them. A [Journal] records how far each platform is delivered, and which
// events were rejected.
//
// # Guarantees
//
// Every stored event is delivered, or is listed with the reason why not. The position moves
// beyond an event only in the transaction that records the event as undelivered, or after
// the destination has confirmed it. A crash can therefore only repeat events. Repeats have no
// effect if the destination recognizes an event by its id, or by its reference.
//
// Events of one platform are sent in storage order until the destination rejects some. Rejected
// events are sent again later, and if it rejects a whole batch, a single later event may be sent
// first. Platforms do not wait for each other.
package relay
