package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/template"
	"time"

	"github.com/go-analyze/charts"
	"github.com/shirou/gopsutil/v4/cpu"
	"github.com/shirou/gopsutil/v4/load"
)

// table is the result of a section.
type table struct {
	Title, Text string
	Columns     []string
	Rows        [][]string
	Bars        []bar
	Conditions  string // date, machine and load during the measurement
}

// bar is a ratio for the picture.
type bar struct {
	Name  string
	Ratio float64
}

// folder has the last table of each section, as JSON.
const folder = "build/bench"

func (t table) keep(section string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(t)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, section+".json"), b, 0o644)
}

func kept(section string) (t table, err error) {
	b, err := os.ReadFile(filepath.Join(folder, section+".json"))
	if err != nil {
		return t, err
	}
	return t, json.Unmarshal(b, &t)
}

// conditions returns the date, the machine and its load.
func conditions() string {
	model := "unknown CPU"
	if all, err := cpu.Info(); err == nil && len(all) > 0 {
		model = strings.TrimSpace(all[0].ModelName)
	}
	var busy string
	if l, err := load.Avg(); err == nil {
		busy = fmt.Sprintf(", load average %.0f", l.Load5)
	}
	return fmt.Sprintf("%s, %d cores (%s), %s/%s, %s%s", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), model,
		runtime.GOOS, runtime.GOARCH, runtime.Version(), busy)
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, cells) }

// row adds a row that ends with a ratio, and the ratio to the picture.
func (t *table) row(name string, r float64, cells ...string) {
	t.add(append(cells, ratio(r))...)
	t.Bars = append(t.Bars, bar{name, r})
}

// Markdown returns the table in Markdown.
func (t table) Markdown() string {
	var b strings.Builder
	line := func(cells []string) { fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | ")) }
	line(t.Columns)
	b.WriteString(strings.Repeat("|---", len(t.Columns)) + "|\n")
	for _, r := range t.Rows {
		line(r)
	}
	return b.String()
}

// ratio returns a ratio as text with two significant digits.
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

// thousands returns a rate as text with commas between thousands.
func thousands(rate float64) string {
	s := strconv.FormatFloat(rate, 'f', 0, 64)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

//go:embed performance.md.tmpl
var text string

// report writes docs/performance.md and its picture from the last results of all
// sections.
func report() error {
	var tables []table
	var bars []bar
	for _, s := range sections {
		t, err := kept(s.name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		tables = append(tables, t)
		bars = append(bars, t.Bars...)
	}
	t, err := template.New("").Parse(text)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, tables); err != nil {
		return err
	}
	picture, err := draw(bars)
	if err != nil {
		return err
	}
	if err := os.WriteFile("docs/performance.svg", picture, 0o644); err != nil {
		return err
	}
	return os.WriteFile("docs/performance.md", b.Bytes(), 0o644)
}

// draw draws the ratios as bars in an SVG. It has no background, and colours of
// medium brightness, so that it is readable on light and dark pages.
func draw(bars []bar) ([]byte, error) {
	names := make([]string, len(bars))
	ratios := make([]float64, len(bars))
	for i, b := range bars { // the first is drawn at the bottom
		names[len(bars)-1-i], ratios[len(bars)-1-i] = b.Name, b.Ratio
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
