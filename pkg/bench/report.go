package main

import (
	_ "embed"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/go-analyze/charts"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
)

// table is what a section found.
type table struct {
	title, text string
	columns     []string
	rows        [][]string
	bars        []bar
}

// bar is a ratio for the picture.
type bar struct {
	name  string
	ratio float64
}

func (t *table) add(cells ...string) { t.rows = append(t.rows, cells) }

// row adds a row that ends with a ratio, which the picture has too.
func (t *table) row(name string, r float64, cells ...string) {
	t.add(append(cells, ratio(r))...)
	t.bars = append(t.bars, bar{name, r})
}

func (t table) markdown() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.columns)
	b.WriteString(strings.Repeat("|---", len(t.columns)) + "|\n")
	for _, r := range t.rows {
		line(r)
	}
	return b.String()
}

// ratio writes a ratio with two digits that mean something.
func ratio(r float64) string {
	if r >= 10 {
		return strconv.FormatFloat(r, 'f', 0, 64)
	}
	return strconv.FormatFloat(r, 'f', max(1, min(4, decimals(r))), 64)
}

func decimals(r float64) (n int) {
	for n = 1; r < 10 && n < 5; n++ {
		r *= 10
	}
	return n - 1
}

// thousands writes a rate with a comma between thousands.
func thousands(rate float64) string {
	s := strconv.FormatFloat(rate, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

//go:embed performance.md.tmpl
var text string

// report writes docs/performance.md and its picture.
func report(tables []table, took time.Duration) error {
	model := "unknown CPU"
	if all, err := cpu.Info(); err == nil && len(all) > 0 {
		model = all[0].ModelName
	}
	var busy float64
	if l, err := load.Avg(); err == nil {
		busy = l.Load15
	}
	t, err := template.New("").Parse(text)
	if err != nil {
		return err
	}
	type part struct{ Title, Text, Table string }
	var parts []part
	var bars []bar
	for _, t := range tables {
		parts = append(parts, part{t.title, t.text, t.markdown()})
		bars = append(bars, t.bars...)
	}
	var b strings.Builder
	err = t.Execute(&b, map[string]any{
		"Parts": parts, "CPU": model, "Cores": runtime.NumCPU(), "System": runtime.GOOS + "/" + runtime.GOARCH, "Go": runtime.Version(),
		"Load": fmt.Sprintf("%.1f", busy), "Took": took.Round(time.Second), "Date": time.Now().UTC().Format(time.DateOnly),
	})
	if err != nil {
		return err
	}
	picture, err := draw(bars)
	if err != nil {
		return err
	}
	if err := os.WriteFile("docs/performance.svg", picture, 0o644); err != nil {
		return err
	}
	return os.WriteFile("docs/performance.md", []byte(b.String()), 0o644)
}

// draw draws the ratios as bars in an SVG. It has no background and colours of
// middle brightness, so that it can be read on light and on dark pages.
func draw(bars []bar) ([]byte, error) {
	names := make([]string, len(bars))
	ratios := make([]float64, len(bars))
	for i, b := range bars { // the first is drawn at the bottom
		names[len(bars)-1-i], ratios[len(bars)-1-i] = b.name, b.ratio
	}
	grey := charts.Color{R: 128, G: 128, B: 128, A: 255}
	none := charts.Color{R: 128, G: 128, B: 128, A: 0}
	o := charts.NewBarChartOptionWithData([][]float64{ratios})
	o.Horizontal = true
	o.Theme = charts.MakeTheme(charts.ThemeOption{
		AxisStrokeColor: grey, AxisSplitLineColor: charts.Color{R: 128, G: 128, B: 128, A: 80}, BackgroundColor: none, TextColor: grey,
		SeriesColors: []charts.Color{{R: 46, G: 134, B: 222, A: 255}},
	})
	o.Title.Text = "Continuum beside its peer: ratios, 1 is the peer"
	o.CategoryAxis.Labels = names
	o.ValueAxis[0].Min = charts.Ptr(0.0)
	o.SeriesList[0].Label.Show = charts.Ptr(true)
	o.SeriesList[0].Label.ValueFormatter = ratio
	o.SeriesList[0].MarkLine = charts.SeriesMarkLine{}
	p := charts.NewPainter(charts.PainterOptions{OutputFormat: charts.ChartOutputSVG, Width: 900, Height: 60 + 34*len(bars)})
	if err := p.BarChart(o); err != nil {
		return nil, err
	}
	return p.Bytes()
}
