package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	agentd "github.com/agentd/agentd/clients/go"
	"github.com/agentd/agentd/clients/go/agentdv1"
)

type execution struct {
	tool    string
	call    string
	attempt int32
	item    string
}

// The scenario's tools, and what was executed of them.
type tools struct {
	mu         sync.Mutex
	executions []execution
	changed    chan struct{}
	releases   map[string]chan struct{}
}

func newTools() *tools {
	return &tools{changed: make(chan struct{}), releases: map[string]chan struct{}{}}
}

func (t *tools) tool(spec hostedTool, schema string) agentd.Tool {
	return agentd.Tool{
		Name:        spec.Name,
		Description: "For tests.",
		InputSchema: schema,
		Effect:      agentdv1.EffectClass(agentdv1.EffectClass_value["EFFECT_CLASS_"+spec.Effect]),
		Execute: func(ctx context.Context, call *agentd.Call) (any, error) {
			var arguments struct{ Item string }
			if err := call.Decode(&arguments); err != nil {
				return nil, err
			}
			release := t.begin(execution{spec.Name, call.Name, call.Attempt, arguments.Item})
			switch spec.Behaviour {
			case "fail":
				return nil, fmt.Errorf("cannot do %s", arguments.Item)
			case "wait":
				select {
				case <-release:
				case <-ctx.Done():
					return nil, agentd.ErrStopped
				}
			}
			return "did " + arguments.Item, nil
		},
	}
}

func (t *tools) begin(begun execution) <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.executions = append(t.executions, begun)
	close(t.changed)
	t.changed = make(chan struct{})
	if t.releases[begun.tool] == nil {
		t.releases[begun.tool] = make(chan struct{})
	}
	return t.releases[begun.tool]
}

func (t *tools) began(name string, count int) error {
	end := time.After(patience)
	for {
		t.mu.Lock()
		changed, found := t.changed, 0
		for _, begun := range t.executions {
			if begun.tool == name {
				found++
			}
		}
		t.mu.Unlock()
		if found >= count {
			return nil
		}
		select {
		case <-changed:
		case <-end:
			return fmt.Errorf("%s has not begun %d executions", name, count)
		}
	}
}

func (t *tools) release(name string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	close(t.releases[name])
	delete(t.releases, name)
}
