package message

import (
	"bytes"
	"errors"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// units are the units of time stamps in nanoseconds, 0 for by size.
var units = map[string]int64{
	"": 0, "auto": 0, "s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1,
}

// A time stamp must be between these years, in Unix milliseconds. Any other is
// nonsense, or in another unit than expected.
const (
	minTime = 0             // 1970
	maxTime = 7258118400000 // 2200
)

// times says how time stamps are written.
type times struct {
	unit    int64 // ns, 0 for by size
	layout  string
	zone    *time.Location
	assumed bool // the settings have no zone, so zone is UTC
}

// layouts are tried one after another, each with all zones. Package time accepts
// parts of a second after a comma or a point, as ISO 8601 does.
var layouts = []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "20060102T150405"}

// zones are the ways to write a zone; the first stands for local time. Names such as
// CET are not among them, because package time would read them as UTC.
var zones = []string{"", "Z07:00", "Z0700", "Z07"}

// named are the layouts of dates that begin with the name of the day, of mail and HTTP.
var named = []string{time.RFC1123Z, "Mon, 2 Jan 2006 15:04:05 GMT", "Mon, 2 Jan 2006 15:04:05 UTC", "Monday, 02-Jan-06 15:04:05 GMT"}

func checkLayout(layout string) error {
	if layout == "" {
		return nil
	}
	if strings.Contains(layout, "%") {
		return errors.New("write it as package time of Go does, 2006-01-02 15:04:05 for %Y-%m-%d %H:%M:%S")
	}
	// A layout without a day or a minute does not read back the same time.
	at := time.Date(2013, 12, 11, 22, 9, 0, 0, time.UTC)
	if got, err := time.Parse(layout, at.Format(layout)); err != nil || !got.Equal(at) {
		return errors.New("it must have a date and a time of day, as 2006-01-02 15:04 does")
	}
	return nil
}

// read parses a time stamp and returns Unix milliseconds. assumed reports that it
// was read as UTC because neither the stamp nor the settings have a zone.
func (f *times) read(text []byte) (ms int64, assumed, ok bool) {
	text = bytes.TrimSpace(text)
	if f.layout == "" {
		if ms, ok := f.number(text); ok {
			return ms, false, true
		}
	}
	t, local, ok := f.text(string(text))
	if !ok {
		return 0, false, false
	}
	ms = t.UnixMilli()
	return ms, local && f.assumed, ms >= minTime && ms <= maxTime
}

func (f *times) text(s string) (t time.Time, local, ok bool) {
	if f.layout != "" {
		if t, err := time.ParseInLocation(f.layout, s, f.zone); err == nil {
			// If it has a zone, it is the same time wherever it is read.
			elsewhere, _ := time.ParseInLocation(f.layout, s, time.FixedZone("", 3600))
			return t, !elsewhere.Equal(t), true
		}
		return t, false, false
	}
	if len(s) < len("20060102T150405") {
		return t, false, false
	}
	if s[0] >= '0' && s[0] <= '9' {
		iso, days, seconds := canonical(s)
		for _, layout := range layouts {
			for i, zone := range zones {
				if t, err := time.ParseInLocation(layout+zone, iso, f.zone); err == nil {
					// A day is not always 24 hours long.
					return t.AddDate(0, 0, days).Add(seconds), i == 0, true
				}
			}
		}
		return t, false, false
	}
	for _, layout := range named {
		if t, err := time.Parse(layout, s); err == nil {
			return t, false, true
		}
	}
	t, err := time.ParseInLocation(time.ANSIC, s, f.zone) // as ctime of C writes it
	return t, true, err == nil
}

// offset is an offset with what Go and Java write after it, the name of the zone.
var offset = regexp.MustCompile(`([+-][0-9]{2}:?[0-9]{2}) ?(\[[A-Za-z_/+-]+\]|[A-Z]{3,5})$`)

// canonical returns a time as package time can read it, without the days and seconds that
// are to be added to it: ISO 8601 has an hour 24 and a second 60.
func canonical(s string) (iso string, days int, seconds time.Duration) {
	iso = s
	if len(s) > 10 && (s[10] == ' ' || s[10] == 't') {
		iso = s[:10] + "T" + strings.TrimLeft(s[11:], " ")
	}
	if len(iso) > 10 && iso[4] == '/' && iso[7] == '/' {
		iso = iso[:4] + "-" + iso[5:7] + "-" + iso[8:]
	}
	if last := iso[len(iso)-1]; last == ']' || last >= 'A' && last <= 'Z' {
		iso = offset.ReplaceAllString(iso, "$1")
	}
	if n := len(iso); iso[n-1] == 'z' {
		iso = iso[:n-1] + "Z"
	}
	for _, suffix := range []string{" UTC", " GMT", " Z"} {
		if before, found := strings.CutSuffix(iso, suffix); found {
			iso = before + "Z"
		}
	}
	if i := strings.LastIndexByte(iso, ' '); i > 0 { // 15:04:05 +0100
		iso = iso[:i] + iso[i+1:]
	}
	if len(iso) >= len("2006-01-02T15:04:05") && iso[10] == 'T' {
		switch {
		case iso[11:19] == "24:00:00":
			iso, days = iso[:11]+"00"+iso[13:], 1
		case iso[17:19] == "60":
			iso, seconds = iso[:17]+"59"+iso[19:], time.Second
		}
	}
	return iso, days, seconds
}

// number parses a time stamp that is a number.
func (f *times) number(text []byte) (int64, bool) {
	unit := f.unit
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		// Without a detour over float64, which cannot hold today's nanoseconds.
		if unit == 0 {
			unit = magnitude(float64(n))
		}
		if unit == 1e9 {
			if n < minTime/1000 || n > maxTime/1000 {
				return 0, false
			}
			n *= 1000
		} else {
			n /= 1e6 / unit
		}
		return n, n >= minTime && n <= maxTime
	}
	v, reason := number(text, bare)
	if reason != "" {
		return 0, false
	}
	if unit == 0 {
		unit = magnitude(v)
	}
	ms := math.Round(v * float64(unit) / 1e6)
	return int64(ms), ms >= minTime && ms <= maxTime
}

// magnitude guesses the unit of a time stamp in ns: below 1e11 seconds (until the
// year 5138), then milliseconds (from 1973 on), and so on.
func magnitude(v float64) int64 {
	switch {
	case v < 1e11:
		return 1e9
	case v < 1e14:
		return 1e6
	case v < 1e17:
		return 1e3
	}
	return 1
}
