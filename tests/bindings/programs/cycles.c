/* cycles.c: open and close an ADDRESS a thousand times, with a call and a stream that is left open in
 * each, and print how many KiB the resident memory grew over the last 900. */
#include "check.h"

static long resident_kib(void) {
  FILE *file = fopen("/proc/self/status", "r");
  char line[256];
  long kib = -1;
  CHECK(file != NULL);
  while (kib < 0 && fgets(line, sizeof line, file))
    if (strncmp(line, "VmRSS:", 6) == 0) kib = atol(line + 6);
  fclose(file);
  return kib;
}

int main(int argc, char **argv) {
  long before = 0;
  int number;
  CHECK(argc > 1);
  for (number = 0; number < 1000; number++) {
    agentd_client *client = open_client(argv[1], NULL);
    agentd_stream *stream;
    agentd_error *error;
    if (number == 100) before = resident_kib();
    agentd_reply_free(call(client, GET_INFO, "{}"));
    must(agentd_stream_open(client, WATCH, "{}", 2, &stream, &error), &error);
    agentd_close(client);
    agentd_stream_free(stream);
  }
  printf("%ld\n", resident_kib() - before);
  return 0;
}
