package sqlitestore

import "context"

func (f *file) openGuard(ctx context.Context) error {
	connector, err := f.connector(nil, "mode=ro")
	if err != nil {
		return err
	}
	opened, err := connector.Connect(ctx)
	if err != nil {
		return err
	}
	f.guard = opened
	_, err = conn{opened}.query("SELECT count(*) FROM sqlite_schema") // opens the WAL, too
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
