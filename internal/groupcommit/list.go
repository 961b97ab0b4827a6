package groupcommit

// list has its nodes in their owners, to avoid allocations.
type list[T any] struct {
	head, tail *node[T]
}

type node[T any] struct {
	prev, next *node[T]
	owner      *T
}

func (l *list[T]) empty() bool { return l.head == nil }

func (l *list[T]) first() *T { return l.head.owner }

func (l *list[T]) last() *T { return l.tail.owner }

func (l *list[T]) pushFront(n *node[T], owner *T) {
	*n = node[T]{next: l.head, owner: owner}
	if l.head == nil {
		l.tail = n
	} else {
		l.head.prev = n
	}
	l.head = n
}

func (l *list[T]) pushBack(n *node[T], owner *T) {
	*n = node[T]{prev: l.tail, owner: owner}
	if l.tail == nil {
		l.head = n
	} else {
		l.tail.next = n
	}
	l.tail = n
}

func (l *list[T]) remove(n *node[T]) {
	if n.prev == nil {
		l.head = n.next
	} else {
		n.prev.next = n.next
	}
	if n.next == nil {
		l.tail = n.prev
	} else {
		n.next.prev = n.prev
	}
	*n = node[T]{}
}
