package groupcommit

// platformQueue holds the requests of one platform, the oldest first.
type platformQueue struct {
	platform  string
	requests  list[Request]
	events    int
	node      node[platformQueue] // in Queue.rotation
	heapIndex int                 // in Queue.largest
}

// largestFirst implements [container/heap.Interface].
type largestFirst struct {
	queues      []*platformQueue
	comparisons int // for a test
}

func (h *largestFirst) Len() int { return len(h.queues) }

func (h *largestFirst) Less(i, j int) bool {
	h.comparisons++
	return h.queues[i].events > h.queues[j].events
}

func (h *largestFirst) Swap(i, j int) {
	h.queues[i], h.queues[j] = h.queues[j], h.queues[i]
	h.queues[i].heapIndex, h.queues[j].heapIndex = i, j
}

func (h *largestFirst) Push(x any) {
	p := x.(*platformQueue)
	p.heapIndex = len(h.queues)
	h.queues = append(h.queues, p)
}

func (h *largestFirst) Pop() any {
	end := len(h.queues) - 1
	p := h.queues[end]
	h.queues[end] = nil
	h.queues = h.queues[:end]
	return p
}
