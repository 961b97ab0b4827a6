package sqlitestore

import "context"

// openGuard opens the guard.
func (f *file) openGuard(ctx context.Context) error {
	connector, err := f.connector(nil, "mode=ro")
	if err != nil {
		return err
	}
	made, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	f.guard = made
	_, err = conn{made}.query("SELECT count(*) FROM sqlite_schema") // it has the log open from now on
	return err
}

func (f *file) closeGuard() error {
	if f.guard == nil {
		return nil
	}
	guard := f.guard
	f.guard = nil
	return guard.Close()
}
