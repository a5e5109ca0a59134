// Command bench measures the Go client beside bare gRPC: bench ADDRESS COUNT prints its figures as JSON.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	agentd "github.com/agentd/agentd/clients/go"
	"github.com/agentd/agentd/clients/go/agentdv1"
)

const warm = 50

type figures struct {
	EchoUs        float64 `json:"echo_us"`
	HostedUs      float64 `json:"hosted_us"`
	WatchPerS     float64 `json:"watch_per_s"`
	BareWatchPerS float64 `json:"bare_watch_per_s"`
}

// A bare server answers at once: an echo, and a stream of batches that were made before.
type bare struct {
	agentdv1.UnimplementedSystemServiceServer
	agentdv1.UnimplementedEventServiceServer
	batches []*agentdv1.WatchResponse
}

func (b *bare) GetInfo(context.Context, *agentdv1.GetInfoRequest) (*agentdv1.GetInfoResponse, error) {
	return &agentdv1.GetInfoResponse{Version: "echo"}, nil
}

func (b *bare) Watch(_ *agentdv1.WatchRequest, stream grpc.ServerStreamingServer[agentdv1.WatchResponse]) error {
	for _, batch := range b.batches {
		if err := stream.Send(batch); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	count, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	made, err := measure(context.Background(), os.Args[1], count)
	if err != nil {
		log.Fatal(err)
	}
	if err := json.NewEncoder(os.Stdout).Encode(made); err != nil {
		log.Fatal(err)
	}
}

func measure(ctx context.Context, address string, count int) (figures, error) {
	var made figures
	client, err := agentd.Connect(address)
	if err != nil {
		return made, err
	}
	defer client.Close()
	if made.HostedUs, err = hosted(ctx, client, count); err != nil {
		return made, err
	}
	started := time.Now()
	var events []*agentdv1.Event
	info, err := client.System.GetInfo(ctx, &agentdv1.GetInfoRequest{})
	if err != nil {
		return made, err
	}
	for item, err := range client.Watch(agentd.WatchOptions{}).Items(ctx) {
		if err != nil {
			return made, err
		}
		if events = append(events, item.Event); item.Event.GetRunEnded() != nil || item.Event.GetRevision() >= info.GetRevision() {
			break
		}
	}
	made.WatchPerS = float64(len(events)) / time.Since(started).Seconds()
	return made, measureBare(ctx, &made, events, count)
}

// hosted returns the median time between two executions of one run's calls, in microseconds.
func hosted(ctx context.Context, client *agentd.Client, count int) (float64, error) {
	arrivals := make(chan time.Time, count+warm)
	host, err := client.Host(ctx, agentd.HostOptions{Toolset: "box", Tools: []agentd.Tool{{
		Name: "quick", Effect: agentdv1.EffectClass_EFFECT_CLASS_NON_IDEMPOTENT,
		Execute: func(context.Context, *agentd.Call) (any, error) { arrivals <- time.Now(); return 3, nil },
	}}})
	if err != nil {
		return 0, err
	}
	defer host.Close()
	budget := &agentdv1.Budget{MaxTurns: int64(count + warm + 9), MaxToolCalls: int64(count + warm + 9), MaxTokens: 1 << 40}
	created, err := client.Runs.CreateRun(ctx, &agentdv1.CreateRunRequest{
		Run: &agentdv1.Run{Goal: "bench", Tools: []string{"box/*"}, Budget: budget},
	})
	if err != nil {
		return 0, err
	}
	run, err := client.Wait(ctx, created.GetRun().GetName(), 2*time.Minute)
	if err != nil {
		return 0, err
	}
	if run.GetState() != agentdv1.RunState_RUN_STATE_SUCCEEDED {
		return 0, fmt.Errorf("the run is %s: %s", run.GetState(), run.GetFailure().GetMessage())
	}
	close(arrivals)
	var trips []float64
	last := time.Time{}
	for at := range arrivals {
		if !last.IsZero() {
			trips = append(trips, float64(at.Sub(last).Nanoseconds())/1e3)
		}
		last = at
	}
	return median(trips[warm:]), nil
}

func measureBare(ctx context.Context, made *figures, events []*agentdv1.Event, count int) error {
	folder, err := os.MkdirTemp("", "bench")
	if err != nil {
		return err
	}
	defer os.RemoveAll(folder)
	listener, err := net.Listen("unix", filepath.Join(folder, "s"))
	if err != nil {
		return err
	}
	served := grpc.NewServer()
	defer served.Stop()
	b := &bare{}
	for batch := range slices.Chunk(events, 256) {
		b.batches = append(b.batches, &agentdv1.WatchResponse{Events: batch})
	}
	agentdv1.RegisterSystemServiceServer(served, b)
	agentdv1.RegisterEventServiceServer(served, b)
	go served.Serve(listener)
	conn, err := grpc.NewClient("unix://"+listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer conn.Close()
	var trips []float64
	for range count + warm {
		started := time.Now()
		if _, err := agentdv1.NewSystemServiceClient(conn).GetInfo(ctx, &agentdv1.GetInfoRequest{}); err != nil {
			return err
		}
		trips = append(trips, float64(time.Since(started).Nanoseconds())/1e3)
	}
	made.EchoUs = median(trips[warm:])
	started, seen := time.Now(), 0
	stream, err := agentdv1.NewEventServiceClient(conn).Watch(ctx, &agentdv1.WatchRequest{})
	for err == nil {
		var batch *agentdv1.WatchResponse
		batch, err = stream.Recv()
		seen += len(batch.GetEvents())
	}
	made.BareWatchPerS = float64(seen) / time.Since(started).Seconds()
	return nil
}

func median(values []float64) float64 {
	slices.Sort(values)
	return values[len(values)/2]
}
