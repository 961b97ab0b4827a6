package relay

import "errors"

// Validate returns an error for a Resolution that no Ledger accepts.
func (r Resolution) Validate() error {
	byFilter := len(r.EventIDs) == 0
	switch {
	case r.Destination == "" || r.Platform == "":
		return errors.New("Resolution.Stream is not set")
	case r.By == "":
		return errors.New("Resolution.By is not set")
	case r.At.IsZero():
		return errors.New("Resolution.At is not set")
	case r.Action == Retire:
		if !byFilter || r.State != "" {
			return errors.New("Resolution.EventIDs and State cannot be combined with Retire")
		}
	case r.Action != Retry && r.Action != Skip:
		return errors.New("Resolution.Action is not valid")
	case byFilter && r.State != Parked && r.State != Dead && (r.State != Skipped || r.Action != Retry):
		return errors.New("Resolution.State is not valid for the action")
	}
	return nil
}
