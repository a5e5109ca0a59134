/* The functions of agentd.h: they check, ask Python, and keep what came of it in C. */
#include "agentd.h"

#include <stdlib.h>
#include <string.h>

#include "glue.h"
#include "handles.h"
#include "python.h"

#define EXPORT __attribute__((visibility("default")))

/* google/rpc/code.proto */
enum { CODE_UNKNOWN = 2, CODE_INVALID_ARGUMENT = 3, CODE_FAILED_PRECONDITION = 9 };

static const char MISUSE[] = "LIBRARY_MISUSE";
static const char UNUSABLE[] = "LIBRARY_UNUSABLE";
static const char FORKED[] = "LIBRARY_FORKED";

/* What a reply or an error keeps: an answer without its number. */
static void *keep(enum handle_kind kind, const agentd_answer *answer) {
  agentd_answer *kept = malloc(sizeof *kept);
  void *handle = NULL;
  if (kept) {
    *kept = *answer;
    handle = handle_new(kind, (uintptr_t)kept);
  }
  if (!handle) {
    free(answer->reason);
    free(answer->message);
    free(answer->data);
    free(kept);
  }
  return handle;
}

static void discard(enum handle_kind kind, const void *handle) {
  agentd_answer *kept = (agentd_answer *)handle_end(kind, handle);
  if (!kept) return;
  answer_release(kept);
  free(kept);
}

/* Fail with a reason of the library's own: made without Python. */
static agentd_status fail(agentd_error **error, int code, const char *reason,
                          const char *message) {
  agentd_answer answer;
  if (!error) return AGENTD_FAILED;
  memset(&answer, 0, sizeof answer);
  answer.code = code;
  answer.reason = agentd_copy(reason, strlen(reason));
  answer.message = agentd_copy(message, strlen(message));
  answer.data = agentd_copy("", 0);
  *error = keep(HANDLE_ERROR, &answer);
  return AGENTD_FAILED;
}

static agentd_status misuse(agentd_error **error, const char *message) {
  return fail(error, CODE_INVALID_ARGUMENT, MISUSE, message);
}

static agentd_status is_forked(agentd_error **error) {
  return fail(error, CODE_FAILED_PRECONDITION, FORKED,
              "this process was forked from one that used the library: exec, or open before it");
}

/* Ask Python. The answer is the caller's to release or to keep unless this fails. */
static agentd_status ask_python(const agentd_ask *ask, agentd_answer *answer,
                                agentd_error **error) {
  if (!python_ask(ask, answer))
    return fail(error, CODE_FAILED_PRECONDITION, UNUSABLE,
                "the embedded Python failed; standard error may say more");
  if (answer->kind > 0) return (agentd_status)answer->kind;
  if (error)
    *error = keep(HANDLE_ERROR, answer);
  else
    answer_release(answer);
  return AGENTD_FAILED;
}

/* The value of a client or stream: its number in Python and its encoding, in one word. */
static uintptr_t dress(uint64_t id, int32_t encoding) {
  return (uintptr_t)(id << 1 | (encoding == AGENTD_PROTOBUF));
}

static void undress(uintptr_t value, agentd_ask *ask) {
  ask->id = (uint64_t)value >> 1;
  ask->encoding = value & 1 ? AGENTD_PROTOBUF : AGENTD_JSON;
}

/* Turn the new thing of an answer into a handle; undo it in Python when there is no memory. */
static agentd_status adopt(enum handle_kind kind, const agentd_ask *ask, agentd_answer *answer,
                           void **handle, agentd_error **error) {
  uint64_t id = answer->id;
  answer_release(answer);
  *handle = handle_new(kind, dress(id, ask->encoding));
  if (*handle) return AGENTD_OK;
  {
    agentd_ask undo;
    memset(&undo, 0, sizeof undo);
    undo.verb = kind == HANDLE_CLIENT ? AGENTD_VERB_CLOSE : AGENTD_VERB_CANCEL;
    undo.id = id;
    if (python_ask(&undo, answer)) answer_release(answer);
  }
  return fail(error, CODE_FAILED_PRECONDITION, UNUSABLE, "there is no memory for a handle");
}

static void take_options(const agentd_options *options, agentd_ask *ask) {
  agentd_options known = AGENTD_OPTIONS_INIT;
  memcpy(&known, options, options->size < sizeof known ? options->size : sizeof known);
  ask->encoding = (int32_t)known.encoding;
  ask->name_space = known.name_space;
  ask->token_file = known.token_file;
  ask->settings = known.settings;
}

/* End a client or a stream, in Python too. */
static void end(enum handle_kind kind, const void *handle, enum agentd_verb verb) {
  agentd_ask ask;
  agentd_answer answer;
  uintptr_t value = handle_end(kind, handle);
  if (!value || python_forked()) return;
  memset(&ask, 0, sizeof ask);
  ask.verb = (int32_t)verb;
  undress(value, &ask);
  if (python_ask(&ask, &answer)) answer_release(&answer);
}

EXPORT uint32_t agentd_version(void) { return AGENTD_VERSION_NUMBER; }

EXPORT agentd_status agentd_open(const char *address, const agentd_options *options,
                                 agentd_client **client, agentd_error **error) {
  agentd_ask ask;
  agentd_answer answer;
  char fault[512];
  void *handle;
  if (error) *error = NULL;
  if (!client) return misuse(error, "client is NULL");
  *client = NULL;
  if (!address) return misuse(error, "address is NULL");
  if (options && options->size < sizeof(size_t))
    return misuse(error, "options.size is not set: begin with AGENTD_OPTIONS_INIT");
  memset(&ask, 0, sizeof ask);
  ask.verb = AGENTD_VERB_OPEN;
  ask.name = address;
  if (options) take_options(options, &ask);
  if (ask.encoding != AGENTD_JSON && ask.encoding != AGENTD_PROTOBUF)
    return misuse(error, "options.encoding is not known");
  switch (python_start(fault, sizeof fault)) {
    case PYTHON_FORKED:
      return is_forked(error);
    case PYTHON_UNUSABLE:
      return fail(error, CODE_FAILED_PRECONDITION, UNUSABLE, fault);
    case PYTHON_READY:
      break;
  }
  if (ask_python(&ask, &answer, error) != AGENTD_OK) return AGENTD_FAILED;
  if (adopt(HANDLE_CLIENT, &ask, &answer, &handle, error) != AGENTD_OK) return AGENTD_FAILED;
  *client = handle;
  return AGENTD_OK;
}

EXPORT void agentd_close(agentd_client *client) {
  end(HANDLE_CLIENT, client, AGENTD_VERB_CLOSE);
}

/* Begin a request of a client: AGENTD_OK when it may be asked. */
static agentd_status begin(agentd_client *client, const char *method, const void *request,
                           size_t size, agentd_ask *ask, agentd_error **error) {
  uintptr_t value;
  if (python_forked()) return is_forked(error);
  if (!method) return misuse(error, "method is NULL");
  if (!request && size) return misuse(error, "request is NULL");
  value = handle_value(HANDLE_CLIENT, client);
  if (!value) return misuse(error, "the client is NULL or closed");
  memset(ask, 0, sizeof *ask);
  undress(value, ask);
  ask->name = method;
  ask->data = request;
  ask->size = size;
  return AGENTD_OK;
}

/* Turn the bytes of an answer into a reply. */
static agentd_status give(agentd_answer *answer, agentd_reply **reply, agentd_error **error) {
  *reply = keep(HANDLE_REPLY, answer);
  if (*reply) return AGENTD_OK;
  return fail(error, CODE_FAILED_PRECONDITION, UNUSABLE, "there is no memory for the reply");
}

EXPORT agentd_status agentd_call(agentd_client *client, const char *method, const void *request,
                                 size_t size, int64_t timeout_ms, agentd_reply **reply,
                                 agentd_error **error) {
  agentd_ask ask;
  agentd_answer answer;
  if (error) *error = NULL;
  if (!reply) return misuse(error, "reply is NULL");
  *reply = NULL;
  if (begin(client, method, request, size, &ask, error) != AGENTD_OK) return AGENTD_FAILED;
  ask.verb = AGENTD_VERB_CALL;
  ask.timeout_ms = timeout_ms;
  if (ask_python(&ask, &answer, error) != AGENTD_OK) return AGENTD_FAILED;
  return give(&answer, reply, error);
}

EXPORT agentd_status agentd_stream_open(agentd_client *client, const char *method,
                                        const void *request, size_t size, agentd_stream **stream,
                                        agentd_error **error) {
  agentd_ask ask;
  agentd_answer answer;
  void *handle;
  if (error) *error = NULL;
  if (!stream) return misuse(error, "stream is NULL");
  *stream = NULL;
  if (begin(client, method, request, size, &ask, error) != AGENTD_OK) return AGENTD_FAILED;
  ask.verb = AGENTD_VERB_STREAM;
  if (ask_python(&ask, &answer, error) != AGENTD_OK) return AGENTD_FAILED;
  if (adopt(HANDLE_STREAM, &ask, &answer, &handle, error) != AGENTD_OK) return AGENTD_FAILED;
  *stream = handle;
  return AGENTD_OK;
}

EXPORT agentd_status agentd_stream_next(agentd_stream *stream, int64_t timeout_ms,
                                        agentd_reply **reply, agentd_error **error) {
  agentd_ask ask;
  agentd_answer answer;
  agentd_status status;
  uintptr_t value;
  if (error) *error = NULL;
  if (!reply) return misuse(error, "reply is NULL");
  *reply = NULL;
  if (python_forked()) return is_forked(error);
  value = handle_value(HANDLE_STREAM, stream);
  if (!value) return misuse(error, "the stream is NULL or freed");
  memset(&ask, 0, sizeof ask);
  undress(value, &ask);
  ask.verb = AGENTD_VERB_NEXT;
  ask.timeout_ms = timeout_ms;
  status = ask_python(&ask, &answer, error);
  if (status == AGENTD_OK) return give(&answer, reply, error);
  if (status != AGENTD_FAILED) answer_release(&answer);
  return status;
}

EXPORT void agentd_stream_cancel(agentd_stream *stream) {
  agentd_ask ask;
  agentd_answer answer;
  uintptr_t value = handle_value(HANDLE_STREAM, stream);
  if (!value || python_forked()) return;
  memset(&ask, 0, sizeof ask);
  ask.verb = AGENTD_VERB_CANCEL;
  undress(value, &ask);
  if (python_ask(&ask, &answer)) answer_release(&answer);
}

EXPORT void agentd_stream_free(agentd_stream *stream) {
  end(HANDLE_STREAM, stream, AGENTD_VERB_FREE);
}

/* Return the bytes that a handle keeps; empty for one that is NULL or ended. */
static const char *bytes_of(enum handle_kind kind, const void *handle, size_t *size) {
  const agentd_answer *kept = (const agentd_answer *)handle_value(kind, handle);
  if (size) *size = kept ? kept->size : 0;
  return kept && kept->data ? kept->data : "";
}

EXPORT const char *agentd_reply_data(const agentd_reply *reply, size_t *size) {
  return bytes_of(HANDLE_REPLY, reply, size);
}

EXPORT void agentd_reply_free(agentd_reply *reply) { discard(HANDLE_REPLY, reply); }

EXPORT int32_t agentd_error_code(const agentd_error *error) {
  const agentd_answer *kept = (const agentd_answer *)handle_value(HANDLE_ERROR, error);
  return kept ? kept->code : CODE_UNKNOWN;
}

EXPORT const char *agentd_error_message(const agentd_error *error) {
  const agentd_answer *kept = (const agentd_answer *)handle_value(HANDLE_ERROR, error);
  return kept && kept->message ? kept->message : "";
}

EXPORT const char *agentd_error_reason(const agentd_error *error) {
  const agentd_answer *kept = (const agentd_answer *)handle_value(HANDLE_ERROR, error);
  return kept && kept->reason ? kept->reason : "";
}

EXPORT const char *agentd_error_status(const agentd_error *error, size_t *size) {
  return bytes_of(HANDLE_ERROR, error, size);
}

EXPORT void agentd_error_free(agentd_error *error) { discard(HANDLE_ERROR, error); }
