package agentd

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/keepalive"

	"github.com/agentd/agentd/clients/go/agentdv1"
)

const maxMessageBytes = 64 << 20

// An Option changes how Connect connects.
type Option func(*settings) error

// WithToken sends a token with every request.
func WithToken(token string) Option {
	return func(s *settings) error {
		s.token = token
		return nil
	}
}

// WithTokenFile sends the token of a file with every request. The file is read once, by Connect.
func WithTokenFile(path string) Option {
	return func(s *settings) error {
		content, err := os.ReadFile(path)
		if err != nil {
			return localError(InvalidRequest, agentdv1.ErrorReason_ERROR_REASON_INVALID_CONFIG,
				"the token file cannot be read: "+err.Error())
		}
		s.token = strings.TrimSpace(string(content))
		if s.token == "" {
			return localError(InvalidRequest, agentdv1.ErrorReason_ERROR_REASON_INVALID_CONFIG,
				fmt.Sprintf("the token file %s is empty", path))
		}
		return nil
	}
}

// WithNamespace chooses the namespace; without it, "default".
func WithNamespace(namespace string) Option {
	return func(s *settings) error {
		s.namespace = namespace
		return nil
	}
}

// WithRetry changes when failed requests are repeated.
func WithRetry(policy RetryPolicy) Option {
	return func(s *settings) error {
		s.retry = policy
		return nil
	}
}

type settings struct {
	address   string
	target    string
	token     string
	namespace string
	retry     RetryPolicy
}

func newSettings(address string, options []Option) (settings, error) {
	s := settings{namespace: "default", retry: DefaultRetry}
	for _, option := range options {
		if err := option(&s); err != nil {
			return s, err
		}
	}
	var err error
	s.address, s.target, err = parseAddress(address)
	return s, err
}

// parseAddress returns an address as people write it and as gRPC dials it.
func parseAddress(address string) (string, string, error) {
	text := strings.TrimSpace(address)
	if path := strings.TrimPrefix(text, "unix:"); strings.HasPrefix(path, "/") {
		path = "/" + strings.TrimLeft(path, "/")
		return "unix:" + path, "unix://" + path, nil
	}
	colon := strings.LastIndex(text, ":")
	if colon > 0 && !strings.Contains(text[:colon], "/") && text[:colon] != "unix" {
		if port, err := strconv.ParseUint(text[colon+1:], 10, 16); err == nil && port > 0 {
			return text, "passthrough:///" + text, nil
		}
	}
	return "", "", invalidField("address", fmt.Sprintf("%q is neither unix:/path nor host:port", address))
}

func (s settings) dialOptions() []grpc.DialOption {
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithUnaryInterceptor(s.unary),
		grpc.WithStreamInterceptor(s.stream),
		grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(maxMessageBytes), grpc.MaxCallSendMsgSize(maxMessageBytes)),
		// gRPC would wait 1 s, and then up to 2 minutes, before it dials a daemon again that restarted.
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
			MinConnectTimeout: time.Second,
		}),
		grpc.WithDisableRetry(),
		grpc.WithDisableServiceConfig(),
		grpc.WithNoProxy(), // A proxy would come from the environment, which a library does not read.
	}
	if !strings.HasPrefix(s.address, "unix:") {
		// A peer that vanished from a network says nothing; a Unix socket's kernel does.
		options = append(options, grpc.WithKeepaliveParams(
			keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}))
	}
	return options
}
