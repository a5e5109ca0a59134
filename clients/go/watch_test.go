package agentd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

type watchStream = grpc.ServerStreamingServer[agentdv1.WatchResponse]

// fact returns an event of runs/a whose revision is ten times its sequence.
func fact(sequence int64) *agentdv1.Event {
	return &agentdv1.Event{Run: "runs/a", Revision: 10 * sequence, Sequence: sequence}
}

func facts(sequences ...int64) *agentdv1.WatchResponse {
	batch := &agentdv1.WatchResponse{}
	for _, sequence := range sequences {
		batch.Events = append(batch.Events, fact(sequence))
	}
	return batch
}

// script answers one stream after another; the last one is the answer to every further one.
func script(s *server, streams ...func(watchStream) error) *[]int64 {
	asked := &[]int64{}
	s.watch = func(request *agentdv1.WatchRequest, stream watchStream) error {
		*asked = append(*asked, request.GetAfterRevision())
		return streams[min(len(*asked), len(streams))-1](stream)
	}
	return asked
}

func collect(ctx context.Context, watch *Watch) (sequences []int64, err error) {
	for item, err := range watch.Items(ctx) {
		if err != nil {
			return sequences, err
		}
		sequences = append(sequences, item.Event.GetSequence())
	}
	return sequences, nil
}

func TestACutWatchResumesWithoutGapOrRepeat(t *testing.T) {
	s, client := serve(t)
	asked := script(s,
		func(stream watchStream) error {
			stream.Send(facts(1, 2))
			return refusal(codes.Unavailable, "DRAINING")
		},
		func(stream watchStream) error {
			stream.Send(facts(2, 3)) // A repeat, which is dropped.
			return refusal(codes.ResourceExhausted, "SLOW_READER")
		},
		func(stream watchStream) error {
			stream.Send(&agentdv1.WatchResponse{Events: facts(4).GetEvents(), ProgressRevision: 77})
			return nil
		},
	)
	var cuts []agentdv1.ErrorReason
	watch := client.Watch(WatchOptions{
		UntilEnded: true, Sequences: map[string]int64{"runs/a": 0},
		OnInterruption: func(err *Error) { cuts = append(cuts, err.Reason) },
	})
	sequences, err := collect(t.Context(), watch)
	if err != nil || !slices.Equal(sequences, []int64{1, 2, 3, 4}) || !slices.Equal(*asked, []int64{0, 20, 30}) {
		t.Error(sequences, err, *asked)
	}
	if watch.Revision() != 77 || len(cuts) != 2 || cuts[1] != agentdv1.ErrorReason_ERROR_REASON_SLOW_READER {
		t.Error(watch.Revision(), cuts)
	}
}

func TestAGapIsAskedForOnceMore(t *testing.T) {
	s, client := serve(t)
	gap := func(stream watchStream) error { stream.Send(facts(1, 3)); return nil }
	asked := script(s, gap, func(stream watchStream) error { stream.Send(facts(2, 3)); return nil })
	sequences, err := collect(t.Context(), client.Watch(WatchOptions{UntilEnded: true}))
	if err != nil || !slices.Equal(sequences, []int64{1, 2, 3}) {
		t.Error(sequences, err)
	}
	asked = script(s, gap, gap)
	sequences, err = collect(t.Context(), client.Watch(WatchOptions{UntilEnded: true}))
	var failure *Error
	if !errors.As(err, &failure) || failure.Kind != Corrupt || failure.Metadata["run"] != "runs/a" || len(*asked) != 2 {
		t.Error(sequences, err, *asked)
	}
}

func TestAFilterByKindIsNotChecked(t *testing.T) {
	s, client := serve(t)
	script(s, func(stream watchStream) error { stream.Send(facts(1, 5)); return nil })
	watch := client.Watch(WatchOptions{UntilEnded: true, Filter: &agentdv1.EventFilter{Kinds: []string{"run_ended"}}})
	if sequences, err := collect(t.Context(), watch); err != nil || len(sequences) != 2 {
		t.Error(sequences, err)
	}
}

func TestWhatIsCompactedComesOut(t *testing.T) {
	s, client := serve(t)
	asked := script(s, func(watchStream) error { return refusal(codes.OutOfRange, "COMPACTED") })
	if _, err := collect(t.Context(), client.Watch(WatchOptions{})); !errors.Is(err, OutOfRange) || len(*asked) != 1 {
		t.Error(err, *asked)
	}
}

func TestFromNowOnIsAskedOnce(t *testing.T) {
	s, client := serve(t)
	revision := int64(50)
	s.getInfo = func(context.Context) (*agentdv1.GetInfoResponse, error) {
		revision++
		return &agentdv1.GetInfoResponse{Revision: revision}, nil
	}
	asked := script(s,
		func(watchStream) error { return refusal(codes.Unavailable, "DRAINING") },
		func(watchStream) error { return nil },
	)
	if _, err := collect(t.Context(), client.Watch(WatchOptions{AfterRevision: -1, UntilEnded: true})); err != nil || !slices.Equal(*asked, []int64{51, 51}) {
		t.Error(err, *asked)
	}
}

func TestLeavingALoopKeepsThePlace(t *testing.T) {
	s, client := serve(t)
	asked := script(s,
		func(stream watchStream) error { stream.Send(facts(1, 2, 3)); <-stream.Context().Done(); return nil },
		func(stream watchStream) error { stream.Send(facts(3)); return nil },
	)
	watch := client.Watch(WatchOptions{UntilEnded: true})
	for item := range watch.Items(t.Context()) {
		if item.Event.GetSequence() == 2 {
			break
		}
	}
	if sequences, err := collect(t.Context(), watch); err != nil || !slices.Equal(sequences, []int64{3}) || !slices.Equal(*asked, []int64{0, 20}) {
		t.Error(sequences, err, *asked)
	}
}

func TestAnOutageEndsAWatch(t *testing.T) {
	s, client := serve(t)
	script(s, func(watchStream) error { return refusal(codes.Unavailable, "DRAINING") })
	if _, err := collect(t.Context(), client.Watch(WatchOptions{Outage: time.Millisecond})); !errors.Is(err, Unavailable) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	watch := client.Watch(WatchOptions{OnInterruption: func(*Error) { cancel() }})
	if _, err := collect(ctx, watch); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestClosingTheClientEndsItsWatchesAndHosts(t *testing.T) {
	s, client := serve(t)
	script(s, func(stream watchStream) error { stream.Send(facts(1)); <-stream.Context().Done(); return nil })
	made := host(t, client, "desk")
	for _, err := range client.Watch(WatchOptions{}).Items(t.Context()) {
		if err == nil {
			client.Close()
		} else if !errors.Is(err, Unavailable) {
			t.Error(err)
		}
	}
	next(t, made.Done())
	if !errors.Is(made.Err(), Unavailable) {
		t.Error(made.Err())
	}
}
