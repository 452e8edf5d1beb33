package nats

import (
	"testing"

	"github.com/continuum-live/continuum-datasource/pkg/internal/panics"
)

// What the library calls in goroutines of its own ends the input and not the process
// when it panics.
func TestCallbackPanics(t *testing.T) {
	group, ctx := panics.NewGroup(t.Context())
	r := &run{group: group, said: "the server is away"} // and no sink to say it to
	r.delay(1)
	<-ctx.Done() // the input ends with its group
	err := panics.Catch("test", func() error {
		group.Wait()
		return nil
	})
	if err == nil || panics.Attrs(err) == nil {
		t.Errorf("got %v", err)
	}
}
