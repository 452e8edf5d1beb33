package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

// backupWithin is how long a backup may take: the store writes what is in memory.
const backupWithin = 15 * time.Minute

// backUp asks a running Grafana to back up a recorder, and writes to out where the
// backup is.
func backUp(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("backup", flag.ContinueOnError)
	address := flags.String("url", "http://localhost:3000", "Grafana's address")
	uid := flags.String("uid", "", "uid of the data source, as in the address of its settings page")
	tokenFile := flags.String("token-file", "", "file that has the token of a service account with the role Admin")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if *uid == "" || *tokenFile == "" || flags.NArg() > 0 {
		flags.Usage()
		return errors.New("backup: -uid and -token-file are needed, and nothing else is")
	}
	token, err := os.ReadFile(*tokenFile)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, backupWithin)
	defer cancel()
	target, err := url.JoinPath(*address, "api/datasources/uid", *uid, "resources/backup")
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target, http.NoBody)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+strings.TrimSpace(string(token)))
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(rsp.Body, 1<<20))
	if err != nil {
		return fmt.Errorf("backup: %w", err)
	}
	var answer struct{ Folder, Error, Message string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.Folder == "" {
		why := answer.Error + answer.Message // the latter is Grafana's own
		if why == "" {
			why = fmt.Sprintf("%.200s", body)
		}
		return fmt.Errorf("backup: %s answers %s: %s", *address, rsp.Status, why)
	}
	_, err = fmt.Fprintln(out, answer.Folder)
	return err
}
