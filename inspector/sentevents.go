package inspector

type sentEvent struct {
	text                                     []byte
	reference, customerID, customerReference string
}

func (e *sentEvent) set(name, value string) {
	switch name {
	case `"reference"`:
		e.reference = value
	case `"customer_id"`:
		e.customerID = value
	case `"customer_reference"`:
		e.customerReference = value
	}
}

func (e *sentEvent) hasCustomer(name string) bool {
	return e.customerID == name || e.customerReference == name
}

// eachEvent takes a body without a list charge_datas for an event.
func eachEvent(body []byte, visit func(sentEvent) bool) {
	w := walker{text: body}
	eventDepth, isBatch, open := 1, false, false
	var event sentEvent
	start := 0
	for {
		t, more := w.next()
		depth := w.depth()
		switch {
		case !more:
			if event.text = body[start:]; open {
				visit(event)
			}
			return
		case t.kind == '[' && depth == 2 && string(t.name) == `"charge_datas"`:
			eventDepth, isBatch, open = 3, true, false
		case t.kind == ']' && depth == 1 && isBatch:
			return
		case t.kind == '{' && depth == eventDepth:
			open, start, event = true, t.start, sentEvent{}
		case t.kind == '}' && depth == eventDepth-1 && open:
			open, event.text = false, body[start:t.end]
			if !visit(event) || !isBatch {
				return
			}
		case t.kind == itemValue && open && depth == eventDepth && t.name != nil && body[t.start] == '"':
			event.set(string(t.name), unquote(body[t.start:t.end]))
		}
	}
}
