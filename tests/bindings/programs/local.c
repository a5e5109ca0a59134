/* local.c: load the LIBRARY as a plugin's host does, with RTLD_LOCAL and without linking to it, and
 * make a call at an ADDRESS. */
#include <dlfcn.h>

#include "check.h"

/* ISO C has no cast from an object's pointer to a function's. */
#define LOAD(function) (*(void **)(&function) = dlsym(library, "agentd_" #function))

int main(int argc, char **argv) {
  agentd_status (*open)(const char *, const agentd_options *, agentd_client **, agentd_error **);
  agentd_status (*call)(agentd_client *, const char *, const void *, size_t, int64_t,
                        agentd_reply **, agentd_error **);
  void (*close)(agentd_client *);
  const char *(*error_message)(const agentd_error *);
  const char *(*reply_data)(const agentd_reply *, size_t *);
  agentd_client *client;
  agentd_reply *reply;
  agentd_error *error;
  void *library;
  CHECK(argc > 2);
  library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  if (!library) fprintf(stderr, "%s\n", dlerror());
  CHECK(library && LOAD(open) && LOAD(call) && LOAD(close));
  CHECK(LOAD(error_message) && LOAD(reply_data));
  if (open(argv[2], NULL, &client, &error) != AGENTD_OK) {
    fprintf(stderr, "%s\n", error_message(error));
    return 1;
  }
  CHECK(call(client, GET_INFO, "{}", 2, 30000, &reply, &error) == AGENTD_OK);
  puts(reply_data(reply, NULL));
  close(client);
  CHECK(dlclose(library) == 0); /* does nothing, and harms nothing */
  return 0;
}
