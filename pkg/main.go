// Command gpx_continuum is the back end of the Continuum data source.
package main

import (
	"errors"
	"os"

	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/plugin"
)

func main() {
	if err := run(); err != nil {
		log.DefaultLogger.Error("The plugin ended with an error", "error", err)
		os.Exit(1)
	}
}

func run() error {
	rec, err := plugin.NewRecorder()
	if err != nil {
		return err
	}
	plugin.Resume(rec)
	return errors.Join(datasource.Manage(plugin.ID, plugin.NewFactory(rec), datasource.ManageOpts{}), rec.Close())
}
