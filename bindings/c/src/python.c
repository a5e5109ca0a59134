/* Starts CPython inside a host that knows nothing of it, and leaves the host as it was. */
#define _GNU_SOURCE
#include <Python.h>

#include "python.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agentd.h"
#include "handles.h"

#ifndef AGENTD_PYTHON
#error "the build says which Python to use outside of an environment: -DAGENTD_PYTHON"
#endif

static pthread_mutex_t starting = PTHREAD_MUTEX_INITIALIZER;
static int running; /* Python was started, by us or by the host */
static int ours;    /* by us */
static int ready;   /* it has imported what is needed */
static char broken[256];
static volatile sig_atomic_t forked;
static const char marker;

char *agentd_copy(const void *data, size_t size) {
  char *copy = malloc(size + 1);
  if (copy) {
    if (size) memcpy(copy, data, size);
    copy[size] = 0;
  }
  return copy;
}

void answer_release(agentd_answer *answer) {
  free(answer->reason);
  free(answer->message);
  free(answer->data);
  memset(answer, 0, sizeof *answer);
}

int python_forked(void) { return forked; }

int python_ask(const agentd_ask *ask, agentd_answer *answer) {
  memset(answer, 0, sizeof *answer);
  if (agentd_python(ask, answer) == 1) return 1;
  answer_release(answer);
  return 0;
}

/* The child has one thread, and Python's locks are as the others left them: it may not be entered. */
static void after_fork(void) {
  forked = 1;
  handles_unlock();
}

/* Modules of Python do not name libpython as what they need: its names must be visible to all, also
 * in a host that loaded us with RTLD_LOCAL. */
static void show_python(void) {
  Dl_info info;
  if (dladdr((void *)(uintptr_t)&Py_IsInitialized, &info) && info.dli_fname)
    dlopen(info.dli_fname, RTLD_NOW | RTLD_GLOBAL | RTLD_NOLOAD);
}

/* Write the path of the interpreter whose environment is to be used: that of the environment which
 * this library lies in, else the one it was built with. */
static void find_program(char *program, size_t size) {
  char path[PATH_MAX];
  Dl_info info;
  snprintf(program, size, "%s", AGENTD_PYTHON);
  if (!dladdr((void *)(uintptr_t)&marker, &info) || !realpath(info.dli_fname, path)) return;
  for (;;) {
    char probe[PATH_MAX + 16];
    char *slash = strrchr(path, '/');
    if (!slash || slash == path) return;
    *slash = 0;
    snprintf(probe, sizeof probe, "%s/pyvenv.cfg", path);
    if (access(probe, R_OK) == 0) {
      snprintf(program, size, "%s/bin/python3", path);
      return;
    }
  }
}

/* Start the interpreter, isolated from the host's environment. Unlike Py_Initialize this reports a
 * failure, in place of ending the process. */
static int start_interpreter(void) {
  char program[PATH_MAX + 16];
  PyPreConfig before;
  PyConfig config;
  PyStatus status;
  find_program(program, sizeof program);
  if (access(program, X_OK) != 0) {
    snprintf(broken, sizeof broken, "there is no Python at %.200s", program);
    return 0;
  }
  PyPreConfig_InitIsolatedConfig(&before);
  before.utf8_mode = 1; /* whatever the host's locale is, paths are bytes and texts are UTF-8 */
  status = Py_PreInitialize(&before);
  if (!PyStatus_Exception(status)) {
    PyConfig_InitIsolatedConfig(&config);
    status = PyConfig_SetBytesString(&config, &config.program_name, program);
    if (!PyStatus_Exception(status)) status = Py_InitializeFromConfig(&config);
    PyConfig_Clear(&config);
  }
  if (PyStatus_Exception(status)) {
    snprintf(broken, sizeof broken, "Python at %.120s does not start: %.100s", program,
             status.err_msg ? status.err_msg : "no reason given");
    return 0;
  }
  PyEval_SaveThread(); /* the lock is taken anew by each call */
  return 1;
}

/* Import the packages. The lock is held. */
static enum python_state prepare(char *fault, size_t size) {
  agentd_ask ask;
  agentd_answer answer;
  memset(&ask, 0, sizeof ask);
  ask.verb = AGENTD_VERB_PREPARE;
  if (!python_ask(&ask, &answer)) {
    snprintf(fault, size, "the embedded Python has no usable cffi; standard error may say more");
    return PYTHON_UNUSABLE;
  }
  ready = answer.kind == AGENTD_OK;
  if (!ready) snprintf(fault, size, "%s", answer.message);
  answer_release(&answer);
  return ready ? PYTHON_READY : PYTHON_UNUSABLE;
}

/* Do the first start. The lock is held. */
static enum python_state start(char *fault, size_t size) {
  struct sigaction on_interrupt, on_pipe;
  enum python_state state = PYTHON_UNUSABLE;
  if (broken[0]) {
    snprintf(fault, size, "%s", broken);
    return state;
  }
  ours = ours || !Py_IsInitialized();
  /* Importing asyncio takes over SIGINT, even in an interpreter that leaves signals alone. */
  sigaction(SIGINT, NULL, &on_interrupt);
  sigaction(SIGPIPE, NULL, &on_pipe);
  show_python();
  if (running || !ours || start_interpreter()) {
    if (!running) pthread_atfork(handles_lock, handles_unlock, after_fork);
    running = 1;
    state = prepare(fault, size);
  } else {
    snprintf(fault, size, "%s", broken);
  }
  if (ours) {
    sigaction(SIGINT, &on_interrupt, NULL);
    sigaction(SIGPIPE, &on_pipe, NULL);
  }
  return state;
}

enum python_state python_start(char *fault, size_t size) {
  enum python_state state = PYTHON_READY;
  fault[0] = 0;
  if (forked) return PYTHON_FORKED;
  pthread_mutex_lock(&starting);
  if (!ready) state = start(fault, size);
  pthread_mutex_unlock(&starting);
  return state;
}
