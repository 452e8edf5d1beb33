package main

import (
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/guptarohit/asciigraph"
	"golang.org/x/term"
)

const (
	plotHeight = 14
	maxSeries  = 4 // more lines are hard to distinguish
)

var colors = []asciigraph.AnsiColor{asciigraph.Green, asciigraph.Yellow, asciigraph.Cyan, asciigraph.Magenta}

// picture draws the newest rows with a value: history as a line and live rows as
// dots. Marks below show the first live row and the first row of this run.
func (d *demo) picture() string {
	width := 100
	if w, _, err := term.GetSize(int(os.Stdout.Fd())); err == nil {
		width = min(max(w, 40), 200)
	}
	series := min(len(d.frame.Fields)-1, maxSeries)
	var times []int64
	earlier := 0 // rows of earlier runs
	for _, t := range d.screen.Times() {
		for f := range series {
			if d.screen.Value(t, f) != nil {
				times = append(times, t)
				if t < d.began {
					earlier++
				}
				break
			}
		}
	}
	if len(times) == 0 {
		return "No values yet.\n"
	}
	since := time.UnixMilli(times[0])
	newest := times[len(times)-1]
	times = times[max(0, len(times)-(width-12)):]

	seam, begin := -1, -1
	for i, t := range times {
		if begin < 0 && t >= d.began && i > 0 {
			begin = i
		}
		if seam < 0 && d.screen.Live != 0 && t >= d.screen.Live {
			seam = i
		}
	}
	var lines [][]float64
	var chars []asciigraph.CharSet
	var colored []asciigraph.AnsiColor
	var legend []string
	for f := range series {
		past, live := make([]float64, len(times)), make([]float64, len(times))
		for i, t := range times {
			past[i], live[i] = math.NaN(), math.NaN()
			if v := d.screen.Value(t, f); v != nil {
				if seam < 0 || i <= seam { // the first live row is in both lines, so that they meet
					past[i] = *v
				}
				if seam >= 0 && i >= seam {
					live[i] = *v
				}
			}
		}
		name := d.frame.Fields[f+1].Config.DisplayNameFromDS
		lines, chars = append(lines, past), append(chars, asciigraph.DefaultCharSet)
		colored, legend = append(colored, colors[f]), append(legend, colors[f].String()+name+asciigraph.Default.String())
		if seam >= 0 {
			lines, chars, colored = append(lines, live), append(chars, asciigraph.CreateCharSet("•")), append(colored, colors[f])
		}
	}
	options := []asciigraph.Option{asciigraph.Height(plotHeight), asciigraph.SeriesChars(chars...), asciigraph.Precision(1)}
	if d.percent {
		options = append(options, asciigraph.LowerBound(0), asciigraph.UpperBound(100), asciigraph.Precision(0))
	}
	if series > 1 {
		options = append(options, asciigraph.SeriesColors(colored...))
	}
	plot := asciigraph.PlotMany(lines, options...)

	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", d.frame.Meta.ExecutedQueryString, plot)
	axis := strings.IndexAny(plot, "┤┼")
	if begin >= 0 && earlier > 0 {
		fmt.Fprintf(&b, "%s△ this run began; before it, what earlier runs recorded\n", strings.Repeat(" ", axis+begin))
	}
	if seam >= 0 {
		fmt.Fprintf(&b, "%s▲ seam: history to the left (─), live rows to the right (•)\n", strings.Repeat(" ", axis+seam))
	}
	if series > 1 {
		fmt.Fprintf(&b, "%s\n", strings.Join(legend, "   "))
	}
	if more := len(d.frame.Fields) - 1 - series; more > 0 {
		fmt.Fprintf(&b, "and %d series more\n", more)
	}
	if earlier > 0 {
		fmt.Fprintf(&b, "%d rows of earlier runs since %s. ", earlier, since.Format(time.DateTime))
	}
	fmt.Fprintf(&b, "%d live rows in %d packets, newest row %v old\n",
		len(d.screen.Times())-d.history, d.packets, time.Since(time.UnixMilli(newest)).Round(time.Millisecond))
	return b.String()
}
