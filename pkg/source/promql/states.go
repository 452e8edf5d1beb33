package promql

import (
	"context"
	"fmt"
	"hash/fnv"
	"math"
	"slices"
	"strings"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
	"github.com/continuum-live/continuum-datasource/pkg/limits"
	"github.com/continuum-live/continuum-datasource/pkg/source"
)

// formatStates folds the series of a StateSet, which differ in the label that has the
// text of a state, into one whose values stand for these texts.
//
// A row's state is the one whose series has the greatest value above 0, the first by
// text of several, and none if there is none. It follows from the row alone, and its
// number from the text alone: so rows are the same however they are asked for, and in
// every process.
const formatStates = "states"

// soleMetric returns the name of the metric that is read, empty if there may be several.
func soleMetric(reads []source.Read) string {
	name := ""
	for i, r := range reads {
		if i > 0 && r.Metric != name {
			return ""
		}
		name = r.Metric
	}
	return name
}

// drawn says why nothing can be calculated from states, and what to ask for instead.
func (b bound) drawn() error {
	metric := b.metric
	if metric == "" {
		metric = "pump_state"
	}
	label := b.StateLabel
	if label == "" {
		label = metric
	}
	return fmt.Errorf("the format states is for panels: its numbers stand for texts. Leave the format out, and ask for the series of a state, "+
		"which is 1 while it holds: %s{%s=\"running\"}", metric, label)
}

// labelOf returns the label that has the state of a series.
func (b bound) labelOf(l labels.Labels) string {
	switch {
	case b.StateLabel != "":
		return b.StateLabel
	case l.Has(model.MetricNameLabel):
		return l.Get(model.MetricNameLabel)
	}
	return b.metric // a function has taken the name away
}

// noLabel refuses a series without a state.
func (b bound) noLabel(l labels.Labels, label string) error {
	var others []string
	l.Range(func(one labels.Label) {
		if one.Name != model.MetricNameLabel {
			others = append(others, one.Name)
		}
	})
	if label == "" {
		label = "the label that is called as the metric is"
	} else {
		label = fmt.Sprintf("the label %q", label)
	}
	why := fmt.Errorf("the series %.300s has no state: it has not %s", l, label)
	if len(others) == 0 {
		return source.Downstream(fmt.Errorf("%w, nor any other. Leave the format states out", why))
	}
	return source.Downstream(fmt.Errorf("%w. Say which label has the states (stateLabel): %.300s. Or leave such series out of the query", why, strings.Join(others, ", ")))
}

// fold makes one series of those of an answer that differ in the label of the state
// alone. They must be in the order of labels.
func (b bound) fold(ctx context.Context, a *Answer, rows *grid.Rows) error {
	index := make(map[string]int)
	texts := make(map[string]bool)
	var folded []Series
	var greatest [][]float64
	var key []byte
	builder := labels.NewBuilder(labels.EmptyLabels())
	for _, s := range a.Series {
		label := b.labelOf(s.Labels)
		text := s.Labels.Get(label)
		if label == "" || text == "" {
			return b.noLabel(s.Labels, label)
		}
		builder.Reset(s.Labels)
		of := builder.Del(label).Labels()
		key = of.Bytes(key)
		i, ok := index[string(key)]
		if !ok {
			i = len(folded)
			index[string(key)] = i
			folded = append(folded, Series{of, none(len(s.Values))})
			greatest = append(greatest, make([]float64, len(s.Values)))
		}
		if !texts[text] {
			texts[text] = true
			rows.States = append(rows.States, grid.State{Text: text, Value: stateNumber(text), Color: stateColor(text)})
		}
		number := stateNumber(text)
		for row, v := range s.Values {
			if v > greatest[i][row] { // NaN is not
				greatest[i][row], folded[i].Values[row] = v, number
			}
		}
	}
	slices.SortFunc(rows.States, func(a, b grid.State) int { return strings.Compare(a.Text, b.Text) })
	size := 0
	for _, s := range rows.States {
		size += mappingBytes + len(s.Text)
	}
	if err := limits.ChargeLabels(ctx, size*len(folded)); err != nil {
		return err
	}
	a.Series = folded
	return nil
}

// mappingBytes is what a state takes in the configuration of each field, beside its
// text.
const mappingBytes = 64

// stateNumber returns what stands for a text: 31 bits of its FNV-1a hash, which
// JavaScript has without rounding.
func stateNumber(text string) float64 {
	h := fnv.New32a()
	h.Write([]byte(text))
	return float64(h.Sum32() & math.MaxInt32)
}

// Colors of words that everybody reads alike.
const (
	goodColor = "green"
	badColor  = "red"
	offColor  = "#808080"
)

var wordColors = func() map[string]string {
	colors := make(map[string]string)
	for color, words := range map[string]string{
		goodColor: "active alive available completed connected good healthy home normal ok okay on online passed passing present ready " +
			"run running started succeeded success up yes true enabled",
		badColor: "alarm alert broken burning critical crashed crashloopbackoff dead disconnected down emergency err error evicted failed failing failure " +
			"fault faulted faulty jammed leak lost offline overheated problem timeout tripped unavailable unhealthy unreachable",
		offColor: "away disabled docked false idle inactive no none not_home off paused sleep sleeping standby stop stopped unknown",
	} {
		for word := range strings.FieldsSeq(words) {
			colors[word] = color
		}
	}
	return colors
}()

// palette are the colors of Grafana's palette that mean neither good nor bad.
var palette = []string{
	"blue", "orange", "purple", "yellow", "dark-blue", "dark-orange", "dark-purple", "dark-yellow", "light-blue", "light-orange", "light-purple",
	"light-yellow", "semi-dark-blue", "semi-dark-orange", "semi-dark-purple", "semi-dark-yellow",
}

// stateColor returns the color of a text.
func stateColor(text string) string {
	word := strings.NewReplacer(" ", "_", "-", "_").Replace(strings.ToLower(text))
	if color, ok := wordColors[word]; ok {
		return color
	}
	return palette[int(stateNumber(text))%len(palette)]
}
