/* agentd.h: run AI agents from C, or from any language that can call C. This header is the manual.
 *
 *   agentd_client *client;
 *   agentd_error *error;
 *   agentd_reply *reply;
 *   if (agentd_open("embedded:/var/lib/my-program", NULL, &client, &error) != AGENTD_OK) { ... }
 *   if (agentd_call(client, "agentd.v1.SystemService/GetInfo", "{}", 2, 5000, &reply, &error)
 *       == AGENTD_OK)
 *     puts(agentd_reply_data(reply, NULL));
 *   agentd_reply_free(reply);
 *   agentd_close(client);
 *
 * The functions never change with the API: a call takes the full name of a method of the contract
 * and the bytes of its request, and gives the bytes of its answer. Which methods there are, and what
 * they take, is said by the contract (`proto/agentd/v1`). Bytes are JSON, by the JSON mapping of
 * protobuf, so that no protobuf library is needed; or binary protobuf, as the options say.
 *
 * RESULTS. Whatever can fail returns an agentd_status: AGENTD_OK or another positive value when it
 * went well, AGENTD_FAILED when not. Zero is never returned, so test for `== AGENTD_OK`, not for
 * non-zero. Every such function takes an `agentd_error **` last, which may be NULL; it is set to
 * NULL, and at a failure to an error object that is yours to free. Other results are set to NULL
 * at a failure. There is no errno and no "last error". (In `check(agentd_open(..., &error), error)` a
 * compiler may read `error` before it is set: test the status first, or pass `&error` on.)
 *
 * HANDLES. Clients, streams, replies and errors are opaque numbers dressed as pointers: never read
 * through one. Each is ended by the one function that its comment names. Ending NULL, or a handle
 * that has been ended, does nothing; using one is a failure with the reason LIBRARY_MISUSE, or the
 * empty value of an accessor. They may be ended in any order, streams after their client too.
 *
 * THREADS. Every function may be called from any thread at any time. A call waits in its own thread
 * and holds up no other. Two threads may pull one stream; each message goes to one of them. Nothing
 * is ever called back: the host asks. What an accessor returns stays valid until its handle is ended,
 * so do not end a handle in one thread while another still reads from it.
 *
 * FORK. After fork() without exec, a child of a process that has opened a client cannot use the
 * library: what can fail does, with the reason LIBRARY_FORKED, and the rest does nothing. A process
 * may fork first and open a client in each child.
 *
 * SIGNALS. The handlers of the host stay as they are; a blocking call is not ended by a signal.
 *
 * PYTHON. The library carries its daemon in an embedded CPython, which is started by the first
 * agentd_open and stays until the process ends; unloading the library is not supported. It uses the
 * Python environment that the library is installed in, else the one it was built with, and neither
 * PATH nor a PYTHON... variable. If Python or a package is missing, agentd_open fails with the
 * reason LIBRARY_UNUSABLE and says what is missing. It takes about 40 MB of memory, 45 with
 * a daemon inside, and 64-bit pointers.
 */
#ifndef AGENTD_H
#define AGENTD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The version of this header, major * 10000 + minor * 100 + patch, and of its binary interface,
 * which is in the library's file name too. */
#define AGENTD_VERSION_NUMBER 100
#define AGENTD_ABI 1

typedef struct agentd_client agentd_client;
typedef struct agentd_stream agentd_stream;
typedef struct agentd_reply agentd_reply;
typedef struct agentd_error agentd_error;

typedef enum agentd_status {
  AGENTD_FAILED = -1, /* it did not happen: see the error */
  AGENTD_OK = 1,      /* done */
  AGENTD_END = 2,     /* agentd_stream_next: the stream has ended well, or was cancelled */
  AGENTD_TIMEOUT = 3  /* agentd_stream_next: nothing came in time; ask again */
} agentd_status;

typedef enum agentd_encoding {
  AGENTD_JSON = 0,    /* UTF-8 text; an empty request is an empty message */
  AGENTD_PROTOBUF = 1 /* binary */
} agentd_encoding;

/* How a client is opened. Start from AGENTD_OPTIONS_INIT; zero and NULL mean the default. Later
 * versions add fields at the end, and `size` tells which of them your program knows. */
typedef struct agentd_options {
  size_t size;            /* sizeof(agentd_options) */
  uint32_t encoding;      /* an agentd_encoding, of requests, replies and statuses */
  uint32_t reserved;      /* 0 */
  const char *name_space; /* the namespace to work in; default "default" */
  const char *token_file; /* the file with the token that a daemon on TCP wants; default none */
  const char *settings;   /* embedded only: keys of the configuration, `key = value` on a line each,
                           * such as "models.default = openai/gpt-5-mini\nlog.level = info" */
} agentd_options;

#define AGENTD_OPTIONS_INIT {sizeof(agentd_options), AGENTD_JSON, 0, NULL, NULL, NULL}

/* Return AGENTD_VERSION_NUMBER of the library itself. Starts nothing. */
uint32_t agentd_version(void);

/* Open a daemon; end the client with agentd_close.
 *
 *   unix:/PATH or HOST:PORT   a daemon that runs elsewhere. Nothing is dialled before the first call,
 *                             and a connection that was lost is dialled again by the next one.
 *   embedded:DIR              a daemon inside this process, with its state in DIR, which is made if
 *                             it does not exist. No socket is opened. It reads the configuration
 *                             that `agentd serve` would; `settings` go before it. While one process
 *                             has DIR, opening it again fails and names that process.
 *
 * A daemon inside this process is as durable as any: what was acknowledged is on the disk, and
 * after a crash of the host, opening DIR again lets its runs go on. `options` may be NULL. */
agentd_status agentd_open(const char *address, const agentd_options *options,
                          agentd_client **client, agentd_error **error);

/* Close a client. Calls and streams in progress fail with the reason DRAINING. A daemon in this
 * process stores what it owes and ends; model requests in progress have `server.drain_timeout_s`,
 * by default 5 here, and what they were for goes on when the directory is next opened. */
void agentd_close(agentd_client *client);

/* Call a method that answers once, and wait for the answer; end the reply with agentd_reply_free.
 *
 * `method` is its full name, such as "agentd.v1.RunService/CreateRun". `request` is borrowed for the
 * call. A negative timeout waits without end; one that passes is a failure with the code 4
 * (DEADLINE_EXCEEDED), after which the request may have been carried out or not: requests with a
 * `request_id` can be repeated. */
agentd_status agentd_call(agentd_client *client, const char *method, const void *request,
                          size_t size, int64_t timeout_ms, agentd_reply **reply,
                          agentd_error **error);

/* Start a method that answers with a stream, such as "agentd.v1.EventService/Watch"; end the stream
 * with agentd_stream_free. A refusal by the daemon comes with the first agentd_stream_next. */
agentd_status agentd_stream_open(agentd_client *client, const char *method, const void *request,
                                 size_t size, agentd_stream **stream, agentd_error **error);

/* Wait for the next message of a stream: AGENTD_OK with a reply to be freed, AGENTD_TIMEOUT after
 * `timeout_ms` (0 asks without waiting, negative waits without end), AGENTD_END, or AGENTD_FAILED.
 * After an end or a failure the answer stays the same. A few messages are read ahead; a host that
 * stops pulling holds up nobody, and a Watch that falls far behind fails with SLOW_READER. */
agentd_status agentd_stream_next(agentd_stream *stream, int64_t timeout_ms, agentd_reply **reply,
                                 agentd_error **error);

/* Stop a stream, from any thread: who waits in agentd_stream_next gets AGENTD_END. */
void agentd_stream_cancel(agentd_stream *stream);

/* End a stream, and stop it if it goes on. */
void agentd_stream_free(agentd_stream *stream);

/* Return the reply's bytes, valid until it is freed, and their number unless `size` is NULL. A zero
 * byte, which is not counted, follows: JSON may be read as a C string. */
const char *agentd_reply_data(const agentd_reply *reply, size_t *size);

/* End a reply. */
void agentd_reply_free(agentd_reply *reply);

/* Return the canonical code, as numbered in google/rpc/code.proto: 5 is NOT_FOUND, 14 UNAVAILABLE. */
int32_t agentd_error_code(const agentd_error *error);

/* Return why, in words for people, which may change; valid until the error is freed. */
const char *agentd_error_message(const agentd_error *error);

/* Return why, for programs; valid until the error is freed. It is an ErrorReason of the contract
 * without its prefix, such as RUN_NOT_FOUND, or one of the library's own:
 *
 *   LIBRARY_UNUSABLE   Python, or a package that the library needs, is missing or broken
 *   LIBRARY_MISUSE     an argument is NULL or not valid, or a handle has been ended
 *   LIBRARY_FORKED     this process was forked from one that used the library */
const char *agentd_error_reason(const agentd_error *error);

/* Return the google.rpc.Status with its details, in the encoding of the client; valid until the
 * error is freed. It is empty for the library's own reasons. As for a reply, a zero byte follows. */
const char *agentd_error_status(const agentd_error *error, size_t *size);

/* End an error. */
void agentd_error_free(agentd_error *error);

#ifdef __cplusplus
}
#endif

#endif
