package sourcetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/source"
	"github.com/continuum-live/continuum-datasource/pkg/source/sourcetest"
)

// docs/new-source.md has what stands between here and the test.

// Tide is the height of the sea where the moon alone moves it.
type Tide struct{}

// TideQuery is what a panel asks.
type TideQuery struct {
	// Metres is how high the sea rises above its mean.
	Metres float64 `json:"metres"`
}

// Query implements source.Source.
func (Tide) Query(raw json.RawMessage) (source.Query, error) {
	var q TideQuery
	if err := json.Unmarshal(raw, &q); err != nil {
		return nil, fmt.Errorf("not a query: %w", err)
	}
	if q.Metres <= 0 || q.Metres > 100 {
		return nil, errors.New("metres: must be more than 0 and at most 100")
	}
	return q, nil
}

// Check implements source.Source.
func (Tide) Check(context.Context) (string, error) { return "The moon is in its place.", nil }

// JSON implements source.Query.
func (q TideQuery) JSON() json.RawMessage {
	b, _ := json.Marshal(q) // numbers within limits always can be
	return b
}

// String implements source.Query.
func (q TideQuery) String() string { return fmt.Sprintf("tide of %g m", q.Metres) }

// MinStep implements source.Query.
func (TideQuery) MinStep() int64 { return 1000 }

// Bind implements source.Query.
func (q TideQuery) Bind(step, _ int64) (source.Bound, error) {
	return boundTide{TideQuery: q, step: step}, nil
}

type boundTide struct {
	source.Plain // it gives no sign of changes
	TideQuery
	step int64
}

// Query implements source.Bound.
func (b boundTide) Query() source.Query { return b.TideQuery }

// Traits implements source.Bound. Nothing that comes later can change a row, and
// rows do not depend on the window.
func (b boundTide) Traits() source.Traits { return source.Traits{Step: b.step} }

// Settled implements source.Bound. The tide is known up to now.
func (boundTide) Settled(context.Context) (int64, error) { return time.Now().UnixMilli(), nil }

// Rows implements source.Bound.
func (b boundTide) Rows(ctx context.Context, after, through int64) (grid.Rows, error) {
	settled, err := b.Settled(ctx)
	if err != nil {
		return grid.Rows{}, err
	}
	if through > settled {
		return grid.Rows{}, source.ErrNotSettled
	}
	rows := grid.Rows{Step: b.step, After: after, Through: through}
	height := grid.Series{Name: "tide", Display: "tide", Unit: "lengthm"}
	for i := range rows.Len() {
		const turn = 12.42 * 3600 * 1000 // between two high waters, in ms
		height.Values = append(height.Values, b.Metres*math.Sin(2*math.Pi*float64(rows.Time(i))/turn))
	}
	rows.Series = []grid.Series{height}
	return rows, ctx.Err()
}

func TestTide(t *testing.T) {
	sourcetest.Run(t, sourcetest.Subject{Source: Tide{}, Query: json.RawMessage(`{"metres":2}`), Steps: []int64{1000, 60_000}})
}

// The code in the documentation is the code that is tested.
func TestExampleIsDocumented(t *testing.T) {
	code, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(code), "// docs/new-source.md has what stands between here and the test.\n\n")
	example, _, _ = strings.Cut(example, "\n// The code in the documentation")
	doc, err := os.ReadFile("../../../docs/new-source.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(doc), "```go\n"+example+"```\n") {
		t.Error("docs/new-source.md has another example")
	}
}
