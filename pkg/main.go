// Command gpx_continuum is the back end of the Continuum data source. Grafana starts
// it. Started with the argument backup it asks a running Grafana for a backup instead.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/grafana/grafana-plugin-sdk-go/backend/datasource"
	"github.com/grafana/grafana-plugin-sdk-go/backend/log"

	"github.com/continuum-live/continuum-datasource/pkg/plugin"
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == "backup" {
		if err := backUp(context.Background(), os.Args[2:], os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
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
