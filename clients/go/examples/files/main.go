// Command files lets an agent look at the folder that it is started in:
//
//	go run ./examples/files unix:/run/user/1000/agentd/agentd.sock "Which file is the largest?"
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	agentd "github.com/agentd/agentd/clients/go"
	"github.com/agentd/agentd/clients/go/agentdv1"
)

// listFiles is a tool: it runs here, never in the daemon.
func listFiles(context.Context, *agentd.Call) (any, error) {
	entries, err := os.ReadDir(".")
	if err != nil {
		return nil, err
	}
	sizes := map[string]int64{}
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && info.Mode().IsRegular() {
			sizes[entry.Name()] = info.Size()
		}
	}
	return sizes, nil
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if len(os.Args) != 3 {
		log.Fatal("usage: files ADDRESS QUESTION")
	}
	if err := run(ctx, os.Args[1], os.Args[2]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, address, question string) error {
	client, err := agentd.Connect(address)
	if err != nil {
		return err
	}
	defer client.Close()

	host, err := client.Host(ctx, agentd.HostOptions{Toolset: "folder", Tools: []agentd.Tool{{
		Name:        "list_files",
		Description: "List the files of this folder with their sizes in bytes.",
		Effect:      agentdv1.EffectClass_EFFECT_CLASS_READ_ONLY,
		Execute:     listFiles,
	}}})
	if err != nil {
		return err
	}
	defer host.Close()

	created, err := client.Runs.CreateRun(ctx, &agentdv1.CreateRunRequest{
		Run: &agentdv1.Run{Goal: question, Tools: []string{"folder/*"}},
	})
	if err != nil {
		return err
	}
	for item, err := range client.Follow(created).Items(ctx) { // Each event once, and the text as it comes.
		if err != nil {
			return err
		}
		if ended := item.Event.GetRunEnded(); ended != nil {
			fmt.Println(ended.GetOutput())
		}
	}
	return nil
}
