// Command scenario is the Go client's runner of tests/clients/scenario.json.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
)

type scenario struct {
	Schema json.RawMessage
	Steps  []step
}

type place struct {
	Address       string
	TokenFile     string `json:"token_file"`
	ErrorsAddress string `json:"errors_address"`
	NobodyAddress string `json:"nobody_address"`
	Features      []string
}

type step struct {
	Do            string
	Requires      string
	Name          string
	Instructions  string
	Agent         string
	Goal          string
	RequestID     string `json:"request_id"`
	Run           string
	Until         string
	Tool          string
	Tools         json.RawMessage
	Rules         []rule
	Count         int
	Word          string
	Host          string
	Toolset       string
	Reason        string
	Decision      string
	PageSize      int32 `json:"page_size"`
	TimeoutMs     int64 `json:"timeout_ms"`
	AfterRevision int64 `json:"after_revision"`
	Cases         []errorCase
}

type rule struct {
	Decision   string `json:"decision"`
	Permission string `json:"permission"`
}

type hostedTool struct {
	Name      string
	Effect    string
	Behaviour string
}

type errorCase struct {
	ID     string
	Method string
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(scenarioFile, placeFile string) error {
	var played scenario
	var where place
	if err := read(scenarioFile, &played); err != nil {
		return err
	}
	if err := read(placeFile, &where); err != nil {
		return err
	}
	runner, err := newRunner(played, where)
	if err != nil {
		return err
	}
	return runner.execute(context.Background())
}

func read(path string, into any) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(content, into)
}
