package limits

import "io"

// JSON returns a reader of r that fails with an *[Error] where its JSON is nested
// too deeply, has a text, number or gap that is too long, or too many values:
// decoders hold the former in memory and take their time for the latter, however
// little of it is wanted.
func JSON(r io.Reader) io.Reader { return &jsonReader{r: r} }

type jsonReader struct {
	r   io.Reader
	err error

	depth, token, values int64
	text, escape         bool // where it is in a text
}

func (j *jsonReader) Read(p []byte) (int, error) {
	if j.err != nil {
		return 0, j.err
	}
	n, err := j.r.Read(p)
	if j.err = j.scan(p[:n]); j.err != nil {
		return 0, j.err
	}
	return n, err
}

// scan is in the way of every byte of every answer, and so it is fast.
func (j *jsonReader) scan(p []byte) error {
	for i := 0; i < len(p); i++ {
		if j.text {
			begin := i
			for !j.escape && i < len(p) && p[i] != '"' && p[i] != '\\' {
				i++
			}
			if j.token += int64(i - begin); j.token > Token.Most {
				break
			}
			switch {
			case i == len(p):
			case !j.escape && p[i] == '"':
				j.text, j.token = false, 0
			default:
				j.escape = !j.escape
				j.token++
			}
			continue
		}
		switch p[i] {
		case '"':
			j.text, j.token = true, 0
		case '[', '{':
			j.depth++
			j.token = 0
			if j.depth > Nesting.Most {
				return Nesting.Check(j.depth)
			}
		case ']', '}':
			j.depth--
			j.token = 0
		case ',': // the first of each list apart, which is one more level
			j.values++
			j.token = 0
			if j.values > Elements.Most {
				return Elements.Check(j.values)
			}
		case ':':
			j.token = 0
		default: // spaces too: decoders look for the end of them again and again
			if j.token++; j.token > Token.Most {
				return Token.Check(j.token)
			}
		}
	}
	return Token.Check(j.token)
}
