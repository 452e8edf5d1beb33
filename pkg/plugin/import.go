package plugin

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"

	"github.com/continuum-live/continuum-datasource/pkg/recorder"
	"github.com/continuum-live/continuum-datasource/pkg/recorder/importer"
)

// importHistory stores history of the given format and precision: the body of the
// request or, if file has its name, what lies in the folder for imports. Grafana hands
// over a body as a whole, and a large one not at all.
func (in *instance) importHistory(store *recorder.Store, r *http.Request) (any, error) {
	query := r.URL.Query()
	reader, err := importer.New(query.Get("format"), query.Get("precision"))
	if err != nil {
		return nil, invalid{err}
	}
	name := query.Get("file")
	read := func(into *recorder.Import) error { return reader.Read(cmp.Or[io.Reader](r.Body, http.NoBody), into) }
	if query.Has("file") {
		path, err := in.recorder.ImportPath(in.storeKey(), name)
		if err != nil {
			return nil, invalid{err}
		}
		read = func(into *recorder.Import) error { return reader.Path(path, slog.New(slog.DiscardHandler), into) }
	}
	got, err := store.Import(r.Context(), read)
	if errors.As(err, new(*importer.InputError)) || errors.Is(err, recorder.ErrTooMuch) {
		return nil, invalid{err}
	}
	if err != nil {
		return nil, err
	}
	logger, user := loggerOf(r)
	logger.Info("History was imported", "user", user, "format", query.Get("format"), "file", name,
		"samples", got.Samples, "series", got.Series, "from", got.From, "to", got.To, "repeated", got.Repeated, "refused", got.Refused)
	if got.Samples+got.Repeated == 0 && len(got.Lines) > 0 {
		first := got.Lines[0]
		return nil, invalid{fmt.Errorf("nothing was imported. Line %d: %s: %s", first.Line, first.Reason, first.Text)}
	}
	return imported{got, noticeOf(got)}, nil
}

// imported is the answer to an import.
type imported struct {
	recorder.Imported
	Notice string `json:"notice,omitempty"`
}

// noticeOf says what is not imported although it could be recorded.
func noticeOf(got recorder.Imported) string {
	texts := got.Refused[importer.NotANumber]
	if texts == 0 {
		return ""
	}
	return fmt.Sprintf("Texts that were not imported: %d. An import takes numbers alone. "+
		"To have texts as states, import a series for each text, which is 1 while it holds and else 0.", texts)
}
