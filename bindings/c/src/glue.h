/* What C asks of Python and what Python answers. Read by the compiler and, without its lines that
 * begin with a number sign, by cffi. The numbers of verbs are those of agentd/native.py. */
#ifndef AGENTD_GLUE_H
#define AGENTD_GLUE_H

#include <stddef.h>
#include <stdint.h>

enum agentd_verb {
  AGENTD_VERB_PREPARE = 0, /* import the packages, and nothing else */
  AGENTD_VERB_OPEN = 1,
  AGENTD_VERB_CLOSE = 2,
  AGENTD_VERB_CALL = 3,
  AGENTD_VERB_STREAM = 4,
  AGENTD_VERB_NEXT = 5,
  AGENTD_VERB_CANCEL = 6,
  AGENTD_VERB_FREE = 7
};

/* Texts end with a zero byte or are NULL; everything is borrowed for the call. */
typedef struct agentd_ask {
  int32_t verb;
  int32_t encoding;
  uint64_t id;
  int64_t timeout_ms;
  const char *name;
  const void *data;
  size_t size;
  const char *name_space;
  const char *token_file;
  const char *settings;
} agentd_ask;

/* Texts and data were made by agentd_copy and belong to whoever asked. */
typedef struct agentd_answer {
  int32_t kind;
  int32_t code;
  uint64_t id;
  char *reason;
  char *message;
  char *data;
  size_t size;
} agentd_answer;

/* Written in C: return a copy with a zero byte after it, or NULL when there is no memory. */
char *agentd_copy(const void *data, size_t size);

/* Written in Python: return 1 when the answer is filled. cffi returns 0 when the interpreter, its
 * own module or the function fails, so 0 is a failure of the library. */
int agentd_python(const agentd_ask *ask, agentd_answer *answer);

#endif
