package unit

import "testing"

func TestNamed(t *testing.T) {
	for metric, want := range map[string]string{
		"room_temperature_celsius": "celsius",
		"energy_kwh":               "kwatth",
		"node_load1":               "",
		"volts":                    "volt",
		"water_meter":              "", // a device
		"requests_total":           "",
	} {
		if got, _ := Named(metric); got.Amount != want {
			t.Errorf("%s has the unit %q, not %q", metric, got.Amount, want)
		}
	}
}

func TestWritten(t *testing.T) {
	for text, want := range map[string]string{
		"°C": "celsius", " Cel ": "celsius", "seconds": "s", "second": "s", "By": "bytes", "mW": "mwatt", "MW": "megwatt", "m": "lengthm",
		"KWH": "kwatth", "Ppm": "ppm", "Days": "d", "mS": "suffix:mS", "M": "suffix:M", "Mm": "suffix:Mm", "Mbar": "suffix:Mbar", "ms": "ms",
		"°dH": "suffix:°dH", "NTU": "suffix:NTU",
		"": "", "1": "", "{packet}": "", "a text that says much more": "",
	} {
		if got := Written(text).Amount; got != want {
			t.Errorf("%q is the unit %q, not %q", text, got, want)
		}
	}
}

func TestDescribed(t *testing.T) {
	for help, want := range map[string]string{
		"Size of the heap in bytes.":                   "bytes",
		"Temperature of the room (°C)":                 "celsius",
		"Outside temperature in degrees Celsius":       "celsius",
		"How full the tank is [%].":                    "percent",
		"Latency of requests in milliseconds":          "ms",
		"Voltage (in volts)":                           "volt",
		"":                                             "",
		"Bytes received.":                              "",
		"Number of requests that took long in seconds": "",
		"Requests within the last 5 minutes.":          "",
		"Throughput in bytes per second":               "",
		"Load of phase (A)":                            "",
		"Conductivity in mS":                           "",
		"Temperature (min)":                            "",
		"Response size [min]":                          "",
		"Time to empty in min":                         "m",
		"Number of node(s)":                            "",
		"Files in use.":                                "",
		"Set to 1 while in error":                      "",
	} {
		if got, _ := Described(help); got.Amount != want {
			t.Errorf("%q has the unit %q, not %q", help, got.Amount, want)
		}
	}
}
