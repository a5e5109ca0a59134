package agentd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const (
	progressInterval = 15 * time.Second
	silence          = 4 * progressInterval
	defaultOutage    = time.Minute
)

// WatchOptions say what a Watch follows.
type WatchOptions struct {
	Filter        *agentdv1.EventFilter
	AfterRevision int64 // 0: from the oldest event; -1: from now on
	IncludeDeltas bool
	UntilEnded    bool // end when every run that the filter names has ended
	// Sequences are the newest sequences already seen of runs (0: none), so that their next event is
	// checked too.
	Sequences      map[string]int64
	OnInterruption func(*Error)  // told of each cut
	Outage         time.Duration // how long the daemon may be out of reach; 0: one minute
}

// An Item is an event, or a delta: one of the two is set.
type Item struct {
	Event *agentdv1.Event
	Delta *agentdv1.Delta
}

// A Watch follows the journal over cut streams: each event once, in order, none missing, or an
// error. It is for one goroutine.
type Watch struct {
	client    *Client
	options   WatchOptions
	checked   bool
	revision  int64
	sequences map[string]int64
	gapAfter  int64
	lostAt    time.Time
	pauses    *pauses
}

// Watch returns a watch. Nothing is asked before its Items are.
func (c *Client) Watch(options WatchOptions) *Watch {
	if options.Outage == 0 {
		options.Outage = defaultOutage
	}
	w := &Watch{
		client:    c,
		options:   options,
		checked:   len(options.Filter.GetKinds()) == 0,
		revision:  options.AfterRevision,
		sequences: maps.Clone(options.Sequences),
		gapAfter:  -1,
		pauses:    c.settings.retry.pauses(),
	}
	if w.sequences == nil {
		w.sequences = map[string]int64{}
	}
	return w
}

// Follow returns a watch of a run from its first event to its last, with deltas.
func (c *Client) Follow(created *agentdv1.CreateRunResponse) *Watch {
	run := created.GetRun().GetName()
	return c.Watch(WatchOptions{
		Filter:        &agentdv1.EventFilter{Runs: []string{run}},
		AfterRevision: created.GetRevision(),
		IncludeDeltas: true,
		UntilEnded:    true,
		Sequences:     map[string]int64{run: 0},
	})
}

// Revision returns the revision up to which everything was seen: where another watch would resume.
func (w *Watch) Revision() int64 { return w.revision }

// Items yields events, and deltas when asked for, until the context ends, an error comes, or with
// UntilEnded the runs have ended. A cut stream is resumed. The error is of kind OutOfRange (reason
// COMPACTED, with the metadata oldest_revision) when events are lost, Corrupt when the daemon leaves
// out an event twice, Unavailable when it stays out of reach.
//
// Leaving the loop closes the stream; another loop goes on after the last event.
func (w *Watch) Items(ctx context.Context) iter.Seq2[Item, error] {
	return func(yield func(Item, error) bool) {
		for {
			left, err := w.follow(ctx, yield)
			if left || (err == nil && w.options.UntilEnded) {
				return
			}
			if err == nil {
				err = unreachable("the stream was ended")
			}
			if err = w.interrupted(ctx, err); err != nil {
				yield(Item{}, err)
				return
			}
		}
	}
}

// follow yields what is new on one stream, and tells whether the reader has left.
func (w *Watch) follow(parent context.Context, yield func(Item, error) bool) (bool, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	if w.revision < 0 {
		// "From now on" is asked once: a stream cut before its first message would skip events.
		info, err := w.client.System.GetInfo(ctx, &agentdv1.GetInfoRequest{})
		if err != nil {
			return false, err
		}
		w.revision = info.GetRevision()
	}
	quiet := time.AfterFunc(silence, func() { cancel(unreachable(fmt.Sprintf("the daemon was silent for %s", silence))) })
	defer quiet.Stop()
	stream, err := w.client.Events.Watch(ctx, w.request())
	for err == nil {
		var batch *agentdv1.WatchResponse
		if batch, err = stream.Recv(); err == nil {
			quiet.Stop()
			var left bool
			if left, err = w.deliver(batch, yield); left {
				return true, nil
			}
			quiet.Reset(silence)
		}
	}
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if parent.Err() == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return false, err
}

func (w *Watch) request() *agentdv1.WatchRequest {
	return &agentdv1.WatchRequest{
		Filter:           w.options.Filter,
		AfterRevision:    w.revision,
		IncludeDeltas:    w.options.IncludeDeltas,
		ProgressInterval: durationpb.New(progressInterval),
		UntilEnded:       w.options.UntilEnded,
	}
}

// deliver yields what is new of one message, and tells whether the reader has left.
func (w *Watch) deliver(batch *agentdv1.WatchResponse, yield func(Item, error) bool) (bool, error) {
	w.pauses, w.lostAt = w.client.settings.retry.pauses(), time.Time{}
	for _, event := range batch.GetEvents() {
		next, err := w.isNext(event)
		if err != nil {
			return false, err
		}
		if next && !yield(Item{Event: event}, nil) {
			return true, nil
		}
	}
	for _, delta := range batch.GetDeltas() {
		if !yield(Item{Delta: delta}, nil) {
			return true, nil
		}
	}
	w.revision = max(w.revision, batch.GetProgressRevision())
	return false, nil
}

// errGap says that the daemon left out an event.
type errGap struct{ cause *Error }

func (e errGap) Error() string { return e.cause.Error() }
func (e errGap) Unwrap() error { return e.cause }

// isNext moves on behind an event that is new.
func (w *Watch) isNext(event *agentdv1.Event) (bool, error) {
	if event.GetRevision() <= w.revision {
		return false, nil
	}
	last, known := w.sequences[event.GetRun()]
	if w.checked && known && event.GetSequence() != last+1 {
		err := localError(Corrupt, agentdv1.ErrorReason_ERROR_REASON_JOURNAL_CORRUPT,
			fmt.Sprintf("%s: event %d followed event %d", event.GetRun(), event.GetSequence(), last))
		err.Metadata["run"] = event.GetRun()
		return false, errGap{err}
	}
	if event.GetRunEnded() != nil {
		delete(w.sequences, event.GetRun())
	} else {
		w.sequences[event.GetRun()] = event.GetSequence()
	}
	w.revision = event.GetRevision()
	return true, nil
}

// interrupted pauses before the next stream, or returns the error that ends the watch.
func (w *Watch) interrupted(ctx context.Context, err error) error {
	var failure *Error
	if !errors.As(err, &failure) {
		return err
	}
	if !w.isResumable(err, failure) {
		return failure
	}
	if w.lostAt.IsZero() {
		w.lostAt = time.Now()
	}
	if time.Since(w.lostAt) >= w.options.Outage {
		return failure
	}
	if w.options.OnInterruption != nil {
		w.options.OnInterruption(failure)
	}
	pause := w.pauses.next()
	if failure.RetryAfter != nil {
		pause += *failure.RetryAfter
	}
	return sleep(ctx, pause)
}

func (w *Watch) isResumable(err error, failure *Error) bool {
	if w.client.closed.Load() {
		return false
	}
	var gap errGap
	if errors.As(err, &gap) {
		// The stream may have lost what the journal has: ask once more from the same place.
		repeated := w.gapAfter == w.revision
		w.gapAfter = w.revision
		return !repeated
	}
	return failure.Kind == Unavailable || failure.Reason == agentdv1.ErrorReason_ERROR_REASON_SLOW_READER
}
