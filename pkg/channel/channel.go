// Package channel encodes and decodes live channels: the path, which changes exactly
// when the wanted rows change, and the subscription data, which says in full what the
// path only has a digest of.
//
// Grafana limits a channel to 160 characters, so the query itself travels as
// subscription data. Grafana passes these to every SubscribeStream and RunStream
// call of the channel. Nothing in the data may be trusted before [Path.Carries] has
// checked that they belong to the path.
//
// The package is pure. It imports only the standard library and pkg/grid.
package channel

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/continuum-live/continuum-datasource/pkg/grid"
)

// Limits of accepted values.
const (
	// MaxData is the largest size of subscription data in bytes. Grafana stores the
	// data and sends them with every subscription of every viewer.
	MaxData = 48 << 10
	// MaxNonce is the largest nonce.
	MaxNonce = 999_999_999
	// MaxTime is the largest step and window, in milliseconds (about 31,000 years).
	MaxTime = 999_999_999_999_999
)

const prefix = "stream"

// Digest is 128 bits of the SHA-256 of subscription data.
type Digest [16]byte

// Path names the rows of one stream. As text it is
// "stream/<step>/<window>/<digest>[/<nonce>]", the part of a channel that
// follows "ds/<uid>/".
type Path struct {
	Step, Window int64 // ms
	Digest       Digest
	// Nonce gives a viewer who may miss rows a new channel, and so an empty buffer,
	// for the same rows. 0 means none.
	Nonce int64
}

func (p Path) String() string {
	s := fmt.Sprintf("%s/%d/%d/%s", prefix, p.Step, p.Window, hex.EncodeToString(p.Digest[:]))
	if p.Nonce != 0 {
		s += "/" + strconv.FormatInt(p.Nonce, 10)
	}
	return s
}

// Channel returns the whole channel for the data source with the given uid.
func (p Path) Channel(uid string) string {
	return "ds/" + uid + "/" + p.String()
}

// ErrPath means that a text is not the canonical form of any path.
var ErrPath = errors.New("not a stream path of this data source")

// ParsePath is the inverse of [Path.String]. It accepts only canonical text, so two
// different texts never stand for the same rows. The error is ErrPath.
func ParsePath(s string) (Path, error) {
	parts := strings.Split(s, "/")
	if len(parts) == 4 {
		parts = append(parts, "0")
	}
	if len(parts) != 5 || len(parts[3]) != 2*len(Digest{}) {
		return Path{}, ErrPath
	}
	var p Path
	var errs [4]error
	p.Step, errs[0] = strconv.ParseInt(parts[1], 10, 64)
	p.Window, errs[1] = strconv.ParseInt(parts[2], 10, 64)
	_, errs[2] = hex.Decode(p.Digest[:], []byte(parts[3]))
	p.Nonce, errs[3] = strconv.ParseInt(parts[4], 10, 64)
	switch {
	case errors.Join(errs[:]...) != nil,
		p.Step < 1, p.Step > MaxTime, p.Window < 1, p.Window > MaxTime, p.Nonce < 0, p.Nonce > MaxNonce,
		grid.Window(p.Window, p.Step) != p.Window,
		p.String() != s:
		return Path{}, ErrPath
	}
	return p, nil
}

// Data is the subscription data: everything that decides which rows a stream sends
// and the fields of these rows.
type Data struct {
	// Query is the query in its source's canonical form.
	Query json.RawMessage `json:"query"`
	// Legend is the format of display names. It is part of the data because a
	// viewer's buffer keeps its first names.
	Legend string `json:"legend"`
	// Fields are the names of the series, in the order of the values in packets
	// without a schema.
	Fields []string `json:"fields"`
	// States are the texts that values can stand for. They are in the schema that the
	// history came with, and packets have none.
	States []string `json:"states,omitempty"`
	// Revision changes when the settings that decide the rows change.
	Revision string `json:"revision"`
	// Mark is the source's mark from when the history was read, see source.Bound.
	Mark string `json:"mark,omitempty"`
}

// Schema returns what a stream cannot change.
func (d Data) Schema() grid.Schema { return grid.Schema{Fields: d.Fields, States: d.States} }

// Encode returns the canonical text of d.
func (d Data) Encode() (string, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(d); err != nil {
		return "", err
	}
	return strings.TrimSuffix(b.String(), "\n"), nil
}

// DigestOf returns the digest of encoded subscription data.
func DigestOf(encoded string) Digest {
	sum := sha256.Sum256([]byte(encoded))
	return Digest(sum[:])
}

// ErrData means that subscription data do not belong to a path.
var ErrData = errors.New("the subscription data does not belong to the stream path")

// Carries decodes subscription data and checks that they belong to the path. The
// front end passes the text of [Data.Encode] on as one JSON string, so that
// re-encoding on the way cannot change a byte of the text. In that string a byte may
// take up to six, as an escape. The error is ErrData.
func (p Path) Carries(raw json.RawMessage) (Data, error) {
	var encoded string
	if len(raw) > 6*MaxData+2 || json.Unmarshal(raw, &encoded) != nil {
		return Data{}, ErrData
	}
	if len(encoded) > MaxData || DigestOf(encoded) != p.Digest {
		return Data{}, ErrData
	}
	var d Data
	if err := json.Unmarshal([]byte(encoded), &d); err != nil {
		return Data{}, ErrData
	}
	if again, err := d.Encode(); err != nil || again != encoded {
		return Data{}, ErrData
	}
	return d, nil
}
