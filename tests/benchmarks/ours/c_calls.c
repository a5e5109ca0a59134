/* c_calls.c: call GetInfo at an ADDRESS for so many SECONDS, one call after another, in binary; print
 * the median time of a call in microseconds. */
#include <agentd.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { MOST = 1000000, WARM = 200 };

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static int by_size(const void *left, const void *right) {
  double one = *(const double *)left, other = *(const double *)right;
  return (one > other) - (one < other);
}

int main(int argc, char **argv) {
  static double times[MOST];
  agentd_options options = AGENTD_OPTIONS_INIT;
  agentd_client *client;
  double end;
  int count, measured;
  options.encoding = AGENTD_PROTOBUF;
  if (argc < 3 || agentd_open(argv[1], &options, &client, NULL) != AGENTD_OK) return 1;
  end = now_us() + atof(argv[2]) * 1e6;
  for (count = 0; count < MOST && (count <= WARM || now_us() < end); count++) {
    agentd_reply *reply;
    double began = now_us();
    if (agentd_call(client, "agentd.v1.SystemService/GetInfo", NULL, 0, 30000, &reply, NULL) !=
        AGENTD_OK)
      return 1;
    agentd_reply_free(reply);
    times[count] = now_us() - began;
  }
  measured = count - WARM;
  qsort(times + WARM, (size_t)measured, sizeof *times, by_size);
  printf("%.3f\n", times[WARM + measured / 2]);
  agentd_close(client);
  return 0;
}
