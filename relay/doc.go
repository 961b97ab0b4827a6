// Package relay delivers stored charge events to a destination: a billing API, a message
// queue, or another charge event endpoint.
//
// A [Relay] follows the events of each platform in storage order. A [Sink] sends them. A
// [Journal] records how far each platform is delivered, and which events were rejected.
//
// # Guarantees
//
// Every stored event is delivered, or is listed with the reason why not. The position moves
// beyond an event only after the destination has confirmed it, or in the transaction that
// records it as undelivered. A crash can therefore only repeat events, without effect if the
// destination recognizes them by id or reference.
//
// Events of a platform are sent in storage order until the destination rejects some. These are
// sent again later. If it rejects a whole batch, a later event may be sent first.
package relay
