/* tour.c: every function in every way of going well or wrong, at one ADDRESS. Compiled as C99 and as
 * C++, and run under AddressSanitizer and Valgrind as well. */
#include "check.h"

static void misuse(agentd_client *client) {
  agentd_client *none;
  agentd_reply *reply;
  agentd_stream *stream;
  agentd_error *error;
  agentd_options unset = AGENTD_OPTIONS_INIT;
  size_t size = 7;
  expect(agentd_open(NULL, NULL, &none, &error), &error, 3, "LIBRARY_MISUSE");
  CHECK(none == NULL);
  expect(agentd_open("unix:/x", NULL, NULL, &error), &error, 3, "LIBRARY_MISUSE");
  unset.size = 0;
  expect(agentd_open("unix:/x", &unset, &none, &error), &error, 3, "LIBRARY_MISUSE");
  unset.size = sizeof unset;
  unset.encoding = 9;
  expect(agentd_open("unix:/x", &unset, &none, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_open("nonsense", NULL, &none, &error), &error, 3, "INVALID_FIELD");
  CHECK(agentd_open("nonsense", NULL, &none, NULL) == AGENTD_FAILED);
  expect(agentd_open("embedded:", NULL, &none, &error), &error, 9, "INVALID_CONFIG");
  expect(agentd_call(NULL, GET_INFO, "", 0, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_call(client, NULL, "", 0, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_call(client, GET_INFO, NULL, 1, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_call(client, GET_INFO, "", 0, 0, NULL, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_stream_open(NULL, WATCH, "", 0, &stream, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_stream_open(client, WATCH, "", 0, NULL, &error), &error, 3, "LIBRARY_MISUSE");
  expect(agentd_stream_next(NULL, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  /* A handle of another kind is noticed, too. */
  expect(agentd_stream_next((agentd_stream *)(void *)client, 0, &reply, &error), &error, 3,
         "LIBRARY_MISUSE");
  agentd_reply_free((agentd_reply *)(void *)client);
  agentd_close(NULL);
  agentd_stream_cancel(NULL);
  agentd_stream_free(NULL);
  agentd_reply_free(NULL);
  agentd_error_free(NULL);
  CHECK(agentd_reply_data(NULL, &size)[0] == 0 && size == 0);
  CHECK(agentd_error_message(NULL)[0] == 0 && agentd_error_reason(NULL)[0] == 0);
  CHECK(agentd_error_code(NULL) == 2 && agentd_error_status(NULL, NULL)[0] == 0);
}

static void calls(agentd_client *client) {
  agentd_reply *reply = call(client, GET_INFO, "{}"), *another;
  agentd_error *error;
  size_t size;
  const char *data = agentd_reply_data(reply, &size);
  CHECK(size == strlen(data) && strstr(data, "\"version\":\""));
  agentd_reply_free(reply);
  agentd_reply_free(reply);
  CHECK(agentd_reply_data(reply, &size)[0] == 0 && size == 0);
  /* A reply that takes the place of an ended one is not ended by the old handle. */
  another = call(client, "/" GET_INFO, "");
  agentd_reply_free(reply);
  CHECK(agentd_reply_data(another, NULL)[0] == '{');
  agentd_reply_free(another);
  CHECK(agentd_call(client, GET_RUN, "{}", 2, 1000, &reply, NULL) == AGENTD_FAILED);
  CHECK(reply == NULL);
  must(agentd_call(client, GET_INFO, "{}", 2, -1, &reply, &error), &error);
  CHECK(error == NULL);
  agentd_reply_free(reply);
}

static void refusals(agentd_client *client) {
  agentd_reply *reply;
  agentd_error *error;
  size_t size;
  expect(agentd_call(client, GET_RUN, "{\"name\":1", 9, 9000, &reply, &error), &error, 3,
         "MALFORMED_REQUEST");
  expect(agentd_call(client, "agentd.v1.No/Such", "{}", 2, 9000, &reply, &error), &error, 12,
         "NOT_IMPLEMENTED");
  expect(agentd_call(client, "\377\376", "{}", 2, 9000, &reply, &error), &error, 12,
         "NOT_IMPLEMENTED");
  expect(agentd_call(client, WATCH, "{}", 2, INT64_MAX, &reply, &error), &error, 3,
         "MALFORMED_REQUEST");
  CHECK(agentd_call(client, GET_RUN, "{\"name\":\"runs/none\"}", 20, 9000, &reply, &error) ==
        AGENTD_FAILED);
  CHECK(strstr(agentd_error_status(error, &size), "\"reason\":\"RUN_NOT_FOUND\""));
  CHECK(size == strlen(agentd_error_status(error, NULL)));
  CHECK(agentd_error_code(error) == 5);
  agentd_error_free(error);
  agentd_error_free(error);
  CHECK(agentd_error_message(error)[0] == 0);
}

static void streams(agentd_client *client) {
  agentd_stream *stream;
  agentd_reply *reply;
  agentd_error *error;
  agentd_status status;
  must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
  do {
    status = agentd_stream_next(stream, 50, &reply, &error);
    must(status, &error);
    agentd_reply_free(reply);
  } while (status == AGENTD_OK);
  CHECK(status == AGENTD_TIMEOUT && reply == NULL);
  CHECK(agentd_stream_next(stream, 0, &reply, NULL) == AGENTD_TIMEOUT);
  agentd_stream_cancel(stream);
  CHECK(agentd_stream_next(stream, -1, &reply, &error) == AGENTD_END);
  CHECK(agentd_stream_next(stream, -1, &reply, &error) == AGENTD_END);
  agentd_stream_free(stream);
  agentd_stream_free(stream);
  expect(agentd_stream_next(stream, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  /* A refusal comes with the first message, and again with each further one. */
  must(agentd_stream_open(client, WATCH, "{\"afterRevision\":999999}", 24, &stream, &error), &error);
  expect(agentd_stream_next(stream, INT64_MAX, &reply, &error), &error, 11, "FUTURE_REVISION");
  expect(agentd_stream_next(stream, 9000, &reply, &error), &error, 11, "FUTURE_REVISION");
  agentd_stream_free(stream);
  must(agentd_stream_open(client, GET_RUN, "{}", 2, &stream, &error), &error);
  expect(agentd_stream_next(stream, 9000, &reply, &error), &error, 3, "MALFORMED_REQUEST");
  agentd_stream_free(stream);
}

int main(int argc, char **argv) {
  agentd_options options = AGENTD_OPTIONS_INIT;
  agentd_client *client;
  agentd_stream *stream;
  agentd_reply *reply;
  agentd_error *error;
  CHECK(argc > 1);
  CHECK(agentd_version() == AGENTD_VERSION_NUMBER);
  if (argc > 2) options.token_file = argv[2];
  client = open_client(argv[1], &options);
  misuse(client);
  calls(client);
  refusals(client);
  streams(client);
  /* A stream may outlive its client, and ends with it. */
  must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
  agentd_close(client);
  agentd_close(client);
  expect(agentd_stream_next(stream, -1, &reply, &error), &error, 14, "DRAINING");
  agentd_stream_free(stream);
  expect(agentd_call(client, GET_INFO, "{}", 2, 0, &reply, &error), &error, 3, "LIBRARY_MISUSE");
  /* The same place again, in binary: GetRun of "runs/none" is field 1, nine bytes. */
  options.encoding = AGENTD_PROTOBUF;
  client = open_client(argv[1], &options);
  CHECK(agentd_call(client, GET_RUN, "\n\truns/none", 11, 9000, &reply, &error) == AGENTD_FAILED);
  CHECK(agentd_error_status(error, NULL)[0] == 8); /* field 1 of google.rpc.Status, a varint */
  agentd_error_free(error);
  expect(agentd_call(client, GET_RUN, "\377", 1, 9000, &reply, &error), &error, 3,
         "MALFORMED_REQUEST");
  agentd_close(client);
  puts("toured");
  return 0;
}
