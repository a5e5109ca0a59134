/* The embedded Python: started once, asked from any thread. */
#ifndef AGENTD_PYTHON_H
#define AGENTD_PYTHON_H

#include "glue.h"

enum python_state { PYTHON_READY = 1, PYTHON_FORKED, PYTHON_UNUSABLE };

/* Start Python unless it runs, and import what is needed. Return PYTHON_READY, or why not, with the
 * reason in `fault`. An import that failed is tried again by the next call. */
enum python_state python_start(char *fault, size_t size);

/* Return whether this process was forked from one in which Python was started. */
int python_forked(void);

/* Ask Python, which has been started. Return 0 when Python itself failed. */
int python_ask(const agentd_ask *ask, agentd_answer *answer);

/* Release what an answer holds. */
void answer_release(agentd_answer *answer);

#endif
